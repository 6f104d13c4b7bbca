"""Documents, spans and vectors in one SQLite file, which is what an index holds. What is written here."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from pathlib import Path

from latechunk.chunking.places import Places, find_places, with_outline
from latechunk.storage.connection import connect, transaction, translated
from latechunk.storage.fields import add_fields, remove_fields
from latechunk.storage.fulltext import WordWriter, merge_words
from latechunk.storage.reader import StoreReader
from latechunk.storage.rows import ChunkRow, Commit, Counts, Fingerprint, StoredDocument, encode_place
from latechunk.storage.schema import create_tables, hash_structure, hash_vectors, log_commit, rows_to_hash
from latechunk.storage.vectors import pack
from latechunk.types import Document, Settings, Span
from latechunk.types.json_form import list_pages, to_json

__all__ = ["ChunkRow", "Commit", "Counts", "Fingerprint", "Store", "StoredDocument"]


class Store(StoreReader):
    """The database of one index. Several threads may read it at the same time; every change is one transaction."""

    @classmethod
    def create(cls, path: Path, settings: Mapping[str, Settings]) -> None:
        """Make a new database with an empty store."""
        path.touch()  # SQLite itself lets no group write, whatever the umask says
        with translated(path):
            connection = connect(path, "rwc")
        try:
            with translated(path), transaction(connection):
                create_tables(connection, settings)
            with translated(path):  # closing would do it as well, and not say when it fails
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            connection.close()

    @classmethod
    def open(cls, path: Path, *, read_only: bool) -> Store:
        """Open a database.

        Raises:
            StoreError: If it cannot be opened.
            IndexFormatError: If it is not an index's database, or of another format.
            IndexDamagedError: If it is damaged.
        """
        return cls(path, read_only=read_only)

    def change_search(self, settings: Settings) -> None:
        """Record other settings of the search, which decide no vector."""
        with self.change() as connection:
            changed = json.dumps(settings, ensure_ascii=False)
            connection.execute("UPDATE settings SET value = ? WHERE name = 'search'", (changed,))

    def compact(self) -> None:
        """Give back to the file system what deleted documents took."""
        if self.has_words:
            with self.change() as connection:
                merge_words(connection)
        with self.change(in_transaction=False) as connection:
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def put(self, documents: Sequence[StoredDocument], new_metadata: Sequence[Document] = ()) -> None:
        """Add or replace documents, and give stored ones new metadata and pages, all in one transaction."""
        with self.change() as connection:
            n_removed = self._remove(connection, [stored.document.id for stored in documents])
            self.insert(connection, documents)
            for one in new_metadata:
                self._relabel(connection, one)
            log_commit(connection, n_removed)

    def delete(self, ids: Sequence[str]) -> int:
        """Delete documents in one transaction; ids that are not stored are passed over. Returns how many were."""
        with self.change() as connection:
            n_documents = len(self.numbers_of_ids(ids))
            if n_documents:
                log_commit(connection, self._remove(connection, ids))
        return n_documents

    def insert(self, connection: sqlite3.Connection, documents: Sequence[StoredDocument]) -> None:
        """Enter documents whose ids are not stored, within a ``change``, which has to log the commit."""
        words = WordWriter(connection) if self.has_words else None
        for stored in documents:
            self._insert(connection, stored, words)
        if words:
            words.finish()

    def _insert(self, connection: sqlite3.Connection, stored: StoredDocument, words: WordWriter | None) -> None:
        document, text = stored.document, stored.document.text
        query = "SELECT coalesce(max(seq), 0) + 1 FROM sqlite_sequence WHERE name = ?"
        number, chunk = (connection.execute(query, (table,)).fetchone()[0] for table in ("documents", "chunks"))
        document = with_outline(document)
        byte_of = _byte_places(text, [span for spans in stored.chunkings for span in spans])
        rows: list[tuple[int | str, ...]] = []
        places = Places(document)
        for granularity, spans in enumerate(stored.chunkings):
            for place, span in enumerate(spans):
                ends = (span.start, span.end, byte_of[span.start], byte_of[span.end])
                rows.append((chunk + len(rows), number, granularity, place, *ends, *encode_place(places.of(span))))
        vectors = pack(stored.vectors, self._precision)
        digest = hash_vectors((*row[2:], vector) for row, vector in zip(rows, vectors, strict=True))
        connection.execute(
            "INSERT INTO documents VALUES (?, ?, ?, ?, ?, ?, ?)",
            (number, document.id, document.metadata_json, document.text_sha256, digest, stored.n_tokens, text.encode()),
        )
        _, _, pages, outline = Fingerprint.of(document)
        structure = (number, pages, outline, hash_structure(pages, outline))
        connection.execute("INSERT INTO structures VALUES (?, ?, ?, ?)", structure)
        connection.executemany(f"INSERT INTO chunks VALUES ({', '.join('?' * 12)})", rows)
        numbers = range(chunk, chunk + len(rows))
        connection.executemany("INSERT INTO vectors VALUES (?, ?)", zip(numbers, vectors, strict=True))
        add_fields(connection, number)
        if words:
            words.add(number, numbers, text, stored.chunkings)

    def _relabel(self, connection: sqlite3.Connection, document: Document) -> None:
        """Give a stored document, whose text and outline are the same, new metadata and pages."""
        pages = to_json(list_pages(document.pages))
        query = (
            "SELECT d.number, s.pages, s.outline FROM documents d JOIN structures s ON s.document = d.number "
            "WHERE d.id = ?"
        )
        number, old_pages, outline = connection.execute(query, (document.id,)).fetchone()
        remove_fields(connection, number)
        connection.execute("UPDATE documents SET metadata = ? WHERE number = ?", (document.metadata_json, number))
        add_fields(connection, number)
        if pages == old_pages:
            return
        digest = hash_structure(pages, outline)
        connection.execute("UPDATE structures SET pages = ?, sha256 = ? WHERE document = ?", (pages, digest, number))
        query = 'SELECT number, "start", "end" FROM chunks WHERE document = ?'
        chunks = connection.execute(query, (number,)).fetchall()
        places = find_places(document.with_outline(()), [Span(start, end) for _, start, end in chunks])
        connection.executemany(
            "UPDATE chunks SET pages = ? WHERE number = ?",
            [(to_json(place.pages), chunk) for (chunk, *_), place in zip(chunks, places, strict=True)],
        )
        digest = hash_vectors(rows_to_hash(connection, number))
        connection.execute("UPDATE documents SET vectors_sha256 = ? WHERE number = ?", (digest, number))

    def _remove(self, connection: sqlite3.Connection, ids: Sequence[str]) -> int:
        """Delete documents with all that hangs on them; how many rows that were."""
        numbers = self.numbers_of_ids(ids)
        for number in numbers:
            remove_fields(connection, number)
        before = connection.total_changes
        connection.executemany("DELETE FROM documents WHERE number = ?", [(number,) for number in numbers])
        # The total counts cascaded deletions, too: documents, their chunks and their vectors.
        return connection.total_changes - before


def _byte_places(text: str, spans: Sequence[Span]) -> dict[int, int]:
    """The place in UTF-8 of each end of a span, by its place in characters.

    Each character is encoded once, however many chunks overlap.
    """
    places = sorted({place for span in spans for place in (span.start, span.end)})
    sizes = (len(text[begin:end].encode("utf-8")) for begin, end in pairwise([0, *places]))
    return dict(zip(places, accumulate(sizes), strict=True))
