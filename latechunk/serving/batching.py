"""Batch the texts of many requests into passes of the model, under a budget of tokens, in fair turns."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from latechunk.serving.errors import BusyError, ClientLeftError
from latechunk.threads import forget_in_child

Function: TypeAlias = Callable[[list[Any]], Sequence[Any]]

CLIENT_LEFT: ContextVar[threading.Event | None] = ContextVar("CLIENT_LEFT", default=None)
"""Is set when the client of this context's request has gone, and nobody waits for what is computed."""

_SMOOTHING = 0.2  # how much the newest pass counts in the measured speed


@dataclass(eq=False)
class _Job:
    """The items of one request; ``function`` gives one result for each, and jobs of one function share its calls."""

    function: Function
    items: Sequence[Any]
    sizes: Sequence[int]
    client_left: threading.Event | None
    future: Future[list[Any]] = field(default_factory=Future)
    results: dict[int, Any] = field(default_factory=dict)
    n_taken: int = 0

    @property
    def is_given_up(self) -> bool:
        """Whether nobody waits for it any more."""
        return self.future.cancelled() or (self.client_left is not None and self.client_left.is_set())


class Dispatcher:
    """Runs a model's functions in one thread, on what all requests that wait have brought.

    A pass over one short text leaves most of a core's arithmetic unused, and passes side by side take turns anyway. So
    all that waits goes together, up to a budget of tokens. The requests take turns by one item each, so that a request
    of a thousand long texts delays a query by one batch and not by all of it. Nobody waits for more to come.
    """

    def __init__(
        self, *, batch_tokens: int, patience: float, on_batch: Callable[[int, int], None] | None = None
    ) -> None:
        """Start the thread with the first request.

        Args:
            batch_tokens: Tokens that go through the model together; one longer text goes alone.
            patience: Seconds after which a request is given up.
            on_batch: Called with the number of items and of tokens of each batch.
        """
        self._budget = batch_tokens
        self._patience = patience
        self._on_batch = on_batch
        self._closed = False
        self._tokens_per_second = 0.0
        forget_in_child(self)

    def forget(self) -> None:
        """Have nothing waiting and no thread, as in a process just forked, which has none of its parent's."""
        self._jobs: deque[_Job] = deque()
        self._ready = threading.Condition()
        self._waiting_tokens = 0
        self._thread: threading.Thread | None = None

    def run(self, function: Function, items: Sequence[Any], sizes: Sequence[int]) -> list[Any]:
        """The function's results for some items of so many tokens each, in order; waits its turn.

        The function may be called with the items of other requests, too. BusyError if it takes longer than a request
        may, ClientLeftError if the client has gone.
        """
        if not items:
            return []
        job = _Job(function, items, sizes, CLIENT_LEFT.get())
        with self._ready:
            if self._closed:
                raise BusyError("the server is shutting down", self.retry_after)
            if self._thread is None:
                thread = threading.Thread(target=self._loop, name="latechunk-encode", daemon=True)
                thread.start()  # which fails where there are as many threads as there may be
                self._thread = thread
            self._jobs.append(job)
            self._waiting_tokens += sum(sizes)
            self._ready.notify()
        try:
            return job.future.result(self._patience)
        except CancelledError as error:
            raise ClientLeftError("the client has gone") from error
        except TimeoutError as error:
            if not job.future.cancel():  # it is done at this very moment
                return job.future.result()
            raise BusyError(
                f"the request was not done within {self._patience:g} seconds; send less at a time, or come back",
                self.retry_after,
            ) from error

    @property
    def waiting_tokens(self) -> int:
        """Tokens that wait for the model."""
        return self._waiting_tokens

    @property
    def retry_after(self) -> int:
        """Seconds after which what waits now should be done, 1 to 60."""
        return max(1, min(60, round(self._waiting_tokens / max(self._tokens_per_second, 1.0)))) if self._jobs else 1

    def close(self) -> None:
        """Finish what waits, and end the thread."""
        with self._ready:
            self._closed = True
            self._ready.notify()
        if self._thread is not None:
            self._thread.join()

    def _loop(self) -> None:
        while True:
            with self._ready:
                while not self._jobs and not self._closed:
                    self._ready.wait()
                if not self._jobs:
                    return
                picked = self._pick()
            if picked:
                self._run(picked)

    def _pick(self) -> list[tuple[_Job, int]]:
        """The items that go next: of the function that waits longest, one of each job in turn until the budget is full.

        What was picked from joins the end of the queue with its rest, so that the others' functions come next.
        """
        for job in [one for one in self._jobs if one.is_given_up]:
            job.future.cancel()
            self._jobs.remove(job)
            self._waiting_tokens -= sum(job.sizes[job.n_taken :])
        picked: list[tuple[_Job, int]] = []
        together = [one for one in self._jobs if one.function == self._jobs[0].function] if self._jobs else []
        n_tokens = 0
        while open_jobs := [one for one in together if one.n_taken < len(one.items)]:
            for job in open_jobs:
                size = job.sizes[job.n_taken]
                if picked and n_tokens + size > self._budget:
                    self._requeue(together)
                    return picked
                picked.append((job, job.n_taken))
                job.n_taken += 1
                n_tokens += size
                self._waiting_tokens -= size
        self._requeue(together)
        return picked

    def _requeue(self, together: Sequence[_Job]) -> None:
        for job in together:
            self._jobs.remove(job)
            if job.n_taken < len(job.items):
                self._jobs.append(job)

    def _run(self, picked: list[tuple[_Job, int]]) -> None:
        begin = time.monotonic()
        n_tokens = sum(job.sizes[number] for job, number in picked)
        by_job: dict[_Job, list[int]] = {}
        for job, number in picked:
            by_job.setdefault(job, []).append(number)
        try:
            results = picked[0][0].function([job.items[number] for job, number in picked])
            for (job, number), result in zip(picked, results, strict=True):
                job.results[number] = result
        except Exception as error:  # noqa: BLE001  of whatever kind, it is told to those whose items are at fault
            if len(by_job) == 1:
                self._fail(picked[0][0], error)
            else:  # each job's items alone, so that only the one at fault gets the error
                for job, numbers in by_job.items():
                    self._run([(job, number) for number in numbers])
                return
        self._note_speed(n_tokens, time.monotonic() - begin)
        if self._on_batch:
            self._on_batch(len(picked), n_tokens)
        for job in by_job:
            if len(job.results) == len(job.items) and job.future.set_running_or_notify_cancel():
                job.future.set_result([job.results[number] for number in range(len(job.items))])

    def _fail(self, job: _Job, error: Exception) -> None:
        with self._ready:
            if job in self._jobs:
                self._jobs.remove(job)
                self._waiting_tokens -= sum(job.sizes[job.n_taken :])
        if job.future.set_running_or_notify_cancel():
            job.future.set_exception(error)

    def _note_speed(self, n_tokens: int, seconds: float) -> None:
        speed = n_tokens / max(seconds, 1e-6)
        known = self._tokens_per_second
        self._tokens_per_second = speed if not known else known + _SMOOTHING * (speed - known)
