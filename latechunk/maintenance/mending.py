"""Changes of a store that only a repair makes: they do not look at what they remove, since it may be damaged."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from latechunk.storage.fulltext import (
    DOCUMENT_WORDS,
    chunk_words,
    insert_words,
    table_definition,
    texts_of_chunks,
    word_tables,
)
from latechunk.storage.schema import LAST_NUMBER, log_commit
from latechunk.storage.store import Store, StoredDocument


def replace_documents(store: Store, numbers: Sequence[int], documents: Sequence[StoredDocument] = ()) -> None:
    """Remove documents by their numbers and add others, in one transaction.

    The lexical index must hold nothing of those that are removed: see ``rebuild_words``.
    """
    with store.change() as connection:
        before = connection.total_changes
        for table, column in (("fields", "document"), ("documents", "number")):
            connection.executemany(f"DELETE FROM {table} WHERE {column} = ?", [(one,) for one in numbers])
        n_removed = connection.total_changes - before
        for stored in documents:
            store.insert(connection, stored)
        log_commit(connection, n_removed)


def rebuild_words(store: Store, without: AbstractSet[int] = frozenset()) -> None:
    """Make the tables of the lexical index again and fill them from the texts, in one transaction.

    The tables are dropped, since FTS5 refuses to empty one whose own records are damaged. It even refuses to drop one
    of a version that it does not know, so the version is written first. The documents ``without`` are left out, and
    those whose texts cannot be read.
    """
    with store.change() as connection:
        tables = word_tables(store.settings())
        for table in tables:
            connection.execute(f"INSERT OR REPLACE INTO {table}_config VALUES ('version', 4)")
            connection.execute(f"DROP TABLE {table}")
            connection.execute(table_definition(table))
        for document, text in connection.execute("SELECT number, text FROM documents ORDER BY number"):
            if not tables or document in without:
                continue
            for granularity in range(len(store.granularities)):
                # All of a chunking or nothing: chunks of a damaged document may lie anywhere.
                with contextlib.suppress(UnicodeDecodeError, TypeError):
                    rows = list(texts_of_chunks(connection, document, granularity, text))
                    insert_words(connection, chunk_words(granularity), rows)
            with contextlib.suppress(UnicodeDecodeError, AttributeError):
                insert_words(connection, DOCUMENT_WORDS, [(document, text.decode("utf-8"))])


def remove_orphans(store: Store) -> int:
    """Remove what belongs to no document and vectors without a chunk, and see that no number is used twice.

    The history of changes starts again, so that every vector cache is rebuilt. Returns how many rows were removed.
    """
    with store.change() as connection:
        before = connection.total_changes
        for table in ("chunks", "structures"):
            connection.execute(f"DELETE FROM {table} WHERE document NOT IN (SELECT number FROM documents)")
        connection.execute("DELETE FROM vectors WHERE chunk NOT IN (SELECT number FROM chunks)")
        n_removed = connection.total_changes - before
        for table in ("documents", "chunks"):
            _mend_sequence(connection, table)
        connection.execute("DELETE FROM commits")
        log_commit(connection, 0)
    return n_removed


def _mend_sequence(connection: sqlite3.Connection, table: str) -> None:
    """See that no number in use, nor any that was given before, is given again."""
    query = f"SELECT coalesce(max(number), 0) FROM {table} WHERE number < ?"
    (highest,) = connection.execute(query, (LAST_NUMBER,)).fetchone()
    last = [one for (one,) in connection.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,))]
    sound = [one for one in last if isinstance(one, int) and one < LAST_NUMBER]
    connection.execute("DELETE FROM sqlite_sequence WHERE name = ?", (table,))
    connection.execute("INSERT INTO sqlite_sequence VALUES (?, ?)", (table, max([highest, *sound])))
