"""The values that a store takes and gives back: documents with their chunks, places of chunks, commits, counts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from latechunk.chunking.places import Place
from latechunk.errors import IndexDamagedError
from latechunk.storage.connection import REMEDY
from latechunk.types import Document, FloatArray, IntArray, PageNumber, Span
from latechunk.types.citation import join_sections
from latechunk.types.json_form import list_blocks, list_pages, to_json

SECTION = "section"
"""The granularity of passages from one heading to the next; those are in no table."""


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A document with its spans for each granularity, and their vectors in this order, shape ``(n_spans, dims)``."""

    document: Document
    n_tokens: int
    chunkings: Sequence[Sequence[Span]]
    vectors: FloatArray


class Fingerprint(NamedTuple):
    """By what a stored document is compared with a new one: SHA-256 of its text, and all else as the JSON stored."""

    text_sha256: bytes
    metadata: str
    pages: str
    outline: str

    @classmethod
    def of(cls, document: Document) -> Fingerprint:
        """What a store would have of a document that has its outline."""
        pages, outline = to_json(list_pages(document.pages)), to_json(list_blocks(document.outline or ()))
        return cls(document.text_sha256, document.metadata_json, pages, outline)


@dataclass(frozen=True, slots=True)
class ChunkRow:
    """Where a chunk stands: its number, its document's, its granularity's, its place there, characters and bytes.

    ``headings``, ``pages`` and ``titles`` are JSON: titles, ``[number, label]`` of each page, and titles.
    """

    number: int
    document: int
    granularity: int
    place: int
    start: int
    end: int
    byte_start: int
    byte_end: int
    headings: str
    pages: str
    line: int
    titles: str


_encode_part = lru_cache(maxsize=256)(to_json)  # neighbours stand under the same headings, most on no page


def encode_place(place: Place) -> tuple[str, str, int, str]:
    """The last four fields of a ``ChunkRow``."""
    return _encode_part(place.headings), _encode_part(place.pages), place.line, _encode_part(place.titles)


def decode_place(row: ChunkRow) -> Place:
    """Where a chunk stands; IndexDamagedError if that is not what ``encode_place`` wrote."""
    try:
        pages = [PageNumber(number, label) for number, label in json.loads(row.pages)]
        headings, titles = (tuple(map(str, json.loads(one))) for one in (row.headings, row.titles))
        return Place(headings, tuple(pages), row.line, titles)
    except (TypeError, ValueError) as error:
        raise IndexDamagedError(f"the place of chunk {row.number} cannot be read ({error}): {REMEDY}") from error


def join_rows(rows: Sequence[ChunkRow]) -> ChunkRow:
    """The row of a passage from the first of some chunks, which are in order, to the last."""
    last = max(rows, key=lambda row: row.end)
    places = [decode_place(row) for row in rows]
    pages = sorted({page for place in places for page in place.pages})
    ends = accumulate((row.end for row in rows), max, initial=0)
    titles: tuple[str, ...] = ()
    for row, place, end in zip(rows, places, ends, strict=False):
        titles = join_sections(titles, place.titles, overlap=row.start < end)
    return replace(rows[0], end=last.end, byte_end=last.byte_end, pages=to_json(pages), titles=to_json(titles))


@dataclass(frozen=True, slots=True)
class Commit:
    """One state of the store: its number, a random token that tells it from any other, rows removed until then.

    Two states of one store with equal ``n_removed`` differ by additions only.
    """

    number: int
    token: str
    n_removed: int


@dataclass(frozen=True, slots=True)
class ChunkPlaces:
    """All chunks of a granularity.

    Attributes:
        commit: In which state of the store.
        numbers: Theirs, ascending, shape ``(n_chunks,)``.
        documents: Numbers of their documents, ascending, shape ``(n_documents,)``.
        document_of: For each chunk the place of its document there, ascending, shape ``(n_chunks,)``: documents and
            their chunks get their numbers together.
        sizes: How many chunks each document has, shape ``(n_documents,)``.
    """

    commit: Commit
    numbers: IntArray
    documents: IntArray
    document_of: IntArray
    sizes: IntArray

    def __len__(self) -> int:
        return len(self.numbers)

    def kept(self, documents: IntArray) -> ChunkPlaces:
        """The same without the chunks of all documents but these."""
        is_kept = np.isin(self.documents, documents)
        if is_kept.all():
            return self
        chunks = is_kept[self.document_of]
        places = (np.cumsum(is_kept) - 1)[self.document_of[chunks]]
        return replace(
            self,
            numbers=self.numbers[chunks],
            documents=self.documents[is_kept],
            document_of=places,
            sizes=self.sizes[is_kept],
        )

    def followed_by(self, new: ChunkPlaces) -> ChunkPlaces:
        """These, and newer ones of other documents."""
        pairs = ((self.numbers, new.numbers), (self.documents, new.documents))
        numbers, documents = map(np.concatenate, pairs)
        document_of = np.concatenate([self.document_of, len(self.documents) + new.document_of])
        return ChunkPlaces(new.commit, numbers, documents, document_of, np.concatenate([self.sizes, new.sizes]))


@dataclass(frozen=True, slots=True)
class Counts:
    """How much a store holds; ``n_chunks`` of all granularities."""

    n_documents: int
    n_chunks: int
    n_tokens: int
