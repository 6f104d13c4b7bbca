"""The values that a store takes and gives back: documents with their chunks, places of chunks, commits, counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from latechunk.types import Document, FloatArray, IntArray, Span


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A document with its spans for each granularity, and their vectors in this order, shape ``(n_spans, dims)``."""

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
class ChunkPlaces:
    """All chunks of a granularity.

    Attributes:
        numbers: Theirs, ascending, shape ``(n_chunks,)``.
        documents: Numbers of their documents, ascending, shape ``(n_documents,)``.
        document_of: For each chunk the place of its document there, shape ``(n_chunks,)``.
    """

    numbers: IntArray
    documents: IntArray
    document_of: IntArray

    def __len__(self) -> int:
        return len(self.numbers)


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
