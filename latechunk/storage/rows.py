"""The values that a store takes and gives back: documents with their chunks, places of chunks, commits, counts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from latechunk.types import Document, FloatArray, Span, encode_metadata


class DocumentContent:
    """A document as the store writes it. Each part is made when it is first needed, and once.

    The comparison with what is stored and the writing need the same UTF-8, SHA-256 and JSON: pass the same value to
    both.
    """

    def __init__(self, document: Document) -> None:
        """Take the document; nothing is computed yet."""
        self.document = document

    @cached_property
    def text(self) -> bytes:
        """The text in UTF-8."""
        return self.document.text.encode("utf-8")

    @cached_property
    def text_sha256(self) -> bytes:
        """SHA-256 of the text in UTF-8, 32 bytes."""
        return hashlib.sha256(self.text).digest()

    @cached_property
    def metadata(self) -> str:
        """The metadata as canonical JSON."""
        return encode_metadata(self.document.metadata, self.document.id)


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A document with its chunks, as the store takes it.

    Attributes:
        document: The document.
        n_tokens: Content tokens of its text.
        chunkings: Its spans, for each granularity of the index.
        vectors: Of all spans, granularity by granularity, shape ``(n_spans, dims)``.
        content: The same document as the store writes it, where it was made already.
    """

    document: Document
    n_tokens: int
    chunkings: Sequence[Sequence[Span]]
    vectors: FloatArray
    content: DocumentContent | None = field(default=None, compare=False, repr=False)


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


def hash_vectors(rows: Iterable[tuple[object, ...]]) -> bytes:
    """SHA-256 of a document's chunks.

    Args:
        rows: In the order of the chunks' numbers, each granularity, place, start, end, the same two in bytes, vector.
    """
    digest = hashlib.sha256()
    for *place, vector in rows:
        digest.update(repr(place).encode())
        digest.update(vector if isinstance(vector, bytes) else b"")
    return digest.digest()
