"""A database with damaged pages or tables in, a new one with every row that can still be read out."""

from __future__ import annotations

import os
import secrets
import shutil
import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from latechunk.errors import IndexDamagedError, StoreError
from latechunk.maintenance.leftovers import free_name, read_text, save_leftovers
from latechunk.maintenance.pages import find_documents
from latechunk.maintenance.tables import read_document, readable_keys, reading_damaged
from latechunk.manifest import IndexManifest
from latechunk.storage.connection import connect, transaction, translated
from latechunk.storage.directory import STORE
from latechunk.storage.schema import LAST_NUMBER, is_as_made, mend_sequences, read_settings_table
from latechunk.storage.store import Store

_LONGEST_VECTOR = 4 * 65_536
_UNKNOWN = -1  # in the place of numbers that nothing tells
_INSERT = "INSERT OR IGNORE INTO documents VALUES (?, CAST(? AS TEXT), CAST(? AS TEXT), ?, ?, ?, ?)"
_CHUNK = (
    'SELECT document, granularity, place, "start", "end", byte_start, byte_end FROM chunks NOT INDEXED WHERE number = ?'
)
_VECTOR = "SELECT vector FROM vectors WHERE chunk = ? AND typeof(vector) = 'blob' AND length(vector) <= ?"


@dataclass(slots=True)
class Salvaged:
    """What was got out of a damaged database.

    Attributes:
        kept: Where the damaged database is now.
        n_documents: Rows of documents copied, sound or not.
        n_chunks: Rows of chunks copied.
        n_vectors: Rows of vectors copied.
        lost: Documents that the damaged database knows of and the new one does not have: ids, as far as they can be
            read, by numbers.
        saved: A file with what is left of those among them that can be read in part.
    """

    kept: Path
    n_documents: int = 0
    n_chunks: int = 0
    n_vectors: int = 0
    lost: dict[int, str] = field(default_factory=dict)
    saved: Path | None = None


def salvage(folder: Path) -> Salvaged:
    """Put a new database in the place of a damaged one, under the writer's lock.

    Rows keep their numbers. What is damaged in itself is copied as it is, to be found and mended afterwards; the
    lexical index is empty, and the history of changes starts anew. The damaged file is kept beside the new one.

    Raises:
        IndexDamagedError: If the settings or the table of documents cannot be read; nothing is changed then.
        StoreError: If the disk does not take it.
    """
    path = folder / STORE
    new = folder / f"new-{secrets.token_hex(8)}"
    with suppress(sqlite3.Error), closing(connect(path, "rw")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # what lies in the log belongs to what is kept
    try:
        with translated(path), reading_damaged(path) as old:
            settings = _read_settings(old, folder)
            Store.create(new, settings)
            with closing(connect(new, "rw")) as target:
                salvaged = _copy(old, target, folder)
        return _exchange(folder, new, salvaged)
    except OSError as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(f"{path} could not be salvaged, and is as it was: {error}") from error
    finally:
        for file in folder.glob(f"{new.name}*"):
            file.unlink()


def save_texts(folder: Path) -> tuple[Path | None, int]:
    """Write the texts and metadata of all documents that can be read to a file; see :func:`save_leftovers`."""
    with translated(folder / STORE), reading_damaged(folder / STORE) as connection:
        if not is_as_made(connection, "documents"):
            return None, 0
        return save_leftovers(connection, folder, readable_keys(connection, "documents"), None)


def _read_settings(old: sqlite3.Connection, folder: Path) -> dict[str, dict[str, Any]]:
    try:
        if not is_as_made(old, "documents"):
            raise IndexDamagedError("it has no table of documents that can be read")
        settings = read_settings_table(old)
        IndexManifest.read(settings)
    except (sqlite3.DatabaseError, IndexDamagedError) as error:
        raise IndexDamagedError(
            f"{folder / STORE} cannot be salvaged, and was not changed ({error}): restore the index from a backup or "
            f"an export, or index the documents anew"
        ) from error
    return settings


def _copy(old: sqlite3.Connection, target: sqlite3.Connection, folder: Path) -> Salvaged:
    salvaged = Salvaged(folder / STORE)
    # Nobody else sees this file yet, and a failure deletes it; so it need not be safe from one.
    target.execute("PRAGMA journal_mode = DELETE")
    target.execute("PRAGMA synchronous = OFF")
    with transaction(target):
        for number in readable_keys(old, "documents"):
            salvaged.n_documents += _copy_document(old, target, number)
        if is_as_made(old, "chunks"):
            for number in readable_keys(old, "chunks"):
                salvaged.n_chunks += _copy_row(old, target, _CHUNK, "chunks", number)
        if is_as_made(old, "vectors"):
            for number in readable_keys(old, "vectors"):
                salvaged.n_vectors += _copy_row(old, target, _VECTOR, "vectors", number, _LONGEST_VECTOR)
        salvaged.lost = _find_lost(old, target)
        _copy_from_pages(folder / STORE, target, salvaged)
        mend_sequences(target, _given_numbers(old))
    target.execute("PRAGMA journal_mode = WAL")
    salvaged.saved, _ = save_leftovers(old, folder, salvaged.lost, None)
    return salvaged


def _copy_document(old: sqlite3.Connection, target: sqlite3.Connection, number: int) -> int:
    """Copy a document's row; a text that cannot be read whole is copied in part, and its checksum will tell."""
    values = _read_document(old, number)
    return 0 if values is None else target.execute(_INSERT, values).rowcount


def _read_document(old: sqlite3.Connection, number: int) -> tuple[Any, ...] | None:
    with suppress(sqlite3.DatabaseError):
        row = read_document(old, number)
        if row is not None and row.id:
            checksums = (row.text_sha256 or b"", row.vectors_sha256 or b"")
            return (number, row.id, row.metadata or b"", *checksums, row.n_tokens or 0, read_text(old, number))
    return None


def _copy_from_pages(path: Path, target: sqlite3.Connection, salvaged: Salvaged) -> None:
    """Copy documents that no way leads to any more, but whose pages are whole."""
    if not salvaged.lost:
        return
    for row in find_documents(path, salvaged.lost):
        if target.execute(_INSERT, row).rowcount:
            salvaged.n_documents += 1
            del salvaged.lost[row[0]]


def _copy_row(
    old: sqlite3.Connection, target: sqlite3.Connection, query: str, table: str, number: int, *values: int
) -> int:
    """Copy a row under its number, unless it cannot be read or contradicts one that was copied before."""
    row = None
    with suppress(sqlite3.DatabaseError):
        row = old.execute(query, (number, *values)).fetchone()
    if row is None:
        return 0
    places = ", ".join("?" * (1 + len(row)))
    return target.execute(f"INSERT OR IGNORE INTO {table} VALUES ({places})", (number, *row)).rowcount


def _find_lost(old: sqlite3.Connection, target: sqlite3.Connection) -> dict[int, str]:
    """Documents that were not copied, known from the table's keys and from its index of ids, or else from chunks."""
    lost = {number: f"number {number}" for number in readable_keys(old, "documents") if not _has(target, number)}
    for direction in ("ASC", "DESC"):  # from either end, up to what is damaged
        names = (
            "SELECT number, CAST(id AS BLOB) FROM documents INDEXED BY sqlite_autoindex_documents_1 "
            f"ORDER BY id {direction}"
        )
        with suppress(sqlite3.DatabaseError):
            for number, name in old.execute(names):
                if isinstance(name, bytes) and not _has(target, number):
                    lost[number] = repr(name.decode("utf-8", "backslashreplace"))
            return lost
    query = "SELECT DISTINCT document FROM chunks WHERE document NOT IN (SELECT number FROM documents)"
    lost = {number: f"number {number}" for (number,) in target.execute(query)} | lost
    if not _can_read_keys(old):
        lost[_UNKNOWN] = "of any number: neither their table nor the index of their ids can be read to its end"
    return lost


def _can_read_keys(old: sqlite3.Connection) -> bool:
    """Whether the table of documents can be read from end to end, but for the texts."""
    try:
        old.execute("SELECT count(*), max(number) FROM documents NOT INDEXED").fetchone()
    except sqlite3.DatabaseError:
        return False
    return True


def _has(target: sqlite3.Connection, number: int) -> bool:
    return target.execute("SELECT 1 FROM documents WHERE number = ?", (number,)).fetchone() is not None


def _given_numbers(old: sqlite3.Connection) -> dict[str, int]:
    """The highest numbers that were ever given, as far as that can be read."""
    with suppress(sqlite3.DatabaseError):
        rows = old.execute("SELECT name, seq FROM sqlite_sequence").fetchall()
        return {name: seq for name, seq in rows if isinstance(seq, int) and 0 < seq < LAST_NUMBER}
    return {}


def _exchange(folder: Path, new: Path, salvaged: Salvaged) -> Salvaged:
    """Keep the damaged file under another name, then put the new one in its place."""
    path = folder / STORE
    salvaged.kept = free_name(folder, f"{STORE}.damaged-")
    _sync(new)
    _duplicate(path, salvaged.kept)
    # A log belongs to its database: beside the new one, SQLite would write the old one's pages into it.
    log = folder / f"{STORE}-wal"
    if log.exists():
        os.replace(log, folder / f"{salvaged.kept.name}-wal")
    (folder / f"{STORE}-shm").unlink(missing_ok=True)
    os.replace(new, path)
    return salvaged


def _duplicate(path: Path, other: Path) -> None:
    try:
        os.link(path, other)
    except OSError:  # a file system without links
        shutil.copy2(path, other)


def _sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
