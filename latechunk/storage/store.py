"""Documents, spans and vectors in one SQLite file: the truth of an index."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from latechunk.errors import IndexDamagedError, SpanError
from latechunk.storage.connection import REMEDY, connect, transaction, translated
from latechunk.storage.filter_sql import Condition
from latechunk.storage.pool import ConnectionPool
from latechunk.storage.schema import (
    clear_words,
    create_tables,
    hash_vectors,
    log_commit,
    mend_sequences,
    read_settings_table,
    require_format,
    rows_to_hash,
    texts_of_chunks,
)
from latechunk.types import Chunk, Document, FloatArray, IntArray, Settings, Span, encode_metadata

_VARIABLES = 500  # values bound in one statement; SQLite's default limit is 32,766, 999 in old builds
_ALWAYS = Condition("1", ())
_ROW = (
    'SELECT c.number, c.document, c.granularity, c.place, c."start", c."end", c.byte_start, c.byte_end '
    "FROM chunks c WHERE "
)


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A document with its chunks, as the store takes it.

    Attributes:
        document: The document.
        n_tokens: Content tokens of its text.
        chunkings: Its spans, for each granularity of the index.
        vectors: Of all spans, granularity by granularity, shape ``(n_spans, dims)``.
    """

    document: Document
    n_tokens: int
    chunkings: Sequence[Sequence[Span]]
    vectors: FloatArray


@dataclass(frozen=True, slots=True)
class ChunkRow:
    """Where a chunk stands: its number, its document's, its granularity's, its place there, characters and bytes."""

    number: int
    document: int
    granularity: int
    place: int
    start: int
    end: int
    byte_start: int
    byte_end: int


@dataclass(frozen=True, slots=True)
class Commit:
    """One state of the store: its number, a random token that tells it from any other, rows removed until then.

    Two states of one store with equal ``n_removed`` differ by additions only.
    """

    number: int
    token: str
    n_removed: int


@dataclass(frozen=True, slots=True)
class Counts:
    """How much a store holds; ``n_chunks`` of all granularities."""

    n_documents: int
    n_chunks: int
    n_tokens: int


class Store:
    """The database of one index. Several threads may read it at the same time; every change is one transaction."""

    def __init__(self, path: Path, *, read_only: bool) -> None:
        """Use :meth:`open`."""
        self._path = path
        self._pool = ConnectionPool(path, read_only=read_only)
        self.read_only = read_only
        try:
            with self.snapshot():
                require_format(self._connection, path)
                settings = self.settings()
        except BaseException:
            self.close()
            raise
        self._granularities = tuple(settings.get("chunkers", {}))
        self._has_words = settings.get("search", {}).get("words") is not None

    @classmethod
    def create(cls, path: Path, settings: Mapping[str, Settings]) -> None:
        """Make a new database with an empty store."""
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

        Args:
            path: The file.
            read_only: Refuse changes.

        Raises:
            StoreError: If it cannot be opened.
            IndexFormatError: If it is not an index's database, or of another format.
            IndexDamagedError: If it is damaged.
        """
        return cls(path, read_only=read_only)

    def close(self) -> None:
        """Close the database; whatever was committed is in it."""
        self._pool.close()

    def require_in_place(self) -> None:
        """Raise unless the file that is open is still the one at its path.

        Raises:
            StoreError: If it was removed or replaced, so that changes would be lost.
        """
        self._pool.require_in_place()

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """Within this, all reads of this thread see one state; other threads read and write meanwhile.

        The state is that of the first read. Snapshots may be nested: an inner one reads the outer one's state, and
        within a change it reads what the change has written.
        """
        with self._pool.snapshot():
            yield

    def settings(self) -> dict[str, dict[str, Any]]:
        """What was recorded when the index was made."""
        with self.snapshot():
            return read_settings_table(self._connection)

    def change_setting(self, name: str, value: Settings) -> None:
        """Record another value, of what decides no vector."""
        with self._change():
            changed = json.dumps(value, ensure_ascii=False)
            self._connection.execute("UPDATE settings SET value = ? WHERE name = ?", (changed, name))

    def compact(self) -> None:
        """Give back to the file system what deleted documents took."""
        with self._pool.change(in_transaction=False) as connection:
            for granularity in range(len(self._granularities) if self._has_words else 0):
                table = f"words_{granularity}"
                connection.execute(f"INSERT INTO {table} ({table}) VALUES ('optimize')")
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def counts(self) -> Counts:
        """Count what is stored."""
        with self.snapshot():
            n_documents, n_tokens = self._row("SELECT count(*), coalesce(sum(n_tokens), 0) FROM documents")
            (n_chunks,) = self._row("SELECT count(*) FROM chunks")
        return Counts(n_documents, n_chunks, n_tokens)

    def last_commit(self) -> Commit:
        """The newest state."""
        with self.snapshot():
            number, token, n_removed = self._row("SELECT * FROM commits ORDER BY number DESC LIMIT 1")
        return Commit(number, token.hex(), n_removed)

    def has_commit(self, commit: Commit) -> bool:
        """Whether this store once was in that state, so that it can be brought up to date from there."""
        with self.snapshot():
            row = self._connection.execute("SELECT token FROM commits WHERE number = ?", (commit.number,)).fetchone()
        return row is not None and row[0].hex() == commit.token

    def fingerprints(self, ids: Sequence[str]) -> dict[str, tuple[bytes, str]]:
        """SHA-256 of the text, and the metadata as JSON, of those documents that are stored."""
        with self.snapshot():
            rows = self._select_by("SELECT id, text_sha256, metadata FROM documents WHERE id IN", ids)
            return {document_id: (digest, metadata) for document_id, digest, metadata in rows}

    def document_ids(self) -> list[str]:
        """All ids, in the order in which the documents were last added."""
        with self.snapshot():
            return [one for (one,) in self._connection.execute("SELECT id FROM documents ORDER BY number")]

    def document(self, document_id: str) -> Document | None:
        """Read a document back, or None."""
        with self.snapshot():
            query = "SELECT metadata, text_sha256, text FROM documents WHERE id = ?"
            row = self._connection.execute(query, (document_id,)).fetchone()
            if row is None:
                return None
            metadata, digest, text = row
            if hashlib.sha256(text).digest() != digest:
                raise IndexDamagedError(f"the text of document {document_id!r} is no longer what was stored: {REMEDY}")
            return Document(document_id, text.decode("utf-8"), json.loads(metadata))

    def stored(self, document_id: str) -> StoredDocument | None:
        """Read a document back with its chunks and vectors, or None; what :meth:`put` takes.

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
            if hash_vectors(rows_to_hash(self._connection, number)) != checksum:
                raise IndexDamagedError(
                    f"the chunks or vectors of document {document_id!r} are no longer what was stored: {REMEDY}"
                )
            chunkings = [self.rows_of_document(document_id, one) for one in range(len(self._granularities))]
            dims = int(self.settings()["encoder"]["dims"])
            vectors = self.vectors_of([row.number for rows in chunkings for row in rows], dims)
            try:
                spans = [[Span(row.start, row.end) for row in rows] for rows in chunkings]
            except SpanError as error:
                raise IndexDamagedError(f"a chunk of document {document_id!r} is none ({error}): {REMEDY}") from error
            return StoredDocument(document, n_tokens, spans, vectors)

    def checksums(self, ids: Sequence[str]) -> dict[str, bytes]:
        """SHA-256 of chunks and vectors, as :func:`latechunk.storage.schema.hash_vectors` makes it, of stored ones."""
        with self.snapshot():
            return dict(self._select_by("SELECT id, vectors_sha256 FROM documents WHERE id IN", ids))

    def put(self, documents: Sequence[StoredDocument], new_metadata: Sequence[Document] = ()) -> None:
        """Add or replace documents, and give others new metadata, all in one transaction.

        Args:
            documents: To add, or to put in the place of those with the same ids.
            new_metadata: Stored documents whose metadata alone changed.
        """
        with self._change():
            n_removed = self._remove([stored.document.id for stored in documents])
            for stored in documents:
                self._insert(stored)
            self._connection.executemany(
                "UPDATE documents SET metadata = ? WHERE id = ?",
                [(encode_metadata(one.metadata, one.id), one.id) for one in new_metadata],
            )
            log_commit(self._connection, n_removed)

    def delete(self, ids: Sequence[str]) -> int:
        """Delete documents in one transaction; ids that are not stored are passed over. Returns how many were."""
        with self._change():
            (before,) = self._row("SELECT count(*) FROM documents")
            n_removed = self._remove(ids)
            (after,) = self._row("SELECT count(*) FROM documents")
            if before != after:
                log_commit(self._connection, n_removed)
        return int(before - after)

    def replace_damaged(self, numbers: Sequence[int], documents: Sequence[StoredDocument] = ()) -> None:
        """Remove documents without a look at what is in them, and add others, in one transaction.

        The lexical index must hold nothing of those that are removed: see :meth:`refill_words`.
        """
        with self._change():
            (before,) = self._row("SELECT total_changes()")
            self._connection.executemany("DELETE FROM documents WHERE number = ?", [(one,) for one in numbers])
            (after,) = self._row("SELECT total_changes()")
            for stored in documents:
                self._insert(stored)
            log_commit(self._connection, int(after - before))

    def refill_words(self, without: AbstractSet[int] = frozenset()) -> None:
        """Make the lexical index anew from the texts, in one transaction.

        Args:
            without: Numbers of documents to leave out. Those whose texts cannot be read are left out, too.

        Raises:
            IndexDamagedError: If it is too damaged even to be emptied.
        """
        if not self._has_words:
            return
        with self._change():
            granularities = range(len(self._granularities))
            for granularity in granularities:
                try:
                    clear_words(self._connection, granularity)
                except sqlite3.OperationalError as error:
                    if error.sqlite_errorcode != sqlite3.SQLITE_ERROR:  # such as a full disk
                        raise
                    raise IndexDamagedError(f"the lexical index of {self._path} is damaged: {error}") from error
            for document, text in self._connection.execute("SELECT number, text FROM documents ORDER BY number"):
                if document in without:
                    continue
                for granularity in granularities:
                    # All of a chunking or nothing: chunks of a damaged document may lie anywhere.
                    with contextlib.suppress(UnicodeDecodeError, TypeError):
                        rows = list(texts_of_chunks(self._connection, document, granularity, text))
                        insert = f"INSERT INTO words_{granularity} (rowid, text) VALUES (?, ?)"
                        self._connection.executemany(insert, rows)

    def mend_references(self) -> int:
        """Remove chunks without a document and vectors without a chunk, and see that no number is used twice.

        The history of changes starts anew, so that every vector cache is built anew.

        Returns:
            How many rows were removed.
        """
        with self._change():
            lost = (
                ("chunks", "document NOT IN (SELECT number FROM documents)"),
                ("vectors", "chunk NOT IN (SELECT number FROM chunks)"),
            )
            n_removed = 0
            for table, condition in lost:
                (before,) = self._row("SELECT total_changes()")
                self._connection.execute(f"DELETE FROM {table} WHERE {condition}")
                (after,) = self._row("SELECT total_changes()")
                n_removed += int(after - before)
            mend_sequences(self._connection)
            self._connection.execute("DELETE FROM commits")
            log_commit(self._connection, 0)
        return n_removed

    def document_numbers(self, where: Condition | None = None) -> IntArray:
        """Numbers of all documents, or of those that meet a condition, ascending."""
        with self.snapshot():
            condition = where or _ALWAYS
            query = f"SELECT d.number FROM documents d WHERE {condition.sql} ORDER BY d.number"
            rows = self._connection.execute(query, condition.values)
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
        """Read vectors in blocks, within one :meth:`snapshot`.

        Args:
            dims: Length of each.
            after: Only chunks with a number above this.
            granularity: Of which chunks.
            block: How many at a time.

        Yields:
            Chunk numbers, ascending, their documents' numbers, and their vectors, shape ``(n, dims)``.
        """
        # The length is looked at first, since a value of another one may be as large as an attacker likes.
        query = (
            "SELECT v.chunk, c.document, CASE WHEN length(v.vector) = ? THEN v.vector END FROM vectors v "
            "LEFT JOIN chunks c ON c.number = v.chunk WHERE v.chunk > ? AND coalesce(c.granularity, ?) = ? "
            "ORDER BY v.chunk"
        )
        cursor = self._connection.execute(query, (4 * dims, after, granularity, granularity))
        while rows := cursor.fetchmany(block):
            numbers, documents, vectors = zip(*rows, strict=True)
            if None in documents:
                lost = numbers[documents.index(None)]
                raise IndexDamagedError(f"{self._path}: chunk {lost} has a vector and no text: {REMEDY}")
            yield (
                np.array(numbers, dtype=np.int64),
                np.array(documents, dtype=np.int64),
                self._stack(numbers, vectors, dims),
            )

    def vectors_of(self, numbers: Sequence[int], dims: int) -> FloatArray:
        """The vectors of chunks, in the order given, shape ``(n, dims)``, within one :meth:`snapshot`."""
        query = f"SELECT chunk, CASE WHEN length(vector) = {int(4 * dims)} THEN vector END FROM vectors WHERE chunk IN"
        found = dict(self._select_by(query, [int(one) for one in numbers]))
        return self._stack(numbers, [found.get(int(number)) for number in numbers], dims)

    def lexical(
        self, query: str, k: int, *, granularity: int, where: Condition | None = None
    ) -> tuple[list[float], list[int]]:
        """Find chunks by words, within one :meth:`snapshot`.

        Args:
            query: In FTS5's syntax.
            k: How many at most.
            granularity: Of which chunks.
            where: Only those of documents that meet this.

        Returns:
            BM25 scores (k1 = 1.2, b = 0.75), more being better, and chunk numbers: best first, by number on a tie.
        """
        table = f"words_{int(granularity)}"
        condition = where or _ALWAYS
        joined = (
            f"JOIN chunks c ON c.number = w.rowid WHERE {table} MATCH ? AND c.document IN "
            f"(SELECT d.number FROM documents d WHERE {condition.sql})"
            if where
            else f"WHERE {table} MATCH ?"
        )
        sql = f"SELECT -bm25({table}) AS score, w.rowid FROM {table} w {joined} ORDER BY score DESC, w.rowid LIMIT ?"
        limit = min(k, 2**62)  # SQLite's numbers end at 2**63
        rows = self._connection.execute(sql, (query, *condition.values, limit)).fetchall()
        return [score for score, _ in rows], [number for _, number in rows]

    def rows(self, numbers: Sequence[int]) -> list[ChunkRow]:
        """Where chunks stand, in the order given, within one :meth:`snapshot`."""
        found = {
            row[0]: ChunkRow(*row) for row in self._select_by(f"{_ROW} c.number IN", [int(one) for one in numbers])
        }
        missing = [number for number in numbers if number not in found]
        if missing:
            raise IndexDamagedError(f"{self._path}: chunk {missing[0]} has a vector and no text: {REMEDY}")
        return [found[number] for number in numbers]

    def rows_of_document(self, document_id: str, granularity: int) -> list[ChunkRow]:
        """A document's chunks, in the order of their starts, within one :meth:`snapshot`."""
        numbers = self.numbers_of_ids([document_id])
        query = f"{_ROW} c.document = ? AND c.granularity = ? ORDER BY c.place"
        return [ChunkRow(*row) for number in numbers for row in self._connection.execute(query, (number, granularity))]

    def rows_around(self, row: ChunkRow, n: int) -> list[ChunkRow]:
        """A chunk with up to ``n`` neighbours on either side, in order, within one :meth:`snapshot`."""
        query = f"{_ROW} c.document = ? AND c.granularity = ? AND c.place BETWEEN ? AND ? ORDER BY c.place"
        values = (row.document, row.granularity, row.place - n, row.place + n)
        return [ChunkRow(*one) for one in self._connection.execute(query, values)]

    def rows_beside(
        self, document: int, granularity: int, place: int, end: int
    ) -> tuple[ChunkRow | None, ChunkRow | None, ChunkRow | None]:
        """The chunk at a place, the one before, and the one behind a passage that begins with it and ends at ``end``.

        Each is None if it is not there; to be called within one :meth:`snapshot`.
        """
        start = f"{_ROW} c.document = ? AND c.granularity = ? AND c.place"

        def find(condition: str, *values: int) -> ChunkRow | None:
            query = f"{start} {condition} ORDER BY c.place LIMIT 1"
            row = self._connection.execute(query, (document, granularity, *values)).fetchone()
            return row and ChunkRow(*row)

        own, before = find("= ?", place), find("= ?", place - 1)
        if own and own.end == end:
            return own, before, find("= ?", place + 1)
        return own, before, find('> ? AND c."end" > ?', place, end)

    def row_over(self, row: ChunkRow, granularity: int) -> ChunkRow | None:
        """The chunk of another granularity that shares the most characters with this one, the first on a tie."""
        query = (
            f'{_ROW} c.document = ? AND c.granularity = ? AND c."start" < ? AND c."end" > ? '
            f'ORDER BY min(c."end", ?) - max(c."start", ?) DESC, c.place LIMIT 1'
        )
        values = (row.document, granularity, row.end, row.start, row.end, row.start)
        found = self._connection.execute(query, values).fetchone()
        return found and ChunkRow(*found)

    def chunks(self, rows: Sequence[ChunkRow]) -> list[Chunk]:
        """Read the text and metadata of chunks, or of any ranges of documents, within one :meth:`snapshot`."""
        query = "SELECT number, id, metadata FROM documents WHERE number IN"
        documents = {one[0]: one[1:] for one in self._select_by(query, sorted({row.document for row in rows}))}
        missing = [row.number for row in rows if row.document not in documents]
        if missing:
            raise IndexDamagedError(f"{self._path}: chunk {missing[0]} has no document: {REMEDY}")
        return [self._read_chunk(row, *documents[row.document]) for row in rows]

    def _read_chunk(self, row: ChunkRow, document_id: str, metadata: str) -> Chunk:
        with self._connection.blobopen("documents", "text", row.document, readonly=True) as blob:
            if not 0 <= row.byte_start < row.byte_end <= len(blob):
                raise IndexDamagedError(f"{self._path}: chunk {row.number} lies outside its document's text: {REMEDY}")
            blob.seek(row.byte_start)
            text = blob.read(row.byte_end - row.byte_start).decode("utf-8")
        name = self._granularities[row.granularity] if row.granularity < len(self._granularities) else ""
        return Chunk(document_id, row.place, row.start, row.end, text, json.loads(metadata), name)

    def _stack(self, numbers: Sequence[int], vectors: Sequence[Any], dims: int) -> FloatArray:
        for number, vector in zip(numbers, vectors, strict=True):
            if not isinstance(vector, bytes):
                raise IndexDamagedError(
                    f"{self._path}: the vector of chunk {number} is not of {dims} numbers: {REMEDY}"
                )
        return np.frombuffer(b"".join(vectors), dtype="<f4").reshape(len(vectors), dims)

    def _insert(self, stored: StoredDocument) -> None:
        document = stored.document
        rows = list(self._chunk_rows(stored))
        vectors = [one.tobytes() for one in np.ascontiguousarray(stored.vectors, dtype="<f4")]
        digest = hash_vectors((*row[2:], vector) for row, vector in zip(rows, vectors, strict=True))
        encoded = document.text.encode("utf-8")
        metadata = encode_metadata(document.metadata, document.id)
        self._connection.execute(
            "INSERT INTO documents VALUES (?, ?, ?, ?, ?, ?, ?)",
            (rows[0][1], document.id, metadata, hash_text(document.text), digest, stored.n_tokens, encoded),
        )
        self._connection.executemany("INSERT INTO chunks VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
        numbered = [(row[0], vector) for row, vector in zip(rows, vectors, strict=True)]
        self._connection.executemany("INSERT INTO vectors VALUES (?, ?)", numbered)
        self._write_words(rows[0][1], encoded)

    def _chunk_rows(self, stored: StoredDocument) -> Iterator[tuple[int, ...]]:
        """Rows of a new document's chunks, numbered anew."""
        document, chunk = self._next_number("documents"), self._next_number("chunks")
        for granularity, spans in enumerate(stored.chunkings):
            byte_of = _byte_places(stored.document.text, spans)
            for place, span in enumerate(spans):
                yield chunk, document, granularity, place, span.start, span.end, byte_of[span.start], byte_of[span.end]
                chunk += 1

    def _next_number(self, table: str) -> int:
        row = self._connection.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()
        return 1 if row is None else int(row[0]) + 1

    def _remove(self, ids: Sequence[str]) -> int:
        """Delete documents with all that hangs on them; how many rows that were."""
        for number in self.numbers_of_ids(ids):
            self._write_words(number, None)
        (before,) = self._row("SELECT total_changes()")
        self._connection.executemany("DELETE FROM documents WHERE id = ?", [(one,) for one in ids])
        (after,) = self._row("SELECT total_changes()")
        # The total counts cascaded deletions, too: documents, their chunks and their vectors.
        return int(after - before)

    def _write_words(self, document: int, text: bytes | None) -> None:
        """Enter a document's chunks into the lexical index, or with None take them out of it."""
        if not self._has_words:
            return
        is_new = text is not None
        if text is None:
            (text,) = self._row("SELECT text FROM documents WHERE number = ?", document)
        for granularity in range(len(self._granularities)):
            table = f"words_{granularity}"
            rows = texts_of_chunks(self._connection, document, granularity, text)
            if is_new:
                self._connection.executemany(f"INSERT INTO {table} (rowid, text) VALUES (?, ?)", rows)
            else:
                # The index holds no texts, so FTS5 must be told again what to take out.
                delete = f"INSERT INTO {table} ({table}, rowid, text) VALUES ('delete', ?, ?)"
                self._connection.executemany(delete, rows)

    def _row(self, query: str, *values: Any) -> Any:
        row = self._connection.execute(query, values).fetchone()
        if row is None:
            raise IndexDamagedError(f"the store is incomplete: it has no row for {query!r}")
        return row

    def _select_by(self, query: str, values: Sequence[Any]) -> Iterator[Any]:
        for begin in range(0, len(values), _VARIABLES):
            part = values[begin : begin + _VARIABLES]
            yield from self._connection.execute(f"{query} ({', '.join('?' * len(part))})", part)

    @property
    def _connection(self) -> sqlite3.Connection:
        return self._pool.connection

    @contextlib.contextmanager
    def _change(self) -> Iterator[None]:
        with self._pool.change():
            yield


def hash_text(text: str) -> bytes:
    """SHA-256 of a text's UTF-8."""
    return hashlib.sha256(text.encode("utf-8")).digest()


def _byte_places(text: str, spans: Sequence[Span]) -> dict[int, int]:
    """The place in UTF-8 of each end of a span."""
    places = sorted({place for span in spans for place in (span.start, span.end)})
    sizes = (len(text[begin:end].encode("utf-8")) for begin, end in pairwise([0, *places]))
    return dict(zip(places, _running_sum(sizes), strict=True))


def _running_sum(sizes: Iterable[int]) -> Iterator[int]:
    total = 0
    for size in sizes:
        total += size
        yield total
