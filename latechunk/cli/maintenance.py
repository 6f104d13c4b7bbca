"""The commands verify, repair, audit, optimize and export."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latechunk.cli.console import (
    COMMITTED_STAYS,
    EXIT_ERROR,
    EXIT_PARTIAL,
    errors_explained,
    megabytes,
    print_json,
    print_message,
    spinner,
    stderr_console,
)
from latechunk.cli.embedding import print_counts
from latechunk.cli.options import Device, Dtype, IndexPath, Json, Quiet
from latechunk.printing import counted, printable

if TYPE_CHECKING:
    from latechunk.ann.synced import OptimizeReport
    from latechunk.maintenance.audit import AuditReport
    from latechunk.maintenance.problems import Problem
    from latechunk.maintenance.repair import RepairReport


@contextmanager
def _working(text: str, quiet: bool) -> Iterator[None]:
    """Show that work goes on, and explain its errors."""
    console = stderr_console()
    with errors_explained(console, quiet=quiet, interrupted=COMMITTED_STAYS), spinner(console, text, quiet):
        yield


def _say(text: str) -> None:
    """Print a line for people, to stderr."""
    print_message(stderr_console(), text)


def verify_command(index: IndexPath, as_json: Json = False, quiet: Quiet = False) -> None:
    """Check everything that an index holds, changing nothing; exit with 1 if something is wrong."""
    from latechunk.maintenance.verify import verify

    with _working("verifying", quiet):
        problems = verify(index)
    if as_json:
        print_json({"sound": not problems, "problems": [_describe(one) for one in problems]})
    else:
        for problem in problems:
            typer.echo(printable(str(problem)))
    if problems:
        raise typer.Exit(EXIT_ERROR)
    if not quiet:
        _say(f"{index} is sound")


def repair_command(
    index: IndexPath,
    drop: Annotated[
        bool, typer.Option("--drop", help="Remove documents that cannot be mended; what is left of them is saved.")
    ] = False,
    device: Device = "auto",
    dtype: Dtype = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Mend what verify finds; exit with 3 if something was lost or is still wrong.

    What cannot be mended is listed, and stays. Where the database itself is damaged, nothing is changed, and all
    documents that can still be read are written to a file.
    """
    from latechunk.maintenance.repair import repair

    with _working("repairing", quiet):
        report = repair(index, drop=drop, device=device, dtype=dtype)
    if as_json:
        problems = {name: [_describe(one) for one in getattr(report, name)] for name in ("found", "remaining")}
        files = [str(one) for one in report.files]
        print_json({**problems, "done": report.done, "lost": report.lost, "files": files})
    elif not quiet:
        _print_repair(report)
    if not report.is_whole:
        raise typer.Exit(EXIT_PARTIAL)


def audit_command(
    index: IndexPath,
    sample: Annotated[int, typer.Option(min=1, metavar="N", help="How many documents to encode again.")] = 20,
    seed: Annotated[int, typer.Option(help="Draws the sample.")] = 0,
    device: Device = "auto",
    dtype: Dtype = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Prove on a sample that an index's vectors are what its model makes of its texts; exit with 1 if they are not.

    It also shows how far their context moves the chunks: 1 less the cosine of the late with the naive vector.
    """
    from latechunk.index import Index
    from latechunk.maintenance.audit import audit

    with (
        _working("encoding the sample again", quiet),
        Index.open(index, read_only=True, device=device, dtype=dtype) as opened,
    ):
        report = audit(opened, n=sample, seed=seed)
    if as_json:
        print_json(_describe_audit(report))
    else:
        _print_audit(report)
    if not report.is_proven:
        raise typer.Exit(EXIT_ERROR)


def optimize_command(
    index: IndexPath,
    vectors: Annotated[
        str | None,
        typer.Option(metavar="KIND", help="How to search vectors: auto, flat, hnsw, ivf, or a FAISS factory string."),
    ] = None,
    first_pass_dims: Annotated[
        int | None, typer.Option(help="Of a Matryoshka model: numbers that the first comparison takes.")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train the vector search again and compact the database; nothing stored changes."""
    from latechunk.index import Index

    with _working("optimizing", quiet), Index.open(index) as opened:
        reports = opened.optimize(vectors=vectors, first_pass_dims=first_pass_dims)
        named = dict(zip(opened.info().chunkers, reports, strict=True))
    if as_json:
        print_json({name: dataclasses.asdict(report) for name, report in named.items()})
    elif not quiet:
        for name, report in named.items():
            _say(f"{name}: {_describe_training(report)}")


def _describe_training(report: OptimizeReport) -> str:
    size = f"{counted(report.n_vectors, 'vector')}, {report.seconds:.1f} s, {megabytes(report.size_bytes)}"
    if report.kind == "Flat":
        return f"{report.kind}, {size}; exact"
    return (
        f"{report.kind}, {size}; {report.recall:.1%} of the ten best found for chunks as queries, "
        f"{report.recall_noisy:.1%} for queries further away"
    )


def export_command(
    index: IndexPath,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What to write, .jsonl or .parquet; must not exist.")],
    quiet: Quiet = False,
) -> None:
    """Write all that an index holds to one file, from which import makes the same index without encoding anything."""
    from latechunk.maintenance.export import export_index

    with _working("exporting", quiet):
        counts = export_index(index, file)
    print_counts(file, counts, quiet)


def _describe(problem: Problem) -> dict[str, Any]:
    described = dataclasses.asdict(problem) | {"remedy": problem.remedy}
    del described["number"]
    return described


def _describe_audit(report: AuditReport) -> dict[str, Any]:
    documents = [
        dataclasses.asdict(one) | {"deviation": None if math.isnan(one.deviation) else one.deviation}
        for one in report.documents
    ]
    return dataclasses.asdict(report) | {"proven": report.is_proven, "documents": documents}


def _print_repair(report: RepairReport) -> None:
    if not report.found:
        _say("there was nothing to mend")
    said = {"done": report.done, "lost": report.lost, "still wrong": report.remaining, "kept": report.files}
    for what, lines in said.items():
        for line in lines:
            _say(f"{what}: {line}")


def _print_audit(report: AuditReport) -> None:
    for document in report.documents:
        for fault in document.faults:
            typer.echo(printable(f"wrong: document {document.document!r}: {fault}"))
    made, now = report.dtypes
    n_chunks = sum(one.n_chunks for one in report.documents)
    typer.echo(
        f"{'proven' if report.is_proven else 'NOT proven'}: {len(report.documents)} of "
        f"{counted(report.n_documents, 'document')} with {counted(n_chunks, 'chunk')} encoded again; largest deviation "
        f"{report.deviation:.1e}, allowed {report.tolerance:.0e} (made in {made}, now {now})"
    )
    for name in report.shifts:
        n_outside = sum(one.n_outside.get(name, 0) for one in report.documents)
        n_tokens = sum(one.n_tokens for one in report.documents)
        typer.echo(f"{printable(name)}: {n_outside:,} of {n_tokens:,} tokens lie in no chunk")
        levels = ", ".join(f"{level:.0%} {value:.3f}" for level, value in report.shifts[name].items())
        typer.echo(f"{printable(name)}: context shift, quantiles: {levels}")
    if report.n_without_shift:
        typer.echo(f"{counted(report.n_without_shift, 'document')} with a chunk that cannot be read alone: no shift")
    for shift in report.largest:
        place = f"{shift.document} {shift.start}-{shift.end} ({shift.granularity})"
        typer.echo(printable(f"shift {shift.shift:.3f}  {place}: {shift.text[:80]}"))
