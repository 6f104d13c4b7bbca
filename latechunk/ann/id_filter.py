"""Which of the held vectors a search may find: the chunks of some documents, as a FAISS selector."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import cache, cached_property

import faiss
import numpy as np
from numpy.typing import NDArray

from latechunk.threads import make_lock
from latechunk.types import BoolArray, IntArray

_KEPT = 8
ListsOf = Callable[[], tuple[NDArray[np.uint16], int]]


class IdFilter:
    """The positions that a search may find.

    Attributes:
        mask: Whether each position is allowed, shape ``(n_positions,)``.
        n: How many are.
        share: Which part of the living that is, from 0 to 1.
        is_all: Whether all positions are allowed, so that no selector is needed.
    """

    def __init__(self, mask: BoolArray, n_alive: int, lists: ListsOf) -> None:
        self.mask = mask
        self._lists = lists
        self.n = int(np.count_nonzero(mask))
        self.share = self.n / n_alive if n_alive else 0.0
        self.is_all = self.n == len(mask)

    @cached_property
    def positions(self) -> IntArray:
        """Those allowed, ascending."""
        return np.flatnonzero(self.mask)

    @cached_property
    def bitmap(self) -> faiss.IDSelector:
        """For indices that ask of each vector they meet whether it is allowed: 2 ns each."""
        return faiss.IDSelectorBitmap(np.packbits(self.mask, bitorder="little"))

    @cached_property
    def array(self) -> faiss.IDSelector:
        """For flat storage, which goes through the array alone: of 100,000 vectors, 1 % in 0.09 ms; by bitmap 0.28."""
        return faiss.IDSelectorArray(self.positions)

    @cached_property
    def n_per_list(self) -> IntArray:
        """How many of those allowed lie in each list of an IVF index."""
        lists, n_lists = self._lists()
        return np.bincount(lists[self.mask], minlength=n_lists)  # of a million 0.1 to 1.6 ms, with weights 3.7


class IdFilters:
    """Makes filters, and keeps the last few, since people filter by the same thing again and again.

    Threads may share it.
    """

    def __init__(self, documents: IntArray, alive: BoolArray, lists: ListsOf) -> None:
        """Make one for what an index holds, none of which may change afterwards.

        Args:
            documents: The document of each position.
            alive: Whether there is anything at it.
            lists: Says in which list of an IVF index each position is, and how many lists there are; called at most
                once, and for no other index.
        """
        self._documents = documents
        self._alive = alive
        self._lists = cache(lists)
        self._n_alive = int(np.count_nonzero(alive))
        self._lock = make_lock()  # a deque must not grow while another thread goes through it
        self._kept: deque[tuple[IntArray, IdFilter]] = deque(maxlen=_KEPT)
        self.everything = IdFilter(alive, self._n_alive, self._lists)

    def of(self, documents: IntArray | None) -> IdFilter:
        """The positions of the chunks of these documents, whose numbers are ascending; all for None.

        An array that was passed before is recognised at once, an equal one after a comparison; it must not be changed
        by the caller later.
        """
        if documents is None:
            return self.everything
        with self._lock:
            for known, found in self._kept:
                if known is documents or np.array_equal(known, documents):
                    return found
            made = IdFilter(self._alive & self._are_of(documents), self._n_alive, self._lists)
            self._kept.append((documents, made))
            return made

    def _are_of(self, documents: IntArray) -> BoolArray:
        """Whether each position is of one of these documents."""
        if self._starts is None:
            return np.isin(self._documents, documents)
        allowed = np.isin(self._documents[self._starts], documents)
        return np.repeat(allowed, np.diff(self._starts, append=len(self._documents)))

    @cached_property
    def _starts(self) -> IntArray | None:
        """Where each document begins, if all come in ascending order, as they do unless chunked again later.

        A million positions in 50,000 documents are then selected in 1 ms instead of 10.
        """
        before, after = self._documents[:-1], self._documents[1:]
        if (after < before).any():
            return None
        return np.concatenate([[0], np.flatnonzero(after != before) + 1])[: len(self._documents)]
