"""A vector cache on disk and its store in, what is wrong with the cache out."""

from __future__ import annotations

from pathlib import Path

import faiss
import numpy as np

from latechunk.ann.faiss_ops import core_of, transforms_of
from latechunk.ann.persist import file_names, read_cache
from latechunk.ann.vector_index import VectorIndex, first_pass
from latechunk.errors import IndexDamagedError
from latechunk.storage.store import Store
from latechunk.types import FloatArray, IntArray

_REBUILT = "it is built anew from the store when the index is next searched, and written by the next writer"


def check_cache(folder: Path, store: Store, dims: int, granularity: int) -> list[str]:
    """Compare a cache file with the store, vector by vector.

    Flat vectors must be equal to the stored ones; those of scalar quantisers must have a cosine of 0.9 with them, those
    of RaBitQ one of 0.3; codes of product quantisers say too little, and are not compared.

    Args:
        folder: The index's.
        store: Open; read within one snapshot.
        dims: Length of the stored vectors.
        granularity: Of which chunking.

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
        if cache.commit is None or not store.has_commit(cache.commit):
            return [f"{name} is of another store, or of a state that this one never was in: {_REBUILT}"]
        if cache.commit != store.last_commit():
            return []
        return _compare(name, cache, store, dims, granularity)


def _compare(name: str, cache: VectorIndex, store: Store, dims: int, granularity: int) -> list[str]:
    positions = np.flatnonzero(cache.alive)
    numbers, documents = cache.numbers[positions], cache.documents[positions]
    core = core_of(cache.index)
    if isinstance(core, faiss.IndexIVF):
        core.set_direct_map_type(faiss.DirectMap.Hashtable)
    stored: list[IntArray] = []
    n_misplaced, different = 0, [np.empty(0, dtype=np.int64)]
    for block, owners, vectors in store.vectors(dims, after=0, granularity=granularity):
        stored.append(block)
        places = np.searchsorted(numbers, block)
        held = places < len(numbers)
        held[held] = numbers[places[held]] == block[held]
        n_misplaced += int(np.count_nonzero(documents[places[held]] != owners[held]))
        is_same = _look_alike(cache, positions[places[held]], vectors[held])
        different.append(block[held][~is_same])
    return _report(
        name, numbers, np.concatenate([np.empty(0, np.int64), *stored]), n_misplaced, np.concatenate(different)
    )


def _look_alike(cache: VectorIndex, positions: IntArray, vectors: FloatArray) -> np.typing.NDArray[np.bool_]:
    """Whether what is held at these positions is what these vectors are held as."""
    core = core_of(cache.index)
    least = _least_cosine(core)
    if least is None or not len(positions):
        return np.ones(len(positions), dtype=np.bool_)
    rows = first_pass(vectors, cache.recipe.dims)
    for transform in transforms_of(cache.index):
        rows = transform.apply(rows)
    held = core.reconstruct_batch(positions)
    if least == 1:
        return np.asarray((held == rows).all(axis=1))
    lengths = np.linalg.norm(held, axis=1) * np.linalg.norm(rows, axis=1)
    return np.asarray(np.einsum("nd,nd->n", held, rows) >= least * lengths - 1e-6)


def _least_cosine(core: faiss.Index) -> float | None:
    storage = faiss.downcast_index(core.storage) if isinstance(core, faiss.IndexHNSW) else core
    if isinstance(storage, faiss.IndexFlat | faiss.IndexIVFFlat):
        return 1.0
    if isinstance(storage, faiss.IndexScalarQuantizer | faiss.IndexIVFScalarQuantizer):
        return 0.9
    if isinstance(storage, faiss.IndexRaBitQ | faiss.IndexIVFRaBitQ):
        return 0.3
    return None


def _report(name: str, held: IntArray, stored: IntArray, n_misplaced: int, different: IntArray) -> list[str]:
    problems = []
    missing, unknown = np.setdiff1d(stored, held), np.setdiff1d(held, stored)
    for found, what in (
        (missing, "of the store are missing in"),
        (unknown, "that the store does not have are in"),
        (different, "of the store have another vector in"),
    ):
        if len(found):
            problems.append(f"{len(found)} chunks {what} {name}, the first of number {found[0]}: delete the file")
    if n_misplaced:
        problems.append(f"{n_misplaced} chunks belong to other documents in {name} than in the store: delete the file")
    return problems
