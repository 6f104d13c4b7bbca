"""Progress in, a bar on a terminal out, or a line now and then where stderr is a log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from latechunk.embedding.vectors import Progress

if TYPE_CHECKING:
    from rich.console import Console

_SECONDS = 30.0  # between two lines


@contextmanager
def progress_shown(
    documents: object, on_progress: Callable[[Progress], None] | None, show: bool
) -> Iterator[Callable[[Progress], None] | None]:
    """Within this, what it yields tells ``on_progress``, and shows it if ``show``; of how many, if that is known."""
    if not show:
        yield on_progress
        return
    from rich.console import Console

    n_documents = len(documents) if isinstance(documents, Sized) else None
    with show_progress(Console(stderr=True, highlight=False, emoji=False), n_documents) as advance:

        def tell(progress: Progress) -> None:
            advance(progress)
            if on_progress:
                on_progress(progress)

        yield tell


@contextmanager
def show_progress(console: Console, n_documents: int | None) -> Iterator[Callable[[Progress], None]]:
    """Show what is done, by a bar on a terminal or in a notebook, else by lines; what it yields takes the next part."""
    if not (console.is_terminal or console.is_jupyter):
        lines = Lines(lambda line: console.print(line, markup=False, soft_wrap=True), n_documents)
        yield lines.advance
        lines.write_last()
        return
    from rich import progress as bars

    total = "?" if n_documents is None else f"{n_documents:,}"
    columns = (
        bars.TextColumn("indexing"),
        bars.BarColumn(),
        bars.TextColumn("{task.completed:.0f}/" + total + " documents, {task.fields[tokens]:,} tokens"),
        bars.TimeRemainingColumn(),
    )
    with bars.Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("indexing", total=n_documents, tokens=0)
        n_tokens = 0

        def advance(progress: Progress) -> None:
            nonlocal n_tokens
            n_tokens += progress.tokens
            bar.update(task, advance=progress.documents, tokens=n_tokens)

        yield advance


@dataclass(slots=True)
class Lines:
    """Writes a line of what is done, at most twice a minute, and one at the end."""

    write: Callable[[str], object]
    n_documents: int | None
    clock: Callable[[], float] = time.monotonic
    documents: float = 0.0
    tokens: int = 0
    begun: float = 0.0
    written: float = 0.0

    def __post_init__(self) -> None:
        self.begun = self.written = self.clock()

    def advance(self, progress: Progress) -> None:
        """Take what was done since the last call."""
        self.documents += progress.documents
        self.tokens += progress.tokens
        if self.clock() - self.written >= _SECONDS:
            self.write_last()

    def write_last(self) -> None:
        """Write how much is done until now, in what time, and the time left if the number of documents is known."""
        self.written = self.clock()
        seconds = self.written - self.begun
        total = "" if self.n_documents is None else f" of {self.n_documents:,}"
        line = f"{self.documents:,.0f}{total} documents, {self.tokens:,} tokens in {_minutes(seconds)}"
        if self.n_documents is not None and 0 < self.documents < self.n_documents - 0.5:
            line += f", about {_minutes(seconds * (self.n_documents / self.documents - 1))} left"
        self.write(line)


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
