"""Keeps a FAISS cache of a store's vectors: reads it, brings it up to date, writes it back."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from latechunk.errors import IndexBusyError, IndexDamagedError, StoreError
from latechunk.folder import hold_write_lock
from latechunk.store import Commit, Store
from latechunk.vectors import VectorCache

_log = logging.getLogger(__name__)


class Mirror:
    """A store's vectors in FAISS, never trusted beyond what the store confirms. One thread at a time.

    A cache that mirrors an earlier state of this very store is brought up to date: chunk numbers are never used twice,
    so what was removed is what the store no longer has, and what is new has higher numbers. Any other is built anew.
    """

    def __init__(self, folder: Path, store: Store, dims: int) -> None:
        self._folder = folder
        self._store = store
        self._dims = dims
        self._cache: VectorCache | None = None
        self._written: Commit | None = None

    @property
    def is_loaded(self) -> bool:
        """Whether there is anything in memory."""
        return self._cache is not None

    def synced(self) -> VectorCache:
        """The cache in the state of the store; to be called and used within one snapshot of it."""
        if self._cache is None:
            self._cache = self._read()
        commit = self._store.last_commit()
        if self._cache.commit == commit:
            return self._cache
        if self._cache.commit is None or not self._store.has_commit(self._cache.commit):
            self._cache = VectorCache(self._dims)
        elif self._cache.commit.n_removed != commit.n_removed:
            gone = np.setdiff1d(self._cache.numbers(), self._store.chunk_numbers(), assume_unique=True)
            self._cache.remove(gone)
        self._cache.commit = None  # until it is whole again
        numbers = self._cache.numbers()
        newest = int(numbers.max()) if len(numbers) else 0
        for block, vectors in self._store.vectors(self._dims, after=newest):
            self._cache.add(block, vectors)
        self._cache.commit = commit
        return self._cache

    def write(self) -> None:
        """Write the cache's file if it is behind; what fails here costs the next opening time and nothing else."""
        try:
            self._store.require_in_place()
            with hold_write_lock(self._folder, timeout=0), self._store.snapshot():
                cache = self.synced()
                if cache.commit != self._written:
                    cache.write(self._folder)
                    self._written = cache.commit
        except IndexBusyError:
            _log.info("the vector cache of %s is left to the process that is writing", self._folder)
        except (OSError, StoreError) as error:
            _log.warning(
                "the vector cache of %s could not be written and is built at the next opening: %s", self._folder, error
            )

    def _read(self) -> VectorCache:
        try:
            cache = VectorCache.read(self._folder, self._dims)
        except IndexDamagedError as error:
            _log.info("the vector cache is built anew from the store: %s", error)
            return VectorCache(self._dims)
        self._written = cache.commit
        return cache
