"""Documents, spans and vectors in one SQLite file: the truth of an index."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from latechunk.errors import IndexBusyError, IndexDamagedError, IndexFormatError, IndexReadOnlyError, StoreError
from latechunk.types import Chunk, Document, FloatArray, IntArray, Settings, Span, encode_metadata

FORMAT = 1
_APPLICATION_ID = 0x4C434831  # "LCH1"
_REMEDY = "restore it from a backup or index the documents anew"
_VARIABLES = 500  # values bound in one statement; SQLite's default limit is 32,766, 999 in old builds

# Chunk numbers are never used twice, so a vector once seen under a number stays right. The text stands last in its
# row, because SQLite reads what stands before a column to get at it; it is a BLOB, because SQLite's own text functions
# stop at a NUL, and a chunk's text is read from the middle of it by bytes.
_SCHEMA = (
    "CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE commits (number INTEGER PRIMARY KEY, token BLOB NOT NULL, n_removed INTEGER NOT NULL)",
    "CREATE TABLE documents (number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, "
    "metadata TEXT NOT NULL, text_sha256 BLOB NOT NULL, n_tokens INTEGER NOT NULL, text BLOB NOT NULL)",
    "CREATE TABLE chunks (number INTEGER PRIMARY KEY AUTOINCREMENT, "
    "document INTEGER NOT NULL REFERENCES documents (number) ON DELETE CASCADE, place INTEGER NOT NULL, "
    '"start" INTEGER NOT NULL, "end" INTEGER NOT NULL, byte_start INTEGER NOT NULL, byte_end INTEGER NOT NULL, '
    "UNIQUE (document, place))",
    "CREATE TABLE vectors (chunk INTEGER PRIMARY KEY REFERENCES chunks (number) ON DELETE CASCADE, "
    "vector BLOB NOT NULL)",
)


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A document with its chunks, as the store takes it; vectors have shape ``(n_spans, dims)``."""

    document: Document
    n_tokens: int
    spans: Sequence[Span]
    vectors: FloatArray


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
    """How much a store holds."""

    n_documents: int
    n_chunks: int
    n_tokens: int


class Store:
    """The database of one index. Safe to use from several threads; every change is one transaction."""

    def __init__(self, connection: sqlite3.Connection, path: Path, *, read_only: bool) -> None:
        self._connection = connection
        self._path = path
        self._identity = _identify(path)
        self._lock = threading.RLock()
        self.read_only = read_only

    @classmethod
    def create(cls, path: Path, settings: Mapping[str, Settings]) -> None:
        """Make a new database with an empty store."""
        with _translated(path):
            connection = _connect(path, "rwc")
        try:
            with _translated(path), _transaction(connection):
                connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {FORMAT}")
                for statement in _SCHEMA:
                    connection.execute(statement)
                rows = [(name, json.dumps(value, ensure_ascii=False)) for name, value in settings.items()]
                connection.executemany("INSERT INTO settings VALUES (?, ?)", rows)
                _log_commit(connection, 0)
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
            IndexFormatError: If it is not an index's database or of another format.
            IndexDamagedError: If it is damaged.
        """
        with _translated(path):
            connection = _connect(path, _reading_mode(path) if read_only else "rw")
            try:
                _check_format(connection, path)
                connection.execute("PRAGMA query_only = ON" if read_only else "PRAGMA foreign_keys = ON")
                connection.execute("PRAGMA synchronous = FULL")
            except BaseException:
                connection.close()
                raise
        return cls(connection, path, read_only=read_only)

    def close(self) -> None:
        """Close the database; whatever was committed is in it."""
        with self._lock:
            self._connection.close()

    def require_in_place(self) -> None:
        """Raise unless the file that is open is still the one at its path.

        Raises:
            StoreError: If it was removed or replaced, so that changes would be lost.
        """
        if _identify(self._path) != self._identity:
            raise StoreError(
                f"{self._path} was removed or replaced since it was opened, so nothing was changed: "
                f"open the index again"
            )

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """Within this, all reads of this thread see one state, and no other thread reads or writes."""
        with self._lock, self._translated():
            if self._connection.in_transaction:
                yield
            else:
                with _transaction(self._connection, "BEGIN"):
                    yield

    def settings(self) -> dict[str, dict[str, Any]]:
        """What was recorded when the index was made."""
        with self.snapshot():
            rows = self._connection.execute("SELECT name, value FROM settings").fetchall()
        try:
            return {name: dict(json.loads(value)) for name, value in rows}
        except (ValueError, TypeError) as error:
            raise IndexDamagedError(f"the settings of the index cannot be read: {error}") from error

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
                raise IndexDamagedError(f"the text of document {document_id!r} is no longer what was stored: {_REMEDY}")
            return Document(document_id, text.decode("utf-8"), json.loads(metadata))

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
            _log_commit(self._connection, n_removed)

    def delete(self, ids: Sequence[str]) -> int:
        """Delete documents in one transaction; ids that are not stored are passed over. Returns how many were."""
        with self._change():
            (before,) = self._row("SELECT count(*) FROM documents")
            n_removed = self._remove(ids)
            (after,) = self._row("SELECT count(*) FROM documents")
            if before != after:
                _log_commit(self._connection, n_removed)
        return int(before - after)

    def chunk_numbers(self) -> IntArray:
        """Numbers of all chunks, ascending."""
        with self.snapshot():
            rows = self._connection.execute("SELECT number FROM chunks ORDER BY number")
            return np.fromiter((number for (number,) in rows), dtype=np.int64)

    def vectors(self, dims: int, *, after: int, block: int = 16_384) -> Iterator[tuple[IntArray, FloatArray]]:
        """Read vectors in blocks, within one :meth:`snapshot`.

        Args:
            dims: Length of each.
            after: Only chunks with a number above this.
            block: How many at a time.

        Yields:
            Chunk numbers, ascending, and their vectors, shape ``(n, dims)``.
        """
        query = "SELECT chunk, vector FROM vectors WHERE chunk > ? ORDER BY chunk"
        cursor = self._connection.execute(query, (after,))
        while rows := cursor.fetchmany(block):
            wrong = [number for number, one in rows if not isinstance(one, bytes) or len(one) != 4 * dims]
            if wrong:
                raise IndexDamagedError(
                    f"{self._path}: the vector of chunk {wrong[0]} is not of {dims} numbers: {_REMEDY}"
                )
            joined = b"".join(vector for _, vector in rows)
            numbers = np.array([number for number, _ in rows], dtype=np.int64)
            yield numbers, np.frombuffer(joined, dtype="<f4").reshape(len(rows), dims)

    def chunk_numbers_of(self, document_id: str) -> list[int]:
        """Numbers of a document's chunks, in the order of their starts, within one :meth:`snapshot`."""
        query = (
            "SELECT c.number FROM chunks c JOIN documents d ON d.number = c.document WHERE d.id = ? ORDER BY c.place"
        )
        return [number for (number,) in self._connection.execute(query, (document_id,))]

    def chunks(self, numbers: Sequence[int]) -> list[Chunk]:
        """Read chunks by number, in the order given, within one :meth:`snapshot`."""
        query = (
            'SELECT c.number, c.document, c.place, c."start", c."end", c.byte_start, c.byte_end, d.id, d.metadata '
            "FROM chunks c JOIN documents d ON d.number = c.document WHERE c.number IN"
        )
        rows = {row[0]: row[1:] for row in self._select_by(query, numbers)}
        missing = [number for number in numbers if number not in rows]
        if missing:
            raise IndexDamagedError(f"{self._path}: chunk {missing[0]} has a vector and no text: {_REMEDY}")
        return [self._read_chunk(*rows[number]) for number in numbers]

    def _read_chunk(
        self, document: int, place: int, start: int, end: int, byte_start: int, byte_end: int, id_: str, metadata: str
    ) -> Chunk:
        with self._connection.blobopen("documents", "text", document, readonly=True) as blob:
            blob.seek(byte_start)
            text = blob.read(byte_end - byte_start).decode("utf-8")
        return Chunk(id_, place, start, end, text, json.loads(metadata))

    def _insert(self, stored: StoredDocument) -> None:
        document = stored.document
        encoded = document.text.encode("utf-8")
        row = (
            document.id,
            encode_metadata(document.metadata, document.id),
            hash_text(document.text),
            stored.n_tokens,
            encoded,
        )
        insert = "INSERT INTO documents (id, metadata, text_sha256, n_tokens, text) VALUES (?, ?, ?, ?, ?)"
        number = self._connection.execute(insert, row).lastrowid
        next_chunk = self._next_chunk()
        byte_of = _byte_places(document.text, stored.spans)
        self._connection.executemany(
            "INSERT INTO chunks VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (next_chunk + place, number, place, span.start, span.end, byte_of[span.start], byte_of[span.end])
                for place, span in enumerate(stored.spans)
            ],
        )
        vectors = np.ascontiguousarray(stored.vectors, dtype="<f4")
        self._connection.executemany(
            "INSERT INTO vectors VALUES (?, ?)",
            [(next_chunk + place, vectors[place].tobytes()) for place in range(len(stored.spans))],
        )

    def _next_chunk(self) -> int:
        row = self._connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'chunks'").fetchone()
        return 1 if row is None else int(row[0]) + 1

    def _remove(self, ids: Sequence[str]) -> int:
        """Delete documents with all that hangs on them; how many rows that were."""
        (before,) = self._row("SELECT total_changes()")
        self._connection.executemany("DELETE FROM documents WHERE id = ?", [(one,) for one in ids])
        (after,) = self._row("SELECT total_changes()")
        # The total counts cascaded deletions, too: documents, their chunks and their vectors.
        return int(after - before)

    def _row(self, query: str) -> Any:
        row = self._connection.execute(query).fetchone()
        if row is None:
            raise IndexDamagedError(f"the store is incomplete: it has no row for {query!r}")
        return row

    def _select_by(self, query: str, values: Sequence[Any]) -> Iterator[Any]:
        for begin in range(0, len(values), _VARIABLES):
            part = values[begin : begin + _VARIABLES]
            yield from self._connection.execute(f"{query} ({', '.join('?' * len(part))})", part)

    @contextlib.contextmanager
    def _change(self) -> Iterator[None]:
        if self.read_only:
            raise IndexReadOnlyError("the index is open for reading only; open it with read_only=False to change it")
        with self._lock, self._translated(), _transaction(self._connection):
            yield

    def _translated(self) -> contextlib.AbstractContextManager[None]:
        return _translated(self._path)


def _identify(path: Path) -> tuple[int, int] | None:
    """What tells a file from any other, None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _reading_mode(path: Path) -> str:
    """How to open for reading: on a read-only file system, where SQLite cannot keep files beside it, as it is.

    Then nobody writes here, but what an unclosed writer left in the log beside the database would not be seen.
    """
    if not hasattr(os, "statvfs") or not os.statvfs(path).f_flag & os.ST_RDONLY:
        return "ro"
    log = path.with_name(f"{path.name}-wal")
    if log.exists() and log.stat().st_size:
        raise StoreError(
            f"{path} lies on a read-only file system and its last changes still lie in {log.name}: open and close the "
            f"index once where it can be written, and copy it again"
        )
    return "ro&immutable=1"


def hash_text(text: str) -> bytes:
    """SHA-256 of a text's UTF-8."""
    return hashlib.sha256(text.encode("utf-8")).digest()


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=30)
    connection.execute("PRAGMA trusted_schema = OFF")
    if mode == "rwc":
        connection.execute("PRAGMA journal_mode = WAL")
    return connection


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection, begin: str = "BEGIN IMMEDIATE") -> Iterator[None]:
    connection.execute(begin)
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _log_commit(connection: sqlite3.Connection, n_removed: int) -> None:
    connection.execute(
        "INSERT INTO commits SELECT coalesce(max(number), 0) + 1, ?, coalesce(max(n_removed), 0) + ? FROM commits",
        (secrets.token_bytes(16), n_removed),
    )


def _check_format(connection: sqlite3.Connection, path: Path) -> None:
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    if application_id != _APPLICATION_ID:
        raise IndexFormatError(f"{path} is not the database of a latechunk index")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > FORMAT:
        raise IndexFormatError(
            f"{path} has format {version}, and this latechunk reads formats up to {FORMAT}: upgrade latechunk"
        )
    found = {row[0] for row in connection.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL")}
    unexpected = found.symmetric_difference({*_SCHEMA, "CREATE TABLE sqlite_sequence(name,seq)"})
    if unexpected:
        raise IndexFormatError(f"{path} is not as latechunk made it; this differs: {min(unexpected)[:200]}")


def _byte_places(text: str, spans: Sequence[Span]) -> dict[int, int]:
    """The place in UTF-8 of each end of a span."""
    places = sorted({place for span in spans for place in (span.start, span.end)})
    sizes = (len(text[begin:end].encode("utf-8")) for begin, end in zip([0, *places], places, strict=False))
    return dict(zip(places, _running_sum(sizes), strict=True))


def _running_sum(sizes: Iterable[int]) -> Iterator[int]:
    total = 0
    for size in sizes:
        total += size
        yield total


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Turn sqlite3's errors into this package's."""
    try:
        yield
    except sqlite3.ProgrammingError as error:
        raise StoreError(f"the index is closed or misused: {error}") from error
    except sqlite3.DatabaseError as error:
        raise _explain(path, error) from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise IndexDamagedError(f"{path} is damaged ({error}): {_REMEDY}") from error


def _explain(path: Path, error: sqlite3.DatabaseError) -> StoreError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return StoreError(f"the disk is full, so {path} was not changed: free some space and try again")
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return IndexBusyError(f"{path} is being written by another process; try again when it is done")
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return IndexDamagedError(f"{path} is damaged ({error}): {_REMEDY}")
    if code == sqlite3.SQLITE_CANTOPEN:
        return StoreError(
            f"{path} cannot be opened ({error}). On a read-only file system open the index with read_only=True; "
            f"elsewhere reading, too, needs the right to write into its folder, where SQLite keeps what readers and "
            f"the writer share"
        )
    return StoreError(f"{path} could not be read or written, and was not changed: {error}")
