"""Stores filled with vectors, and the exact answers, for the tests of what searches them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from latechunk.storage.store import Store, StoredDocument
from latechunk.types import Document, FloatArray, IntArray, Span

PER_DOCUMENT = 5


def clustered(n: int, dims: int = 16, seed: int = 0, n_clusters: int = 20) -> FloatArray:
    """Unit vectors about a few centres, so that there are neighbours to find."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((n_clusters, dims))
    vectors = centres[random.integers(n_clusters, size=n)] + 0.5 * random.standard_normal((n, dims))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def make_store(folder: Path, n: int = 0, **options: int) -> Store:
    """A store of ``n`` chunks in documents of five."""
    folder.mkdir(parents=True, exist_ok=True)
    Store.create(folder / "store.sqlite3", {})
    store = Store.open(folder / "store.sqlite3", read_only=False)
    put(store, clustered(n, **options))
    return store


def put(store: Store, vectors: FloatArray, prefix: str = "d") -> None:
    """Add documents of five chunks each, named by the prefix and a number."""
    store.put(list(documents(vectors, prefix)))


def documents(vectors: FloatArray, prefix: str) -> Iterator[StoredDocument]:
    """Documents of up to five chunks each, named by the prefix and a number."""
    for begin in range(0, len(vectors), PER_DOCUMENT):
        part = vectors[begin : begin + PER_DOCUMENT]
        spans = [Span(place, place + 1) for place in range(len(part))]
        yield StoredDocument(Document(f"{prefix}{begin // PER_DOCUMENT}", "x" * len(part)), len(part), [spans], part)


def contents(store: Store, dims: int = 16) -> tuple[IntArray, IntArray, FloatArray]:
    """Chunk numbers, their documents' numbers, and vectors of all that is stored."""
    with store.snapshot():
        blocks = list(store.vectors(dims, after=0))
    if not blocks:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty((0, dims), dtype=np.float32)
    numbers, documents, vectors = zip(*blocks, strict=True)
    return np.concatenate(numbers), np.concatenate(documents), np.concatenate(vectors)


def exact(store: Store, query: FloatArray, k: int, documents: Sequence[int] | None = None) -> list[int]:
    """The numbers of the best chunks, by comparing with all, by number on a tie."""
    numbers, owners, vectors = contents(store, len(query))
    allowed = np.ones(len(numbers), dtype=bool) if documents is None else np.isin(owners, list(documents))
    scores = np.einsum("nd,d->n", vectors[allowed], query)
    return numbers[allowed][np.lexsort((numbers[allowed], -scores))[:k]].tolist()
