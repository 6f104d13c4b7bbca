"""The commands that change an index: index and delete."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latechunk.cli.console import (
    EXIT_PARTIAL,
    counted,
    documents_bar,
    errors_explained,
    megabytes,
    percentage_bar,
    print_json,
    stderr_console,
)
from latechunk.cli.options import (
    Adapters,
    Attention,
    AttentionName,
    ChunkerName,
    Device,
    Dtype,
    DtypeName,
    IndexPath,
    Json,
    ModeName,
    Quiet,
    WordsName,
    parse_adapters,
)
from latechunk.errors import IndexMissingError, InputError
from latechunk.printing import printable

if TYPE_CHECKING:
    from rich.console import Console

    from latechunk.index import Index, IndexInfo
    from latechunk.indexing import AddReport


def index_command(
    index: IndexPath,
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Files (.txt .md .jsonl) and folders.")],
    model: Annotated[
        str | None, typer.Option(help="Name (see latechunk models) or folder  [default: all-MiniLM-L6-v2].")
    ] = None,
    adapters: Adapters = None,
    dims: Annotated[int | None, typer.Option(help="Length of vectors, of a Matryoshka model  [default: all].")] = None,
    chunker: Annotated[ChunkerName | None, typer.Option(help="What to cut by  [default: sentence].")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Most tokens of a chunk  [default: 128; token: 256].")] = None,
    overlap: Annotated[int | None, typer.Option(help="Sentences or tokens that chunks share  [default: 0].")] = None,
    language: Annotated[str | None, typer.Option(help="ISO 639 code, for sentences  [default: en].")] = None,
    mode: Annotated[ModeName | None, typer.Option(help="How to make vectors  [default: what suits the model].")] = None,
    words: Annotated[
        WordsName | None,
        typer.Option(help="What lexical search finds; trigram suits languages without spaces  [default: unicode61]."),
    ] = None,
    vectors: Annotated[
        str | None, typer.Option(help="flat, hnsw, ivf, auto or a FAISS factory string  [default: auto].")
    ] = None,
    device: Device = "auto",
    dtype: Dtype = DtypeName.auto,
    attention: Attention = AttentionName.auto,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Add files to an index, making it if there is none; a file that changed replaces its former self.

    The model, chunker and mode of an index are fixed when it is made. A text file's document id is its path as
    given; a .jsonl file has one document a line, with "id", "text" and metadata.
    """
    from latechunk.readers import Problem, count_documents, find_files, read_documents

    console = stderr_console()
    n_problems = 0

    def report(problem: Problem) -> None:
        nonlocal n_problems
        n_problems += 1
        message = printable(f"left out: {problem.place}: {problem.reason}")
        console.print(message, style="yellow", markup=False, soft_wrap=True)

    with errors_explained(console, quiet=quiet):
        others: Counter[str] = Counter()
        files = find_files(paths, report, lambda path: others.update([path.suffix.lower() or "no suffix"]))
        if others and not quiet:
            kinds = ", ".join(f"{suffix} {count}" for suffix, count in others.most_common(8))
            console.print(printable(f"passed over {others.total()} files of other kinds: {kinds}"), markup=False)
        if not files:
            raise InputError("none of the paths holds a .txt, .md or .jsonl file; nothing was changed")
        choices = _Choices(
            model=model,
            adapters=adapters,
            dims=dims,
            chunker=chunker,
            max_tokens=max_tokens,
            overlap=overlap,
            language=language,
            mode=mode,
            words=words,
            vectors=vectors,
            device=device,
            dtype=dtype,
            attention=attention,
        )
        with _open_or_create(index, choices) as opened:
            with documents_bar(console, count_documents(files), quiet) as advance:
                result = opened.add(
                    read_documents(files, report),
                    on_error=lambda document, error: report(Problem(document.id, str(error))),
                    on_progress=advance,
                )
            with percentage_bar(console, quiet) as show:
                opened.update_vectors(lambda step, n_done, n: show(f"vectors: {step}", n_done / max(1, n)))
            info = opened.info()
        _print_report(result, info, n_problems, as_json, quiet, console)
    if n_problems:
        raise typer.Exit(EXIT_PARTIAL)


def delete_command(
    index: IndexPath,
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Document ids, as search prints them.")],
    quiet: Quiet = False,
) -> None:
    """Delete documents from an index; exit with 3 if one of them is not in it."""
    from latechunk.index import Index

    console = stderr_console()
    with errors_explained(console, quiet=quiet), Index.open(index) as opened:
        unknown = [one for one in ids if one not in opened]
        n_deleted = opened.delete(ids)
        n_left = len(opened)
    for one in unknown:
        console.print(printable(f"left out: {one}: there is no document of this id"), style="yellow", markup=False)
    if not quiet:
        console.print(f"{n_deleted} deleted; {n_left} left", markup=False)
    if unknown:
        raise typer.Exit(EXIT_PARTIAL)


@dataclasses.dataclass(frozen=True)
class _Choices:
    """What the user asked for; None where nothing was said."""

    model: str | None
    adapters: str | None
    dims: int | None
    chunker: ChunkerName | None
    max_tokens: int | None
    overlap: int | None
    language: str | None
    mode: ModeName | None
    words: WordsName | None
    vectors: str | None
    device: str
    dtype: DtypeName
    attention: AttentionName

    def stored_words(self) -> str | None:
        """What the index is to record: None for no lexical search."""
        if self.words is None:
            return WordsName.unicode61.value
        return None if self.words is WordsName.none else self.words.value

    def recorded_adapters(self) -> str | None:
        """What the index must record; None where the user leaves it to what the index has."""
        if self.adapters is None or self.adapters == "auto":
            return None
        return "none" if self.adapters == "none" else str(Path(self.adapters).expanduser().resolve())

    def chunker_settings(self) -> dict[str, Any]:
        said = {"max_tokens": self.max_tokens, "overlap": self.overlap, "language": self.language}
        return {name: value for name, value in said.items() if value is not None}


@contextmanager
def _open_or_create(path: Path, choices: _Choices) -> Iterator[Index]:
    from latechunk.index import Index

    try:
        opened = Index.open(path, device=choices.device, dtype=choices.dtype.value, attention=choices.attention.value)
    except IndexMissingError:
        opened = _create(path, choices)
    else:
        try:
            _require_agreement(opened, choices)
        except InputError:
            opened.close()
            raise
    with opened:
        yield opened


def _create(path: Path, choices: _Choices) -> Index:
    from latechunk.chunking.registry import CHUNKERS
    from latechunk.encoding.encoder import Encoder
    from latechunk.index import Index
    from latechunk.models.catalogue import DEFAULT_MODEL
    from latechunk.storage.fulltext import check_words

    settings, chunker = choices.chunker_settings(), CHUNKERS[choices.chunker or ChunkerName.sentence]
    if "language" in settings and "language" not in chunker.model_fields:
        raise InputError(f"--language is for sentences, and --chunker {chunker.kind} does not look for any")
    encoder = Encoder.load(
        DEFAULT_MODEL if choices.model is None else choices.model,
        device=choices.device,
        dtype=choices.dtype.value,
        attention=choices.attention.value,
        dims=choices.dims,
        adapters=parse_adapters(choices.adapters),
    )
    return Index.create(
        path,
        encoder=encoder,
        chunker=chunker(**settings),
        mode=choices.mode.value if choices.mode else None,
        words=check_words(choices.stored_words()),
        vectors=choices.vectors or "auto",
    )


def _require_agreement(opened: Index, choices: _Choices) -> None:
    """Refuse options that contradict what the index was made with."""
    info = opened.info()
    asked = {
        "--model": (choices.model, info.encoder.get("model")),
        "--adapters": (choices.recorded_adapters(), info.encoder.get("adapters") or "none"),
        "--dims": (choices.dims, info.encoder.get("dims")),
        "--chunker": (choices.chunker and choices.chunker.value, info.chunker.get("kind")),
        "--mode": (choices.mode and choices.mode.value, info.embedding.get("mode")),
        "--words": (choices.words and choices.words.value, info.search.get("words") or "none"),
        "--vectors": (choices.vectors, info.search.get("vectors")),
    } | {
        f"--{name.replace('_', '-')}": (value, info.chunker.get(name))
        for name, value in choices.chunker_settings().items()
    }
    differing = [f"{name} is {has!r}, not {said!r}" for name, (said, has) in asked.items() if said not in (None, has)]
    if differing:
        raise InputError(
            f"the index at {opened.path} was made otherwise: {'; '.join(differing)}. Leave the option out, or choose "
            f"another path to make a new index"
        )


def _print_report(
    report: AddReport, info: IndexInfo, n_problems: int, as_json: bool, quiet: bool, console: Console
) -> None:
    if as_json:
        print_json({**dataclasses.asdict(report), "n_left_out": n_problems, "index": dataclasses.asdict(info)})
        return
    if quiet:
        return
    console.print(
        f"{report.n_added} added, {report.n_updated} updated, {report.n_unchanged} unchanged, {n_problems} left out; "
        f"{info.path} now holds {counted(info.n_documents, 'document')} in {counted(info.n_chunks, 'chunk')} "
        f"({megabytes(info.size_bytes)})",
        soft_wrap=True,
        markup=False,
    )
