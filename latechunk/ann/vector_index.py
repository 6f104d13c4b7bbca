"""The store's vectors in a FAISS index: add, remove, find the nearest among those allowed."""

from __future__ import annotations

from dataclasses import dataclass

import faiss
import numpy as np

from latechunk.ann.faiss_ops import SearchParams, add, build, can_renumber, is_exact, lists_of, nearest, remove
from latechunk.ann.id_filter import BoolArray, IdFilter, IdFilters
from latechunk.ann.spec import EXACT, FaissSpec
from latechunk.errors import IndexDamagedError
from latechunk.storage.store import Commit
from latechunk.types import FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class Tuning:
    """What was learnt when an index was trained.

    Attributes:
        n_trained: How many vectors it held then.
        recall: Share of the ten best hits found, with stored vectors as queries.
        recall_noisy: The same with queries that lie further from any stored vector.
    """

    n_trained: int
    recall: float
    recall_noisy: float


class VectorIndex:
    """Unit vectors in a FAISS index, under positions 0, 1, 2 and so on.

    Threads may search it together; whoever adds, removes or settles must be alone with it.

    Attributes:
        spec: What FAISS was asked to build.
        index: The FAISS index; empty if its specification needs training that it did not have.
        params: How hard to search.
        tuning: What was learnt at training, None for an exact index.
        commit: The state of the store that it holds, None for none.
    """

    def __init__(self, spec: FaissSpec, index: faiss.Index | None = None) -> None:
        self.spec = spec
        self.index = build(spec) if index is None else index
        self.params = SearchParams()
        self.tuning: Tuning | None = None
        self.commit: Commit | None = None
        self._numbers: IntArray = np.empty(0, dtype=np.int64)
        self._documents: IntArray = np.empty(0, dtype=np.int64)
        self._alive: BoolArray = np.empty(0, dtype=np.bool_)
        self._n_positions = 0
        self._new: list[tuple[IntArray, IntArray]] = []
        self._filters: IdFilters | None = None

    @classmethod
    def exact(cls, dims: int) -> VectorIndex:
        """An empty cache that is searched exactly."""
        return cls(FaissSpec(EXACT, dims))

    def __len__(self) -> int:
        return int(np.count_nonzero(self.alive))

    @property
    def numbers(self) -> IntArray:
        """The chunk number of each position, ascending, the dead ones' too."""
        self._settle()
        return self._numbers

    @property
    def documents(self) -> IntArray:
        """The number of the document of each position."""
        self._settle()
        return self._documents

    @property
    def alive(self) -> BoolArray:
        """Whether each position still holds a chunk."""
        self._settle()
        return self._alive

    @property
    def newest(self) -> int:
        """The highest chunk number held, 0 for none."""
        return int(self.numbers[-1]) if len(self.numbers) else 0

    @property
    def dead_share(self) -> float:
        """Which part of the positions holds nothing any more."""
        return 1.0 - len(self) / max(1, len(self.numbers))

    def is_exact(self, dims: int) -> bool:
        """Whether vectors of ``dims`` numbers are held whole."""
        return is_exact(self.spec, dims)

    def add(self, numbers: IntArray, documents: IntArray, vectors: FloatArray) -> None:
        """Add chunks: ascending numbers above all that are held, their documents, vectors of shape ``(n, dims)``."""
        add(self.index, self._n_positions, first_pass(vectors, self.spec.dims))
        self._new.append((numbers, documents))
        self._n_positions += len(numbers)
        self._filters = None

    def fill(self, numbers: IntArray, documents: IntArray, alive: BoolArray) -> None:
        """Say what the positions of the index hold that was read from a file."""
        self._numbers, self._documents, self._alive = numbers, documents, alive
        self._n_positions = len(numbers)
        self._filters = None

    def keep(self, documents: IntArray) -> None:
        """Remove the chunks of all documents but these."""
        gone = self.alive & ~np.isin(self.documents, documents)
        if not gone.any():
            return
        remove(self.index, np.flatnonzero(gone))
        if can_renumber(self.index):
            self.fill(self._numbers[~gone], self._documents[~gone], self._alive[~gone])
        else:
            self.fill(self._numbers, self._documents, self._alive & ~gone)

    def settle(self) -> None:
        """Finish what searches would otherwise each finish for themselves, so that they only read."""
        self.select(None)

    def select(self, documents: IntArray | None) -> IdFilter:
        """The positions of the chunks of these documents, of all for None."""
        if self._filters is None:
            self._filters = IdFilters(self.documents, self.alive, lambda: lists_of(self.index, self._n_positions))
        return self._filters.of(documents)

    def find(self, query: FloatArray, n: int, allowed: IdFilter) -> IntArray:
        """The numbers of the nearest chunks among those selected.

        Args:
            query: The whole vector, shape ``(dims,)``.
            n: How many.
            allowed: From ``select``.

        Returns:
            Chunk numbers, best first; fewer than ``min(n, allowed.n)`` only if the index is damaged.
        """
        n = min(n, allowed.n)
        if n == 0:
            return np.empty(0, dtype=np.int64)
        if n == allowed.n:
            return self.numbers[allowed.positions]
        row = first_pass(query.reshape(1, -1), self.spec.dims)[0]
        return self.numbers[nearest(self.index, row, n, self.params, allowed)]

    def vectors_of(self, numbers: IntArray) -> FloatArray:
        """Whole vectors of chunks from FAISS's own memory, in the order given; of an exact index only.

        Raises:
            IndexDamagedError: If a number is not held.
        """
        places = np.minimum(np.searchsorted(self.numbers, numbers), max(len(self.numbers) - 1, 0))
        if len(numbers) and not (len(self.numbers) and np.array_equal(self.numbers[places], numbers)):
            raise IndexDamagedError("a chunk has no vector; `latechunk verify` says what is wrong")
        held: FloatArray = faiss.rev_swig_ptr(self.index.get_xb(), self._n_positions * self.spec.dims)
        return held.reshape(self._n_positions, self.spec.dims)[places]

    def _settle(self) -> None:
        if self._new:
            numbers, documents = zip(*self._new, strict=True)
            self._new = []
            self._numbers = np.concatenate([self._numbers, *numbers])
            self._documents = np.concatenate([self._documents, *documents])
            self._alive = np.concatenate([self._alive, np.ones(len(self._numbers) - len(self._alive), dtype=np.bool_)])


def first_pass(vectors: FloatArray, dims: int) -> FloatArray:
    """The first ``dims`` numbers of each vector, made unit length again; the vectors themselves if that is all."""
    if vectors.shape[1] == dims:
        return np.ascontiguousarray(vectors, dtype=np.float32)
    head = np.array(vectors[:, :dims], dtype=np.float32)
    # A vector may have nothing but zeros in front; it then stays zero.
    return np.asarray(head / np.maximum(np.linalg.norm(head, axis=1, keepdims=True), 1e-12), dtype=np.float32)
