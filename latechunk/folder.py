"""The folder of an index: its files' names, whether it is one, its creation, and the one writer's lock."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from filelock import FileLock, Timeout

from latechunk.errors import (
    IndexBusyError,
    IndexExistsError,
    IndexFormatError,
    IndexMissingError,
    InputError,
    StoreError,
)
from latechunk.store import Store
from latechunk.types import Settings

STORE = "store.sqlite3"
_VECTORS = "vectors.faiss"
_LOCK = "write.lock"
_NEW = "new-"


def as_folder(path: str | os.PathLike[str]) -> Path:
    """A path as given, made absolute, so that a later change of the working directory does not matter.

    Raises:
        InputError: If it cannot be a path.
    """
    try:
        folder = Path(path).absolute()
        os.lstat(folder)
    except FileNotFoundError:
        pass
    except (TypeError, ValueError) as error:
        raise InputError(f"path must be a string or a path, got {path!r:.80}: {error}") from error
    except OSError as error:
        raise StoreError(f"there can be no index at {str(path)!r:.80}: {error}") from error
    return folder


def require_vacant(folder: Path) -> None:
    """Raise unless an index can be made at ``folder``."""
    if folder.is_dir() and not [file for file in _list(folder) if not file.name.startswith((_NEW, _LOCK))]:
        return
    if folder.exists() or folder.is_symlink():
        raise IndexExistsError(
            f"{folder} exists already; use Index.open to open the index there, or choose another path"
        )


def require_index(folder: Path) -> None:
    """Raise unless ``folder`` looks like an index."""
    if not folder.exists():
        raise IndexMissingError(f"there is no index at {folder}; make one with Index.create or `latechunk index`")
    if not folder.is_dir():
        raise IndexFormatError(f"{folder} is a file, and an index is a folder")
    if (folder / STORE).is_file():
        return
    if (folder / _VECTORS).exists() or (folder / _LOCK).exists():
        raise IndexFormatError(
            f"{folder} has lost its {STORE}, which held everything: restore it from a backup, or delete the folder "
            f"and index the documents anew"
        )
    raise IndexFormatError(
        f"{folder} is a folder but not an index: it has no {STORE}. On the command line the index comes first"
    )


def create_folder(folder: Path, settings: Mapping[str, Settings]) -> None:
    """Make the store under another name and rename it, so that no half-made index is ever seen."""
    new = folder / f"{_NEW}{secrets.token_hex(8)}"
    is_ours = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with hold_write_lock(folder, timeout=0):
            require_vacant(folder)
            Store.create(new, settings)
            os.replace(new, folder / STORE)
    except BaseException as error:
        for file in folder.glob(f"{new.name}*"):
            file.unlink()
        if is_ours and folder.is_dir() and {file.name for file in _list(folder)} <= {_LOCK}:
            shutil.rmtree(folder)
        if isinstance(error, OSError) and not isinstance(error, StoreError):
            raise StoreError(f"no index could be made at {folder}: {error}") from error
        raise


def _list(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise StoreError(f"{folder} cannot be read: {error}") from error


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
