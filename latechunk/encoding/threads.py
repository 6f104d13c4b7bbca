"""Share the processor among the queries that several Python threads encode at the same time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class ThreadShare:
    """Lets as many passes run as there are cores, and splits torch's threads among them; one alone has all.

    torch runs every pass on as many threads as there are cores. Eight Python threads with a query each then start eight
    teams, whose members wait for each other in busy loops. More passes than cores gain nothing either: they take turns
    at Python's lock, each turn up to 5 ms. Measured on two cores beside other work, searches a second of eight threads
    against one: 0.44 times with teams split but passes unlimited, 0.9 to 1.1 with this. ``torch.set_num_threads`` sets
    the calling thread's team and the default of threads yet to come, so each thread sets its own and gives it back.
    A thread that is born meanwhile starts with a share; so the full number is read only until the first split, and a
    later ``torch.set_num_threads`` does not hold for queries.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._n_active = 0
        self._n_threads = 1
        self._was_split = False

    @contextmanager
    def take(self) -> Iterator[None]:
        """Run a pass within this; waits while there is one for each core."""
        with self._changed:
            self._changed.wait_for(lambda: self._n_active < max(1, self._n_threads))
            if not self._n_active and not self._was_split:
                self._n_threads = torch.get_num_threads()
            self._n_active += 1
            self._was_split |= self._n_active > 1
            n_own = max(1, self._n_threads // self._n_active)
        if n_own != torch.get_num_threads():
            torch.set_num_threads(n_own)
        try:
            yield
        finally:
            with self._changed:
                self._n_active -= 1
                self._changed.notify()
            if n_own != self._n_threads:
                torch.set_num_threads(self._n_threads)


QUERIES = ThreadShare()
"""Of this process: its encoders have the same cores."""
