"""The command that fills an index: index."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latechunk.cli.console import (
    COMMITTED_STAYS,
    EXIT_PARTIAL,
    documents_bar,
    errors_explained,
    megabytes,
    percentage_bar,
    print_json,
    print_message,
    stderr_console,
)
from latechunk.cli.options import (
    Adapters,
    Attention,
    ChunkerChoice,
    ChunkerName,
    Device,
    Dims,
    Dtype,
    Encoding,
    IndexPath,
    Json,
    Language,
    MaxTokens,
    ModeChoice,
    Model,
    ModeName,
    Overlap,
    Password,
    PrecisionChoice,
    PrecisionName,
    Prune,
    Quiet,
    Rows,
    given,
    load_encoder,
    make_chunker,
)
from latechunk.errors import IndexMissingError, InputError
from latechunk.printing import counted, printable

if TYPE_CHECKING:
    from rich.console import Console

    from latechunk.cli.sources import Sources
    from latechunk.index import Index
    from latechunk.indexing import AddReport
    from latechunk.manifest import IndexInfo
    from latechunk.types import Document

_DOCUMENTS_AT_ONCE = 10_000  # whose metadata are held together


def index_command(
    index: IndexPath,
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Files and folders.")],
    model: Model = None,
    adapters: Adapters = None,
    dims: Dims = None,
    chunker: ChunkerChoice = None,
    max_tokens: MaxTokens = None,
    overlap: Overlap = None,
    language: Language = None,
    mode: ModeChoice = None,
    words: Annotated[
        bool | None, typer.Option("--words/--no-words", help="Index words, for lexical search  [default: words].")
    ] = None,
    vectors: Annotated[
        str | None, typer.Option(help="flat, hnsw, ivf, auto or a FAISS factory string  [default: auto].")
    ] = None,
    precision: PrecisionChoice = None,
    encoding: Encoding = None,
    password: Password = None,
    rows: Rows = False,
    prune: Prune = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    device: Device = "auto",
    dtype: Dtype = "auto",
    attention: Attention = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Add files to an index, making it if there is none; a file that changed replaces its former self.

    The model, chunker and mode of an index are fixed when it is made. It reads PDF, Word (.docx),
    slides (.pptx), workbooks (.xlsx), messages (.eml), EPUB, HTML, Markdown, reStructuredText, AsciiDoc, LaTeX,
    notebooks (.ipynb), .csv, .tsv, .json, source code and any other text. A file is a document, whose id is its path
    from the folder given; a .jsonl file has one document a line, with "id", "text" and metadata.
    """
    from latechunk.cli.sources import Sources
    from latechunk.index import Index
    from latechunk.readers import Problem, count_documents
    from latechunk.storage.directory import folder_size, has_store

    console = stderr_console()
    with errors_explained(console, quiet=quiet, interrupted=COMMITTED_STAYS):
        sources = Sources(console, quiet, encoding, rows, password)
        files = sources.find(paths)
        if not files and not prune:
            found = next((f"; {path} is an index, which comes first" for path in paths if has_store(path)), "")
            raise InputError(f"none of the paths holds a file that is read; nothing was changed{found}")
        cut = given(max_tokens=max_tokens, overlap=overlap, language=language)
        documents = sources.read(files)
        if dry_run:
            _print_dry_run(index, _without_refused(documents, sources), paths, sources, prune, as_json)
            sources.print_notes()
            raise typer.Exit(EXIT_PARTIAL if sources.n_problems else 0)
        runtime: dict[str, Any] = {"device": device, "dtype": dtype, "attention": attention}
        asked = {"model": model, "adapters": _recorded_adapters(adapters), "dims": dims, "chunker": chunker}
        try:
            opened = Index.open(index, **runtime)
        except IndexMissingError:
            encoder = {"model": model, "dims": dims, "adapters": adapters}
            opened, asked = _create(index, encoder | runtime, chunker, cut, mode, words, vectors, precision), {}
        with opened:
            if asked:
                asked |= {"mode": mode, "words": words, "vectors": vectors, "precision": precision}
                _require_agreement(opened, {**asked, **cut})
            sources.keeps = lambda source: bool(opened.ids(filter={"source": source}))
            with documents_bar(console, count_documents(files, rows=rows), quiet) as sources.advance:
                result = opened.add(
                    _without_conflicts(opened, documents, sources),
                    on_error=lambda document, error: sources.report(Problem(sources.place_of(document), str(error))),
                    on_progress=sources.advance,
                )
            gone = _find_gone(opened, paths, sources)
            if prune:
                opened.delete(gone)
            with percentage_bar(console, quiet) as show:
                opened.update_vectors(lambda step, n_done, n: show(f"vectors: {step}", n_done / max(1, n)))
            info = opened.info()
        info = dataclasses.replace(info, size_bytes=folder_size(opened.path))  # closed, with SQLite's log folded in
        sources.print_notes()
        _print_report(result, info, sources.n_problems, len(gone) if prune else 0, as_json, quiet, console)
        if gone and not prune:
            sources.say(_tell_gone(len(gone)))
    if sources.n_problems:
        raise typer.Exit(EXIT_PARTIAL)


def _create(
    path: Path,
    encoder: dict[str, Any],
    chunker: ChunkerName | None,
    cut: dict[str, Any],
    mode: ModeName | None,
    words: bool | None,
    vectors: str | None,
    precision: PrecisionName | None,
) -> Index:
    from latechunk.index import Index

    made = make_chunker(chunker, cut)  # before the model, which takes longer to load
    return Index.create(
        path,
        encoder=load_encoder(**encoder),
        chunker=made,
        mode=mode,
        words=words is not False,
        vectors=vectors or "auto",
        precision=precision or "float32",
    )


def _without_conflicts(opened: Index, documents: Iterable[Document], sources: Sources) -> Iterator[Document]:
    """Leave out what has the id of another file, or of a row of one; note a file that has another id, too."""
    from latechunk.readers import Problem
    from latechunk.readers.origin import find_file, find_row, is_of_another_file

    for document in documents:
        stored, now = opened.get(document.id), find_file(document.id, document.metadata)
        if stored and is_of_another_file(document, stored):
            reason = (
                f"its id {document.id} is that of {sources.place_of(stored)} in the index; {_remedy(document, stored)}"
            )
            sources.leave_out(Problem(sources.place_of(document), reason))
            continue
        if stored is None and now and find_row(document.metadata) is None:
            twins = opened.ids(filter={"source": now})
            if twins and not any(twin.startswith(f"{document.id}#") for twin in twins):
                what = "the same file twice; give the folder that was given before, or delete one of the two"
                sources.note(f"{document.id}, in the index as {twins[0]} already", what)
            elif twins:
                sources.note(
                    f"{document.id}, in the index as {counted(len(twins), 'row')} already",
                    "the same file twice; --prune removes them",
                )
        yield document


def _without_refused(documents: Iterable[Document], sources: Sources) -> Iterator[Document]:
    """Leave out what an index refuses: the second document of an id, and a blank one, such as a line of JSON Lines."""
    from latechunk.embedding.stream import explain_twin
    from latechunk.readers import Problem

    seen: set[str] = set()
    for document in documents:
        reason = explain_twin(document.id) if document.id in seen else "" if document.text.strip() else "it is blank"
        seen.add(document.id)
        if reason:
            sources.leave_out(Problem(sources.place_of(document), reason))
        else:
            yield document


def _remedy(*documents: Document) -> str:
    """What to do about documents of one id."""
    from latechunk.readers.files import ONE_FOLDER
    from latechunk.readers.origin import find_row

    if any(find_row(one.metadata) for one in documents):
        return "give it another id, or, if it replaces that one, first delete that one with `latechunk delete`"
    return ONE_FOLDER


def _find_gone(opened: Index, paths: Sequence[Path], sources: Sources) -> list[str]:
    """Ids of documents that were files, or rows of files, at or below these paths, and are no more."""
    # All others are looked at: a filter compares all metadata with each path, and with one takes as long.
    others = [one for one in opened.ids() if not sources.has_read(one)]
    parts = (others[begin : begin + _DOCUMENTS_AT_ONCE] for begin in range(0, len(others), _DOCUMENTS_AT_ONCE))
    return sources.find_gone(paths, (one for part in parts for one in opened.metadata(part).items()))


def _tell_gone(n_gone: int) -> str:
    return f"{counted(n_gone, 'document')} of files or rows that are gone or blank; --prune removes them"


def _is_as(stored: Document, document: Document) -> bool:
    """Whether a document would be left unchanged; one that does not know its outline claims none."""
    if stored.outline is None or stored.text != document.text:
        return False
    return stored == (document if document.outline is not None else document.with_outline(stored.outline))


def _print_dry_run(
    path: Path, documents: Iterable[Document], paths: Sequence[Path], sources: Sources, prune: bool, as_json: bool
) -> None:
    from latechunk.index import Index

    names: dict[str, list[str]] = {"add": [], "update": [], "leave unchanged": [], "remove": []}
    with contextlib.ExitStack() as stack:
        try:
            opened = stack.enter_context(Index.open(path, read_only=True))
        except IndexMissingError:
            names["add"] += [one.id for one in documents]
        else:
            sources.keeps = lambda source: bool(opened.ids(filter={"source": source}))
            for document in _without_conflicts(opened, documents, sources):
                stored = opened.get(document.id)
                what = "add" if stored is None else "leave unchanged" if _is_as(stored, document) else "update"
                names[what].append(document.id)
            gone = _find_gone(opened, paths, sources)
            if prune:
                names["remove"] += gone
            elif gone:
                sources.say(_tell_gone(len(gone)))
    if as_json:
        print_json({f"would_{what.replace(' ', '_')}": ids for what, ids in names.items()})
        return
    for what, ids in names.items():
        shown = "" if what == "leave unchanged" else "".join(f"\n  {printable(one)}" for one in ids)
        typer.echo(f"would {what}: {len(ids):,}{shown}")


def _recorded_adapters(adapters: str | None) -> str | None:
    """What the index must record; None where the user leaves it to what the index has."""
    if adapters in (None, "auto", "none"):
        return None if adapters == "auto" else adapters
    return str(Path(adapters).expanduser().resolve())


def _require_agreement(opened: Index, asked: dict[str, Any]) -> None:
    """Refuse options that contradict what the index was made with."""
    info = opened.info()
    has = {
        **info.chunker,
        "model": info.encoder.get("model"),
        "adapters": info.encoder.get("adapters") or "none",
        "dims": info.encoder.get("dims"),
        "chunker": info.chunker.get("kind"),
        "mode": info.embedding.get("mode"),
        "words": info.search.get("words"),
        "vectors": info.search.get("vectors"),
        "precision": info.search.get("precision"),
    }
    differing = [
        f"--{name.replace('_', '-')} is {'unset' if has.get(name) is None else repr(has[name])}, not {said!r}"
        for name, said in asked.items()
        if said not in (None, has.get(name))
    ]
    if differing:
        raise InputError(
            f"the index at {opened.path} was made otherwise: {'; '.join(differing)}. Leave the option out, or choose "
            f"another path to make a new index"
        )


def _print_report(
    report: AddReport, info: IndexInfo, n_problems: int, n_gone: int, as_json: bool, quiet: bool, console: Console
) -> None:
    if as_json:
        print_json(
            {
                **dataclasses.asdict(report),
                "n_left_out": n_problems,
                "n_removed": n_gone,
                "index": dataclasses.asdict(info),
            }
        )
        return
    if quiet:
        return
    print_message(
        console,
        f"{report.n_added} added, {report.n_updated} updated, {report.n_unchanged} unchanged, {n_problems} left out"
        f"{f', {n_gone} removed' if n_gone else ''}; {info.path} now holds "
        f"{counted(info.n_documents, 'document')} in {counted(info.n_chunks, 'chunk')} ({megabytes(info.size_bytes)})",
    )
