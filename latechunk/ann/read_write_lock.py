"""A lock that many readers hold together, or one writer alone."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from latechunk.threads import forget_in_child


class ReadWriteLock:
    """Readers share it, a writer has it alone. Neither side may take it again while holding it.

    Examples:
        >>> lock = ReadWriteLock()
        >>> with lock.shared():
        ...     pass  # other threads may be here as well
        >>> with lock.exclusive():
        ...     pass  # nobody else is in either block
    """

    # An interrupt, as of Ctrl-C, comes at a call. So ``with`` takes the bare lock, whose end is no Python function, and
    # there is no call between a change of a count and the note that it was made here.

    def __init__(self) -> None:
        forget_in_child(self)

    def forget(self) -> None:
        """Be free, as in a process just forked, where those who hold it are not."""
        self._guard = threading.Lock()
        self._changed = threading.Condition(self._guard)
        self._n_readers = 0
        self._n_waiting = 0
        self._is_written = False

    @contextlib.contextmanager
    def shared(self) -> Iterator[None]:
        """Hold it together with other readers."""
        is_held = False
        try:
            with self._guard:
                # A reader that comes while a writer waits stands back, or steady searching would keep the writer out
                # for good. This is why a reader must not take the lock twice: it would wait for a writer that waits
                # for it.
                self._changed.wait_for(lambda: not self._is_written and not self._n_waiting)
                self._n_readers += 1
                is_held = True
            yield
        finally:
            if is_held:
                with self._guard:
                    self._n_readers -= 1
                    self._changed.notify_all()

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold it alone, when all who hold it now have left."""
        is_held = False
        try:
            with self._guard:
                self._n_waiting += 1
                try:
                    self._changed.wait_for(lambda: not self._is_written and not self._n_readers)
                    self._is_written = is_held = True
                finally:
                    self._n_waiting -= 1
                    self._changed.notify_all()
            yield
        finally:
            if is_held:
                with self._guard:
                    self._is_written = False
                    self._changed.notify_all()
