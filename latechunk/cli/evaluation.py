"""The commands that compare late with naive chunking: evaluate, on your questions, and demo, on ours."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latechunk.cli.console import (
    EXIT_PARTIAL,
    errors_explained,
    percentage_bar,
    print_json,
    print_message,
    print_table,
    stderr_console,
)
from latechunk.cli.options import Adapters, Device, Dtype, Json, Quiet, parse_adapters, split_list, split_numbers
from latechunk.errors import InputError
from latechunk.printing import counted, printable

if TYPE_CHECKING:
    from rich.console import Console

_MOST_REASONS = 10  # told of questions that were left out


def evaluate_command(
    data: Annotated[
        Path,
        typer.Argument(metavar="DATA", help="A folder of documents and questions, or of such folders; or an index."),
    ],
    questions: Annotated[
        Path | None,
        typer.Argument(metavar="[QUESTIONS]", help="Of an index: a .csv or .jsonl file with question and quote."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for report.html, results.json and what is finished.")] = Path(
        "report"
    ),
    arms: Annotated[
        str | None,
        typer.Option(
            help="Of naive, late, blend, document, default, dense, lexical, hybrid  [default: "
            "naive,late,blend,default; of an index its searches, and naive if it is small]."
        ),
    ] = None,
    max_tokens: Annotated[str | None, typer.Option(help="Chunk sizes  [default: 128].")] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="Name or folder; may be given again  [default: multilingual-e5-small-q4].")
    ] = None,
    adapters: Adapters = None,
    dims: Annotated[str | None, typer.Option(help="Lengths of vectors, of Matryoshka models  [default: all].")] = None,
    window: Annotated[str | None, typer.Option(help="Tokens read together  [default: what suits the model].")] = None,
    language: Annotated[
        str | None, typer.Option(help="ISO 639 code of documents that do not say theirs  [default: as each shows].")
    ] = None,
    depth: Annotated[int, typer.Option("-k", help="The k of nDCG@k and the like.")] = 10,
    device: Device = "auto",
    dtype: Dtype = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure on questions with known answers which search finds them, by how much it is better, and how sure that is.

    DATA holds docs.jsonl and queries.jsonl, or BEIR's corpus.jsonl, queries.jsonl and qrels/test.tsv, or is a SQuAD
    .json file, or holds questions.csv (columns: question, quote) next to text files. Or it is an index, which is asked
    QUESTIONS (columns: question, quote, and document where a quote is in several) by the search that its users get.
    Run it again with the same --out, and what is finished is not run again.
    """
    from latechunk.evaluation import require_packages

    console = stderr_console()
    with errors_explained(console, quiet=quiet, interrupted="the same command goes on from what is finished"):
        require_packages()
        from latechunk.evaluation.report import to_table
        from latechunk.evaluation.run import EvaluationRequest, IndexRequest, evaluate_folder, evaluate_index

        left_out: list[str] = []
        common: dict[str, Any] = {"out": out, "depth": depth, "device": device, "dtype": dtype}
        with percentage_bar(console, quiet) as advance:
            if questions is None:
                folder = EvaluationRequest(
                    data=data,
                    arms=split_list("naive,late,blend,default" if arms is None else arms),
                    max_tokens=split_numbers("--max-tokens", max_tokens or "128"),
                    models=tuple(model or ()),
                    adapters=parse_adapters(adapters),
                    dims=split_numbers("--dims", dims or ""),
                    windows=split_numbers("--window", window or ""),
                    language=language,
                    **common,
                )
                report = evaluate_folder(folder, advance)
            else:
                made_with = {"max-tokens": max_tokens, "model": model, "adapters": adapters, "dims": dims}
                made_with |= {"window": window, "language": language}
                if given := ", ".join(f"--{name}" for name, value in made_with.items() if value):
                    raise InputError(f"{given}: an index is evaluated as it is; leave these out, or evaluate a folder")
                index = IndexRequest(index=data, questions=questions, arms=split_list(arms or ""), **common)
                report, left_out = evaluate_index(index, advance)
        if as_json:
            print_json(
                {
                    "summary": report.summary,
                    "left_out": left_out,
                    "made": report.made,
                    "reference": report.reference,
                    "rows": report.rows,
                }
            )
        else:
            typer.echo("\n".join([*map(printable, report.summary), ""]))
            print_table(to_table(report.rows, report.reference))
        if not quiet:
            print_message(console, f"the report is in {out / 'report.html'}")
        if left_out:
            _tell_left_out(console, left_out)
            raise typer.Exit(EXIT_PARTIAL)


def _tell_left_out(console: Console, reasons: Sequence[str]) -> None:
    for reason in reasons[:_MOST_REASONS]:
        print_message(console, f"left out: {reason}", "red")
    n_more = len(reasons) - _MOST_REASONS
    if n_more > 0:
        print_message(console, f"left out: {counted(n_more, 'more question')}", "red")


def demo_command(
    full: Annotated[bool, typer.Option("--full", help="Show the passages of every question.")] = False,
    as_json: Json = False,
) -> None:
    """Index four long articles that come with latechunk, ask 40 questions, and compare late with naive chunking."""
    from latechunk.demo import run

    console = stderr_console()
    with errors_explained(console):
        comparison = run()
        if as_json:
            print_json(dataclasses.asdict(comparison))
        else:
            from latechunk.demo.display import show

            show(comparison, full=full)
