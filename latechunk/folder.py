"""The folder of an index: its files' names, whether it is one, its creation, and the one writer's lock."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from filelock import FileLock, Timeout

from latechunk.errors import IndexBusyError, IndexExistsError, IndexFormatError, IndexMissingError, StoreError
from latechunk.store import Store
from latechunk.types import Settings

STORE = "store.sqlite3"
_VECTORS = "vectors.faiss"
_LOCK = "write.lock"


def require_vacant(folder: Path) -> None:
    """Raise unless an index can be made at ``folder``."""
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if folder.exists() or folder.is_symlink():
        raise IndexExistsError(
            f"{folder} exists already; use Index.open to open the index there, or choose another path"
        )


def require_index(folder: Path) -> None:
    """Raise unless ``folder`` looks like an index."""
    if not folder.exists():
        raise IndexMissingError(f"there is no index at {folder}; make one with Index.create")
    if not folder.is_dir():
        raise IndexFormatError(f"{folder} is a file, and an index is a folder")
    if (folder / STORE).is_file():
        return
    if (folder / _VECTORS).exists() or (folder / _LOCK).exists():
        raise IndexFormatError(
            f"{folder} has lost its {STORE}, which held everything: restore it from a backup, or delete the folder "
            f"and index the documents anew"
        )
    raise IndexFormatError(f"{folder} is a folder but not an index: it has no {STORE}")


def create_folder(folder: Path, settings: Mapping[str, Settings]) -> None:
    """Make the folder whole under another name and rename it, so that no half-made index is ever seen."""
    new = folder.absolute().parent / f".{folder.name}.{secrets.token_hex(8)}.new"
    try:
        new.mkdir(parents=True)
        Store.create(new / STORE, settings)
        os.replace(new, folder.absolute())
    except OSError as error:
        raise StoreError(f"no index could be made at {folder}: {error}") from error
    finally:
        shutil.rmtree(new, ignore_errors=True)


@contextlib.contextmanager
def hold_write_lock(folder: Path, timeout: float) -> Iterator[None]:
    """Hold the one writer's lock, which the system takes back when a process dies.

    Raises:
        IndexBusyError: If another holds it for longer than ``timeout`` seconds.
        StoreError: If the lock's file cannot be made.
    """
    lock = FileLock(folder / _LOCK)
    try:
        lock.acquire(timeout=timeout)
    except Timeout as error:
        raise IndexBusyError(
            f"{folder} is being written by another process; waited {timeout:g} s (lock_timeout). Searching goes on "
            f"meanwhile; try the change again when it is done"
        ) from error
    except OSError as error:
        raise StoreError(f"{folder / _LOCK} cannot be made, so nothing was changed: {error}") from error
    try:
        yield
    finally:
        lock.release()


def folder_size(folder: Path) -> int:
    """Bytes that the files of an index take."""
    sizes = []
    for file in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # SQLite's own files come and go
            sizes.append(file.stat().st_size)
    return sum(sizes)
