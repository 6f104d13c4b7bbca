"""Find what a chunk lies in, a chunk of another granularity or a section of its document, and what stands beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from itertools import accumulate

import numpy as np

from latechunk.chunking.places import Places, find_sections
from latechunk.storage.rows import encode_place
from latechunk.storage.store import ChunkRow, Store
from latechunk.types import Chunk, IntArray, Span


def larger_chunks(store: Store, granularity: int) -> Callable[[ChunkRow], ChunkRow | None]:
    """Say in which chunk of another granularity a chunk lies; each is read once. To be used in one ``snapshot``.

    It is the one that shares the most characters with it, the first on a tie; None if none does.
    """
    spans_of = cache(lambda document: store.spans(document, granularity))
    row_at = cache(lambda document, place: store.row_at(document, granularity, place))

    def around(row: ChunkRow) -> ChunkRow | None:
        place = _most_shared(spans_of(row.document), row)
        return None if place is None else row_at(row.document, place)

    return around


def larger_sections(store: Store) -> Callable[[ChunkRow], ChunkRow]:
    """Say in which section a chunk lies, likewise; in a document without headings it is the chunk itself."""

    @cache
    def read(number: int) -> tuple[list[Span], IntArray, list[int], Places]:
        """The sections, which together are all of the document, twice; the bytes before each, and where they stand."""
        document = store.document_of(number)
        sections = find_sections(document)
        sizes = (len(document.text[one.start : one.end].encode("utf-8")) for one in sections)
        spans = np.array([(one.start, one.end) for one in sections], dtype=np.int64).reshape(-1, 2)
        return sections, spans, list(accumulate(sizes, initial=0)), Places(document)

    found: dict[tuple[int, int], ChunkRow] = {}

    def around(row: ChunkRow) -> ChunkRow:
        sections, spans, bytes_before, places = read(row.document)
        place = _most_shared(spans, row)
        if place is None:
            return row
        if (row.document, place) not in found:
            headings, pages, line, titles = encode_place(places.of(sections[place]))
            found[row.document, place] = replace(
                row,
                granularity=len(store.granularities),
                place=place,
                start=sections[place].start,
                end=sections[place].end,
                byte_start=bytes_before[place],
                byte_end=bytes_before[place + 1],
                headings=headings,
                pages=pages,
                line=line,
                titles=titles,
            )
        return found[row.document, place]

    return around


def _most_shared(spans: IntArray, row: ChunkRow) -> int | None:
    """The place of the span, of shape ``(n, 2)``, that shares the most characters with a chunk; None if none does."""
    shared = np.minimum(spans[:, 1], row.end) - np.maximum(spans[:, 0], row.start)
    place = int(shared.argmax()) if len(shared) else 0
    return place if len(shared) and shared[place] > 0 else None


def find_neighbours(store: Store, passages: Sequence[Chunk]) -> list[tuple[Chunk | None, Chunk | None]]:
    """For each passage the chunk before its first and the one after its last, within one ``snapshot``.

    Each is None where there is none; both are for a section, and for a passage that its document no longer has.
    """
    beside = [_rows_beside(store, one) for one in passages]
    rows = list(dict.fromkeys(row for three in beside for row in three if row))
    chunks: dict[ChunkRow | None, Chunk | None] = {None: None, **dict(zip(rows, store.chunks(rows), strict=True))}
    found = []
    for passage, three in zip(passages, beside, strict=True):
        own, before, after = map(chunks.__getitem__, three)
        is_there = own is not None and own.start == passage.start and passage.text.startswith(own.text)
        found.append((before, after) if is_there else (None, None))
    return found


def _rows_beside(store: Store, passage: Chunk) -> tuple[ChunkRow | None, ChunkRow | None, ChunkRow | None]:
    """Where the first chunk of a passage stands, the one before it and the one after the passage."""
    if passage.granularity in store.granularities:  # else it is a section
        granularity = store.granularities.index(passage.granularity)
        for document in store.numbers_of_ids([passage.document_id]):
            return store.rows_beside(document, granularity, passage.number, passage.end)
    return None, None, None
