"""Compare the files of a vector index with the store."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from latechunk.ann.persist import file_names, read_cache
from latechunk.ann.vector_index import VectorIndex
from latechunk.errors import IndexDamagedError
from latechunk.storage.store import Store

_REBUILT = "it is rebuilt from the store when the index is next searched"


def check_cache(folder: Path, store: Store, dims: int, granularity: int) -> list[str]:
    """Compare a cache with the store: its checksum, the chunks and documents it holds, and whole vectors.

    Returns:
        What is damaged or different, in words; empty if nothing is. None of it loses anything: all that a cache holds
        is in the store. That it is missing, or of an earlier state, is no fault: it is brought up to date when the
        index is next searched.

    Raises:
        IndexDamagedError: If the store itself is damaged.
    """
    name = file_names(granularity)[0]
    with store.snapshot():
        if not (folder / name).exists():
            return []
        try:
            cache = read_cache(folder, granularity, dims, None)
        except IndexDamagedError as error:
            return [f"{error}: {_REBUILT}"]
        if cache.commit is None or not (store.has_commit(cache.commit) or store.has_forgotten(cache.commit)):
            return [f"{name} is of another store, or of a state that this one never was in: {_REBUILT}"]
        if cache.commit == store.last_commit() and not _is_same(cache, store, dims, granularity):
            return [f"{name} holds other chunks, documents or vectors than the store: delete the file"]
        return []


def _is_same(cache: VectorIndex, store: Store, dims: int, granularity: int) -> bool:
    numbers, documents = cache.numbers[cache.alive], cache.documents[cache.alive]
    n_seen = 0
    for block, owners, vectors in store.vectors(dims, after=0, granularity=granularity):
        held = slice(n_seen, n_seen + len(block))
        n_seen += len(block)
        if not (np.array_equal(numbers[held], block) and np.array_equal(documents[held], owners)):
            return False
        # Codes of quantisers differ from the vectors by their nature; the checksum vouches for them.
        if cache.spec.is_exact(dims) and not np.array_equal(cache.vectors_of(block), vectors):
            return False
    return n_seen == len(numbers)
