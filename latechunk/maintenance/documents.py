"""Looks at one stored document: its id, metadata, text, chunks and vectors. What is wrong is said in words."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field

from latechunk.errors import DocumentError
from latechunk.storage.rows import hash_vectors
from latechunk.storage.schema import LAST_NUMBER, rows_to_hash
from latechunk.types import encode_metadata

# Ids and metadata come as bytes, since they may be in no encoding at all, and as None where they are not text.
_DOCUMENT = """
SELECT CASE typeof(id) WHEN 'text' THEN CAST(id AS BLOB) END,
    CASE typeof(metadata) WHEN 'text' THEN CAST(metadata AS BLOB) END,
    text_sha256, vectors_sha256, n_tokens, text
FROM documents WHERE number = ?
"""


@dataclass(frozen=True, slots=True)
class DocumentRow:
    """What is stored of a document, whatever its types are."""

    number: int
    id: bytes | None
    metadata: bytes | None
    text_sha256: object
    vectors_sha256: object
    n_tokens: object
    text: object

    @property
    def name(self) -> str:
        """The id as far as it can be read, else the number."""
        return f"number {self.number}" if self.id is None else self.id.decode("utf-8", "backslashreplace")


@dataclass(slots=True)
class Faults:
    """What is wrong with a document.

    Attributes:
        lost: What nothing else in the index tells: the document must come from its source again.
        encodable: What the text, which is intact, gives when it is encoded again.
        rewritable: What is only written in another way than it should be.
    """

    lost: list[str] = field(default_factory=list)
    encodable: list[str] = field(default_factory=list)
    rewritable: list[str] = field(default_factory=list)


def read_document(connection: sqlite3.Connection, number: int) -> DocumentRow | None:
    """A document's row, or None."""
    row = connection.execute(_DOCUMENT, (number,)).fetchone()
    return row and DocumentRow(number, *row)


def find_faults(connection: sqlite3.Connection, row: DocumentRow) -> Faults:
    """Compare a document with its checksums.

    The checksum of chunks and vectors is made of granularity, place, characters, bytes and vector of each chunk, in
    the order of their numbers. So what agrees with it is what was written, and need not be looked at more closely.
    """
    faults = Faults(list(_check_names(row)) + list(_check_text(row)))
    if not faults.lost and (parse_metadata(row.metadata) or "").encode("utf-8") != row.metadata:
        faults.rewritable.append("its metadata are not written as they should be")
    if hash_vectors(rows_to_hash(connection, row.number)) != row.vectors_sha256:
        faults.encodable.append("its chunks and vectors are not those that its checksum was made of")
    if not isinstance(row.n_tokens, int) or not 0 < row.n_tokens < LAST_NUMBER:
        faults.encodable.append(f"its number of tokens is {row.n_tokens!r:.80}, and must be at least 1")
    if not 0 < row.number <= LAST_NUMBER:
        faults.encodable.append(f"its number {row.number} is higher than any that is given")
    return faults


def parse_metadata(metadata: bytes | None) -> str | None:
    """Metadata in canonical form, or None if they are not a JSON object that an index can hold."""
    try:
        value = json.loads(metadata or b"")
        return encode_metadata(value, "") if isinstance(value, dict) else None
    except (ValueError, RecursionError, DocumentError):
        return None


def _check_names(row: DocumentRow) -> Iterator[str]:
    if not row.id or not _is_utf8(row.id):
        yield "its id is not a text that is not empty"
    if parse_metadata(row.metadata) is None:
        yield "its metadata are not a JSON object that an index can hold"


def _check_text(row: DocumentRow) -> Iterator[str]:
    if not isinstance(row.text, bytes):
        yield f"its text is of type {type(row.text).__name__} and not text in UTF-8"
        return
    if hashlib.sha256(row.text).digest() != row.text_sha256:
        yield "its text is not the one that was stored: the SHA-256 differs"
    if not _is_utf8(row.text):
        yield "its text is not UTF-8"


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
