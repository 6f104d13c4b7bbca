"""Connections to one SQLite file: one that writes, and one that reads for each thread that is reading."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

from latechunk.errors import IndexReadOnlyError, StoreError
from latechunk.storage.connection import connect, reading_mode, transaction, translated

# Reading connections that are kept open while nobody reads. Each holds up to 2 MB of cached pages; to open another
# takes a third of a millisecond.
_MOST_IDLE = 8
_PATIENCE = 10.0  # seconds to wait for one that others read with, where no more can be opened
_FORK_PATIENCE = 5.0  # seconds that a fork waits for what reads and writes; a long change takes more
_MOST_LOG = 2**26  # bytes of the write-ahead log that are left when a larger one has been written back


class ConnectionPool:
    """Lends connections to threads. Safe to use from several threads.

    SQLite allows one statement at a time on a connection, so threads that share one connection wait for each other.
    Here each thread borrows a connection of its own for as long as its outermost ``snapshot`` lasts, and gives it
    back afterwards, so that a thread that ends leaves nothing open. In WAL mode readers wait neither for each other
    nor for the writer. Writing goes over one connection under a lock, as SQLite allows one writer at a time anyway.

    A connection must not live through a fork: the child would go on with the parent's locks, which the system does not
    hand on, and what it writes would be lost when the parent closes the file. So a fork waits until no thread uses one
    and closes them, and each process opens its own when it needs one. SQLite keeps the locks of a file for the whole
    process: where a thread is not done in time, the child cannot use the file at all.
    """

    def __init__(self, path: Path, *, read_only: bool) -> None:
        """Open one connection that reads and, unless read-only, the one that writes."""
        self.read_only = read_only
        self._path = path
        self._mode = "rw"
        self._identity: tuple[int, ...] | None = None
        self._is_closed = False
        self._start()
        self._n_lent = 1  # what is opened here, for which a fork waits
        with _listing:
            _OPEN.add(self)
        try:
            self._open()
        except BaseException:
            self.close()
            raise
        finally:
            self._note_return()

    def _start(self) -> None:
        """Have no connection, and no thread that uses one."""
        # Protects the next attributes; its own thread may take it again, as Python closes what nobody refers to at
        # any time, also between ``pause`` and ``resume``.
        self._guard = threading.RLock()
        self._idle: list[sqlite3.Connection] = []
        self._n_lent = 0  # with those that are being opened and closed
        self._given_back = threading.Condition(self._guard)
        self._is_paused = False
        self._is_used = True  # but for the time between a ``pause`` that came to its end and ``resume``
        self._held: list[threading.RLock] = []  # by a thread that forks
        self._write_lock = threading.RLock()
        self._of_thread = threading.local()  # has ``connection`` while its thread is in a snapshot or a change
        self._writer: sqlite3.Connection | None = None

    def _open(self) -> None:
        with translated(self._path):
            # A reader of a writable index could write, too, but for query_only: the connection that is closed last
            # moves the write-ahead log into the database, and that may be a reader's.
            self._mode = reading_mode(self._path) if self.read_only else "rw"
            self._identity = self._identify()
            self.require_open()
            self._idle.append(self._open_reader())
            self._writer = None if self.read_only else _open_writer(self._path)

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """A connection on which all reads see the state that the first read saw, even if others commit meanwhile.

        Within another snapshot or a ``change`` of the same thread it is that one's connection.
        """
        current: sqlite3.Connection | None = getattr(self._of_thread, "connection", None)
        with translated(self._path):
            if current is not None:
                yield current
                return
            connection = self._of_thread.connection = self._borrow()
            is_usable = False
            try:
                with transaction(connection, "BEGIN"):
                    yield connection
                self._require_unwritten()
                is_usable = True
            except Exception:
                self._require_unwritten()  # or the file would be called damaged
                raise
            finally:
                self._of_thread.connection = None
                # A statement that was left halfway keeps its old state alive on its connection, COMMIT or not. The
                # next to borrow the connection would read that state, so it is not lent again.
                self._give_back(connection, is_usable=is_usable)

    @contextlib.contextmanager
    def change(self, *, in_transaction: bool = True) -> Iterator[sqlite3.Connection]:
        """The writing connection; everything done on it is committed at the end, or nothing.

        Reads of this thread see what it has written. Other threads go on reading, and wait if they want to write.
        """
        if self.read_only:
            raise IndexReadOnlyError("the index is open for reading only; open it with read_only=False to change it")
        with translated(self._path), self._write_lock:
            self.require_open()
            self.require_in_place()  # a change may have been under way for hours
            writer = self._writer = self._writer or self._in_place(_open_writer(self._path))
            whole = transaction(writer) if in_transaction else contextlib.nullcontext()
            before = getattr(self._of_thread, "connection", None)
            self._of_thread.connection = writer
            try:
                with whole:
                    yield writer
            finally:
                self._of_thread.connection = before
                writer.rollback()  # does nothing, unless an interrupt came between the start of ``whole`` and its block

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection of the snapshot or change that this thread is in; a ``StoreError`` if it is in none."""
        current: sqlite3.Connection | None = getattr(self._of_thread, "connection", None)
        if current is None:
            raise StoreError("this can be read within a snapshot only: call it inside `with store.snapshot():`")
        return current

    def close(self) -> None:
        """Wait for a running change and close all connections; those in use are closed when they are given back."""
        with self._write_lock:
            with self._guard:
                self._is_closed = True
                idle, self._idle = self._idle, []
            writer, self._writer = self._writer, None
            for connection in [*idle, *([writer] if writer else [])]:
                connection.close()

    def require_open(self) -> None:
        """Raise a ``StoreError`` if it was closed, or cannot be used in this process."""
        if self._is_closed:
            raise StoreError("the index is closed: open it again")
        if self._identity and self._identity[:2] in _LOST:
            raise StoreError(
                f"{self._path} cannot be used in this process, since another thread was using it when the process was "
                f"forked: fork when no thread does, or start processes by spawn or forkserver and open the index there"
            )

    def is_in_place(self) -> bool:
        """Whether the file that is open is still the one at its path, and as it was where it cannot be followed."""
        return self._identify() == self._identity

    def require_in_place(self) -> None:
        """Raise a ``StoreError`` unless the file that is open is still the one at its path."""
        if not self.is_in_place():
            raise StoreError(
                f"{self._path} was removed or replaced since it was opened, so nothing was changed: "
                f"open the index again"
            )

    def _identify(self) -> tuple[int, ...] | None:
        """Device and inode, which tell a file from any other; with size and time where SQLite takes it for immutable.

        None if there is no file.
        """
        try:
            found = self._path.stat()
        except OSError:
            return None
        whole = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
        return whole if "immutable" in self._mode else whole[:2]

    def _require_unwritten(self) -> None:
        """Raise a ``StoreError`` if a file that SQLite takes for immutable was written: it keeps pages of before.

        A file system that is read-only here may be writable elsewhere, as the volume of a container is.
        """
        if "immutable" not in self._mode:
            return
        before, now = self._identity, self._identify()
        if before and now and before != now and before[:2] == now[:2]:
            raise StoreError(
                f"{self._path} was written since it was opened, which cannot be followed on a file system that is "
                f"read-only here: when the writer has closed the index, open it again"
            )

    def _borrow(self) -> sqlite3.Connection:
        self._require_unwritten()
        with self._given_back:
            self._given_back.wait_for(lambda: not self._is_paused)
            self.require_open()
            self._n_lent += 1
            if self._idle:
                return self._idle.pop()  # the one last used, whose cached pages are the newest
        try:
            return self._in_place(self._open_reader())
        except BaseException as error:
            self._note_return()
            # Of a folder that was removed or replaced no more can be opened, and those who read what it held share what
            # is open.
            if isinstance(error, sqlite3.Error | StoreError):
                with self._given_back:
                    if self._given_back.wait_for(lambda: self._idle or not self._n_lent, _PATIENCE) and self._idle:
                        self._n_lent += 1
                        return self._idle.pop()
            raise

    def _give_back(self, connection: sqlite3.Connection, *, is_usable: bool) -> None:
        try:
            with self._guard:
                is_kept = is_usable and not self._is_closed and len(self._idle) < _MOST_IDLE
                if is_kept:
                    self._idle.append(connection)
            if not is_kept:
                connection.close()
        finally:
            self._note_return()

    def _note_return(self) -> None:
        with self._given_back:
            self._n_lent -= 1
            self._given_back.notify_all()

    def _in_place(self, connection: sqlite3.Connection) -> sqlite3.Connection:
        """A connection just opened, which is closed if it is to another file, as that would be another index."""
        try:
            self.require_in_place()
        except StoreError:
            connection.close()
            raise
        return connection

    def _open_reader(self) -> sqlite3.Connection:
        connection = connect(self._path, self._mode)
        connection.execute("PRAGMA query_only = ON")
        return connection

    def pause(self, deadline: float) -> None:
        """Wait for those who use a connection, until ``deadline`` at most, and lend none until ``resume``."""
        is_alone = self._write_lock.acquire(timeout=max(0.0, deadline - time.monotonic()))
        if is_alone:
            self._held.append(self._write_lock)
        self._guard.acquire()
        self._held.append(self._guard)
        self._is_paused = True
        if getattr(self._of_thread, "connection", None) is None:  # or this thread would wait for itself
            self._given_back.wait_for(lambda: not self._n_lent, max(0.0, deadline - time.monotonic()))
        is_writing = not is_alone or (self._writer is not None and self._writer.in_transaction)
        idle, self._idle = self._idle, []
        if is_alone and self._writer and not self._writer.in_transaction:
            idle.append(self._writer)
            self._writer = None
        for connection in idle:
            with contextlib.suppress(sqlite3.Error):
                connection.close()
        self._is_used = is_writing or self._n_lent > 0

    def resume(self) -> None:
        """Go on after ``pause``, also after one that an interrupt ended."""
        self._is_used, self._is_paused = True, False
        with self._given_back:
            self._given_back.notify_all()
        while self._held:
            self._held.pop().release()

    def resume_in_child(self) -> None:
        """Go on after ``pause`` in a process just forked; what was in use is left alone, and its file with it."""
        if not self._is_used:
            self.resume()
            return
        if self._identity:
            _LOST.add(self._identity[:2])
        _LEFT.append(dict(vars(self)))
        self._start()


_LOST: set[tuple[int, ...]] = set()  # device and inode of files that this process, a forked one, cannot use
_LEFT: list[object] = []  # connections that are not to be closed, which would write for the parent
_OPEN: weakref.WeakSet[ConnectionPool] = weakref.WeakSet()
_listing = threading.RLock()  # held over a fork, so that no other thread adds to the list meanwhile
_paused: list[ConnectionPool] = []


def _pause_all() -> None:
    deadline = time.monotonic() + _FORK_PATIENCE
    _listing.acquire()
    _paused.extend(_OPEN)
    for pool in _paused:  # Python forks all the same if an interrupt comes here
        pool.pause(deadline)


def _resume_all() -> None:
    while _paused:
        _paused.pop().resume()
    _listing.release()


def _resume_all_in_child() -> None:
    while _paused:
        _paused.pop().resume_in_child()
    _listing.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_pause_all, after_in_parent=_resume_all, after_in_child=_resume_all_in_child)


def _open_writer(path: Path) -> sqlite3.Connection:
    connection = connect(path, "rw")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA journal_size_limit = {_MOST_LOG}")
    return connection
