"""The store's vectors in a FAISS index: add, remove, find the nearest among those allowed."""

from __future__ import annotations

from dataclasses import dataclass

import faiss
import numpy as np

from latechunk.ann.faiss_ops import SearchParams, add, build, can_renumber, lists_of, nearest, remove
from latechunk.ann.id_filter import IdFilter, IdFilters
from latechunk.ann.spec import EXACT, FaissSpec
from latechunk.errors import IndexDamagedError
from latechunk.storage.store import Commit
from latechunk.types import BoolArray, FloatArray, IntArray


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

    Threads may search it together; whoever adds, removes or settles must be alone with it. What was added or removed
    is to be settled before the next search.

    Attributes:
        spec: What FAISS was asked to build.
        index: The FAISS index; empty if its specification needs training that it did not have.
        params: How hard to search.
        tuning: What was learnt at training, None for an exact index.
        commit: The state of the store that it holds, None for none.
        numbers: The chunk number of each position, ascending, the dead ones' too.
        documents: The number of the document of each position.
        alive: Whether each position still holds a chunk.
        filters: Select positions by their documents.
    """

    def __init__(self, spec: FaissSpec, index: faiss.Index | None = None) -> None:
        self.spec = spec
        self.index = build(spec) if index is None else index
        self.params = SearchParams()
        self.tuning: Tuning | None = None
        self.commit: Commit | None = None
        self.numbers: IntArray = np.empty(0, dtype=np.int64)
        self.documents: IntArray = np.empty(0, dtype=np.int64)
        self.alive: BoolArray = np.empty(0, dtype=np.bool_)
        self._new: list[tuple[IntArray, IntArray]] = []
        self._n_positions = 0
        self.settle()

    @classmethod
    def exact(cls, dims: int) -> VectorIndex:
        """An empty cache that is searched exactly."""
        return cls(FaissSpec(EXACT, dims))

    def __len__(self) -> int:
        return int(np.count_nonzero(self.alive))

    @property
    def dead_share(self) -> float:
        """Which part of the positions holds nothing any more."""
        return 1.0 - len(self) / max(1, len(self.numbers))

    def add(self, numbers: IntArray, documents: IntArray, vectors: FloatArray) -> None:
        """Add chunks: ascending numbers above all that are held, their documents, vectors of shape ``(n, dims)``."""
        add(self.index, self._n_positions, first_pass(vectors, self.spec.dims))
        self._new.append((numbers, documents))
        self._n_positions += len(numbers)

    def fill(self, numbers: IntArray, documents: IntArray, alive: BoolArray) -> None:
        """Say what the positions of the index hold that was read from a file."""
        self.numbers, self.documents, self.alive = numbers, documents, alive
        self._n_positions = len(numbers)
        self.settle()

    def keep(self, documents: IntArray) -> None:
        """Remove the chunks of all documents but these."""
        gone = self.alive & ~np.isin(self.documents, documents)
        if not gone.any():
            return
        remove(self.index, np.flatnonzero(gone))
        if can_renumber(self.index):
            self.fill(self.numbers[~gone], self.documents[~gone], self.alive[~gone])
        else:
            self.fill(self.numbers, self.documents, self.alive & ~gone)

    def settle(self) -> None:
        """Make ready for searches, which then only read."""
        if self._new:
            numbers, documents = zip(*self._new, strict=True)
            self._new = []
            self.numbers = np.concatenate([self.numbers, *numbers])
            self.documents = np.concatenate([self.documents, *documents])
            self.alive = np.concatenate([self.alive, np.ones(len(self.numbers) - len(self.alive), dtype=np.bool_)])
        self.filters = IdFilters(self.documents, self.alive, lambda: lists_of(self.index, self._n_positions))

    def find(self, query: FloatArray, n: int, allowed: IdFilter) -> IntArray:
        """The numbers of the nearest chunks among those that ``filters`` allowed, best first.

        The query is the whole vector. They are fewer than ``min(n, allowed.n)`` only if the index is damaged.
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


def first_pass(vectors: FloatArray, dims: int) -> FloatArray:
    """The first ``dims`` numbers of each vector, made unit length again; the vectors themselves if that is all."""
    if vectors.shape[1] == dims:
        return np.ascontiguousarray(vectors, dtype=np.float32)
    head = np.array(vectors[:, :dims], dtype=np.float32)
    # A vector may have nothing but zeros in front; it then stays zero.
    return np.asarray(head / np.maximum(np.linalg.norm(head, axis=1, keepdims=True), 1e-12), dtype=np.float32)
