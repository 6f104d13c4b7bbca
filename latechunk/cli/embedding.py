"""The commands around folders of embedded documents: embed, import and merge."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from latechunk.cli.console import (
    EXIT_PARTIAL,
    documents_bar,
    errors_explained,
    megabytes,
    print_json,
    print_message,
    spinner,
    stderr_console,
)
from latechunk.cli.options import (
    Adapters,
    Attention,
    ChunkerChoice,
    Device,
    Dims,
    Dtype,
    Encoding,
    Json,
    Language,
    MaxTokens,
    ModeChoice,
    Model,
    Overlap,
    Password,
    PrecisionName,
    Prune,
    Quiet,
    Rows,
    given,
    load_encoder,
    make_chunker,
    require_effect,
    split_list,
)
from latechunk.errors import InputError
from latechunk.printing import counted

if TYPE_CHECKING:
    from rich.console import Console

    from latechunk.distributed import EmbedReport, Estimate, Outcome
    from latechunk.protocols import SpanEncoder
    from latechunk.storage.store import Counts


def embed_command(
    paths: Annotated[list[Path], typer.Argument(metavar="SRC...", help="Files and folders.")],
    out: Annotated[Path, typer.Option(help="Folder for the vectors; one that is there is completed.")],
    model: Model = None,
    adapters: Adapters = None,
    dims: Dims = None,
    chunker: ChunkerChoice = None,
    max_tokens: MaxTokens = None,
    overlap: Overlap = None,
    language: Language = None,
    mode: ModeChoice = None,
    encoding: Encoding = None,
    password: Password = None,
    rows: Rows = False,
    prune: Prune = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say how many documents and tokens, hours and bytes; write nothing.")
    ] = False,
    devices: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Several devices, a process each: cuda:0,cuda:1.")
    ] = None,
    engine: Annotated[
        Literal["local", "ray"], typer.Option(help="This machine, or the workers of a Ray cluster (extra ray).")
    ] = "local",
    address: Annotated[
        str | None, typer.Option(help="Of the Ray cluster  [default: RAY_ADDRESS, else one on this machine].")
    ] = None,
    workers: Annotated[int, typer.Option(help="With ray: how many, each with an encoder.", min=1)] = 1,
    cpus: Annotated[float, typer.Option(help="With ray: CPUs of each worker.", min=0)] = 1,
    gpus: Annotated[float, typer.Option(help="With ray: GPUs of each worker.", min=0)] = 0,
    device: Device = "auto",
    dtype: Dtype = "auto",
    attention: Attention = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Embed files into Parquet files, of which import makes an index, here or elsewhere; run it again to go on.

    It reads what index reads. A row is a document with its chunks and vectors. What is there already is not encoded
    again. Documents that fail are rows of the errors files, with the reason. Needs the extra parquet.
    """
    from latechunk.cli.sources import Sources
    from latechunk.readers import Problem, count_documents

    console = stderr_console()
    with errors_explained(console, quiet=quiet, interrupted="what was embedded before is kept"):
        from latechunk.distributed import embed_folder, estimate_embedding, read_all, remove_documents

        of_ray = {"--address": address is not None, "--workers": workers != 1, "--cpus": cpus != 1, "--gpus": gpus != 0}
        of_local = {"--devices": devices is not None, "--attention": attention != "auto"}
        require_effect(of_local if engine == "ray" else of_ray, f"with --engine {engine}")
        sources = Sources(console, quiet, encoding, rows, password)
        files = sources.find(paths)
        if not files and not prune:
            raise InputError("none of the paths holds a file that is read; nothing was embedded")
        if prune and dry_run:
            raise InputError("--prune would have no effect with --dry-run; leave one of them out")
        sources.take(files)
        cut = make_chunker(chunker, given(max_tokens=max_tokens, overlap=overlap, language=language))
        runtime: dict[str, Any] = {"device": device, "dtype": dtype, "attention": attention}
        with _loaded({"model": model, "dims": dims, "adapters": adapters} | runtime, devices) as encoder:
            made: dict[str, Any] = {"encoder": encoder, "chunker": cut, "mode": mode}
            documents = read_all(files, sources.note, **sources.options)
            paths_of = {one.name: str(one.path) for one in files}

            def tell(outcome: Outcome) -> None:
                sources.note_read(outcome.id)
                if outcome.status == "failed":
                    sources.report(Problem(paths_of.get(outcome.id, outcome.place), outcome.reason))

            if dry_run:
                with spinner(console, "reading and measuring", quiet):
                    estimate = estimate_embedding(documents, out, **made, on_outcome=tell)
                sources.print_notes()
                _print_estimate(estimate, as_json)
                raise typer.Exit(EXIT_PARTIAL if sources.n_problems else 0)
            with documents_bar(console, count_documents(files, rows=rows), quiet) as sources.advance:
                told: dict[str, Any] = {"on_outcome": tell, "on_progress": sources.advance}
                if engine == "ray":
                    from latechunk.distributed import Workers, embed_dataset_to, read_files, start_ray

                    start_ray(address)
                    told["workers"] = Workers(workers, cpus, gpus, device, dtype)
                    report = embed_dataset_to(read_files(files, **sources.options), out, **made, **told)
                else:
                    report = embed_folder(documents, out, **made, **told)
        gone = remove_documents(out, lambda stored: sources.find_gone(paths, stored)) if prune else []
        sources.print_notes()
        _print_report(report, out, sources.n_problems, len(gone), as_json, quiet, console)
    if sources.n_problems:
        raise typer.Exit(EXIT_PARTIAL)


def import_command(
    sources: Annotated[
        list[Path],
        typer.Argument(metavar="SOURCE...", help="A file that export wrote, or folders that embed filled."),
    ],
    index: Annotated[Path, typer.Argument(metavar="INDEX", help="The folder to make.")],
    precision: Annotated[
        PrecisionName | None,
        typer.Option(help="What vectors are stored in  [default: as exported; of folders float32]."),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Make an index from an exported file or from folders of embedded documents, without a model.

    Everything is checked, and nothing is made if anything is wrong.
    """
    console = stderr_console()
    with errors_explained(console, quiet=quiet, interrupted="no index was made"), spinner(console, "importing", quiet):
        if missing := [str(one) for one in sources if not one.exists()]:
            raise InputError(f"there is no file or folder {', '.join(missing)}")
        if sources[0].is_dir():
            from latechunk.distributed import import_folders

            counts = import_folders(sources, index, precision=precision or "float32")
        elif len(sources) > 1:
            raise InputError("import takes one exported file, or any number of folders that `latechunk embed` filled")
        else:
            from latechunk.maintenance.export import import_index

            counts = import_index(sources[0], index, precision=precision)
    print_counts(index, counts, quiet)


def merge_command(
    indexes: Annotated[list[Path], typer.Argument(metavar="INDEX...", help="Indexes of the same model and settings.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder of the index to make.")],
    precision: Annotated[
        PrecisionName | None, typer.Option(help="What vectors are stored in  [default: as in the first index].")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Make one index of several, without a model; a document that several hold alike comes once."""
    from latechunk.maintenance.merge import merge_indexes

    console = stderr_console()
    with errors_explained(console, quiet=quiet, interrupted="no index was made"), spinner(console, "merging", quiet):
        counts = merge_indexes(indexes, out, precision=precision)
    print_counts(out, counts, quiet)


def print_counts(where: Path, counts: Counts, quiet: bool) -> None:
    """Tell how much there is in what was made."""
    if not quiet:
        text = f"{where} holds {counted(counts.n_documents, 'document')} in {counted(counts.n_chunks, 'chunk')}"
        print_message(stderr_console(), text)


@contextmanager
def _loaded(options: dict[str, Any], devices: str | None) -> Iterator[SpanEncoder]:
    """The encoder of these options, on its device or on several."""
    encoder = load_encoder(**options)
    if devices is None:
        yield encoder
        return
    from latechunk.encoding.multi_device import DevicePool

    with DevicePool(encoder, split_list(devices)) as pool:
        yield pool


def _print_estimate(estimate: Estimate, as_json: bool) -> None:
    if as_json:
        print_json(dataclasses.asdict(estimate))
        return
    left = [f"{estimate.n_unchanged:,} unchanged"] * bool(estimate.n_unchanged)
    left += [f"{estimate.n_failed:,} left out"] * bool(estimate.n_failed)
    typer.echo(
        f"would embed {counted(estimate.n_documents, 'document')}: about {counted(estimate.n_tokens, 'token')} in "
        f"{counted(estimate.n_chunks, 'chunk')}{''.join(f'; {one}' for one in left)}\n"
        f"at the {estimate.tokens_per_second:,.0f} tokens a second measured here about {_hours(estimate.hours)}, and "
        f"about {megabytes(estimate.n_bytes)} on disk; nothing was written"
    )


def _hours(hours: float) -> str:
    return f"{hours:,.1f} h" if hours >= 1 else f"{60 * hours:.1f} min"


def _print_report(
    report: EmbedReport, out: Path, n_problems: int, n_removed: int, as_json: bool, quiet: bool, console: Console
) -> None:
    if as_json:
        print_json({**dataclasses.asdict(report), "n_left_out": n_problems, "n_removed": n_removed, "folder": str(out)})
    elif not quiet:
        relabelled = f"{report.n_relabelled:,} with new metadata, " if report.n_relabelled else ""
        removed = f", {n_removed:,} removed" if n_removed else ""
        print_message(
            console,
            f"{report.n_embedded:,} embedded ({counted(report.n_tokens, 'token')} in "
            f"{counted(report.n_chunks, 'chunk')}), {relabelled}{report.n_unchanged:,} unchanged, {n_problems:,} left "
            f"out{removed}; latechunk import {out} INDEX makes an index of them",
        )
