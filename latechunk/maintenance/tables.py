"""A database that may be damaged in, its rows out as far as they can be read: never more in memory than one of them."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from latechunk.storage.connection import connect, reading_mode

Table: TypeAlias = Literal["documents", "chunks", "vectors"]
_KEYS: dict[Table, str] = {"documents": "number", "chunks": "number", "vectors": "chunk"}
_MOST_MISSES = 100_000  # keys in a row tried one by one where pages are damaged; about a second

# Texts come as bytes, since they may be in no encoding at all; what is not of its column's type comes as None, and is
# not read, however long it is.
_DOCUMENT = """
SELECT CASE typeof(id) WHEN 'text' THEN CAST(id AS BLOB) END,
    CASE typeof(metadata) WHEN 'text' THEN CAST(metadata AS BLOB) END,
    CASE WHEN typeof(text_sha256) = 'blob' AND length(text_sha256) = 32 THEN text_sha256 END,
    CASE WHEN typeof(vectors_sha256) = 'blob' AND length(vectors_sha256) = 32 THEN vectors_sha256 END,
    CASE typeof(n_tokens) WHEN 'integer' THEN n_tokens END,
    typeof(text)
FROM documents WHERE number = ?
"""
_CHUNKS = """
SELECT c.number, CASE typeof(c.granularity) WHEN 'integer' THEN c.granularity END,
    CASE typeof(c.place) WHEN 'integer' THEN c.place END,
    CASE typeof(c."start") WHEN 'integer' THEN c."start" END,
    CASE typeof(c."end") WHEN 'integer' THEN c."end" END,
    CASE typeof(c.byte_start) WHEN 'integer' THEN c.byte_start END,
    CASE typeof(c.byte_end) WHEN 'integer' THEN c.byte_end END,
    v.chunk IS NOT NULL, CASE typeof(v.vector) WHEN 'blob' THEN length(v.vector) END,
    CASE WHEN typeof(v.vector) = 'blob' AND length(v.vector) = ? THEN v.vector END
FROM chunks c LEFT JOIN vectors v ON v.chunk = c.number WHERE c.document = ? ORDER BY c.number
"""


@dataclass(frozen=True, slots=True)
class DocumentRow:
    """What is stored of a document beside its text; None for what is not of the right type or length."""

    number: int
    id: bytes | None
    metadata: bytes | None
    text_sha256: bytes | None
    vectors_sha256: bytes | None
    n_tokens: int | None
    text_type: str

    @property
    def name(self) -> str:
        """The id as far as it can be read, else the number."""
        return f"number {self.number}" if self.id is None else self.id.decode("utf-8", "backslashreplace")


@dataclass(frozen=True, slots=True)
class VectorRow:
    """A chunk with its vector; None for what is not of the right type, is missing, or has another length."""

    number: int
    granularity: int | None
    place: int | None
    start: int | None
    end: int | None
    byte_start: int | None
    byte_end: int | None
    has_vector: int
    vector_bytes: int | None
    vector: bytes | None

    def to_hash(self) -> tuple[object, ...]:
        """What :func:`latechunk.storage.schema.hash_vectors` takes."""
        place = (self.granularity, self.place, self.start, self.end, self.byte_start, self.byte_end)
        return (*place, self.vector)


@contextlib.contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a database to look at it, in one state of it."""
    with contextlib.closing(connect(path, reading_mode(path))) as connection:
        connection.execute("PRAGMA cell_size_check = ON")
        connection.execute("BEGIN")
        yield connection


@contextlib.contextmanager
def reading_damaged(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a database to get out what can be got, even where it is shorter than it should be."""
    with contextlib.closing(connect(path, reading_mode(path))) as connection:
        connection.execute("PRAGMA cell_size_check = ON")
        connection.execute("PRAGMA writable_schema = ON")  # lets SQLite open what it would refuse to
        connection.execute("PRAGMA query_only = ON")
        yield connection


def readable_keys(connection: sqlite3.Connection, table: Table) -> Iterator[int]:
    """Keys of all rows that can be reached: ascending, and tried one by one where pages are damaged.

    Behind a gap too wide for that they come descending, from the table's end.
    """
    key = _KEYS[table]
    query = f"SELECT {key} FROM {table} NOT INDEXED WHERE {key} >= ? ORDER BY {key}"
    position, n_misses = 1, 0
    last: int | None = None
    while n_misses < _MOST_MISSES:
        try:
            for (number,) in connection.execute(query, (position,)):
                yield number
                position, n_misses = number + 1, 0
        except sqlite3.DatabaseError:
            last = _last_key(connection, table) if last is None else last
            position, n_misses = position + 1, n_misses + 1
            if position > last:
                return
        else:
            return
    with contextlib.suppress(sqlite3.DatabaseError):
        for (number,) in connection.execute(f"{query} DESC", (position,)):
            yield number


def read_document(connection: sqlite3.Connection, number: int) -> DocumentRow | None:
    """A document's row."""
    row = connection.execute(_DOCUMENT, (number,)).fetchone()
    return row and DocumentRow(number, *row)


def read_chunks(connection: sqlite3.Connection, document: int, dims: int) -> Iterator[VectorRow]:
    """A document's chunks in the order of their numbers, with their vectors of this length."""
    return (VectorRow(*row) for row in connection.execute(_CHUNKS, (4 * dims, document)))


@contextlib.contextmanager
def text_of(connection: sqlite3.Connection, number: int) -> Iterator[sqlite3.Blob]:
    """The bytes of a document's text, to be read in pieces."""
    with connection.blobopen("documents", "text", number, readonly=True) as blob:
        yield blob


def _last_key(connection: sqlite3.Connection, table: Table) -> int:
    """The highest key there may be: from the table's end, or else from what was noted beside it."""
    noted = "documents" if table == "documents" else "chunks"
    for query in (
        f"SELECT max({_KEYS[table]}) FROM {table} NOT INDEXED",
        f"SELECT seq FROM sqlite_sequence WHERE name = '{noted}'",
    ):
        with contextlib.suppress(sqlite3.DatabaseError):
            row = connection.execute(query).fetchone()
            if row is not None and isinstance(row[0], int):
                return int(row[0])
    return _MOST_MISSES
