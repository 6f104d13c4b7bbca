"""Metadata as rows, by which a filter finds its documents without reading the metadata of all.

The table ``fields`` has a row for each value of a top-level key, and for each element of an array there, as
``json_each`` gives them; null has 0, which its type tells apart. What lies deeper has no row.
"""

from __future__ import annotations

import sqlite3

from latechunk.storage.filter_sql import READABLE, escape_text, unescape_text

TABLE = (
    "CREATE TABLE fields (path TEXT NOT NULL, atom NOT NULL, type TEXT NOT NULL, document INTEGER NOT NULL, "
    "PRIMARY KEY (path, type, atom, document)) WITHOUT ROWID"
)


_TEXT = f"CASE WHEN json_valid({READABLE}) THEN CASE json_type({READABLE}) WHEN 'object' THEN {READABLE} END END"
_VALUES = f"FROM documents d, json_each({_TEXT}) p WHERE p.type NOT IN ('array', 'object')"
_ELEMENTS = (
    f"FROM documents d, json_each({_TEXT}) p, json_each(CASE p.type WHEN 'array' THEN p.value END) c "
    "WHERE c.type NOT IN ('array', 'object')"
)


def _rows(of: str) -> str:
    """SQL of the rows of documents; metadata that are damaged have none."""
    return (
        f"SELECT p.key, ifnull(p.atom, 0), p.type, d.number {_VALUES}{of} "
        f"UNION SELECT p.key, ifnull(c.atom, 0), c.type, d.number {_ELEMENTS}{of}"
    )


# Statements, and no triggers: SQLite 3.40 takes its JSON functions for unsafe in those of a schema that is not trusted.
_OF_ONE, _OF_ALL = _rows(" AND d.number = ?1"), _rows("")


def add_fields(connection: sqlite3.Connection, document: int) -> None:
    """Enter the rows of a stored document, within a transaction."""
    connection.execute(f"INSERT INTO fields {_OF_ONE}", (document,))


def remove_fields(connection: sqlite3.Connection, document: int) -> None:
    """Take out the rows of a stored document, within a transaction and before its metadata change."""
    # In a SELECT of its own, as for rows IN a UNION itself SQLite reads the whole table.
    query = f"DELETE FROM fields WHERE (path, atom, type, document) IN (SELECT * FROM ({_OF_ONE}))"
    connection.execute(query, (document,))


def list_keys(connection: sqlite3.Connection, most: int) -> list[str]:
    """Top-level keys that have rows, ascending, ``most`` of them."""
    # One look-up for each key, where DISTINCT would read all rows.
    query = (
        "WITH RECURSIVE k (path) AS (SELECT min(path) FROM fields "
        "UNION ALL SELECT (SELECT min(path) FROM fields WHERE path > k.path) FROM k WHERE k.path IS NOT NULL) "
        "SELECT path FROM k WHERE path IS NOT NULL LIMIT ?"
    )
    return [unescape_text(path) for (path,) in connection.execute(query, (most,))]


def list_kinds(connection: sqlite3.Connection, key: str) -> list[str]:
    """Types of the values of a top-level key in all documents."""
    query = (
        "WITH RECURSIVE t (type) AS (SELECT min(type) FROM fields WHERE path = ?1 "
        "UNION ALL SELECT (SELECT min(type) FROM fields WHERE path = ?1 AND type > t.type) FROM t "
        "WHERE t.type IS NOT NULL) SELECT type FROM t WHERE type IS NOT NULL"
    )
    return [kind for (kind,) in connection.execute(query, (escape_text(key),))]


def count_wrong_fields(connection: sqlite3.Connection) -> int:
    """How many rows are missing, and how many are there that should not be."""
    kept, needed = "SELECT path, atom, type, document FROM fields", f"SELECT * FROM ({_OF_ALL})"
    pairs = ((kept, needed), (needed, kept))
    counts = [connection.execute(f"SELECT count(*) FROM ({one} EXCEPT {other})").fetchone() for one, other in pairs]
    return sum(count for (count,) in counts)


def rebuild_fields(connection: sqlite3.Connection) -> None:
    """Make all rows again from the metadata, within a transaction."""
    connection.execute("DELETE FROM fields")
    connection.execute(f"INSERT INTO fields {_OF_ALL}")
