"""Show a comparison in a terminal, as tables and examples."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from latechunk.demo import WAYS, Answer, Comparison

_WIDTH = 110  # where the output is no terminal
_TOP = 3


def show(comparison: Comparison, *, full: bool = False) -> None:
    """Print totals, the ranks of every question, and passages: of the clearest win and loss, or of all."""
    console = Console(highlight=False, emoji=False)
    if not console.is_terminal:
        console = Console(highlight=False, emoji=False, width=_WIDTH)
    answers = comparison.answers
    console.print(
        f"{comparison.n_documents} articles of {comparison.n_words:,} words in {comparison.n_chunks} chunks of at most "
        f"{comparison.max_tokens} tokens, {len(answers)} questions, model {comparison.model}.\n"
        f"One article is German, and two of its questions are English.\n"
        f"The sentence that answers never names its subject: it says she, the river, the company, er.\n\n"
        f"  [bold]naive[/]  encodes each chunk alone, by the model as it is published\n"
        f"  [bold]late[/]   encodes the document, under adapters trained for that, then pools the same chunk from it\n"
        f"  [bold]blend[/]  {comparison.late_weight:g} late + {1 - comparison.late_weight:g} naive: the vectors of an "
        f"index with this model\n"
        f"  [bold]default[/]  the same vectors and words together: what a search without options does\n"
    )
    console.print(_totals(answers))
    console.print(
        f"\nRank of the right chunk among all {comparison.n_chunks}, default against naive, and of the passage that "
        f"the default puts first the part that matters ([green]✓[/] it answers):\n"
    )
    console.print(_ranks(answers))
    for answer in answers if full else _telling(answers):
        _show_passages(console, answer)
    hint = "" if full else "All passages: latechunk demo --full. "
    console.print(f"\n{hint}{len(answers)} questions illustrate and prove nothing: the README has thousands.")


def _totals(answers: Sequence[Answer]) -> Table:
    table = Table("totals", box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for way in WAYS:
        table.add_column(way, justify="right")
    by_way = [[answer.ranks[way] for answer in answers] for way in WAYS]
    n = len(answers)
    table.add_row("right chunk first", *(f"{ranks.count(1)} of {n}" for ranks in by_way))
    among = (sum(rank <= _TOP for rank in ranks) for ranks in by_way)
    table.add_row(f"right chunk among the first {_TOP}", *(f"{count} of {n}" for count in among))
    table.add_row("mean reciprocal rank", *(f"{sum(1 / rank for rank in ranks) / n:.3f}" for ranks in by_way))
    table.add_row("mean rank", *(f"{sum(ranks) / n:.1f}" for ranks in by_way))
    for name, sign in (("better than naive on", 1), ("worse than naive on", -1)):
        counts = (sum(sign * _gain(answer, way) > 0 for answer in answers) for way in WAYS[1:])
        table.add_row(name, "", *map(str, counts))
    return table


def _ranks(answers: Sequence[Answer]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), expand=True)
    for way in WAYS:
        table.add_column(way, justify="right", min_width=len("naive"))
    table.add_column("", min_width=len("better"))
    table.add_column("question", no_wrap=True, overflow="ellipsis", ratio=1)
    for answer in answers:
        gain = _gain(answer, "default")
        mark = "[green]better[/]" if gain > 0 else "[yellow]worse[/]" if gain < 0 else "[dim]same[/]"
        ranks = (str(answer.ranks[way]) for way in WAYS)
        table.add_row(*ranks, mark, f"[bold]{escape(answer.question.text)}[/]")
        # One line of the passage that comes first: the answer if it is in it, else the beginning.
        passage = " ".join(answer.best["default"].chunk.text.split())
        is_right = answer.ranks["default"] == 1 and answer.question.quote in passage
        excerpt = f"[green]✓ {escape(answer.question.quote)}[/]" if is_right else f"[dim]  {escape(passage)}[/]"
        table.add_row(*[""] * (len(WAYS) + 1), excerpt)
    return table


def _telling(answers: Sequence[Answer]) -> list[Answer]:
    """The two clearest wins of the default, and its clearest loss if there is one."""
    by_gain = sorted(answers, key=lambda answer: 1 / answer.ranks["naive"] - 1 / answer.ranks["default"])
    wins = [answer for answer in by_gain[:2] if _gain(answer, "default") > 0]
    losses = [answer for answer in by_gain[-1:] if _gain(answer, "default") < 0]
    return wins + losses


def _show_passages(console: Console, answer: Answer) -> None:
    console.print(f"\n[bold]{escape(answer.question.text)}[/]")
    console.print(f"  the answer: [green]{escape(answer.question.quote)}[/]")
    for way in ("naive", "default"):
        passage = escape(" ".join(answer.best[way].chunk.text.split()))
        quote = escape(answer.question.quote)
        marked = passage.replace(quote, f"[green]{quote}[/]")
        console.print(f"  {way} puts it at {answer.ranks[way]}; first comes: [dim]{marked}[/]")


def _gain(answer: Answer, way: str) -> int:
    return answer.ranks["naive"] - answer.ranks[way]
