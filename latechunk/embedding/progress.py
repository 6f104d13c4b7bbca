"""Progress: what encoders report turned into shares of documents, and shown as a bar, or as lines in a log."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from latechunk.embedding.chunks import ChunkedDocument
from latechunk.validation import require_function

if TYPE_CHECKING:
    from rich.console import Console

_LOG = logging.getLogger("latechunk")

_SECONDS = 30.0  # between two lines
_LOOK_SECONDS = 5.0  # after which the time that a batch will take is estimated
_LONG_SECONDS = 60.0  # from which it is said
# What a document takes on its way, per token: 100 MB more for 5,000,000 characters than for 1,000,000, by the default.
_BYTES = 122


@dataclass(frozen=True, slots=True)
class Progress:
    """What was done since the last report.

    Attributes:
        documents: Documents, a fraction while one is under way.
        tokens: Content tokens.
        note: What a long document will take, said once near its start; empty otherwise.
        left_out: Documents that failed, which ``documents`` does not count.
    """

    documents: float
    tokens: int
    note: str = ""
    left_out: int = 0


class BatchProgress:
    """Turns what an encoder reports of a batch into shares of its documents, and says what a long one will take."""

    def __init__(
        self,
        chunked: Sequence[ChunkedDocument],
        n_passes: int,
        tell: Callable[[Progress], None] | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin a batch that is read ``n_passes`` times."""
        self._chunked = chunked
        self._lengths = [len(one.tokens) for one in chunked]
        self._n_passes = n_passes
        self._tell = tell
        self._clock = clock
        self._begun = clock()
        self._n_begun = 0  # passes
        self._tokens = [0] * len(chunked)  # told, of each document
        self._is_estimated = False

    def of_pass(self, totals: Sequence[int]) -> Callable[[int, int], None]:
        """Begin a pass that reads so many tokens of each document; what takes an encoder's reports."""
        before, self._n_begun = self._n_begun, self._n_begun + 1
        n_done = [0] * len(totals)

        def report(number: int, n_tokens: int) -> None:
            n_done[number] += n_tokens
            whole = self._n_passes * totals[number]
            told = self._tokens[number]
            self._tokens[number] = self._lengths[number] * (before * totals[number] + n_done[number]) // whole
            note = self._estimate()
            if note:
                _LOG.info("%s", note)
            if self._tell:
                self._tell(Progress(n_tokens / whole, self._tokens[number] - told, note))

        return report

    def _estimate(self) -> str:
        """What the batch's longest document will take, the first time that this can be told, if it is long."""
        seconds = self._clock() - self._begun
        done = sum(self._tokens) / sum(self._lengths)
        if self._is_estimated or seconds < _LOOK_SECONDS or not done:
            return ""
        self._is_estimated = True
        longest = max(self._chunked, key=lambda one: len(one.tokens))
        if seconds / done < _LONG_SECONDS or 2 * len(longest.tokens) < sum(self._lengths):
            return ""
        return (
            f"document {longest.document.id!r:.80} has {len(longest.document.text):,} characters in "
            f"{len(longest.tokens):,} tokens: about {_minutes(seconds / done)} and "
            f"{_BYTES * len(longest.tokens) / 1e6:,.0f} MB besides what the model takes"
        )


@contextmanager
def progress_shown(
    documents: object, on_progress: Callable[[Progress], None] | None, show: bool
) -> Iterator[Callable[[Progress], None] | None]:
    """Within this, what it yields tells ``on_progress``, and shows it if ``show``; of how many, if that is known."""
    require_function("on_progress", on_progress)
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
        bars.TaskProgressColumn(),
        bars.TextColumn(
            "{task.fields[documents]:,}/" + total + " documents{task.fields[left_out]}, {task.fields[tokens]:,} tokens"
        ),
        bars.TimeRemainingColumn(),
    )
    # One pass of a large model may take minutes, and rich measures the speed between two reports.
    with bars.Progress(*columns, console=console, transient=True, speed_estimate_period=600) as bar:
        task = bar.add_task("indexing", total=n_documents, documents=0, left_out="", tokens=0)
        n_documents_done, n_left_out, n_tokens = 0.0, 0, 0

        def advance(progress: Progress) -> None:
            nonlocal n_documents_done, n_left_out, n_tokens
            n_documents_done += progress.documents
            n_left_out += progress.left_out
            n_tokens += progress.tokens
            bar.update(
                task,
                completed=n_documents_done + n_left_out,
                documents=_whole(n_documents_done),
                left_out=_left_out(n_left_out),
                tokens=n_tokens,
            )
            if progress.note:
                console.print(progress.note, markup=False, soft_wrap=True)

        yield advance


@dataclass(slots=True)
class Lines:
    """Writes a line of what is done, at most twice a minute, and one at the end."""

    write: Callable[[str], object]
    n_documents: int | None
    clock: Callable[[], float] = time.monotonic
    documents: float = 0.0
    left_out: int = 0
    tokens: int = 0
    begun: float = 0.0
    written: float = 0.0

    def __post_init__(self) -> None:
        self.begun = self.written = self.clock()

    def advance(self, progress: Progress) -> None:
        """Take what was done since the last call."""
        self.documents += progress.documents
        self.left_out += progress.left_out
        self.tokens += progress.tokens
        if progress.note:
            self.write(progress.note)
        if self.clock() - self.written >= _SECONDS:
            self.write_last()

    def write_last(self) -> None:
        """Write how much is done until now, in what time, and what is left if the number of documents is known."""
        self.written = self.clock()
        seconds = self.written - self.begun
        total = "" if self.n_documents is None else f" of {self.n_documents:,}"
        what = f"{_whole(self.documents):,}{total} documents{_left_out(self.left_out)}"
        line = f"{what}, {self.tokens:,} tokens in {_minutes(seconds)}"
        done = self.documents + self.left_out
        if self.n_documents is not None and done > 0 and _whole(done) < self.n_documents:
            share = done / self.n_documents
            line += f", {share:.0%} done, about {_minutes(seconds * (1 / share - 1))} left"
        self.write(line)


def _left_out(n_documents: int) -> str:
    return f", {n_documents:,} left out" if n_documents else ""


def _whole(documents: float) -> int:
    """How many documents are done, of a sum of shares."""
    return int(documents + 1e-6)


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
