"""Keeps a FAISS cache of a store's vectors: reads it, brings it up to date, searches it, trains it, writes it back."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from latechunk.ann.faiss_ops import is_exact, require_buildable
from latechunk.ann.id_filter import IdFilter
from latechunk.ann.persist import read_cache, write_cache
from latechunk.ann.spec import IndexSpec
from latechunk.ann.tuning import OnStep, train
from latechunk.ann.vector_index import VectorIndex
from latechunk.errors import IndexBusyError, IndexDamagedError, StoreError
from latechunk.storage.directory import hold_write_lock
from latechunk.storage.store import Commit, Store
from latechunk.types import FloatArray, IntArray

_log = logging.getLogger(__name__)

_GROWN = 4  # an index trained for so many times fewer vectors is trained anew: its lists have become that much longer
_DEAD = 0.2
_READ_OUTRIGHT = 200  # to score so many stored vectors takes 1 ms, less than to look for them


@dataclass(frozen=True, slots=True)
class OptimizeReport:
    """What :meth:`SyncedIndex.optimize` made.

    Attributes:
        kind: The FAISS factory string.
        dims: How many numbers of each vector FAISS holds.
        n_vectors: How many vectors.
        n_lists: Number of lists, 0 if it has none.
        n_probes: How many of them are looked into.
        recall: Share of the ten best hits found for stored vectors as queries; 1 for an exact index.
        recall_noisy: The same for queries further away, as questions are.
        seconds: How long it took.
        size_bytes: What the files take.
    """

    kind: str
    dims: int
    n_vectors: int
    n_lists: int
    n_probes: int
    recall: float
    recall_noisy: float
    seconds: float
    size_bytes: int


class SyncedIndex:
    """A store's vectors in FAISS, never trusted beyond what the store confirms. One thread at a time.

    A cache that mirrors an earlier state of this very store is brought up to date: no number is ever used twice, so
    what was removed is of documents that the store no longer has, and what is new has higher numbers. Any other is
    built anew, for exact search; :meth:`write` and :meth:`optimize` alone train.
    """

    def __init__(self, folder: Path, store: Store, dims: int, *, granularity: int, kind: IndexSpec) -> None:
        """Make one of the chunks of one granularity.

        Raises:
            InputError: If FAISS does not build ``kind`` for vectors of ``dims`` numbers.
        """
        require_buildable(kind, dims)
        self._folder = folder
        self._store = store
        self._dims = dims
        self._granularity = granularity
        self._kind = kind
        self._cache: VectorIndex | None = None
        self._written: Commit | None = None
        self._is_from_file = False

    @property
    def is_loaded(self) -> bool:
        """Whether there is anything in memory."""
        return self._cache is not None

    def search(self, query: FloatArray, k: int, documents: IntArray | None = None) -> tuple[list[float], list[int]]:
        """Find the chunks whose vectors have the largest cosine with the query's, within one snapshot of the store.

        Args:
            query: Unit vector, shape ``(dims,)``.
            k: How many hits.
            documents: Numbers of the documents that may be found, ascending; None for all. It is remembered, and must
                not be changed later.

        Returns:
            Exact cosines and chunk numbers, best first, by number on a tie. Always as many as ``k`` or as there are
            chunks of these documents, whichever is less; which they are is certain for a flat index only.

        Raises:
            IndexDamagedError: If the store itself is damaged.
        """
        try:
            return self._search(query, k, documents)
        except IndexDamagedError as error:
            if not self._is_from_file:
                raise
            _log.info("the vector cache is built anew from the store: %s", error)
            self._cache = self._written = None
            self._is_from_file = False
            self._cache = self._fill(VectorIndex.exact(self._dims))
            return self._search(query, k, documents)

    def scores(self, query: FloatArray, numbers: Sequence[int]) -> list[float]:
        """The exact cosines of chunks with a query, in the order given, within one snapshot of the store.

        Raises:
            IndexDamagedError: If there is no chunk of one of these numbers.
        """
        # Row by row, so that equal vectors have equal scores, which a product of matrices does not promise.
        return np.einsum("nd,d->n", self._store.vectors_of(list(numbers), self._dims), query).tolist()  # type: ignore[no-any-return]

    def synced(self) -> VectorIndex:
        """The cache in the state of the store; to be called and used within one snapshot of it."""
        cache = self._known()
        if cache is None:
            cache, self._is_from_file = VectorIndex.exact(self._dims), False
        self._cache = self._fill(cache)
        return self._cache

    def write(self) -> None:
        """Write the cache's files if they are behind, trained anew if due; what fails here costs time and nothing else.

        It is due if the kind wants another index for so many vectors, if there are four times as many as when it was
        trained, or if a fifth of what it holds is dead.
        """
        try:
            self._store.require_in_place()
            with hold_write_lock(self._folder, timeout=0), self._store.snapshot():
                known = self._known()
                is_due = known is None or self._is_outgrown(known)
                cache = self._build(None) if is_due else self.synced()
                if cache.dead_share > _DEAD:
                    cache = self._build(None)
                if cache.commit != self._written:
                    self._write(cache)
        except IndexBusyError:
            _log.info("the vector cache of %s is left to the process that is writing", self._folder)
        except (OSError, StoreError, RuntimeError, MemoryError) as error:
            _log.warning(
                "the vector cache of %s could not be written and is built at the next opening: %s", self._folder, error
            )

    def change_kind(self, kind: IndexSpec) -> None:
        """Let the next training build another kind; what is there goes on until then."""
        self._kind = kind

    def reload(self) -> None:
        """Forget what is in memory, so that the next search reads the files."""
        self._cache, self._is_from_file = None, False

    def vectors_of(self, numbers: Sequence[int]) -> FloatArray:
        """Whole vectors of chunks, in the order given, shape ``(n, dims)``, within one snapshot of the store."""
        return self._store.vectors_of(numbers, self._dims)

    def optimize(self, on_step: OnStep | None = None, *, lock_timeout: float = 0.0) -> OptimizeReport:
        """Build the index anew as the kind wants it for what is stored, trained, without gaps, and write it.

        Others may write to the store meanwhile; what they add is caught up with at the next search.

        Args:
            lock_timeout: Seconds to wait for another writer, when the files are written.
            on_step: Called with "sample", "train", "add" or "tune", and how much of that is done of how much.

        Raises:
            IndexBusyError: If another process is writing.
            StoreError: If the disk does not take it.
        """
        begin = time.monotonic()
        self._store.require_in_place()
        with self._store.snapshot():
            cache = self._build(on_step)
        with hold_write_lock(self._folder, timeout=lock_timeout):
            try:
                size_bytes = self._write(cache)
            except OSError as error:
                raise StoreError(f"the vector cache of {self._folder} could not be written: {error}") from error
        return OptimizeReport(
            kind=cache.recipe.factory,
            dims=cache.recipe.dims,
            n_vectors=len(cache),
            n_lists=cache.recipe.n_lists,
            n_probes=cache.effort.n_probes,
            recall=cache.tuning.recall if cache.tuning else 1.0,
            recall_noisy=cache.tuning.recall_noisy if cache.tuning else 1.0,
            seconds=time.monotonic() - begin,
            size_bytes=size_bytes,
        )

    def _search(self, query: FloatArray, k: int, documents: IntArray | None) -> tuple[list[float], list[int]]:
        cache = self.synced()
        selection = cache.select(documents)
        k = min(k, selection.n)
        if k == 0:
            return [], []
        n = cache.effort.n_candidates(k)
        numbers = cache.find(query, selection.n if selection.n <= max(n, _READ_OUTRIGHT) else n, selection)
        if len(numbers) < k:
            return self._search_store(query, k, cache, selection)
        return _best(np.array(self.scores(query, numbers.tolist())), numbers, k)

    def _search_store(
        self, query: FloatArray, k: int, cache: VectorIndex, selection: IdFilter
    ) -> tuple[list[float], list[int]]:
        """Compare the query with all allowed vectors of the store, where an index gives fewer hits than there are."""
        allowed = cache.numbers[selection.positions]
        scores, numbers = np.empty(0), np.empty(0, dtype=np.int64)
        for block, _, vectors in self._store.vectors(self._dims, after=0, granularity=self._granularity):
            is_allowed = np.isin(block, allowed)
            scores = np.concatenate([scores, np.einsum("nd,d->n", vectors[is_allowed], query)])
            numbers = np.concatenate([numbers, block[is_allowed]])
            order = np.lexsort((numbers, -scores))[:k]
            scores, numbers = scores[order], numbers[order]
        return scores.tolist(), numbers.tolist()

    def _known(self) -> VectorIndex | None:
        """What is in memory or in the file, if it mirrors this store as it is or was."""
        if self._cache is None:
            self._cache = self._read()
        if self._cache is None or self._cache.commit is None or not self._store.has_commit(self._cache.commit):
            return None
        return self._cache

    def _read(self) -> VectorIndex | None:
        try:
            cache = read_cache(self._folder, self._granularity, self._dims, self._kind)
        except IndexDamagedError as error:
            _log.info("the vector cache is built anew from the store: %s", error)
            return None
        self._written = cache.commit
        self._is_from_file = True
        return cache

    def _fill(self, cache: VectorIndex) -> VectorIndex:
        """Bring a cache up to date."""
        commit = self._store.last_commit()
        if cache.commit == commit:
            return cache
        if cache.commit is not None and cache.commit.n_removed != commit.n_removed:
            cache.keep(self._store.document_numbers())
        cache.commit = None  # until it is whole again
        for block, documents, vectors in self._store.vectors(
            self._dims, after=cache.newest, granularity=self._granularity
        ):
            cache.add(block, documents, vectors)
        cache.commit = commit
        return cache

    def _is_outgrown(self, cache: VectorIndex) -> bool:
        """Whether the kind wants another index by now, or a new one, for as many vectors as there are."""
        is_current = cache.commit == self._store.last_commit()
        n = len(cache) if is_current else self._store.count_vectors(self._granularity)
        wants_exact = is_exact(self._kind.recipe(n, self._dims), self._dims)
        if cache.tuning is None:
            return not wants_exact
        # Not back and forth where the number of vectors is about that from which on an index is trained.
        is_too_small = is_exact(self._kind.recipe(2 * n, self._dims), self._dims)
        return is_too_small or n >= _GROWN * cache.tuning.n_trained

    def _build(self, on_step: OnStep | None) -> VectorIndex:
        recipe = self._kind.recipe(self._store.count_vectors(self._granularity), self._dims)
        self._cache = self._written = None  # its memory is wanted
        self._is_from_file = False
        if is_exact(recipe, self._dims):
            cache = self._fill(VectorIndex.exact(self._dims))
        else:
            cache = train(self._store, self._dims, recipe, granularity=self._granularity, on_step=on_step)
            cache.commit = self._store.last_commit()
        self._cache = cache
        return cache

    def _write(self, cache: VectorIndex) -> int:
        n_bytes = write_cache(cache, self._folder, self._granularity, self._kind)
        self._written = cache.commit
        return n_bytes


def _best(scores: FloatArray, numbers: IntArray, k: int) -> tuple[list[float], list[int]]:
    order = np.lexsort((numbers, -scores))[:k]
    return scores[order].tolist(), numbers[order].tolist()
