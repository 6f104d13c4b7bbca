"""The commands that ask an index: search, and inspect, which shows why a document was found."""

from __future__ import annotations

import dataclasses
import difflib
import json
import shlex
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latechunk.cli.console import (
    EXIT_NOTHING,
    EXIT_PARTIAL,
    errors_explained,
    print_json,
    print_message,
    spinner,
    stderr_console,
)
from latechunk.cli.options import (
    Device,
    Dtype,
    FusionName,
    IndexPath,
    Json,
    Quiet,
    SearchModeName,
    load_reranker,
    parse_gold,
)
from latechunk.errors import QueryError
from latechunk.printing import printable, printable_lines
from latechunk.validation import parse_object

if TYPE_CHECKING:
    from rich.console import Console

    from latechunk.index import Index
    from latechunk.search.options import SearchOptions
    from latechunk.types import Hit


def search_command(
    index: IndexPath,
    query: Annotated[
        str, typer.Argument(metavar="QUERY", help="A question or a description; - for one a line from standard input.")
    ],
    k: Annotated[int, typer.Option("-k", help="How many passages.")] = 10,
    mode: Annotated[
        SearchModeName | None,
        typer.Option(help="Compare vectors, words (BM25; loads no model), or both  [default: both, if it has words]."),
    ] = None,
    fusion: Annotated[FusionName, typer.Option(help="How hybrid search joins: by scores, or by ranks.")] = "calibrated",
    dense_weight: Annotated[
        float | None, typer.Option(help="Share of the vectors in hybrid search, 0 to 1  [default: what suits].")
    ] = None,
    candidates: Annotated[
        int | None, typer.Option(help="Chunks to fuse, re-rank or thin  [default: 4 k, at least 50].")
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(
            "--filter", metavar="JSON", help='Only documents with such metadata: \'{"year": {"$gte": 2020}}\'.'
        ),
    ] = None,
    document: Annotated[list[str] | None, typer.Option(help="Only this document; may be given again.")] = None,
    min_score: Annotated[float | None, typer.Option(help="Leave out what scores less.")] = None,
    rerank: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Cross-encoder, folder or hub name, to order by.")
    ] = None,
    mmr: Annotated[float | None, typer.Option(help="1: the best, 0: what differs most from better ones.")] = None,
    per_document: Annotated[bool, typer.Option("--per-document", help="Only the best passage of each.")] = False,
    expand: Annotated[int, typer.Option(help="Show so many neighbours on either side, too.")] = 0,
    granularity: Annotated[str | None, typer.Option(help="Which chunks to search, where an index has several.")] = None,
    within: Annotated[
        str | None,
        typer.Option(help="Show the chunks of this granularity around the hits; section: up to the next heading."),
    ] = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Print the passages that answer a query best, with score, citation and characters.

    A citation names the file, then page and headings, or the line where there are neither; the document's id follows
    where it is another name.

    With - as the query, each line of standard input is one, answered as it comes; the model is loaded once. Blank
    lines are passed over. With --json each answer is one line. Lines that cannot be queries are named, and the exit
    code is then 3.
    """
    from latechunk.index import Index
    from latechunk.search.options import SearchOptions

    console = stderr_console()
    with (
        errors_explained(console, quiet=quiet),
        Index.open(index, read_only=True, device=device, dtype=dtype) as opened,
    ):
        metadata = parse_object("--filter", where) if where is not None else None
        with spinner(console, "searching", quiet):
            options = SearchOptions(
                k=k,
                mode=mode,
                fusion=fusion,
                dense_weight=dense_weight,
                candidates=candidates,
                filter=metadata,
                document_ids=document,
                score_threshold=min_score,
                rerank=load_reranker(rerank, device) if rerank else None,
                mmr=mmr,
                per_document=per_document,
                expand=expand,
                granularity=granularity,
                within=within,
            )
            unknown = [one for one in document or () if one not in opened]
            is_known = not document or len(unknown) < len(document)  # else the reason says it
            hits = opened.search_with(query, options) if query != "-" and is_known else []
            reason = None if hits or query == "-" else _why_nothing(opened, options)
        for one in unknown if is_known else ():
            print_message(console, f"left out: {one}: there is no document of this id", "yellow")
        if query == "-":
            asked = sys.stdin.buffer if sys.stdin else ()  # it may be closed
            _answer_lines(console, asked, lambda line: opened.search_with(line, options), as_json)
        elif as_json:
            print_json(_answer(query, hits))
        else:
            _print_hits(hits)
        if reason is not None:
            print_message(console, f"nothing found: {reason}")
            raise typer.Exit(EXIT_NOTHING)
        if unknown:
            raise typer.Exit(EXIT_PARTIAL)


def inspect_command(
    index: IndexPath,
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="What to ask of the document.")],
    document: Annotated[str | None, typer.Option(help="Its id  [default: the one of the best hit].")] = None,
    gold: Annotated[
        str | None, typer.Option(metavar="START:END", help="Characters in which the answer stands, to mark them.")
    ] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Score late and naive vectors, too; encodes the document again.")
    ] = False,
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("latechunk-inspect.html"),
    device: Device = "auto",
    dtype: Dtype = "auto",
    quiet: Quiet = False,
) -> None:
    """Write a page that shows a document with its chunks shaded by their scores, and opens at the best one.

    The page is one file that works without network. It shows offsets, score and rank of each chunk by the stored
    vectors, and where the windows of a long document meet. With --compare one can switch between late and naive
    vectors, and sees how far context moves each chunk.
    """
    from latechunk.index import Index
    from latechunk.inspection.page import write_page
    from latechunk.inspection.view import inspect

    console = stderr_console()
    with errors_explained(console, quiet=quiet):
        span = parse_gold(gold) if gold is not None else None
        with (
            Index.open(index, read_only=True, device=device, dtype=dtype) as opened,
            spinner(console, "loading the model and reading the document", quiet),
        ):
            view = inspect(opened, question, document_id=document, gold=span, compare=compare)
        write_page(out, view)
    if not quiet:
        print_message(console, f"the page of {view.document_id} is in {out}")


def _why_nothing(index: Index, options: SearchOptions) -> str:
    """What left nothing to find: the first of documents, ids, filter, words and threshold that did."""
    ids = index.ids()
    if not ids:
        return "the index holds no document"
    named = options.document_ids
    unknown = sorted(set(named or ()) - set(ids))
    if named is not None and len(unknown) == len(set(named)):
        near = [repr(one) for name in unknown for one in difflib.get_close_matches(name, ids, n=3)]
        known = (
            f"did you mean {' or '.join(near)}?"
            if near
            else f"`latechunk info {shlex.quote(str(index.path))} --ids` lists them"
        )
        return f"no document of the index has the id {', '.join(map(repr, unknown))}: {known}"
    left = set(index.ids(filter=options.filter) if options.filter is not None else ids)
    if named is not None:
        left &= set(named)
    if not left:
        return f"the filter leaves none of the {len(ids)} documents"
    among = f"in {len(left)} of the {len(ids)} documents" if len(left) < len(ids) else f"in {len(ids)} documents"
    if options.score_threshold is not None:
        return f"no passage {among} scores {options.score_threshold:g} or more"
    return f"no passage {among} holds a word of the query"


def _answer(query: str, hits: list[Hit]) -> dict[str, Any]:
    return {"query": query, "hits": [_to_json(hit) for hit in hits]}


def _to_json(hit: Hit) -> dict[str, Any]:
    fields = dataclasses.asdict(hit)
    for chunk in (fields["chunk"], *fields["found"]):
        chunk["pages"] = [page._asdict() for page in chunk["pages"]]
    return {**fields, "citation": hit.citation}


def _answer_lines(console: Console, lines: Iterable[bytes], search: Callable[[str], list[Hit]], as_json: bool) -> None:
    """Answer each line when it comes, not when all are there; typer.Exit if some could not be queries."""
    n_left_out = 0
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            query = line.decode("utf-8-sig").strip()
            hits = search(query)
        except (UnicodeDecodeError, QueryError) as error:
            reason = str(error)
            if isinstance(error, UnicodeDecodeError):
                what = f"byte {error.object[error.start]:#04x} at place {error.start + 1} of it is not UTF-8"
                reason = f"{what}; convert the questions first, as with iconv -f latin1 -t utf-8"
            n_left_out += 1
            print_message(console, f"left out: line {number}: {reason}", "red")
            continue
        if as_json:
            typer.echo(json.dumps(_answer(query, hits), ensure_ascii=False))
        else:
            typer.echo(f"{printable(query)}\n")
            _print_hits(hits)
            typer.echo()
    if n_left_out:
        raise typer.Exit(EXIT_PARTIAL)


def _print_hits(hits: list[Hit]) -> None:
    from rich.console import Console
    from rich.markup import escape

    console = Console(highlight=False, soft_wrap=True, emoji=False)
    for rank, hit in enumerate(hits, start=1):
        chunk = hit.chunk
        cited = printable(hit.citation)
        name = printable(chunk.document_id)
        place = f"{chunk.start}-{chunk.end}" if cited.startswith(name) else f"{name} {chunk.start}-{chunk.end}"
        console.print(f"[bold]{rank:>3}[/]  {hit.score:.4f}  [cyan]{escape(cited)}[/]  [dim]{escape(place)}[/]")
        console.print(escape(printable_lines(chunk.text)), end="\n\n" if rank < len(hits) else "\n")
