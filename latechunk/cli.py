"""The command line, latechunk: index, search, evaluate and more. Results to stdout, messages to stderr."""

from __future__ import annotations

import dataclasses
import io
import json
import logging
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

import latechunk
from latechunk.errors import IndexMissingError, InputError, LateChunkError
from latechunk.printing import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from latechunk.index import AddReport, Index, IndexInfo, Progress
    from latechunk.models import KnownModel
    from latechunk.types import Hit, Span

EXIT_ERROR = 1
EXIT_USAGE = 2
EXIT_PARTIAL = 3
EXIT_INTERRUPTED = 130

app = typer.Typer(
    help="Index long documents by late chunking, and search them.",
    epilog="Exit codes: 0 done, 1 error, 2 wrong usage, 3 done but some input was left out, 130 interrupted.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class ChunkerName(StrEnum):
    """Chunkers that the command line offers."""

    sentence = "sentence"
    token = "token"  # noqa: S105


class ModeName(StrEnum):
    """Ways to make chunk vectors."""

    late = "late"
    naive = "naive"
    blend = "blend"


class DtypeName(StrEnum):
    """What the model computes in."""

    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


class AttentionName(StrEnum):
    """How the model's layers attend."""

    auto = "auto"
    eager = "eager"
    sdpa = "sdpa"
    flash_attention_2 = "flash_attention_2"


IndexPath = Annotated[Path, typer.Argument(metavar="INDEX", help="The folder of the index.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only errors and results.")]
Device = Annotated[str, typer.Option(help='"auto", or a device as torch names it: cpu, cuda, cuda:1, mps.')]
Dtype = Annotated[DtypeName, typer.Option(help="What the model computes in.")]
Attention = Annotated[AttentionName, typer.Option(help="How its layers attend; auto: FlashAttention 2 if installed.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"latechunk {latechunk.__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Index long documents by late chunking, and search them."""


@app.command("index")
def index_command(
    index: IndexPath,
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Files (.txt .md .jsonl) and folders.")],
    model: Annotated[
        str | None, typer.Option(help="Name (see latechunk models) or folder  [default: all-MiniLM-L6-v2].")
    ] = None,
    dims: Annotated[int | None, typer.Option(help="Length of vectors, of a Matryoshka model  [default: all].")] = None,
    chunker: Annotated[ChunkerName | None, typer.Option(help="What to cut by  [default: sentence].")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Most tokens of a chunk  [default: 128; token: 256].")] = None,
    overlap: Annotated[int | None, typer.Option(help="Sentences or tokens that chunks share  [default: 0].")] = None,
    language: Annotated[str | None, typer.Option(help="ISO 639 code, for sentences  [default: en].")] = None,
    mode: Annotated[ModeName | None, typer.Option(help="How to make vectors  [default: what suits the model].")] = None,
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
    from latechunk.io import Problem, count_documents, find_files, read_documents

    console = _stderr()
    n_problems = 0

    def report(problem: Problem) -> None:
        nonlocal n_problems
        n_problems += 1
        message = printable(f"left out: {problem.place}: {problem.reason}")
        console.print(message, style="yellow", markup=False, soft_wrap=True)

    with _errors_explained(console, quiet=quiet):
        others: Counter[str] = Counter()
        files = find_files(paths, report, lambda path: others.update([path.suffix.lower() or "no suffix"]))
        if others and not quiet:
            kinds = ", ".join(f"{suffix} {count}" for suffix, count in others.most_common(8))
            console.print(printable(f"passed over {others.total()} files of other kinds: {kinds}"), markup=False)
        if not files:
            raise InputError("none of the paths holds a .txt, .md or .jsonl file; nothing was changed")
        choices = _Choices(
            model=model,
            dims=dims,
            chunker=chunker,
            max_tokens=max_tokens,
            overlap=overlap,
            language=language,
            mode=mode,
            device=device,
            dtype=dtype,
            attention=attention,
        )
        with _open_or_create(index, choices) as opened, _progress(console, count_documents(files), quiet) as advance:
            result = opened.add(
                read_documents(files, report),
                on_error=lambda document, error: report(Problem(document.id, str(error))),
                on_progress=advance,
            )
            info = opened.info()
        _print_report(result, info, n_problems, as_json, quiet, console)
    if n_problems:
        raise typer.Exit(EXIT_PARTIAL)


@app.command("search")
def search_command(
    index: IndexPath,
    query: Annotated[str, typer.Argument(metavar="QUERY", help="A question or a description.")],
    k: Annotated[int, typer.Option("-k", help="How many passages.")] = 10,
    device: Device = "auto",
    dtype: Dtype = DtypeName.auto,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Print the passages that answer a query best, with score, document and characters."""
    from latechunk.index import Index

    console = _stderr()
    with (
        _errors_explained(console, quiet=quiet),
        Index.open(index, read_only=True, device=device, dtype=dtype.value) as opened,
    ):
        with _spinner(console, "loading the model", quiet):
            hits = opened.search(query, k)
        if as_json:
            _print_json({"query": query, "hits": [dataclasses.asdict(hit) for hit in hits]})
        else:
            _print_hits(hits)


@app.command("delete")
def delete_command(
    index: IndexPath,
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Document ids, as search prints them.")],
    quiet: Quiet = False,
) -> None:
    """Delete documents from an index; exit with 3 if one of them is not in it."""
    from latechunk.index import Index

    console = _stderr()
    with _errors_explained(console, quiet=quiet), Index.open(index) as opened:
        unknown = [one for one in ids if one not in opened]
        n_deleted = opened.delete(ids)
        n_left = len(opened)
    for one in unknown:
        console.print(printable(f"left out: {one}: there is no document of this id"), style="yellow", markup=False)
    if not quiet:
        console.print(f"{n_deleted} deleted; {n_left} left", markup=False)
    if unknown:
        raise typer.Exit(EXIT_PARTIAL)


@app.command("info")
def info_command(
    index: IndexPath,
    load: Annotated[bool, typer.Option("--load", help="Load the model, and show how it runs here.")] = False,
    device: Device = "auto",
    dtype: Dtype = DtypeName.auto,
    attention: Attention = AttentionName.auto,
    as_json: Json = False,
) -> None:
    """Print what an index is, holds, and was made with."""
    from latechunk.index import Index

    with (
        _errors_explained(_stderr()),
        Index.open(index, read_only=True, device=device, dtype=dtype.value, attention=attention.value) as opened,
    ):
        info = opened.info()
        here = dict(getattr(opened.encoder, "runtime", {})) if load else None
        if as_json:
            _print_json(dataclasses.asdict(info) | ({"here": here} if load else {}))
        else:
            _print_info(info, here)


@app.command("models")
def models_command(as_json: Json = False) -> None:
    """List the models that latechunk knows, and those that late chunking does not fit.

    Any other mean-pooled model in the format of sentence-transformers loads by its repository or folder too.
    """
    from latechunk.models import KNOWN_MODELS, REFUSED_MODELS

    if as_json:
        _print_json(
            {
                "known": [dataclasses.asdict(model) for model in KNOWN_MODELS],
                "refused": [dataclasses.asdict(model) for model in REFUSED_MODELS],
            }
        )
        return
    for model in KNOWN_MODELS:
        typer.echo(f"{model.name}  ({model.repository})")
        for name, value in _describe_model(model).items():
            typer.echo(f"  {name:<11}{value}")
    typer.echo("\nRefused, since their token embeddings were not trained to be averaged:")
    for refused in REFUSED_MODELS:
        typer.echo(f"  {refused.family}: {refused.reason}")


@app.command("evaluate")
def evaluate_command(
    data: Annotated[
        Path, typer.Argument(metavar="DATA", help="A folder of documents and questions, or of such folders.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for report.html, results.json and what is finished.")] = Path(
        "report"
    ),
    arms: Annotated[str, typer.Option(help="Of naive, late, blend, document, bm25, hybrid.")] = "naive,late,blend",
    max_tokens: Annotated[str, typer.Option(help="Chunk sizes.")] = "128",
    model: Annotated[
        list[str] | None, typer.Option(help="Name or folder; may be given again  [default: all-MiniLM-L6-v2].")
    ] = None,
    dims: Annotated[str | None, typer.Option(help="Lengths of vectors, of Matryoshka models  [default: all].")] = None,
    window: Annotated[str | None, typer.Option(help="Tokens read together  [default: what suits the model].")] = None,
    language: Annotated[str, typer.Option(help="ISO 639 code of documents that do not say theirs.")] = "en",
    depth: Annotated[int, typer.Option("-k", help="The k of nDCG@k and the like.")] = 10,
    device: Device = "auto",
    dtype: Dtype = DtypeName.auto,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure on questions with known answers whether late chunking helps, by how much, and how sure that is.

    DATA holds docs.jsonl and queries.jsonl, or BEIR's corpus.jsonl, queries.jsonl and qrels/test.tsv, or is a SQuAD
    .json file, or holds questions.csv (columns: question, quote) beside text files. Run it again with the same --out,
    and what is finished is not run again.
    """
    from latechunk.evaluation.run import Wishes, evaluate_folder, require_packages

    console = _stderr()
    with _errors_explained(console, quiet=quiet):
        require_packages()
        wishes = Wishes(
            data=data,
            out=out,
            arms=_split(arms),
            max_tokens=_split_numbers("--max-tokens", max_tokens),
            models=tuple(model or ()),
            dims=_split_numbers("--dims", dims or ""),
            windows=_split_numbers("--window", window or ""),
            language=language,
            depth=depth,
            device=device,
            dtype=dtype.value,
        )
        with _percentage(console, quiet) as advance:
            report = evaluate_folder(wishes, advance)
        if as_json:
            _print_json({"made": report.made, "reference": report.reference, "rows": report.rows})
        else:
            from latechunk.evaluation.report import to_table

            _print_table(to_table(report.rows, report.reference))
        if not quiet:
            console.print(f"the report is in {out / 'report.html'}", markup=False, soft_wrap=True)


@app.command("inspect")
def inspect_command(
    index: IndexPath,
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="What to ask of the document.")],
    document: Annotated[str | None, typer.Option(help="Its id  [default: the one of the best hit].")] = None,
    gold: Annotated[
        str | None, typer.Option(metavar="START:END", help="Characters in which the answer stands, to mark them.")
    ] = None,
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("latechunk-inspect.html"),
    device: Device = "auto",
    dtype: Dtype = DtypeName.auto,
    quiet: Quiet = False,
) -> None:
    """Write a page that shows a document with its chunks shaded by their scores, under late and naive vectors.

    The page is one file that works without network. It shows offsets, score, rank and context shift of each chunk, and
    where the windows of a long document meet.
    """
    from latechunk.index import Index
    from latechunk.inspection.page import write_page
    from latechunk.inspection.view import inspect

    console = _stderr()
    with _errors_explained(console, quiet=quiet):
        span = _parse_span("--gold", gold) if gold is not None else None
        with (
            Index.open(index, read_only=True, device=device, dtype=dtype.value) as opened,
            _spinner(console, "loading the model and reading the document", quiet),
        ):
            view = inspect(opened, question, document_id=document, gold=span)
        write_page(out, view)
    if not quiet:
        console.print(printable(f"the page of {view.document_id} is in {out}"), markup=False, soft_wrap=True)


@app.command("demo")
def demo_command(
    full: Annotated[bool, typer.Option("--full", help="Show the passages of every question.")] = False,
    as_json: Json = False,
) -> None:
    """Index three long articles that come with latechunk, ask 30 questions, and compare late with naive chunking."""
    from latechunk.demo import run

    console = _stderr()
    with _errors_explained(console):
        comparison = run()
        if as_json:
            _print_json(dataclasses.asdict(comparison))
        else:
            from latechunk.demo.display import show

            show(comparison, full=full)


@dataclasses.dataclass(frozen=True)
class _Choices:
    """What the user asked for; None where nothing was said."""

    model: str | None
    dims: int | None
    chunker: ChunkerName | None
    max_tokens: int | None
    overlap: int | None
    language: str | None
    mode: ModeName | None
    device: str
    dtype: DtypeName
    attention: AttentionName

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
    from latechunk.chunkers import SentenceChunker, TokenChunker
    from latechunk.encoder import Encoder
    from latechunk.index import Index
    from latechunk.models import DEFAULT_MODEL

    settings = choices.chunker_settings()
    if choices.chunker is ChunkerName.token and "language" in settings:
        raise InputError("--language is for sentences, and --chunker token does not look for any")
    chunker = TokenChunker(**settings) if choices.chunker is ChunkerName.token else SentenceChunker(**settings)
    encoder = Encoder.load(
        DEFAULT_MODEL if choices.model is None else choices.model,
        device=choices.device,
        dtype=choices.dtype.value,
        attention=choices.attention.value,
        dims=choices.dims,
    )
    return Index.create(path, encoder=encoder, chunker=chunker, mode=choices.mode.value if choices.mode else None)


def _require_agreement(opened: Index, choices: _Choices) -> None:
    """Refuse options that contradict what the index was made with."""
    info = opened.info()
    asked = {
        "--model": (choices.model, info.encoder.get("model")),
        "--dims": (choices.dims, info.encoder.get("dims")),
        "--chunker": (choices.chunker and choices.chunker.value, info.chunker.get("kind")),
        "--mode": (choices.mode and choices.mode.value, info.embedding.get("mode")),
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


def _stderr() -> Console:
    from rich.console import Console

    return Console(stderr=True, highlight=False, emoji=False)


@contextmanager
def _errors_explained(console: Console, *, quiet: bool = False) -> Iterator[None]:
    """Tell errors in a line; with ``quiet``, nothing of less weight comes from the log."""
    log = logging.getLogger("latechunk")
    level = log.level
    if quiet:
        log.setLevel(logging.ERROR)
    try:
        yield
    except InputError as error:
        _fail(console, f"error: {error}", EXIT_USAGE)
    except LateChunkError as error:
        notes = "".join(f" ({note})" for note in getattr(error, "__notes__", []))
        _fail(console, f"error: {error}{notes}", EXIT_ERROR)
    except KeyboardInterrupt:
        _fail(console, "interrupted; what was committed before stays", EXIT_INTERRUPTED)
    finally:
        log.setLevel(level)


def _fail(console: Console, message: str, code: int) -> NoReturn:
    console.print(message, style="red", markup=False, soft_wrap=True)
    raise typer.Exit(code)


@contextmanager
def _progress(console: Console, n_documents: int, quiet: bool) -> Iterator[Callable[[Progress], None]]:
    from rich import progress as bars

    columns = (
        bars.TextColumn("indexing"),
        bars.BarColumn(),
        bars.TextColumn("{task.completed:.0f}/{task.total} documents, {task.fields[tokens]:,} tokens"),
        bars.TimeRemainingColumn(),
    )
    with bars.Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task("indexing", total=n_documents, tokens=0)
        n_tokens = 0

        def advance(progress: Progress) -> None:
            nonlocal n_tokens
            n_tokens += progress.tokens
            bar.update(task, advance=progress.documents, tokens=n_tokens)

        yield advance


@contextmanager
def _percentage(console: Console, quiet: bool) -> Iterator[Callable[[str, float], None]]:
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
def _spinner(console: Console, text: str, quiet: bool) -> Iterator[None]:
    if quiet or not console.is_terminal:
        yield
        return
    with console.status(text):
        yield


def _parse_span(name: str, text: str) -> Span:
    from latechunk.types import Span

    start, _, end = text.partition(":")
    if not (start.isdecimal() and end.isdecimal()):
        raise InputError(f"{name} must be START:END, two numbers of characters such as 120:180, got {text!r}")
    return Span(int(start), int(end))


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _split_numbers(name: str, text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in _split(text))
    except ValueError as error:
        raise InputError(f"{name} must be whole numbers with commas between them, got {text!r}") from error


def _print_table(table: Table) -> None:
    from rich.console import Console

    console = Console(highlight=False, emoji=False)
    width = None if console.is_terminal else 160  # a file or pipe has no width of its own
    Console(highlight=False, emoji=False, width=width).print(table)


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2))


def _print_report(
    report: AddReport, info: IndexInfo, n_problems: int, as_json: bool, quiet: bool, console: Console
) -> None:
    if as_json:
        _print_json({**dataclasses.asdict(report), "n_left_out": n_problems, "index": dataclasses.asdict(info)})
        return
    if quiet:
        return
    console.print(
        f"{report.n_added} added, {report.n_updated} updated, {report.n_unchanged} unchanged, {n_problems} left out; "
        f"{info.path} now holds {_count(info.n_documents, 'document')} in {_count(info.n_chunks, 'chunk')} "
        f"({_megabytes(info.size_bytes)})",
        soft_wrap=True,
        markup=False,
    )


def _print_hits(hits: list[Hit]) -> None:
    from rich.console import Console
    from rich.markup import escape

    console = Console(highlight=False, soft_wrap=True, emoji=False)
    for rank, hit in enumerate(hits, start=1):
        chunk = hit.chunk
        console.print(
            f"[bold]{rank:>3}[/]  {hit.score:.4f}  [cyan]{escape(printable(chunk.document_id))}[/]  "
            f"[dim]{chunk.start}-{chunk.end}[/]"
        )
        console.print(escape(printable(chunk.text)), end="\n\n" if rank < len(hits) else "\n")


def _describe_model(model: KnownModel) -> dict[str, str]:
    sizes = ", ".join(str(size) for size in (*model.matryoshka, model.dims))
    lines = {
        "dims": sizes,
        "window": f"{model.window_tokens:,} tokens"
        + (", with local-global context 8,192" if model.local_global else ""),
        "tasks": ", ".join(task.name for task in model.tasks),
        "licence": model.licence + ("" if model.is_open else "  (restricts use)"),
        "comes with": f"the package {model.package}, no download" if model.package else "",
        "not usable": model.obstacle or "",
        "note": model.note,
    }
    return {name: value for name, value in lines.items() if value}


def _print_info(info: IndexInfo, here: dict[str, Any] | None) -> None:
    encoder, chunker = info.encoder, info.chunker
    lines = {
        "path": f"{info.path} (format {info.format})",
        "documents": f"{info.n_documents:,}",
        "chunks": f"{info.n_chunks:,}, with {info.n_tokens:,} tokens in all",
        "size": _megabytes(info.size_bytes),
        "model": f"{encoder.get('model')}" + (f" at {encoder['revision']}" if encoder.get("revision") else ""),
        "weights": f"SHA-256 {encoder.get('weights_sha256')}",
        "dimensions": str(encoder.get("dims")),
        "windows": f"{encoder.get('window_tokens')} tokens, overlapping by {encoder.get('overlap_tokens')}; "
        f"special tokens in means: {encoder.get('special_tokens')}",
        "context": _describe_context(encoder.get("local_global")),
        "mode": ", ".join(f"{value}" for value in info.embedding.values()),
        "chunker": ", ".join(f"{name} {value}" for name, value in chunker.items() if value not in (None, False)),
        "task": f"documents {encoder['document_task']}, queries {encoder['query_task']}"
        if encoder.get("document_task")
        else "",
        "made": ", ".join(f"{name} {value}" for name, value in info.made.items() if name != "on"),
        "made on": _describe_runtime(info.made.get("on")),
        "here": _describe_runtime(here),
    }
    for name, value in lines.items():
        if value:
            typer.echo(f"{name:<12}{value}")


def _describe_runtime(runtime: dict[str, Any] | None) -> str:
    if not runtime:
        return ""
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in runtime.items() if value is not False)


def _describe_context(local_global: dict[str, Any] | None) -> str:
    if not local_global:
        return "each window in one plain pass"
    return "local-global, " + ", ".join(f"{name} {value}" for name, value in local_global.items())


def _explain_output(error: OSError) -> int:
    if not isinstance(error, BrokenPipeError):  # a reader that has seen enough is no error to speak of
        sys.stderr.write(f"error: the output could not be written: {error}\n")
    return EXIT_ERROR


def _count(number: int, name: str) -> str:
    return f"{number:,} {name}{'' if number == 1 else 's'}"


def _megabytes(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:,.1f} MB"


def run() -> None:
    """Entry point of the console script."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal of another encoding shows what it can
    try:
        app()
    except OSError as error:
        # Python would flush what could not be written once more at its exit, and fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(_explain_output(error)) from None
