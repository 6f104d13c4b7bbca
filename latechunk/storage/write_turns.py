"""Turns to change an index: one thread of one process at a time."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

from latechunk.errors import IndexBusyError, IndexReadOnlyError, InputError
from latechunk.storage.directory import hold_write_lock
from latechunk.storage.store import Store
from latechunk.threads import forget_in_child


class WriteTurns:
    """Lets the threads of this process, and this process among others, change an index in turn."""

    def __init__(self, store: Store, folder: Path, timeout: float) -> None:
        """``timeout`` says how many seconds to wait for others to finish."""
        self.timeout = timeout
        self.were_taken = False
        self._store = store
        self._folder = folder
        forget_in_child(self)

    def forget(self) -> None:
        """Have nobody change the index, as in a process just forked."""
        self._guard = threading.Lock()
        self._left = threading.Condition(self._guard)
        self._holder: int | None = None  # the thread that changes the index
        self._waiting: dict[int, None] = {}  # those that want to, in the order in which they came

    def require_writable(self) -> None:
        """Raise a ``StoreError`` if the index is closed, an ``IndexReadOnlyError`` if it is open for reading only."""
        self._store.require_open()
        if self._store.read_only:
            raise IndexReadOnlyError(
                f"{self._folder} is open for reading only; open it with read_only=False to change it"
            )

    @contextlib.contextmanager
    def take(self) -> Iterator[None]:
        """Within this nobody else changes the index.

        Raises:
            StoreError: If it is closed, or no longer at its place.
            IndexReadOnlyError: If it is open for reading only.
            IndexBusyError: If others do not finish in time.
            InputError: If this thread is changing it already.
        """
        self.require_writable()
        own = threading.get_ident()
        if self._holder == own:
            raise InputError(
                "an index cannot be changed from within a change of it, such as from on_error or the stream"
            )
        try:
            # An interrupt comes at a call, and there is none between this thread's becoming the holder and the end of
            # the bare lock's block.
            with self._guard:
                self._waiting[own] = None
                try:
                    is_next = self._left.wait_for(lambda: self._is_next(own), self.timeout)
                finally:
                    self._waiting.pop(own, None)
                    self._left.notify_all()
                if not is_next:
                    raise IndexBusyError(
                        f"{self._folder} is being written by another thread; waited {self.timeout:g} s (lock_timeout). "
                        f"Searching goes on meanwhile; try the change again when it is done, or open the index with a "
                        f"longer lock_timeout"
                    )
                self._holder = own
            self._store.require_in_place()
            with hold_write_lock(self._folder, self.timeout):
                self.were_taken = True
                yield
        finally:
            if self._holder == own:
                with self._guard:
                    self._holder = None
                    self._left.notify_all()

    def _is_next(self, thread: int) -> bool:
        return self._holder is None and next(iter(self._waiting)) == thread
