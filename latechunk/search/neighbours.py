"""Find the chunks before and after a passage."""

from __future__ import annotations

from latechunk.storage.store import Store
from latechunk.types import Chunk


def find_neighbours(store: Store, passage: Chunk) -> tuple[Chunk | None, Chunk | None]:
    """The chunk before a passage's first and the one after its last, within one ``snapshot``.

    Each is None where there is none; both are for a section, and for a passage that its document no longer has.
    """
    if passage.granularity not in store.granularities:  # a section
        return None, None
    granularity = store.granularities.index(passage.granularity)
    for document in store.numbers_of_ids([passage.document_id]):
        own, before, after = store.rows_beside(document, granularity, passage.number, passage.end)
        rows = [row for row in (own, before, after) if row]
        chunks = dict(zip(rows, store.chunks(rows), strict=True))
        if own and own.start == passage.start and passage.text.startswith(chunks[own].text):
            return chunks[before] if before else None, chunks[after] if after else None
    return None, None
