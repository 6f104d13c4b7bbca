"""Reads one stored document, whatever its types are, and compares it with its checksums."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from latechunk.errors import DocumentError
from latechunk.maintenance.problems import Mending, Problem
from latechunk.storage.schema import LAST_NUMBER, hash_structure, hash_vectors, rows_to_hash
from latechunk.types import Block, Page, encode_metadata
from latechunk.types.json_form import parse_blocks, parse_pages

# Texts come as bytes, since they may be in no encoding at all, and as None where they are not text.
_DOCUMENT = """
SELECT CASE typeof(id) WHEN 'text' THEN CAST(id AS BLOB) END,
    CASE typeof(metadata) WHEN 'text' THEN CAST(metadata AS BLOB) END,
    text_sha256, vectors_sha256, n_tokens, text
FROM documents WHERE number = ?
"""
_STRUCTURE = """
SELECT CASE typeof(pages) WHEN 'text' THEN CAST(pages AS BLOB) END,
    CASE typeof(outline) WHEN 'text' THEN CAST(outline AS BLOB) END, sha256
FROM structures WHERE document = ?
"""


@dataclass(frozen=True, slots=True)
class DocumentRow:
    """What is stored of a document."""

    number: int
    id: bytes | None
    metadata: bytes | None
    text_sha256: object
    vectors_sha256: object
    n_tokens: object
    text: object
    pages: bytes | None = None
    outline: bytes | None = None
    structure_sha256: object = None

    @property
    def name(self) -> str:
        """The id as far as it can be read, else the number."""
        return f"number {self.number}" if self.id is None else self.id.decode("utf-8", "backslashreplace")


def read_document(connection: sqlite3.Connection, number: int) -> DocumentRow | None:
    """A document's row, without pages and outline if those cannot be read, or None."""
    row = connection.execute(_DOCUMENT, (number,)).fetchone()
    if row is None:
        return None
    structure = None
    with suppress(sqlite3.DatabaseError):
        structure = connection.execute(_STRUCTURE, (number,)).fetchone()
    return DocumentRow(number, *row, *(structure or ()))


def check_document(connection: sqlite3.Connection, number: int) -> list[Problem]:
    """Compare a document with its checksums.

    The checksum of chunks and vectors is made of granularity, place, characters, bytes and vector of each chunk, in
    the order of their numbers. So what agrees with it is what was written, and need not be looked at more closely.
    """
    row = read_document(connection, number)
    if row is None:
        return []
    # A document that must come from its source again need not be mended in other ways.
    lost: list[tuple[Mending, str]] = [("drop", what) for what in _find_lost(row)]
    found = lost or _find_mendable(connection, row)
    return [Problem("document", what, mending, row.name, number) for mending, what in found]


def parse_metadata(metadata: bytes | None) -> str | None:
    """Metadata in canonical form, or None if they are not a JSON object that an index can hold."""
    try:
        value = json.loads(metadata or b"")
        return encode_metadata(value, "") if isinstance(value, dict) else None
    except (ValueError, RecursionError, DocumentError):
        return None


def parse_structure(row: DocumentRow) -> tuple[tuple[Page, ...], tuple[Block, ...]] | None:
    """Pages and outline, or None if they are not those that were stored."""
    if row.pages is None or row.outline is None:
        return None
    try:
        pages, outline = row.pages.decode("utf-8"), row.outline.decode("utf-8")
        is_sound = hash_structure(pages, outline) == row.structure_sha256
        return (parse_pages(json.loads(pages)), parse_blocks(json.loads(outline))) if is_sound else None
    except (ValueError, RecursionError, DocumentError):
        return None


def _find_mendable(connection: sqlite3.Connection, row: DocumentRow) -> Iterator[tuple[Mending, str]]:
    if hash_vectors(rows_to_hash(connection, row.number)) != row.vectors_sha256:
        yield "encode", "its chunks and vectors are not those that its checksum was made of"
    if not isinstance(row.n_tokens, int) or not 0 < row.n_tokens < LAST_NUMBER:
        yield "encode", f"its number of tokens is {row.n_tokens!r:.80}, and must be at least 1"
    if not 0 < row.number <= LAST_NUMBER:
        yield "encode", f"its number {row.number} is higher than any that is given"
    if (parse_metadata(row.metadata) or "").encode("utf-8") != row.metadata:
        yield "rewrite", "its metadata are not written as they should be"


def _find_lost(row: DocumentRow) -> Iterator[str]:
    """What nothing else in the index tells."""
    if not row.id or not _is_utf8(row.id):
        yield "its id is not a text that is not empty"
    if parse_metadata(row.metadata) is None:
        yield "its metadata are not a JSON object that an index can hold"
    if parse_structure(row) is None:
        yield "its pages or its outline are not those that were stored: the SHA-256 differs"
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
