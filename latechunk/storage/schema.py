"""The tables of an index's database: made, and checked against what a file holds."""

from __future__ import annotations

import hashlib
import json
import secrets
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from latechunk.errors import IndexDamagedError, IndexFormatError
from latechunk.storage.fields import TABLE as FIELDS
from latechunk.storage.fulltext import word_tables
from latechunk.types import Settings

FORMAT = 8
LAST_NUMBER = 2**62  # of a document or chunk; a larger one was not given here, and would end the numbers
# States that a FAISS file may be brought up to date from; one of an older state is built again. Without a bound the
# table would grow by a row with each change, for years.
MOST_COMMITS = 4_096

_APPLICATION_ID = 0x4C434831  # "LCH1"

# Chunk numbers are never used twice, so a vector once seen under a number stays right. The text stands last in its
# row, because SQLite reads what stands before a column to get at it; it is a BLOB, because SQLite's own text functions
# stop at a NUL, and a chunk's text is read from the middle of it by bytes.
_DOCUMENTS = (
    "CREATE TABLE documents (number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, "
    "metadata TEXT NOT NULL, text_sha256 BLOB NOT NULL, vectors_sha256 BLOB NOT NULL, n_tokens INTEGER NOT NULL, "
    "text BLOB NOT NULL)"
)
# What a reader or the text itself says of a document's parts, as JSON. It stands in a table of its own, since a search
# reads no outline of thousands of headings: each chunk has the headings, pages and line of its place, and the titles of
# the sections that begin in it.
_STRUCTURES = (
    "CREATE TABLE structures (document INTEGER PRIMARY KEY REFERENCES documents (number) ON DELETE CASCADE, "
    "pages TEXT NOT NULL, outline TEXT NOT NULL, sha256 BLOB NOT NULL)"
)
_CHUNKS = (
    "CREATE TABLE chunks (number INTEGER PRIMARY KEY AUTOINCREMENT, "
    "document INTEGER NOT NULL REFERENCES documents (number) ON DELETE CASCADE, granularity INTEGER NOT NULL, "
    'place INTEGER NOT NULL, "start" INTEGER NOT NULL, "end" INTEGER NOT NULL, byte_start INTEGER NOT NULL, '
    "byte_end INTEGER NOT NULL, headings TEXT NOT NULL, pages TEXT NOT NULL, line INTEGER NOT NULL, "
    "titles TEXT NOT NULL, UNIQUE (document, granularity, place))"
)
_TABLES = (
    "CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE commits (number INTEGER PRIMARY KEY, token BLOB NOT NULL, n_removed INTEGER NOT NULL)",
    _DOCUMENTS,
    _STRUCTURES,
    _CHUNKS,
    "CREATE TABLE vectors (chunk INTEGER PRIMARY KEY REFERENCES chunks (number) ON DELETE CASCADE, "
    "vector BLOB NOT NULL)",
    FIELDS,
)
_SEQUENCE = "CREATE TABLE sqlite_sequence(name,seq)"


def create_tables(connection: sqlite3.Connection, settings: Mapping[str, Settings]) -> None:
    """Make an empty store, within a transaction."""
    connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {FORMAT}")
    for statement in (*_TABLES, *word_tables(settings)):
        connection.execute(statement)
    rows = [(name, json.dumps(one, ensure_ascii=False)) for name, one in settings.items()]
    connection.executemany("INSERT INTO settings VALUES (?, ?)", rows)
    log_commit(connection, 0)


def require_format(connection: sqlite3.Connection, path: Path) -> None:
    """Raise an ``IndexFormatError`` unless a database holds the tables of this format and nothing else.

    The tables are compared as SQL, to the letter: a trigger, a view, a default or a generated column of a foreign file
    would be run by what is read or written later.
    """
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    if application_id != _APPLICATION_ID:
        what = "is another program's database" if path.stat().st_size else "is empty"
        raise IndexFormatError(
            f"{path} {what}, and not the database of a latechunk index: restore it from a backup, or choose another "
            f"folder and index the documents again"
        )
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version != FORMAT:
        raise IndexFormatError(
            f"{path} has format {version}, and this latechunk reads format {FORMAT}: index the documents again, or use "
            f"the latechunk that made it to export them"
        )
    found = {row[0] for row in connection.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL")}
    expected = {_SEQUENCE, *_TABLES}
    if found >= expected:  # so that the settings are read from a table, and not from a view
        expected.update(word_tables(read_settings_table(connection)))
    unexpected = found.symmetric_difference(expected)
    if unexpected:
        raise IndexFormatError(
            f"{path} does not have the tables that latechunk makes; this differs: {min(unexpected)[:200]}"
        )


def is_as_made(connection: sqlite3.Connection, table: str) -> bool:
    """Whether a table of this format is there, and is the one that latechunk makes."""
    rows = connection.execute("SELECT type, sql FROM sqlite_schema WHERE name = ?", (table,)).fetchall()
    return len(rows) == 1 and rows[0][0] == "table" and rows[0][1] in _TABLES


def read_settings_table(connection: sqlite3.Connection) -> dict[str, dict[str, object]]:
    """What was recorded when the index was made; an ``IndexDamagedError`` if it is not what latechunk writes."""
    try:
        return {name: dict(json.loads(one)) for name, one in connection.execute("SELECT name, value FROM settings")}
    except (ValueError, TypeError) as error:
        raise IndexDamagedError(f"the settings of the index cannot be read: {error}") from error


def log_commit(connection: sqlite3.Connection, n_removed: int) -> None:
    """Record the state that is about to be committed under a token of its own, and delete the oldest one kept.

    The last row is looked up by its key and the old ones are deleted by theirs: a commit takes as long after a million
    others as after ten.
    """
    connection.execute(
        "INSERT INTO commits SELECT coalesce(last.number, 0) + 1, ?, "
        "coalesce((SELECT n_removed FROM commits WHERE number = last.number), 0) + ? "
        "FROM (SELECT max(number) AS number FROM commits) last",
        (secrets.token_bytes(16), n_removed),
    )
    connection.execute("DELETE FROM commits WHERE number <= (SELECT max(number) FROM commits) - ?", (MOST_COMMITS,))


def hash_vectors(rows: Iterable[tuple[object, ...]]) -> bytes:
    """SHA-256 of a document's chunks: all columns from granularity on, and the vector; by number."""
    digest = hashlib.sha256()
    for *place, vector in rows:
        digest.update(repr(place).encode())
        digest.update(vector if isinstance(vector, bytes) else b"")
    return digest.digest()


def hash_structure(pages: str, outline: str) -> bytes:
    """SHA-256 of a document's pages and outline, as they are stored."""
    return hashlib.sha256(f"{pages}\n{outline}".encode()).digest()


def rows_to_hash(connection: sqlite3.Connection, document: int) -> Iterator[tuple[object, ...]]:
    """What ``hash_vectors`` takes, as it is stored."""
    query = (
        'SELECT c.granularity, c.place, c."start", c."end", c.byte_start, c.byte_end, c.headings, c.pages, c.line, '
        "c.titles, v.vector FROM chunks c LEFT JOIN vectors v ON v.chunk = c.number WHERE c.document = ? "
        "ORDER BY c.number"
    )
    return connection.execute(query, (document,))
