"""A comparison in, tables for a terminal out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from latechunk.demo import MODES, Answer, Comparison

_WIDTH = 110  # where the output is no terminal


def show(comparison: Comparison) -> None:
    """Print, per question, the best passage and the rank of the right one in each mode, then totals."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_WIDTH)
    console.print(
        f"{comparison.n_documents} articles of {comparison.n_words:,} words, cut into {comparison.n_chunks} chunks of "
        f"at most {comparison.max_tokens} tokens; model {comparison.model}. No passage that answers names its "
        f"subject.\n\n"
        f"The numbers are the rank of the right chunk among all {comparison.n_chunks}, 1 being the best:\n"
        f"  [bold]naive[/]  encodes each chunk alone\n"
        f"  [bold]late[/]   encodes the document, then pools the same chunk from it\n"
        f"  [bold]blend[/]  half of each\n"
    )
    console.print(_table(comparison.answers))
    console.print(_totals(comparison.answers))
    console.print(
        f"\n{len(comparison.answers)} questions illustrate, they do not prove: the README has figures from thousands."
    )


def _table(answers: Sequence[Answer]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 1, 0))
    for mode in MODES:
        table.add_column(mode, justify="right")
    table.add_column("question, and the passage that late chunking ranks first", overflow="fold")
    for answer in answers:
        best = min(answer.ranks.values())
        ranks = (f"[bold green]{rank}[/]" if rank == best else str(rank) for rank in answer.ranks.values())
        passage = " ".join(answer.best.chunk.text.split())
        mark = "[green]right:[/]" if answer.ranks["late"] == 1 else "[yellow]wrong:[/]"
        table.add_row(*ranks, f"[bold]{escape(answer.question.text)}[/]\n{mark} [dim]{escape(passage)}[/]")
    return table


def _totals(answers: Sequence[Answer]) -> Table:
    measures: dict[str, Callable[[list[int]], str]] = {
        "right chunk first": lambda ranks: f"{sum(rank == 1 for rank in ranks)} of {len(ranks)}",
        "right chunk among the first 5": lambda ranks: f"{sum(rank <= 5 for rank in ranks)} of {len(ranks)}",
        "mean reciprocal rank": lambda ranks: f"{sum(1 / rank for rank in ranks) / len(ranks):.3f}",
        "worst rank": lambda ranks: str(max(ranks)),
    }
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column("totals")
    for mode in MODES:
        table.add_column(mode, justify="right")
    for name, measure in measures.items():
        table.add_row(name, *(measure([answer.ranks[mode] for answer in answers]) for mode in MODES))
    table.add_row("better than naive on", "", *(str(_wins(answers, mode, "naive")) for mode in ("late", "blend")))
    table.add_row("worse than naive on", "", *(str(_wins(answers, "naive", mode)) for mode in ("late", "blend")))
    return table


def _wins(answers: Sequence[Answer], mode: str, other: str) -> int:
    return sum(answer.ranks[mode] < answer.ranks[other] for answer in answers)
