"""The folder of an index: names of its files, checks, creation, and the lock of its one writer."""

from __future__ import annotations

import contextlib
import math
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from latechunk.errors import (
    IndexBusyError,
    IndexExistsError,
    IndexFormatError,
    IndexMissingError,
    InputError,
    LateChunkError,
    StoreError,
)

STORE = "store.sqlite3"
_VECTORS = "vectors"
_LOCK = "write.lock"
_POLL = 0.01  # seconds between two attempts to get the lock
_EMBEDDED = "manifest.json"  # of a folder of embedded documents, see latechunk.distributed.folder
_NEW = re.compile(r"new-[0-9a-f]{16}(-journal|-wal|-shm)?")  # a store that is being made, and SQLite's files for it


def as_folder(path: str | os.PathLike[str]) -> Path:
    """A path as given, made absolute, so that a later change of the working directory does not matter."""
    try:
        folder = Path(path).absolute()
        with contextlib.suppress(FileNotFoundError):
            os.lstat(folder)
    except (TypeError, ValueError) as error:
        raise InputError(f"path must be a string or a path, got {path!r:.80}: {error}") from error
    except OSError as error:
        raise StoreError(f"there can be no index at {str(path)!r:.80}: {error}") from error
    return folder


def has_store(folder: Path) -> bool:
    """Whether there is an index's database; StoreError if nobody may look."""
    try:
        return (folder / STORE).is_file()
    except OSError as error:
        raise StoreError(f"{folder} cannot be read: {error}") from error


def require_vacant(folder: Path) -> None:
    """Raise unless an index can be made at ``folder``."""
    if folder.is_dir() and all(file.name == _LOCK or _NEW.fullmatch(file.name) for file in _list(folder)):
        return
    if has_store(folder):
        raise IndexExistsError(
            f"{folder} exists already, and holds an index: choose another path, or remove it first; in Python, open it "
            f"(Index.open), or say exist_ok=True to go on with it"
        )
    if folder.exists() or folder.is_symlink():
        raise IndexExistsError(f"{folder} exists already, and is no index: choose another path")


def require_index(folder: Path) -> None:
    """Raise unless ``folder`` looks like an index."""
    if not folder.exists():
        raise IndexMissingError(f"there is no index at {folder}; make one with Index.create or `latechunk index`")
    if not folder.is_dir():
        raise IndexFormatError(f"{folder} is a file, and an index is a folder")
    _require_plain(folder)
    if has_store(folder):
        return
    if (folder / _EMBEDDED).is_file() and (folder / _LOCK).is_file():
        raise IndexFormatError(
            f"{folder} holds embedded documents and is no index yet: `latechunk import {folder} INDEX` makes one"
        )
    if any(_NEW.fullmatch(file.name) for file in _list(folder)):
        raise IndexMissingError(
            f"there is no index at {folder} yet: a process is making one, or was killed while it did; then run it again"
        )
    if (folder / f"{_VECTORS}.faiss").exists() or (folder / _LOCK).exists():
        raise IndexFormatError(
            f"{folder} has lost its {STORE}, which held everything: restore it from a backup, or delete the folder "
            f"and index the documents again"
        )
    raise IndexFormatError(
        f"{folder} is a folder but not an index: it has no {STORE}. On the command line the index comes first"
    )


def _require_plain(folder: Path) -> None:
    """Raise if a file of the index is a link or a device, or a journal that SQLite would replay on opening.

    A folder may come from somebody else, and links in it would make us read or overwrite files outside it.
    """
    for file in _list(folder):
        if not file.name.startswith((STORE, _VECTORS, _LOCK)):
            continue
        try:
            mode = file.lstat().st_mode
        except FileNotFoundError:  # another process has renamed or removed it since
            continue
        except OSError as error:
            raise StoreError(f"{folder} cannot be read: {error}") from error
        if not stat.S_ISREG(mode):
            raise IndexFormatError(
                f"{file} is a link, a folder or a device, and the files of an index are plain files: copy the index "
                f"with what its links point to"
            )
        if file.name == f"{STORE}-journal":  # latechunk's databases keep a write-ahead log instead
            raise IndexFormatError(
                f"{file} is a rollback journal, which latechunk never makes and which may name other files to delete; "
                f"if you trust the folder, delete that file"
            )


@contextlib.contextmanager
def new_store(folder: Path, timeout: float = 0.0) -> Iterator[Path]:
    """Give a path to make and close a database at, which is then renamed, so that no half-made index is ever seen.

    If anything fails, nothing remains of it. Another process that makes one there is waited for ``timeout`` seconds.

    Raises:
        IndexExistsError: If there is something at ``folder`` already.
        IndexBusyError: If an index is being made there.
        StoreError: If the disk does not take it.
    """
    new = folder / f"new-{secrets.token_hex(8)}"
    is_ours = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with hold_write_lock(folder, timeout, None if timeout else "wait until it is done, or choose another path"):
            require_vacant(folder)
            try:
                yield new
                if new.with_name(f"{new.name}-wal").exists():  # SQLite could not move it into the database at its close
                    raise OSError("the disk did not take all of it; free some space and try again")
                os.replace(new, folder / STORE)
                sync(folder)
            finally:
                for file in _list(folder):  # what this and earlier attempts left
                    if _NEW.fullmatch(file.name):
                        with contextlib.suppress(OSError):
                            file.unlink()
    except BaseException as error:
        is_waited_for = isinstance(error, IndexBusyError | IndexExistsError)  # by whoever makes one there
        if is_ours and not is_waited_for and folder.is_dir() and {file.name for file in _list(folder)} <= {_LOCK}:
            shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, OSError) and not isinstance(error, StoreError):
            raise StoreError(f"no index could be made at {folder}: {error}") from error
        raise


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Give a path to write a file at, which then takes its place at ``path``, whole and on the disk, or not at all.

    Raises:
        StoreError: If the disk does not take it.
    """
    new = path.with_name(f"{path.name}.new-{secrets.token_hex(8)}")
    try:
        yield new
        sync(new)
        os.replace(new, path)
        sync(path.parent)
    except OSError as error:
        if isinstance(error, LateChunkError):
            raise
        reason = error.strerror or str(error)
        if not path.parent.is_dir():
            reason = f"there is no folder {path.parent}; make it first"
        raise StoreError(f"{path} could not be written: {reason}") from error
    finally:
        new.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Have the system write a file, or a folder's list of files, to the disk, so that it survives a power cut."""
    is_folder = path.is_dir()
    if is_folder and os.name == "nt":  # which cannot open a folder, and writes its list by itself
        return
    handle = os.open(path, os.O_RDONLY if is_folder else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _list(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise StoreError(f"{folder} cannot be read: {error}") from error


def require_timeout(lock_timeout: float) -> None:
    """Raise an InputError unless so long can be waited for a lock."""
    if not isinstance(lock_timeout, int | float) or not 0 <= lock_timeout < math.inf:
        raise InputError(f"lock_timeout must be a number of seconds of at least 0, got {lock_timeout!r}")


@contextlib.contextmanager
def hold_write_lock(folder: Path, timeout: float, remedy: str | None = None) -> Iterator[None]:
    """Hold the one writer's lock, waiting up to ``timeout`` seconds; the system takes it back when a process dies.

    ``remedy`` says what to do where it is not taken; None for what is right for an open index.
    """
    lock = FileLock(folder / _LOCK)
    deadline = time.monotonic() + timeout
    try:
        with _standing_in_line(folder, deadline):
            lock.acquire(timeout=max(0.0, deadline - time.monotonic()), poll_interval=_POLL)
    except Timeout as error:
        remedy = remedy or (
            f"waited {timeout:g} s (lock_timeout). Searching goes on meanwhile; try the change again when it is done, "
            f"or open the index with a longer lock_timeout"
        )
        raise IndexBusyError(f"{folder} is being written by another process or thread; {remedy}") from error
    except OSError as error:
        raise StoreError(f"{folder / _LOCK} cannot be made, so nothing was changed: {error}") from error
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _standing_in_line(folder: Path, deadline: float) -> Iterator[None]:
    """Be the one who waits for the write lock next: who has just given it back comes after those who wait for it.

    Without it a process that adds one document after the other would keep all others out. The line is a lock on the
    folder; where there is no such lock, as on Windows and NFS, there is no line. Timeout at the deadline.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise Timeout(str(folder)) from None
                time.sleep(_POLL)
            except OSError:
                break
        yield
    finally:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_UN)  # a process that was forked meanwhile has the handle as well
        os.close(handle)


def folder_size(folder: Path) -> int:
    """Bytes that the files of an index take."""
    sizes = []
    for file in _list(folder):
        with contextlib.suppress(FileNotFoundError):  # SQLite's own files come and go
            sizes.append(file.stat().st_size)
    return sum(sizes)
