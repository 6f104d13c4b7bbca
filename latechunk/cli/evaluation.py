"""The commands that compare late with naive chunking: evaluate, on your questions, and demo, on ours."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from latechunk.cli.console import errors_explained, percentage_bar, print_json, print_table, stderr_console
from latechunk.cli.options import (
    Adapters,
    Device,
    Dtype,
    Json,
    Quiet,
    parse_adapters,
    split_list,
    split_numbers,
)
from latechunk.printing import printable


def evaluate_command(
    data: Annotated[
        Path, typer.Argument(metavar="DATA", help="A folder of documents and questions, or of such folders.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for report.html, results.json and what is finished.")] = Path(
        "report"
    ),
    arms: Annotated[str, typer.Option(help="Of naive, late, blend, document, default, dense, lexical, hybrid.")] = (
        "naive,late,blend,default"
    ),
    max_tokens: Annotated[str, typer.Option(help="Chunk sizes.")] = "128",
    model: Annotated[
        list[str] | None, typer.Option(help="Name or folder; may be given again  [default: all-MiniLM-L6-v2].")
    ] = None,
    adapters: Adapters = None,
    dims: Annotated[str | None, typer.Option(help="Lengths of vectors, of Matryoshka models  [default: all].")] = None,
    window: Annotated[str | None, typer.Option(help="Tokens read together  [default: what suits the model].")] = None,
    language: Annotated[str, typer.Option(help="ISO 639 code of documents that do not say theirs.")] = "en",
    depth: Annotated[int, typer.Option("-k", help="The k of nDCG@k and the like.")] = 10,
    device: Device = "auto",
    dtype: Dtype = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure on questions with known answers whether late chunking helps, by how much, and how sure that is.

    DATA holds docs.jsonl and queries.jsonl, or BEIR's corpus.jsonl, queries.jsonl and qrels/test.tsv, or is a SQuAD
    .json file, or holds questions.csv (columns: question, quote) next to text files. Run it again with the same --out,
    and what is finished is not run again.
    """
    from latechunk.evaluation import require_packages

    console = stderr_console()
    with errors_explained(console, quiet=quiet):
        require_packages()
        from latechunk.evaluation.report import to_table
        from latechunk.evaluation.run import EvaluationRequest, evaluate_folder

        request = EvaluationRequest(
            data=data,
            out=out,
            arms=split_list(arms),
            max_tokens=split_numbers("--max-tokens", max_tokens),
            models=tuple(model or ()),
            adapters=parse_adapters(adapters),
            dims=split_numbers("--dims", dims or ""),
            windows=split_numbers("--window", window or ""),
            language=language,
            depth=depth,
            device=device,
            dtype=dtype,
        )
        with percentage_bar(console, quiet) as advance:
            report = evaluate_folder(request, advance)
        if as_json:
            print_json(
                {"summary": report.summary, "made": report.made, "reference": report.reference, "rows": report.rows}
            )
        else:
            typer.echo("\n".join([*map(printable, report.summary), ""]))
            print_table(to_table(report.rows, report.reference))
        if not quiet:
            console.print(f"the report is in {out / 'report.html'}", markup=False, soft_wrap=True)


def demo_command(
    full: Annotated[bool, typer.Option("--full", help="Show the passages of every question.")] = False,
    as_json: Json = False,
) -> None:
    """Index three long articles that come with latechunk, ask 30 questions, and compare late with naive chunking."""
    from latechunk.demo import run

    console = stderr_console()
    with errors_explained(console):
        comparison = run()
        if as_json:
            print_json(dataclasses.asdict(comparison))
        else:
            from latechunk.demo.display import show

            show(comparison, full=full)
