"""Reads what a store holds besides chunks and words: states, documents, metadata."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import closing
from itertools import chain, takewhile
from typing import Any

import numpy as np

from latechunk.errors import IndexDamagedError
from latechunk.storage.connection import REMEDY
from latechunk.storage.fields import list_keys, list_kinds
from latechunk.storage.filter_sql import Condition, Selection
from latechunk.storage.lookup import WordReader
from latechunk.storage.rows import ChunkPlaces, ChunkRow, Commit, Counts, Fingerprint, StoredDocument
from latechunk.storage.schema import hash_structure, hash_vectors, rows_to_hash
from latechunk.types import Document, IntArray, Span
from latechunk.types.arrays import counted_ranges
from latechunk.types.json_form import parse_blocks, parse_pages

LAST_COMMIT = "SELECT number, token, n_removed FROM commits WHERE number = (SELECT max(number) FROM commits)"
_MOST_KEYS = 20_000
_ALWAYS = Condition("1", ())


class StoreReader(WordReader):
    """All that can be asked of a store. Several threads may read at the same time."""

    def counts(self) -> Counts:
        """Count what is stored."""
        with self.snapshot():
            n_documents, n_tokens = self._row("SELECT count(*), coalesce(sum(n_tokens), 0) FROM documents")
            (n_chunks,) = self._row("SELECT count(*) FROM chunks")
        return Counts(n_documents, n_chunks, n_tokens)

    def last_commit(self) -> Commit:
        """The newest state."""
        with self.snapshot():
            number, token, n_removed = self._row(LAST_COMMIT)
        return Commit(number, token.hex(), n_removed)

    def has_commit(self, commit: Commit) -> bool:
        """Whether this store once was in that state, so that it can be brought up to date from there."""
        with self.snapshot():
            row = self._pool.connection.execute(
                "SELECT token FROM commits WHERE number = ?", (commit.number,)
            ).fetchone()
        return row is not None and row[0].hex() == commit.token

    def has_forgotten(self, commit: Commit) -> bool:
        """Whether that state is older than all that are kept, so that nothing can be said of it."""
        with self.snapshot():
            (oldest,) = self._row("SELECT min(number) FROM commits")
        return bool(commit.number < oldest)

    def fingerprints(self, ids: Sequence[str]) -> dict[str, Fingerprint]:
        """By what to compare documents, of those that are stored."""
        with self.snapshot():
            query = (
                "SELECT d.id, d.text_sha256, d.metadata, s.pages, s.outline FROM documents d "
                "LEFT JOIN structures s ON s.document = d.number WHERE d.id IN"
            )
            found = {document_id: Fingerprint(*rest) for document_id, *rest in self._select_by(query, ids)}
        lost = next((document_id for document_id, one in found.items() if None in one), None)
        if lost is not None:
            raise IndexDamagedError(f"{self._path}: document {lost!r} has lost its pages and its outline: {REMEDY}")
        return found

    def document_ids(self, where: Selection | None = None) -> list[str]:
        """Ids of all documents, or of those that are selected, in the order in which they were last added."""
        with self.snapshot():
            if where is None:
                rows = self._pool.connection.execute("SELECT id FROM documents ORDER BY number")
                return [one for (one,) in rows]
            numbers = self.document_numbers(where).tolist()
            ids = dict(self._select_by("SELECT number, id FROM documents WHERE number IN", numbers))
            return [ids[number] for number in numbers]

    def ids_that_begin_with(self, prefix: str) -> list[str]:
        """These ids of documents, in their own order; reads no others."""
        query = "SELECT id FROM documents WHERE id >= ? ORDER BY id"
        with self.snapshot(), closing(self._pool.connection.execute(query, (prefix,))) as rows:
            return list(takewhile(lambda one: one.startswith(prefix), (one for (one,) in rows)))

    def metadata(self, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Metadata of those documents that are stored, by their ids."""
        with self.snapshot():
            rows = self._select_by("SELECT id, metadata FROM documents WHERE id IN", ids)
            return {document_id: json.loads(metadata) for document_id, metadata in rows}

    def document(self, document_id: str) -> Document | None:
        """Read a document back, or None."""
        with self.snapshot():
            query = "SELECT number, metadata, text_sha256, text FROM documents WHERE id = ?"
            row = self._pool.connection.execute(query, (document_id,)).fetchone()
            if row is None:
                return None
            number, metadata, digest, text = row
            if not isinstance(text, bytes) or hashlib.sha256(text).digest() != digest:
                raise IndexDamagedError(f"the text of document {document_id!r} is no longer what was stored: {REMEDY}")
            pages, outline, digest = self._row(
                "SELECT pages, outline, sha256 FROM structures WHERE document = ?", number
            )
            if hash_structure(pages, outline) != digest:
                raise IndexDamagedError(
                    f"pages or outline of document {document_id!r} are no longer what was stored: {REMEDY}"
                )
            return Document(
                document_id,
                text.decode("utf-8"),
                json.loads(metadata),
                pages=parse_pages(json.loads(pages)),
                outline=parse_blocks(json.loads(outline)),
            )

    def document_of(self, number: int) -> Document:
        """Read the document of this number, within one ``snapshot``; IndexDamagedError if there is none."""
        (document_id,) = self._row("SELECT id FROM documents WHERE number = ?", number)
        document = self.document(document_id)
        if document is None:
            raise IndexDamagedError(f"{self._path}: document {document_id!r} cannot be found by its id: {REMEDY}")
        return document

    def stored(self, document_id: str) -> StoredDocument | None:
        """Read a document back with its chunks and vectors, or None; what ``put`` takes.

        Raises:
            IndexDamagedError: If the text, the chunks or the vectors are no longer what was stored.
        """
        with self.snapshot():
            document = self.document(document_id)
            if document is None:
                return None
            number, n_tokens, checksum = self._row(
                "SELECT number, n_tokens, vectors_sha256 FROM documents WHERE id = ?", document_id
            )
            if hash_vectors(rows_to_hash(self._pool.connection, number)) != checksum:
                raise IndexDamagedError(
                    f"the chunks or vectors of document {document_id!r} are no longer what was stored: {REMEDY}"
                )
            chunkings = [self.rows_of_document(document_id, one) for one in range(len(self.granularities))]
            dims = int(self.settings()["encoder"]["dims"])
            vectors = self.vectors_of([row.number for rows in chunkings for row in rows], dims)
            # The checksum has proven that these are the spans that were stored.
            return StoredDocument(
                document, n_tokens, [[Span(row.start, row.end) for row in rows] for rows in chunkings], vectors
            )

    def document_numbers(self, where: Selection | None = None) -> IntArray:
        """Numbers of all documents, or of those that are selected, ascending."""
        with self.snapshot():
            if where is None:  # by the index of ids, and not in order, which would read all texts
                return np.sort(self._numbers("SELECT number FROM documents", ()))
            found: IntArray | None = None
            for row in where.rows:
                own = self._numbers(f"SELECT f.document AS number FROM fields f WHERE {row.sql}", row.values)
                if (np.diff(own) <= 0).any():  # in order already where they have one value
                    own = np.unique(own)
                found = own if found is None else np.intersect1d(found, own, assume_unique=True)
            rest = where.rest
            if found is not None and (rest is None or not len(found)):
                return found
            condition = rest or _ALWAYS
            among = "" if found is None else " AND d.number IN (SELECT value FROM json_each(?))"
            values = condition.values if found is None else (*condition.values, json.dumps(found.tolist()))
            return np.sort(self._numbers(f"SELECT d.number FROM documents d WHERE {condition.sql}{among}", values))

    def chunk_places(self, granularity: int, known: ChunkPlaces | None = None) -> ChunkPlaces:
        """Where the chunks of a granularity are, within one ``snapshot``.

        Where ``known`` says it of an earlier state, no more is read than what came since: numbers are never used twice,
        so what the store no longer has was deleted, and numbers above the highest are new, of new documents.
        """
        commit = self.last_commit()
        if known is None or not len(known) or not self.has_commit(known.commit):
            # By document, so that SQLite reads an index that has all of this, and not the table, which is much larger.
            return self._read_places(commit, "granularity = ?", granularity)
        newest = int(known.numbers[-1])
        if known.commit.n_removed != commit.n_removed:
            known = known.kept(self.document_numbers())
        return known.followed_by(self._read_places(commit, "+granularity = ? AND number > ?", granularity, newest))

    def _read_places(self, commit: Commit, where: str, *values: int) -> ChunkPlaces:
        query = f"SELECT document, min(number), max(number), count(*) FROM chunks WHERE {where} GROUP BY document"
        rows = self._pool.connection.execute(f"{query} ORDER BY document", values)
        documents, first, last, sizes = np.fromiter(chain.from_iterable(rows), dtype=np.int64).reshape(-1, 4).T
        if (last - first + 1 != sizes).any() or (np.diff(first) < 0).any():
            raise IndexDamagedError(f"{self._path}: chunks are missing or out of order: {REMEDY}")
        document_of = np.repeat(np.arange(len(documents)), sizes)
        return ChunkPlaces(commit, counted_ranges(first, sizes), documents.copy(), document_of, sizes.copy())

    def field_names(self) -> list[str]:
        """Top-level keys of metadata that have a value, or an array of values, in any document; the first 20,000."""
        return list_keys(self._pool.connection, _MOST_KEYS)

    def field_kinds(self, key: str) -> list[str]:
        """Types of these values in all documents: "text", "integer", "real", "true", "false" or "null"."""
        return list_kinds(self._pool.connection, key)

    def _numbers(self, query: str, values: Sequence[object]) -> IntArray:
        # As one text: 25,000 rows of one number took 6.7 ms, this takes 1.9.
        (listed,) = self._row(f"SELECT group_concat(number) FROM ({query})", *values)
        return np.fromstring(listed or "", dtype=np.int64, sep=",")

    def numbers_of_ids(self, ids: Sequence[str]) -> list[int]:
        """Numbers of those documents that are stored."""
        with self.snapshot():
            return [number for (number,) in self._select_by("SELECT number FROM documents WHERE id IN", ids)]

    def rows_of_document(self, document_id: str, granularity: int, place: int | None = None) -> list[ChunkRow]:
        """A document's chunks, in the order of their starts, or the one at a place, within one ``snapshot``."""
        condition, values = ("ORDER BY c.place", ()) if place is None else ("AND c.place = ?", (place,))
        numbers = self.numbers_of_ids([document_id])
        return [row for number in numbers for row in self._find_chunks(number, granularity, condition, *values)]
