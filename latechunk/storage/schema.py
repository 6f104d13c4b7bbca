"""The tables of an index's database: made, and checked against what a file holds."""

from __future__ import annotations

import hashlib
import json
import secrets
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal, TypeAlias, get_args

from latechunk.errors import IndexDamagedError, IndexFormatError, InputError
from latechunk.types import Settings

FORMAT = 2
MOST_GRANULARITIES = 8
LAST_NUMBER = 2**62  # of a document or chunk; a larger one was not given here, and would end the numbers
Words: TypeAlias = Literal["unicode61", "trigram"]
"""How lexical search takes texts apart: words with case and diacritics folded, or any three characters in a row."""

_APPLICATION_ID = 0x4C434831  # "LCH1"
_TOKENIZERS: dict[Words, str] = {"unicode61": "unicode61 remove_diacritics 2", "trigram": "trigram"}

# Chunk numbers are never used twice, so a vector once seen under a number stays right. The text stands last in its
# row, because SQLite reads what stands before a column to get at it; it is a BLOB, because SQLite's own text functions
# stop at a NUL, and a chunk's text is read from the middle of it by bytes.
_DOCUMENTS = (
    "CREATE TABLE documents (number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, "
    "metadata TEXT NOT NULL, text_sha256 BLOB NOT NULL, vectors_sha256 BLOB NOT NULL, n_tokens INTEGER NOT NULL, "
    "text BLOB NOT NULL)"
)
_CHUNKS = (
    "CREATE TABLE chunks (number INTEGER PRIMARY KEY AUTOINCREMENT, "
    "document INTEGER NOT NULL REFERENCES documents (number) ON DELETE CASCADE, granularity INTEGER NOT NULL, "
    'place INTEGER NOT NULL, "start" INTEGER NOT NULL, "end" INTEGER NOT NULL, byte_start INTEGER NOT NULL, '
    "byte_end INTEGER NOT NULL, UNIQUE (document, granularity, place))"
)
_TABLES = (
    "CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE commits (number INTEGER PRIMARY KEY, token BLOB NOT NULL, n_removed INTEGER NOT NULL)",
    _DOCUMENTS,
    _CHUNKS,
    "CREATE TABLE vectors (chunk INTEGER PRIMARY KEY REFERENCES chunks (number) ON DELETE CASCADE, "
    "vector BLOB NOT NULL)",
)
_SEQUENCE = "CREATE TABLE sqlite_sequence(name,seq)"


def create_tables(connection: sqlite3.Connection, settings: Mapping[str, Settings]) -> None:
    """Make an empty store, within a transaction."""
    connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {FORMAT}")
    for statement in (*_TABLES, *_words_tables(settings)):
        connection.execute(statement)
    connection.executemany("INSERT INTO settings VALUES (?, ?)", [(name, _dump(one)) for name, one in settings.items()])
    log_commit(connection, 0)


def check_words(words: object) -> Words | None:
    """Let only what lexical search knows pass."""
    if words is not None and words not in get_args(Words):
        raise InputError(f'words must be "unicode61", "trigram" or None for no lexical search, got {words!r:.80}')
    return words  # type: ignore[return-value]


def require_format(connection: sqlite3.Connection, path: Path) -> None:
    """Let only a database pass that holds the tables of this format and nothing else.

    The tables are compared as SQL, to the letter: a trigger, a view, a default or a generated column of a foreign file
    would be run by what is read or written later.

    Raises:
        IndexFormatError: If it is not an index's, of another format, or holds anything that latechunk does not make.
    """
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    if application_id != _APPLICATION_ID:
        raise IndexFormatError(f"{path} is not the database of a latechunk index")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version != FORMAT:
        raise IndexFormatError(
            f"{path} has format {version}, and this latechunk reads format {FORMAT}: index the documents again, or use "
            f"the latechunk that made it to export them"
        )
    found = {row[0] for row in connection.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL")}
    expected = {_SEQUENCE, *_TABLES}
    if found >= expected:  # so that the settings are read from a table, and not from a view
        expected |= _lexical_tables(connection)
    unexpected = found.symmetric_difference(expected)
    if unexpected:
        raise IndexFormatError(f"{path} is not as latechunk made it; this differs: {min(unexpected)[:200]}")


def is_as_made(connection: sqlite3.Connection, table: str) -> bool:
    """Whether a table of this format is there, and is the one that latechunk makes."""
    rows = connection.execute("SELECT type, sql FROM sqlite_schema WHERE name = ?", (table,)).fetchall()
    return len(rows) == 1 and rows[0][0] == "table" and rows[0][1] in _TABLES


def read_settings_table(connection: sqlite3.Connection) -> dict[str, dict[str, object]]:
    """What was recorded when the index was made.

    Raises:
        IndexDamagedError: If it is not what latechunk writes.
    """
    try:
        return {name: dict(json.loads(one)) for name, one in connection.execute("SELECT name, value FROM settings")}
    except (ValueError, TypeError) as error:
        raise IndexDamagedError(f"the settings of the index cannot be read: {error}") from error


def log_commit(connection: sqlite3.Connection, n_removed: int) -> None:
    """Give the state that is about to be committed a name of its own."""
    connection.execute(
        "INSERT INTO commits SELECT coalesce(max(number), 0) + 1, ?, coalesce(max(n_removed), 0) + ? FROM commits",
        (secrets.token_bytes(16), n_removed),
    )


def mend_sequences(connection: sqlite3.Connection, least: Mapping[str, int] = MappingProxyType({})) -> None:
    """See to it that no number in use, nor any below those in ``least``, is given again, within a transaction."""
    for table in ("documents", "chunks"):
        query = f"SELECT coalesce(max(number), 0) FROM {table} WHERE number < ?"
        (highest,) = connection.execute(query, (LAST_NUMBER,)).fetchone()
        last = [one for (one,) in connection.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,))]
        sound = [one for one in last if isinstance(one, int) and one < LAST_NUMBER]
        connection.execute("DELETE FROM sqlite_sequence WHERE name = ?", (table,))
        value = max([highest, least.get(table, 0), *sound])
        connection.execute("INSERT INTO sqlite_sequence VALUES (?, ?)", (table, value))


def hash_vectors(rows: Iterable[tuple[object, ...]]) -> bytes:
    """SHA-256 of a document's chunks.

    Args:
        rows: In the order of the chunks' numbers, each granularity, place, start, end, the same two in bytes, vector.
    """
    digest = hashlib.sha256()
    for *place, vector in rows:
        digest.update(repr(place).encode())
        digest.update(vector if isinstance(vector, bytes) else b"")
    return digest.digest()


def rows_to_hash(connection: sqlite3.Connection, document: int) -> Iterator[tuple[object, ...]]:
    """What :func:`hash_vectors` takes, as it is stored."""
    query = (
        'SELECT c.granularity, c.place, c."start", c."end", c.byte_start, c.byte_end, v.vector FROM chunks c '
        "LEFT JOIN vectors v ON v.chunk = c.number WHERE c.document = ? ORDER BY c.number"
    )
    return connection.execute(query, (document,))


def clear_words(connection: sqlite3.Connection, granularity: int) -> None:
    """Empty the lexical index of a granularity, whatever is in it."""
    connection.execute(f"INSERT INTO words_{granularity} (words_{granularity}) VALUES ('delete-all')")


def texts_of_chunks(
    connection: sqlite3.Connection, document: int, granularity: int, text: bytes
) -> Iterator[tuple[int, str]]:
    """Number and text of each chunk of a document whose text, in UTF-8, is given."""
    query = "SELECT number, byte_start, byte_end FROM chunks WHERE document = ? AND granularity = ?"
    for number, start, end in connection.execute(query, (document, granularity)).fetchall():
        yield number, text[start:end].decode("utf-8")


def _lexical_tables(connection: sqlite3.Connection) -> set[str]:
    words = list(_words_tables(read_settings_table(connection)))
    return {*words, *(shadow for number in range(len(words)) for shadow in _shadow_tables(f"words_{number}"))}


def _words_tables(settings: Mapping[str, Mapping[str, object]]) -> Iterator[str]:
    """The tables of the lexical index, one for each granularity, without texts: those are in the documents."""
    words = settings.get("search", {}).get("words")
    tokenizer = next((value for name, value in _TOKENIZERS.items() if name == words), None)
    if tokenizer is None:
        return
    for number in range(min(len(settings.get("chunkers", {})), MOST_GRANULARITIES)):
        yield f"CREATE VIRTUAL TABLE words_{number} USING fts5(text, content='', tokenize='{tokenizer}')"


def _shadow_tables(name: str) -> tuple[str, ...]:
    """What FTS5 makes beside such a table; so since its first release."""
    return (
        f"CREATE TABLE '{name}_data'(id INTEGER PRIMARY KEY, block BLOB)",
        f"CREATE TABLE '{name}_idx'(segid, term, pgno, PRIMARY KEY(segid, term)) WITHOUT ROWID",
        f"CREATE TABLE '{name}_docsize'(id INTEGER PRIMARY KEY, sz BLOB)",
        f"CREATE TABLE '{name}_config'(k PRIMARY KEY, v) WITHOUT ROWID",
    )


def _dump(value: Settings) -> str:
    return json.dumps(value, ensure_ascii=False)
