"""Find what a chunk lies in, for small to big: a chunk of another granularity, or a section of its document."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np

from latechunk.chunking.places import Places, find_sections
from latechunk.storage.rows import encode_place
from latechunk.storage.store import ChunkRow, Store
from latechunk.types import IntArray, Span


class LargerChunks:
    """The chunks of another granularity, each and its document's places read once; to be used in one ``snapshot``."""

    def __init__(self, store: Store, granularity: int) -> None:
        self._store = store
        self._granularity = granularity
        self._read: dict[int, IntArray] = {}
        self._found: dict[tuple[int, int], ChunkRow] = {}

    def around(self, row: ChunkRow) -> ChunkRow | None:
        """The chunk that shares the most characters with this one, the first on a tie; None if none does."""
        if row.document not in self._read:
            self._read[row.document] = self._store.spans(row.document, self._granularity)
        spans = self._read[row.document]
        shared = np.minimum(spans[:, 1], row.end) - np.maximum(spans[:, 0], row.start)
        place = int(shared.argmax()) if len(shared) else 0
        if not len(shared) or shared[place] <= 0:
            return None
        key = row.document, place
        if key not in self._found:
            self._found[key] = self._store.row_at(row.document, self._granularity, place)
        return self._found[key]


@dataclass(frozen=True, slots=True)
class _Read:
    """The sections of a document, which together are all of it, the bytes before each, and where they stand."""

    sections: Sequence[Span]
    bytes_before: Sequence[int]
    places: Places


class Sections:
    """The sections of some documents, each read once, each section found once; to be used in one ``snapshot``."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._documents: dict[int, _Read] = {}
        self._found: dict[tuple[int, int], ChunkRow] = {}

    def around(self, row: ChunkRow) -> ChunkRow:
        """The section that shares the most characters with a chunk, the first on a tie.

        In a document without headings it is the chunk itself.
        """
        if row.document not in self._documents:
            self._documents[row.document] = self._read(row.document)
        sections = self._documents[row.document].sections
        first = bisect_right(sections, row.start, key=lambda one: one.end)
        last = bisect_left(sections, row.end, key=lambda one: one.start)
        if first >= last:
            return row
        place = max(  # that shares most with it
            range(first, last),
            key=lambda one: (min(sections[one].end, row.end) - max(sections[one].start, row.start), -one),
        )
        key = row.document, place
        if key not in self._found:
            self._found[key] = self._row_of(row, place)
        return self._found[key]

    def _read(self, number: int) -> _Read:
        document = self._store.document_of(number)
        sections = find_sections(document)
        sizes = (len(document.text[one.start : one.end].encode("utf-8")) for one in sections)
        return _Read(sections, list(accumulate(sizes, initial=0)), Places(document))

    def _row_of(self, row: ChunkRow, place: int) -> ChunkRow:
        read = self._documents[row.document]
        section = read.sections[place]
        headings, pages, line, titles = encode_place(read.places.of(section))
        return replace(
            row,
            granularity=len(self._store.granularities),
            place=place,
            start=section.start,
            end=section.end,
            byte_start=read.bytes_before[place],
            byte_end=read.bytes_before[place + 1],
            headings=headings,
            pages=pages,
            line=line,
            titles=titles,
        )
