"""What hybrid search knows of all chunks of an index, remembered until the store changes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar, cast

from latechunk.ann.reader import VectorReader
from latechunk.storage.rows import ChunkPlaces
from latechunk.storage.store import Store
from latechunk.types import FloatArray

_Value = TypeVar("_Value")

_SAMPLE = 8_192  # vectors that stand for all


class Corpus:
    """The chunks of each granularity in the newest state of the store. Threads may share it."""

    def __init__(self, store: Store) -> None:
        """Read from ``store``, always within a ``snapshot`` of it."""
        self._store = store
        self._lock = threading.Lock()
        self._remembered: dict[tuple[str, int], tuple[str | None, object]] = {}

    def places(self, granularity: int) -> ChunkPlaces:
        """Where the chunks are."""
        return self._remember("places", granularity, lambda: self._store.chunk_places(granularity))

    def sample(self, granularity: int, vectors: VectorReader) -> FloatArray:
        """Vectors that stand for all, shape ``(n, dims)``: all of a small index, else every so many.

        Their cosines with a question have the mean and the deviation of all: the deviation of 8,192 is within 1 % of
        that of a million, and reading them takes no pass over the index after every change.
        """

        def read() -> FloatArray:
            numbers = self.places(granularity).numbers
            return vectors.vectors_of(numbers[:: max(1, len(numbers) // _SAMPLE)].tolist())

        return self._remember("sample", granularity, read)

    def _remember(self, what: str, granularity: int, read: Callable[[], _Value]) -> _Value:
        token = self._store.last_commit().token
        with self._lock:
            known, value = self._remembered.get((what, granularity), (None, None))
        if known != token:  # outside the lock: two threads may both read, and neither makes the others wait
            value = read()
            with self._lock:
                self._remembered[what, granularity] = (token, value)
        return cast("_Value", value)
