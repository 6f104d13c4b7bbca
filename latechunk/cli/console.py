"""What commands share of the terminal: exit codes, errors explained, progress, and results printed."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from latechunk.errors import IndexExistsError, InputError, LateChunkError
from latechunk.printing import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from latechunk.embedding import Progress

EXIT_ERROR = 1
EXIT_USAGE = 2
EXIT_PARTIAL = 3
EXIT_NOTHING = 4
EXIT_INTERRUPTED = 130

options_typed: ContextVar[Mapping[str, str]] = ContextVar("options_typed", default=MappingProxyType({}))
"""The options of the command that runs, by the names of the settings that they give."""

COMMITTED_STAYS = "what was committed before stays"  # of a command that writes to an index, and is interrupted


def stderr_console() -> Console:
    """Make the console for messages: results alone go to stdout."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, emoji=False)


def print_message(console: Console, text: str, style: str | None = None) -> None:
    """Print a line for people, of any length, which the terminal shows and does not obey."""
    console.print(printable(text), style=style, markup=False, soft_wrap=True)


def has_terminal() -> bool:
    """Whether there is somebody to ask."""
    return sys.stdin is not None and sys.stdin.isatty()


@contextmanager
def errors_explained(
    console: Console, *, quiet: bool = False, interrupted: str = "nothing was changed"
) -> Iterator[None]:
    """Tell errors in a line, and what Ctrl-C leaves; with ``quiet``, only errors come from the log."""
    log = logging.getLogger("latechunk")
    level = log.level
    if quiet:
        log.setLevel(logging.ERROR)
    try:
        yield
    except (InputError, IndexExistsError) as error:
        _fail(console, f"error: {name_options(str(error), options_typed.get())}", EXIT_USAGE)
    except LateChunkError as error:
        notes = "".join(f" ({note})" for note in getattr(error, "__notes__", []))
        _fail(console, f"error: {name_options(str(error), options_typed.get())}{notes}", EXIT_ERROR)
    except OSError as error:
        if error.filename is None:  # of the output
            raise
        _fail(console, f"error: {error.filename} cannot be read or written: {error.strerror}", EXIT_ERROR)
    except KeyboardInterrupt:
        _fail(console, f"interrupted; {interrupted}", EXIT_INTERRUPTED)
    finally:
        log.setLevel(level)


def name_options(message: str, options: Mapping[str, str]) -> str:
    """Write options as they are typed where an error says what a setting must be: ``max_tokens must be at least 1``.

    Names of one word, which may be words, are options only where they begin what is said.
    """

    def replace(found: re.Match[str]) -> str:
        key = found["key"] or ""  # of a mapping, or a place in a list
        return f"{options[found['name']]}{f' {key}' if key and not key.isdecimal() else ''}"

    for name in sorted(options, key=len, reverse=True):
        begin = r"(?<![\w./'\"=(-])" if "_" in name else r"(?:(?<=^)|(?<=; ))"
        end = r"(?!\w|[./-]\w|['\"(])" if "_" in name else r"(?= (?:\([^()]*\) )?(?:must|needs)\b)"
        message = re.sub(rf"{begin}(?P<name>{name})(?:\.(?P<key>\w+)(?= must))?{end}", replace, message)
    return message


def _fail(console: Console, message: str, code: int) -> NoReturn:
    console.print(message, style="red", markup=False, soft_wrap=True)
    raise typer.Exit(code)


@contextmanager
def documents_bar(console: Console, n_documents: int, quiet: bool) -> Iterator[Callable[[Progress], None]]:
    """Show how many documents are done; what it yields takes what was done since the last call."""
    from latechunk.embedding.progress import show_progress

    if quiet:
        yield lambda _: None
        return
    with show_progress(console, n_documents) as advance:
        yield advance


@contextmanager
def percentage_bar(console: Console, quiet: bool) -> Iterator[Callable[[str, float], None]]:
    """Show a bar, on a terminal; what it yields takes what is being done, and the share done of all, 0 to 1."""
    from rich import progress as bars

    columns = (
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.TaskProgressColumn(),
        bars.TimeElapsedColumn(),
    )
    with bars.Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task("loading", total=1.0)
        yield lambda what, share: bar.update(task, description=what, completed=share)


@contextmanager
def spinner(console: Console, text: str, quiet: bool) -> Iterator[None]:
    """Show that something of unknown length goes on, on a terminal."""
    if quiet or not console.is_terminal:
        yield
        return
    with console.status(text):
        yield


def print_table(table: Table) -> None:
    """Print a table to stdout, as wide as the terminal."""
    from rich.console import Console

    console = Console(highlight=False, emoji=False)
    width = None if console.is_terminal else 160  # a file or pipe has no width of its own
    Console(highlight=False, emoji=False, width=width).print(table)


def print_json(value: Any) -> None:
    """Print a value to stdout as indented JSON, in its own script."""
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2))


def megabytes(n_bytes: int) -> str:
    """Word a size in units of 10^6 bytes."""
    return f"{n_bytes / 1e6:,.1f} MB"


def duration(seconds: float) -> str:
    """Word a time: ``40 s``, ``12 min``, ``3.5 h``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6_000 else f"{seconds / 3_600:.1f} h"
