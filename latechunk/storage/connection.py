"""Opens an index's SQLite file, runs transactions, and turns SQLite's errors into this package's."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from latechunk.errors import IndexBusyError, IndexDamagedError, StoreError
from latechunk.storage.filter_sql import fold_case

REMEDY = "`latechunk verify` says what is wrong; restore it from a backup or index the documents again"

# What one value of an untrusted file may take of memory; SQLite's own limit is a gigabyte.
_LONGEST_VALUE = 500_000_000


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """Open a database file; ``mode`` is one of SQLite's URI modes."""
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=30)
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST_VALUE)
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.create_function("latechunk_fold", 1, fold_case, deterministic=True)
    if mode == "rwc":
        connection.execute("PRAGMA journal_mode = WAL")
    return connection


def reading_mode(path: Path) -> str:
    """The URI mode to read a database with.

    On a read-only file system SQLite cannot make its shared-memory file, so the database is opened as immutable. Then
    SQLite ignores the write-ahead log, and changes that a writer left there would silently be missing.

    Raises:
        StoreError: If there are such changes, or no such file.
    """
    try:
        if not hasattr(os, "statvfs") or not os.statvfs(path).f_flag & os.ST_RDONLY:
            return "ro"
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error}") from error
    log = path.with_name(f"{path.name}-wal")
    if log.exists() and log.stat().st_size:
        raise StoreError(
            f"{path} is on a read-only file system and its last changes are still in {log.name}: open and close the "
            f"index once where it can be written, and copy it again"
        )
    return "ro&immutable=1"


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection, begin: str = "BEGIN IMMEDIATE") -> Iterator[None]:
    """Commit everything done within it, or nothing."""
    try:
        connection.execute(begin)
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn sqlite3's errors into this package's."""
    try:
        yield
    except sqlite3.ProgrammingError as error:
        raise StoreError(f"the index is closed or misused: {error}") from error
    except sqlite3.DatabaseError as error:
        raise _explain(path, error) from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise IndexDamagedError(f"{path} is damaged ({error}): {REMEDY}") from error


def _explain(path: Path, error: sqlite3.DatabaseError) -> StoreError:
    extended = getattr(error, "sqlite_errorcode", 0)
    code = extended & 0xFF
    if extended in (sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_IOERR_SHMOPEN, sqlite3.SQLITE_IOERR_SHMMAP):
        return StoreError(
            f"{path} cannot be opened, since {path.name}-shm beside it, which readers and the writer share, cannot be "
            f"made: the disk may be full; free some space and try again"
        )
    if code == sqlite3.SQLITE_FULL:
        return StoreError(
            f"the disk is full, or that of temporary files (SQLITE_TMPDIR, TMPDIR or /var/tmp), so {path} was not "
            f"changed: free some space and try again"
        )
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return IndexBusyError(f"{path} is being written by another process or thread; try again when it is done")
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return IndexDamagedError(f"{path} is damaged ({error}): {REMEDY}")
    if code == sqlite3.SQLITE_TOOBIG:
        return StoreError(
            f"a document's text or metadata takes more than {_LONGEST_VALUE:,} bytes, the most that {path} holds in "
            f"one piece, so nothing was changed: split the document"
        )
    if code == sqlite3.SQLITE_READONLY:
        return StoreError(
            f"{path} could be opened for reading only, so it was not changed: free some space or get write "
            f"permission on its folder and on all files {path.name}* there, which may be another user's, and open the "
            f"index again"
        )
    if code == sqlite3.SQLITE_CANTOPEN:
        return StoreError(
            f"{path} cannot be opened ({error}). On a read-only file system open the index with read_only=True; "
            f"elsewhere reading needs some space in its folder and write permission there, too, as SQLite keeps the "
            f"file there that readers and the writer share"
        )
    return StoreError(f"{path} could not be read or written, and was not changed: {error}")
