"""Changes of a store that only a repair makes: they do not look at what they remove, since it may be damaged."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator, Sequence

from latechunk.storage.fulltext import DOCUMENTS, WordWriter, clear_words
from latechunk.storage.schema import LAST_NUMBER, log_commit
from latechunk.storage.store import Store, StoredDocument


def replace_documents(store: Store, numbers: Sequence[int], documents: Sequence[StoredDocument] = ()) -> None:
    """Remove documents by their numbers and add others, in one transaction."""
    with store.change() as connection:
        before = connection.total_changes
        chosen = json.dumps(list(numbers))
        for table, column in (("fields", "document"), ("documents", "number")):  # together: each time reads all fields
            connection.execute(f"DELETE FROM {table} WHERE {column} IN (SELECT value FROM json_each(?))", (chosen,))
        n_removed = connection.total_changes - before
        store.insert(connection, documents)
        log_commit(connection, n_removed)


def rebuild_words(store: Store) -> None:
    """Empty the lexical index and fill it from the texts, in one transaction.

    Texts that cannot be read are left out. Of a damaged document, whose chunks may lie anywhere, each granularity is
    entered wholly or not at all.
    """
    if not store.has_words:
        return
    with store.change() as connection:
        clear_words(connection)
        words = WordWriter(connection)
        for document, text in connection.execute("SELECT number, text FROM documents ORDER BY number"):
            for granularity in range(len(store.granularities)):
                with contextlib.suppress(UnicodeDecodeError, TypeError, AttributeError):
                    for number, one in list(_texts_of_chunks(connection, document, granularity, text)):
                        words.enter(granularity, number, one)
            with contextlib.suppress(UnicodeDecodeError, AttributeError):
                words.enter(DOCUMENTS, document, text.decode("utf-8"))
        words.finish()


def _texts_of_chunks(
    connection: sqlite3.Connection, document: int, granularity: int, text: bytes
) -> Iterator[tuple[int, str]]:
    """Number and text of each chunk of a document whose text, in UTF-8, is given."""
    query = "SELECT number, byte_start, byte_end FROM chunks WHERE document = ? AND granularity = ? ORDER BY number"
    for number, start, end in connection.execute(query, (document, granularity)).fetchall():
        yield number, text[start:end].decode("utf-8")


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
