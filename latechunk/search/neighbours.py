"""Find the chunks before and after a passage."""

from __future__ import annotations

from collections.abc import Sequence

from latechunk.storage.store import ChunkRow, Store
from latechunk.types import Chunk


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
