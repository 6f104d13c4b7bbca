"""The command that deletes documents from an index: delete."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated

import typer

from latechunk.cli.console import (
    COMMITTED_STAYS,
    EXIT_ERROR,
    EXIT_NOTHING,
    EXIT_PARTIAL,
    errors_explained,
    has_terminal,
    print_message,
    stderr_console,
)
from latechunk.cli.options import IndexPath, Quiet
from latechunk.errors import InputError
from latechunk.printing import counted
from latechunk.validation import parse_object

if TYPE_CHECKING:
    from rich.console import Console

_MOST_HINTS = 3  # to look for one takes two seconds among 50,000 ids


def delete_command(
    index: IndexPath,
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="ID...", help="Document ids, as search prints them.")
    ] = None,
    where: Annotated[
        str | None,
        typer.Option("--filter", metavar="JSON", help='Documents with such metadata: \'{"year": {"$lt": 2020}}\'.'),
    ] = None,
    prefix: Annotated[
        str | None, typer.Option(metavar="PATH", help="The document of this id, and those whose ids lie below it.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    quiet: Quiet = False,
) -> None:
    """Delete documents from an index: those that are named, or that meet all that is given.

    It says how many and asks, unless all of them were named by their ids. Exit code 3 if an id is not in the index,
    4 if nothing meets --filter or --prefix.
    """
    from latechunk.index import Index
    from latechunk.search.filters import select_documents
    from latechunk.search.options import SearchOptions

    console = stderr_console()
    with errors_explained(console, quiet=quiet, interrupted=COMMITTED_STAYS), Index.open(index) as opened:
        meets = parse_object("--filter", where) if where is not None else None
        if not ids and prefix is None and (meets is None or select_documents(meets).is_every_document):
            raise InputError(
                "delete needs an ID, --prefix, or a --filter that not every document meets; to empty an index, delete "
                "its folder and make it again"
            )
        named = set(ids or ())
        unknown = [one for one in ids or () if one not in opened]
        chosen = [
            one
            for one in opened.ids(filter=meets)
            if (prefix is None or _is_below(one, prefix)) and (not named or one in named)
        ]
        reason = None
        if not named and not chosen:
            mistakes = opened.find_mistakes(SearchOptions(filter=meets))
            reason = "; ".join(mistakes) or _why_none(opened.ids(), prefix)
        elif not named and not yes:
            _confirm(console, chosen, len(opened))
        n_deleted = opened.delete(chosen)
        n_left = len(opened)
        known = opened.ids() if unknown else []
    for place, one in enumerate(unknown):
        hint = _near(one, known) if place < _MOST_HINTS else ""
        print_message(console, f"left out: {one}: there is no document of this id{hint}", "yellow")
    if reason is not None:
        print_message(console, f"nothing to delete: {reason}")
    elif not quiet:
        print_message(console, f"{n_deleted} deleted; {n_left} left")
    if unknown:
        raise typer.Exit(EXIT_PARTIAL)
    if not chosen:
        raise typer.Exit(EXIT_NOTHING)


def _why_none(ids: Sequence[str], prefix: str | None) -> str:
    """Why no document was chosen, with near names where ``--prefix`` is that of none."""
    if prefix is None or any(_is_below(one, prefix) for one in ids):
        return f"the filter leaves none of {counted(len(ids), 'document')}{' below --prefix' if prefix else ''}"
    names = {*ids, *(str(parent) for one in ids for parent in PurePosixPath(one).parents if parent.name)}
    near = difflib.get_close_matches(prefix.rstrip("/"), sorted(names), n=3)
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"ids begin as in {min(ids, default='')!r}"
    return f"none of {counted(len(ids), 'document')} has the id {prefix!r} or lies below it; {hint}"


def _near(name: str, ids: Sequence[str]) -> str:
    """What was meant by an id that no document has: one that ends so or is like it, or a folder of them."""
    if any(_is_below(one, name) for one in ids):
        return f"; `--prefix {shlex.quote(name)}` names those below it"
    path = PurePosixPath(name)
    near = [one for one in ids if path.parts[-len(PurePosixPath(one).parts) :] == PurePosixPath(one).parts]
    near = near or difflib.get_close_matches(name, ids, n=3)
    return f": did you mean {' or '.join(map(repr, near))}?" if near else ""


def _is_below(document_id: str, prefix: str) -> bool:
    return document_id == prefix or document_id.startswith(f"{prefix.rstrip('/')}/")


def _confirm(console: Console, ids: list[str], n_documents: int) -> None:
    """Ask whether to delete these documents; InputError if there is nobody to ask, Abort if they say no."""
    shown = ", ".join(ids[:5]) + (", ..." if len(ids) > 5 else "")
    what = f"{counted(len(ids), 'document')} of {n_documents:,}"
    print_message(console, f"{what}: {shown}")
    if not has_terminal():
        raise InputError(f"this would delete {what}; there is no terminal to ask on, so say --yes if that is meant")
    if not typer.confirm(f"Delete {what}?", err=True):
        print_message(console, "nothing was deleted")
        raise typer.Exit(EXIT_ERROR)
