"""Search the vectors of one granularity, in one state of the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from latechunk.ann.vector_index import VectorIndex
from latechunk.errors import IndexDamagedError
from latechunk.storage.store import Store
from latechunk.types import FloatArray, IntArray

_SCORED_OUTRIGHT = 200  # to score so many vectors takes less than to look for the best of them
_ROUNDING = 1e-5  # more than two scores of the same pair of unit vectors differ, by any order of summation (3e-7 seen)


@dataclass(frozen=True, slots=True)
class VectorReader:
    """Vectors in FAISS and in the store, both in the same state; valid within ``SyncedIndex.snapshot``."""

    index: VectorIndex
    store: Store
    dims: int

    def search(self, query: FloatArray, k: int, documents: IntArray | None = None) -> tuple[list[float], list[int]]:
        """Find the chunks whose vectors have the largest cosine with the query's.

        Args:
            query: Unit vector, shape ``(dims,)``.
            k: How many hits.
            documents: Numbers of the documents that may be found, ascending; None for all. It is remembered, and must
                not be changed later.

        Returns:
            Exact cosines and chunk numbers, best first, by number on a tie. Always as many as ``k`` or as there are
            chunks of these documents, whichever is less. Which they are is certain for an index that holds the whole
            vectors; there the hits for ``k`` are the first of those for any larger ``k``.

        Raises:
            IndexDamagedError: If the FAISS index holds less than it should.
        """
        allowed = self.index.filters.of(documents)
        k = min(k, allowed.n)
        n = allowed.n if allowed.n <= _SCORED_OUTRIGHT else self.index.params.n_candidates(k)
        while k:
            numbers = self.index.find(query, n, allowed)
            if len(numbers) < k:
                raise IndexDamagedError("the FAISS index holds less than the store: delete the vectors* files")
            scores = np.array(self.scores(query, numbers.tolist()))
            order = np.lexsort((numbers, -scores))
            # FAISS sums in another order than `scores`, so its n best may lack some that tie with the k-th, or come
            # before it by a rounding error. None is missing if the worst of the n is worse by more than that.
            is_certain = len(numbers) >= allowed.n or scores[order[k - 1]] - scores[order[-1]] > _ROUNDING
            if is_certain or not self.index.spec.is_exact(self.dims):
                return scores[order[:k]].tolist(), numbers[order[:k]].tolist()
            n *= 4
        return [], []

    def scores(self, query: FloatArray, numbers: Sequence[int]) -> list[float]:
        """The exact cosines of chunks with a query, in the order given.

        Raises:
            IndexDamagedError: If there is no chunk of one of these numbers.
        """
        # Row by row, so that equal vectors have equal scores, which a product of matrices does not promise.
        return np.einsum("nd,d->n", self.vectors_of(numbers), query).tolist()  # type: ignore[no-any-return]

    def vectors_of(self, numbers: Sequence[int]) -> FloatArray:
        """Whole vectors of chunks, in the order given, shape ``(n, dims)``.

        Raises:
            IndexDamagedError: If there is no chunk of one of these numbers.
        """
        if self.index.spec.is_exact(self.dims):
            return self.index.vectors_of(np.asarray(numbers, dtype=np.int64))
        return self.store.vectors_of(numbers, self.dims)
