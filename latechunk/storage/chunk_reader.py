"""Reads the chunks of a store: where they stand, their texts, their vectors."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np

from latechunk.chunking.places import line_of_file
from latechunk.errors import IndexDamagedError
from latechunk.storage.connection import REMEDY
from latechunk.storage.pool import ConnectionPool
from latechunk.storage.rows import SECTION, ChunkRow, decode_place
from latechunk.storage.schema import read_settings_table, require_format
from latechunk.storage.vectors import Precision, n_bytes, unpack
from latechunk.types import Chunk, FloatArray, IntArray
from latechunk.types.citation import ELLIPSIS

_VARIABLES = 500  # values bound in one statement; SQLite's default limit is 32,766, 999 in old builds
_document_of = attrgetter("document")
_ROW = (
    'SELECT c.number, c.document, c.granularity, c.place, c."start", c."end", c.byte_start, c.byte_end, c.headings, '
    "c.pages, c.line, c.titles FROM chunks c WHERE "
)


class ChunkReader:
    """What a search reads. Several threads may read at the same time."""

    def __init__(self, path: Path, *, read_only: bool) -> None:
        """Use ``latechunk.storage.store.Store.open``."""
        self.read_only = read_only
        self._path = path
        self._pool = ConnectionPool(path, read_only=read_only)
        # Within a snapshot all reads of this thread see the state of the first read, or what the change around it has
        # written; other threads read and write meanwhile.
        self.snapshot = self._pool.snapshot
        self.change = self._pool.change  # what is done on its connection is one transaction
        self.is_in_place = self._pool.is_in_place
        self.require_in_place = self._pool.require_in_place
        self.require_open = self._pool.require_open
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

    def rows(self, numbers: Sequence[int]) -> list[ChunkRow]:
        """Where chunks stand, in the order given, within one ``snapshot``."""
        rows = self._select_by(f"{_ROW} c.number IN", [int(one) for one in numbers])
        found = {row[0]: self._to_row(row) for row in rows}
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

    def rows_around(self, row: ChunkRow, n: int) -> list[ChunkRow]:
        """A chunk with up to ``n`` neighbours on either side, in order, within one ``snapshot``."""
        near = "AND c.place BETWEEN ? AND ? ORDER BY c.place"
        found = self._find_chunks(row.document, row.granularity, near, row.place - n, row.place + n)
        if row not in found:
            raise IndexDamagedError(f"{self._path}: chunk {row.number} cannot be found by its place: {REMEDY}")
        return found

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

    def spans(self, document: int, granularity: int) -> IntArray:
        """Where the chunks of a document start and end, in order, shape ``(n, 2)``, within one ``snapshot``."""
        query = 'SELECT "start", "end" FROM chunks WHERE document = ? AND granularity = ? ORDER BY place'
        rows = self._pool.connection.execute(query, (document, granularity)).fetchall()
        return np.array(rows, dtype=np.int64).reshape(-1, 2)

    def row_at(self, document: int, granularity: int, place: int) -> ChunkRow:
        """The chunk at a place, within one ``snapshot``; IndexDamagedError if there is none."""
        for row in self._find_chunks(document, granularity, "AND c.place = ?", place):
            return row
        raise IndexDamagedError(f"{self._path}: a document of {place + 1} chunks has none at place {place}: {REMEDY}")

    def chunks(self, rows: Sequence[ChunkRow]) -> list[Chunk]:
        """Read the text and metadata of chunks, or of any ranges of documents, within one ``snapshot``."""
        query = "SELECT number, id, metadata FROM documents WHERE number IN"
        documents = {one[0]: one[1:] for one in self._select_by(query, sorted({row.document for row in rows}))}
        missing = [row.number for row in rows if row.document not in documents]
        if missing:
            raise IndexDamagedError(f"{self._path}: chunk {missing[0]} has no document: {REMEDY}")
        texts = self.texts(rows)
        names = (*self.granularities, SECTION)
        chunks = []
        for row in rows:
            name = names[row.granularity] if row.granularity < len(names) else ""
            document_id, metadata_json = documents[row.document]
            metadata, place = json.loads(metadata_json), decode_place(row)
            chunks.append(
                Chunk(
                    document_id,
                    row.place,
                    row.start,
                    row.end,
                    texts[row],
                    metadata,
                    name,
                    headings=place.headings,
                    sections=place.titles,
                    pages=place.pages,
                    line=line_of_file(place.line, metadata),
                )
            )
        return chunks

    def texts(self, rows: Sequence[ChunkRow]) -> dict[ChunkRow, str]:
        """The texts of chunks, within one ``snapshot``."""
        texts = {}
        # Each document's is opened once, since SQLite must find each of its pages by the last.
        for document, own in groupby(sorted(rows, key=_document_of), key=_document_of):
            with self._pool.connection.blobopen("documents", "text", document, readonly=True) as blob:
                for row in own:
                    if not 0 <= row.byte_start < row.byte_end <= len(blob):
                        where = f"{self._path}: chunk {row.number}"
                        raise IndexDamagedError(f"{where} is outside its document's text: {REMEDY}")
                    blob.seek(row.byte_start)
                    texts[row] = blob.read(row.byte_end - row.byte_start).decode("utf-8")
        return texts

    def _find_chunks(self, document: int, granularity: int, condition: str, *values: int) -> list[ChunkRow]:
        query = f"{_ROW} c.document = ? AND c.granularity = ? {condition}"
        return [self._to_row(row) for row in self._pool.connection.execute(query, (document, granularity, *values))]

    def _to_row(self, values: Sequence[Any]) -> ChunkRow:
        if not all(isinstance(one, int) for one in (*values[:8], values[10])):
            raise IndexDamagedError(f"{self._path}: chunk {values[0]} has a place that is no number: {REMEDY}")
        return ChunkRow(*values)

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
            # All at once: a statement left halfway by an error would fail aloud when its connection is closed.
            yield from self._pool.connection.execute(f"{query} ({', '.join('?' * len(part))})", part).fetchall()
