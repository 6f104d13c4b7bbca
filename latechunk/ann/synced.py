"""Keep a FAISS index in step with the store: read it, catch up, let threads search it, train it, write it."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from latechunk.ann.faiss_ops import require_buildable
from latechunk.ann.persist import file_names, read_cache, read_label, write_cache
from latechunk.ann.read_write_lock import ReadWriteLock
from latechunk.ann.reader import VectorReader
from latechunk.ann.spec import IndexSpec
from latechunk.ann.tuning import train
from latechunk.ann.vector_index import VectorIndex
from latechunk.errors import IndexBusyError, IndexDamagedError, StoreError
from latechunk.storage.directory import hold_write_lock
from latechunk.storage.store import Commit, Store

_log = logging.getLogger(__name__)

_GROWN = 4  # an index trained for so many times fewer vectors is trained again: its lists are that much longer by now
_DEAD = 0.2


@dataclass(frozen=True, slots=True)
class OptimizeReport:
    """What ``SyncedIndex.optimize`` made.

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
    """The store's vectors of one granularity in FAISS: a cache, never trusted beyond what the store confirms.

    Searching brings it up to date and never trains: until ``optimize`` or ``update`` does, any number of
    vectors is searched exactly. Threads may share it.

    How searches stay right while the store changes: a search must see FAISS and SQLite in the same state, and FAISS
    has only one. So a search holds the lock together with other searches, opens a snapshot of the store, and looks
    whether FAISS is in that very state; while the lock is shared nobody moves FAISS on, and the snapshot stays where
    it is. If FAISS is behind, the search lets go and comes back alone: it opens a new snapshot, brings FAISS to it,
    and searches before it lets others in. So the first search after a commit is alone for its time, and all others
    run side by side. The lock comes before the snapshot, never after it: whoever waited for the lock with a snapshot
    open would find FAISS ahead of it, and there is no way back.
    """

    def __init__(self, folder: Path, store: Store, dims: int, *, granularity: int, spec: IndexSpec) -> None:
        """Make one of the chunks of one granularity.

        Raises:
            InputError: If FAISS does not build ``spec`` for vectors of ``dims`` numbers.
        """
        require_buildable(spec, dims)
        self._folder = folder
        self._store = store
        self._dims = dims
        self._granularity = granularity
        self._spec = spec
        self._lock = ReadWriteLock()
        self.alone = self._lock.exclusive  # within this nobody searches
        self._cache: VectorIndex | None = None
        self._written: Commit | None = None

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[VectorReader]:
        """Within this the store is read in one state, and FAISS is in the same one.

        Raises:
            IndexDamagedError: If the store itself is damaged.
        """
        with self._lock.shared(), self._store.snapshot():
            cache = self._cache
            if cache is not None and cache.commit == self._store.last_commit():
                yield VectorReader(cache, self._store, self._dims)
                return
        with self._lock.exclusive(), self._store.snapshot():
            yield VectorReader(self._sync(), self._store, self._dims)

    def write(self) -> None:
        """Write what is in memory if the files are behind it; builds, trains and catches up with nothing.

        An exact index that only stands in for one that has yet to be trained is not written, nor one of a kind that
        another process has changed. What fails here is logged: it costs the next opening some time, and nothing else.
        To be called within ``alone``.
        """
        cache = self._cache
        if cache is None or cache.commit is None or cache.commit == self._written:
            return
        if cache.spec.is_exact(self._dims) and not self._wants_exact(len(cache)):
            return
        try:
            self._store.require_in_place()
            with hold_write_lock(self._folder, timeout=0):
                if self._is_of_recorded_kind() and not self._is_newer_on_disk(cache.commit):
                    self._write(cache)
        except IndexBusyError:
            _log.info("the vector cache of %s is left to the process that is writing", self._folder)
        except (OSError, StoreError, MemoryError) as error:
            _log.warning(
                "the vector cache of %s could not be written and is built at the next opening: %s", self._folder, error
            )

    def change_spec(self, spec: IndexSpec) -> None:
        """Let the next training build another index; what is there goes on until then."""
        self._spec = spec

    def reload(self) -> None:
        """Forget what is in memory, so that the next search reads the files; within ``alone``."""
        self._cache = None

    def optimize(
        self, on_step: Callable[[str, int, int], None] | None = None, *, lock_timeout: float = 0.0
    ) -> OptimizeReport:
        """Build the index as is wanted for what is stored, trained and without gaps, and write it.

        Others may write to the store meanwhile; what they add is caught up with at the next search.

        Args:
            on_step: Called with "sample", "train", "add" or "tune", and how much of that is done of how much.
            lock_timeout: Seconds to wait for another writer, when the files are written.

        Raises:
            IndexBusyError: If another process is writing.
            StoreError: If the disk does not take it.
        """
        begin = time.monotonic()
        self._store.require_in_place()
        with self._lock.exclusive():
            with self._store.snapshot():
                cache = self._build(on_step)
            size_bytes = self._write_or_raise(cache, lock_timeout)
        return OptimizeReport(
            kind=cache.spec.factory,
            dims=cache.spec.dims,
            n_vectors=len(cache),
            n_lists=cache.spec.n_lists,
            n_probes=cache.params.n_probes,
            recall=cache.tuning.recall if cache.tuning else 1.0,
            recall_noisy=cache.tuning.recall_noisy if cache.tuning else 1.0,
            seconds=time.monotonic() - begin,
            size_bytes=size_bytes,
        )

    def update(
        self, on_step: Callable[[str, int, int], None] | None = None, *, lock_timeout: float = 0.0
    ) -> OptimizeReport | None:
        """Write the files as the store is now, trained if that is due.

        It is due if another index is wanted for so many vectors, if there are four times as many as when it was
        trained, or if a fifth of what it holds is dead. Arguments and errors are those of ``optimize``.

        Returns:
            What was trained; None if nothing was due.
        """
        self._store.require_in_place()
        with self._lock.exclusive():
            with self._store.snapshot():
                cache = None if self._is_outgrown() else self._sync()
            if cache is not None and cache.dead_share <= _DEAD:
                if cache.commit != self._written:
                    self._write_or_raise(cache, lock_timeout)
                return None
        return self.optimize(on_step, lock_timeout=lock_timeout)

    def _sync(self) -> VectorIndex:
        """The index in the state of the store, within a snapshot of it and alone."""
        cache = self._known()
        if cache is None:
            cache = VectorIndex.exact(self._dims)
        self._cache = cache  # kept even if catching up fails: its commit is then None
        self._catch_up(cache)
        return cache

    def _known(self) -> VectorIndex | None:
        """What is in memory or in the files, if it holds this store as it is or once was."""
        if self._cache is None or self._cache.commit is None:
            self._cache = self._read()
        if self._cache is None or self._cache.commit is None or not self._store.has_commit(self._cache.commit):
            return None
        return self._cache

    def _read(self) -> VectorIndex | None:
        try:
            cache = read_cache(self._folder, self._granularity, self._dims, self._spec)
        except IndexDamagedError as error:
            if any((self._folder / name).exists() for name in file_names(self._granularity)):  # a new index has none
                _log.info("the vector cache is rebuilt from the store: %s", error)
            return None
        self._written = cache.commit
        return cache

    def _catch_up(self, cache: VectorIndex) -> None:
        """Bring an index from an earlier state of the store to the present one.

        Chunk numbers are never used twice: positions of documents that the store no longer has were deleted, and
        numbers above the highest one held are new. There is nothing else that can have changed.
        """
        commit = self._store.last_commit()
        known = cache.commit
        if known != commit:
            cache.commit = None  # half a change must not be taken for a state, should this be interrupted
            if known is not None and known.n_removed != commit.n_removed:
                cache.keep(self._store.document_numbers())
            newest = int(cache.numbers[-1]) if len(cache.numbers) else 0
            for numbers, documents, vectors in self._store.vectors(
                self._dims, after=newest, granularity=self._granularity
            ):
                cache.add(numbers, documents, vectors)
            cache.settle()
            cache.commit = commit

    def _is_outgrown(self) -> bool:
        """Whether another index is wanted by now, or a newly trained one, for as many vectors as there are."""
        known = self._known()
        n = self._store.count_vectors(self._granularity)
        if known is None or known.tuning is None:
            return not self._wants_exact(n)
        # Not back and forth where the number of vectors is about that from which on an index is trained.
        return self._wants_exact(2 * n) or n >= _GROWN * known.tuning.n_trained

    def _wants_exact(self, n: int) -> bool:
        """Whether so many vectors are to be searched exactly."""
        return self._spec.faiss_spec(n, self._dims).is_exact(self._dims)

    def _is_of_recorded_kind(self) -> bool:
        """Whether no other process has optimised the index for another kind meanwhile."""
        recorded = self._store.settings().get("search", {})
        return all(recorded.get(name, own) == own for name, own in self._spec.settings.items())

    def _is_newer_on_disk(self, commit: Commit) -> bool:
        """Whether another process has written a later state of this store, or trained at this very one."""
        try:
            written = read_label(self._folder, self._granularity).commit
        except IndexDamagedError:
            return False
        return written.number >= commit.number and self._store.has_commit(written)

    def _build(self, on_step: Callable[[str, int, int], None] | None) -> VectorIndex:
        spec = self._spec.faiss_spec(self._store.count_vectors(self._granularity), self._dims)
        self._cache = self._written = None  # its memory is wanted
        if spec.is_exact(self._dims):
            cache = VectorIndex.exact(self._dims)
            self._catch_up(cache)
        else:
            cache = train(self._store, self._dims, spec, granularity=self._granularity, on_step=on_step)
            cache.settle()
            cache.commit = self._store.last_commit()
        self._cache = cache
        return cache

    def _write_or_raise(self, cache: VectorIndex, lock_timeout: float) -> int:
        with hold_write_lock(self._folder, timeout=lock_timeout):
            try:
                return self._write(cache)
            except OSError as error:
                raise StoreError(f"the vector cache of {self._folder} could not be written: {error}") from error

    def _write(self, cache: VectorIndex) -> int:
        n_bytes = write_cache(cache, self._folder, self._granularity, self._spec)
        self._written = cache.commit
        return n_bytes
