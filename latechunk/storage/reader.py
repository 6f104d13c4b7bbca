"""Reads what a store holds: documents, chunks, vectors, and what is found by words."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from latechunk.chunking.places import line_of_file
from latechunk.errors import IndexDamagedError
from latechunk.storage.connection import REMEDY
from latechunk.storage.fields import list_keys, list_kinds
from latechunk.storage.filter_sql import Condition, Selection
from latechunk.storage.fulltext import DOCUMENTS, damage_named
from latechunk.storage.lookup import WordRows, count_term, score_term
from latechunk.storage.pool import ConnectionPool
from latechunk.storage.rows import (
    SECTION,
    ChunkPlaces,
    ChunkRow,
    Commit,
    Counts,
    Fingerprint,
    StoredDocument,
    decode_place,
)
from latechunk.storage.schema import hash_structure, hash_vectors, read_settings_table, require_format, rows_to_hash
from latechunk.storage.vectors import Precision, n_bytes, unpack
from latechunk.types import Chunk, Document, FloatArray, IntArray, ScoreArray, Span
from latechunk.types.citation import ELLIPSIS
from latechunk.types.json_form import parse_blocks, parse_pages

LAST_COMMIT = "SELECT number, token, n_removed FROM commits WHERE number = (SELECT max(number) FROM commits)"
_VARIABLES = 500  # values bound in one statement; SQLite's default limit is 32,766, 999 in old builds
_MOST_KEYS = 20_000
_ALWAYS = Condition("1", ())
_ROW = (
    'SELECT c.number, c.document, c.granularity, c.place, c."start", c."end", c.byte_start, c.byte_end, c.headings, '
    "c.pages, c.line, c.titles FROM chunks c WHERE "
)


class StoreReader:
    """All that can be asked of a store. Several threads may read at the same time."""

    def __init__(self, path: Path, *, read_only: bool) -> None:
        """Use ``latechunk.storage.store.Store.open``."""
        self.read_only = read_only
        self._path = path
        self._pool = ConnectionPool(path, read_only=read_only)
        # Within a snapshot all reads of this thread see the state of the first read, or what the change around it has
        # written; other threads read and write meanwhile.
        self.snapshot = self._pool.snapshot
        self.require_in_place = self._pool.require_in_place
        try:
            with self.snapshot() as connection:
                require_format(connection, path)
                settings = self.settings()
        except BaseException:
            self.close()
            raise
        self.granularities = tuple(settings.get("chunkers", {}))
        search = settings.get("search", {})
        self.has_words = search.get("words") is True
        self._precision: Precision = search.get("precision", "float32")

    def close(self) -> None:
        """Close the database; everything committed is in it."""
        self._pool.close()

    def settings(self) -> dict[str, dict[str, Any]]:
        """What was recorded when the index was made."""
        with self.snapshot():
            return read_settings_table(self._pool.connection)

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
            if hashlib.sha256(text).digest() != digest:
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
            found: IntArray | None = None
            for row in where.rows if where else ():
                own = np.unique(self._numbers(f"SELECT f.document FROM fields f WHERE {row.sql}", row.values))
                found = own if found is None else np.intersect1d(found, own, assume_unique=True)
            rest = where.rest if where else None
            if found is not None and (rest is None or not len(found)):
                return found
            condition = rest or _ALWAYS
            among = "" if found is None else " AND d.number IN (SELECT value FROM json_each(?))"
            values = condition.values if found is None else (*condition.values, json.dumps(found.tolist()))
            query = f"SELECT d.number FROM documents d WHERE {condition.sql}{among} ORDER BY d.number"
            return self._numbers(query, values)

    def field_names(self) -> list[str]:
        """Top-level keys of metadata that have a value, or an array of values, in any document; the first 20,000."""
        return list_keys(self._pool.connection, _MOST_KEYS)

    def field_kinds(self, key: str) -> list[str]:
        """Types of these values in all documents: "text", "integer", "real", "true", "false" or "null"."""
        return list_kinds(self._pool.connection, key)

    def _numbers(self, query: str, values: Sequence[object]) -> IntArray:
        rows = self._pool.connection.execute(query, values)
        return np.fromiter((number for (number,) in rows), dtype=np.int64)

    def numbers_of_ids(self, ids: Sequence[str]) -> list[int]:
        """Numbers of those documents that are stored."""
        with self.snapshot():
            return [number for (number,) in self._select_by("SELECT number FROM documents WHERE id IN", ids)]

    def count_vectors(self, granularity: int) -> int:
        """How many chunks of a granularity there are."""
        with self.snapshot():
            (count,) = self._row("SELECT count(*) FROM chunks WHERE granularity = ?", granularity)
        return int(count)

    def vectors(
        self, dims: int, *, after: int, granularity: int = 0, block: int = 16_384
    ) -> Iterator[tuple[IntArray, IntArray, FloatArray]]:
        """Read the vectors of chunks with a number above ``after``, within one ``snapshot``.

        Yields:
            Chunk numbers, ascending, their documents' numbers, and their vectors, shape ``(n, dims)``.
        """
        # The length is looked at first, since a value of another one may be as large as an attacker likes.
        query = (
            "SELECT v.chunk, c.document, CASE WHEN length(v.vector) = ? THEN v.vector END FROM vectors v "
            "LEFT JOIN chunks c ON c.number = v.chunk WHERE v.chunk > ? AND coalesce(c.granularity, ?) = ? "
            "ORDER BY v.chunk"
        )
        size = n_bytes(dims, self._precision)
        cursor = self._pool.connection.execute(query, (size, after, granularity, granularity))
        while rows := cursor.fetchmany(block):
            numbers, documents, vectors = zip(*rows, strict=True)
            if None in documents:
                lost = numbers[documents.index(None)]
                raise IndexDamagedError(f"{self._path}: chunk {lost} has a vector and no text: {REMEDY}")
            yield np.array(numbers), np.array(documents), self._stack(numbers, vectors, dims)

    def vectors_of(self, numbers: Sequence[int], dims: int) -> FloatArray:
        """The vectors of chunks, in the order given, shape ``(n, dims)``, within one ``snapshot``."""
        size = n_bytes(dims, self._precision)
        query = f"SELECT chunk, CASE WHEN length(vector) = {size} THEN vector END FROM vectors WHERE chunk IN"
        found = dict(self._select_by(query, [int(one) for one in numbers]))
        return self._stack(numbers, [found.get(int(number)) for number in numbers], dims)

    def chunk_places(self, granularity: int) -> ChunkPlaces:
        """Where the chunks of a granularity are, within one ``snapshot``."""
        # Not in order, so that SQLite reads an index that has all of this, and not the table, which is much larger.
        rows = self._pool.connection.execute(
            "SELECT number, document FROM chunks WHERE granularity = ?", (granularity,)
        )
        found = np.fromiter(chain.from_iterable(rows), dtype=np.int64).reshape(-1, 2)
        numbers, of_chunks = found[np.argsort(found[:, 0])].T
        documents, places, sizes = np.unique(of_chunks, return_inverse=True, return_counts=True)
        return ChunkPlaces(numbers, documents, places, sizes)

    def segments(self, granularity: int | None) -> tuple[int, ...]:
        """Numbers of the segments of the lexical index, which change without a commit when they are joined."""
        query = "SELECT number FROM segments WHERE granularity = ? ORDER BY number"
        rows = self._pool.connection.execute(query, (DOCUMENTS if granularity is None else granularity,))
        return tuple(number for (number,) in rows)

    def word_rows(self, granularity: int | None, stored: IntArray) -> WordRows:
        """What the lexical index says of all chunks, or for None of documents; ``stored`` are their numbers, ascending.

        To be called, as those beside it, within one ``snapshot``.
        """
        with damage_named():
            return WordRows.read(self._pool.connection, DOCUMENTS if granularity is None else granularity, stored)

    def score_term(self, term: str, granularity: int | None, known: WordRows) -> tuple[IntArray, ScoreArray]:
        """Places, among those stored, of chunks or for None of documents with a term, and its BM25 there."""
        with damage_named():
            return score_term(self._pool.connection, DOCUMENTS if granularity is None else granularity, term, known)

    def count_term(self, term: str, granularity: int) -> int:
        """How many chunks hold a term, with some of those that were deleted."""
        with damage_named():
            return count_term(self._pool.connection, granularity, term)

    def rows(self, numbers: Sequence[int]) -> list[ChunkRow]:
        """Where chunks stand, in the order given, within one ``snapshot``."""
        rows = self._select_by(f"{_ROW} c.number IN", [int(one) for one in numbers])
        found = {row[0]: ChunkRow(*row) for row in rows}
        missing = [number for number in numbers if number not in found]
        if missing:
            raise IndexDamagedError(f"{self._path}: chunk {missing[0]} has a vector and no text: {REMEDY}")
        return [found[number] for number in numbers]

    def titles(self, numbers: Sequence[int]) -> dict[int, list[str]]:
        """The titles of the sections that begin in each chunk in which any do, within one ``snapshot``.

        What holds more than 16 is about none of them, and has none here.
        """
        rows = self._select_by("SELECT number, titles FROM chunks WHERE titles <> '[]' AND number IN", numbers)
        try:
            found = {number: [str(title) for title in json.loads(titles)] for number, titles in rows}
        except (TypeError, ValueError) as error:
            raise IndexDamagedError(f"{self._path}: titles of chunks cannot be read ({error}): {REMEDY}") from error
        return {number: titles for number, titles in found.items() if ELLIPSIS not in titles}

    def rows_of_document(self, document_id: str, granularity: int) -> list[ChunkRow]:
        """A document's chunks, in the order of their starts, within one ``snapshot``."""
        numbers = self.numbers_of_ids([document_id])
        return [row for number in numbers for row in self._find_chunks(number, granularity, "ORDER BY c.place")]

    def rows_around(self, row: ChunkRow, n: int) -> list[ChunkRow]:
        """A chunk with up to ``n`` neighbours on either side, in order, within one ``snapshot``."""
        near = "AND c.place BETWEEN ? AND ? ORDER BY c.place"
        return self._find_chunks(row.document, row.granularity, near, row.place - n, row.place + n)

    def rows_beside(
        self, document: int, granularity: int, place: int, end: int
    ) -> tuple[ChunkRow | None, ChunkRow | None, ChunkRow | None]:
        """The chunk at a place, the one before it, and the one after a passage that begins with it and ends at ``end``.

        Each is None if it is not there; to be called within one ``snapshot``.
        """

        def find(condition: str, *values: int) -> ChunkRow | None:
            first = f"AND c.place {condition} ORDER BY c.place LIMIT 1"
            return next(iter(self._find_chunks(document, granularity, first, *values)), None)

        own, before = find("= ?", place), find("= ?", place - 1)
        if own and own.end == end:
            return own, before, find("= ?", place + 1)
        return own, before, find('> ? AND c."end" > ?', place, end)

    def row_over(self, row: ChunkRow, granularity: int) -> ChunkRow | None:
        """The chunk of another granularity that shares the most characters with this one, the first on a tie."""
        best = 'AND c."start" < ? AND c."end" > ? ORDER BY min(c."end", ?) - max(c."start", ?) DESC, c.place LIMIT 1'
        found = self._find_chunks(row.document, granularity, best, row.end, row.start, row.end, row.start)
        return found[0] if found else None

    def chunks(self, rows: Sequence[ChunkRow]) -> list[Chunk]:
        """Read the text and metadata of chunks, or of any ranges of documents, within one ``snapshot``."""
        query = "SELECT number, id, metadata FROM documents WHERE number IN"
        documents = {one[0]: one[1:] for one in self._select_by(query, sorted({row.document for row in rows}))}
        missing = [row.number for row in rows if row.document not in documents]
        if missing:
            raise IndexDamagedError(f"{self._path}: chunk {missing[0]} has no document: {REMEDY}")
        names = (*self.granularities, SECTION)
        chunks = []
        for row in rows:
            with self._pool.connection.blobopen("documents", "text", row.document, readonly=True) as blob:
                if not 0 <= row.byte_start < row.byte_end <= len(blob):
                    where = f"{self._path}: chunk {row.number}"
                    raise IndexDamagedError(f"{where} is outside its document's text: {REMEDY}")
                blob.seek(row.byte_start)
                text = blob.read(row.byte_end - row.byte_start).decode("utf-8")
            name = names[row.granularity] if row.granularity < len(names) else ""
            document_id, metadata_json = documents[row.document]
            metadata, place = json.loads(metadata_json), decode_place(row)
            chunks.append(
                Chunk(
                    document_id,
                    row.place,
                    row.start,
                    row.end,
                    text,
                    metadata,
                    name,
                    headings=place.headings,
                    sections=place.titles,
                    pages=place.pages,
                    line=line_of_file(place.line, metadata),
                )
            )
        return chunks

    def _find_chunks(self, document: int, granularity: int, condition: str, *values: int) -> list[ChunkRow]:
        query = f"{_ROW} c.document = ? AND c.granularity = ? {condition}"
        return [ChunkRow(*row) for row in self._pool.connection.execute(query, (document, granularity, *values))]

    def _stack(self, numbers: Sequence[int], vectors: Sequence[Any], dims: int) -> FloatArray:
        for number, vector in zip(numbers, vectors, strict=True):
            if not isinstance(vector, bytes):
                what = f"the vector of chunk {number} is not of {dims} numbers"
                raise IndexDamagedError(f"{self._path}: {what}: {REMEDY}")
        return unpack(b"".join(vectors), dims, self._precision)

    def _row(self, query: str, *values: Any) -> Any:
        row = self._pool.connection.execute(query, values).fetchone()
        if row is None:
            raise IndexDamagedError(f"the store is incomplete: it has no row for {query!r}")
        return row

    def _select_by(self, query: str, values: Sequence[Any]) -> Iterator[Any]:
        """Rows of a query that ends in IN, for each different value once, in blocks of 500 values."""
        different = list(dict.fromkeys(values))  # one that came again in a later block would give its row again
        for begin in range(0, len(different), _VARIABLES):
            part = different[begin : begin + _VARIABLES]
            yield from self._pool.connection.execute(f"{query} ({', '.join('?' * len(part))})", part)
