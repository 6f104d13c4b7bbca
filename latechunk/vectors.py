"""Vectors under numbers in, nearest neighbours out: FAISS, as a cache of the store's vectors."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict
from pathlib import Path

import faiss
import numpy as np

from latechunk.errors import IndexDamagedError
from latechunk.store import Commit
from latechunk.types import FloatArray, IntArray

_FILE = "vectors.faiss"
_LABEL = "vectors.json"


class VectorCache:
    """An exact inner-product index over unit vectors. Not safe for use from several threads at once.

    Attributes:
        dims: Length of the vectors.
        commit: The state of the store that it mirrors, None for none.
    """

    def __init__(self, dims: int) -> None:
        self.dims = dims
        self.commit: Commit | None = None
        self._index = faiss.IndexIDMap2(faiss.IndexFlatIP(dims))

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def numbers(self) -> IntArray:
        """Numbers of all vectors held, in the order in which they were added."""
        return np.asarray(faiss.vector_to_array(self._index.id_map), dtype=np.int64)

    def add(self, numbers: IntArray, vectors: FloatArray) -> None:
        """Add vectors, shape ``(n, dims)``, under numbers that are not in use."""
        self._index.add_with_ids(np.ascontiguousarray(vectors, dtype=np.float32), numbers)

    def remove(self, numbers: IntArray) -> None:
        """Remove vectors; numbers that are not held are passed over."""
        if len(numbers):
            self._index.remove_ids(faiss.IDSelectorBatch(numbers))

    def search(self, query: FloatArray, k: int) -> tuple[list[float], list[int]]:
        """Find the ``min(k, len(self))`` vectors with the largest inner product, best first, by number on a tie."""
        k = min(k, len(self))
        if k == 0:
            return [], []
        scores, numbers = self._index.search(query.reshape(1, -1), k)
        found = numbers[0] >= 0
        order = np.lexsort((numbers[0][found], -scores[0][found]))
        return scores[0][found][order].tolist(), numbers[0][found][order].tolist()

    def write(self, folder: Path) -> None:
        """Write to files in ``folder``, each replaced whole, the label last.

        Raises:
            OSError: If the disk does not take them; what was there before is then stale or unlabelled, never trusted.
        """
        new_file, new_label = folder / f"{_FILE}.new", folder / f"{_LABEL}.new"
        try:
            faiss.write_index(self._index, str(new_file))
        except RuntimeError as error:
            new_file.unlink(missing_ok=True)
            raise OSError(f"{new_file} could not be written: {error}") from error
        label = {"commit": asdict(self.commit) if self.commit else None, "sha256": _hash_file(new_file)}
        os.replace(new_file, folder / _FILE)
        new_label.write_text(json.dumps(label), encoding="utf-8")
        os.replace(new_label, folder / _LABEL)

    @classmethod
    def read(cls, folder: Path, dims: int) -> VectorCache:
        """Read what :meth:`write` wrote.

        Raises:
            IndexDamagedError: If it is missing, incomplete, altered, or not of ``dims``; build a new one instead.
        """
        try:
            label = json.loads((folder / _LABEL).read_text(encoding="utf-8"))
            commit, sha256 = Commit(**label["commit"]), label["sha256"]
            if _hash_file(folder / _FILE) != sha256:
                raise IndexDamagedError(f"{folder / _FILE} is not the file that was written")
            index = faiss.read_index(str(folder / _FILE))
        except (OSError, ValueError, TypeError, KeyError, RuntimeError) as error:
            raise IndexDamagedError(f"{folder / _FILE} cannot be read: {error}") from error
        if not isinstance(index, faiss.IndexIDMap2) or index.d != dims:
            raise IndexDamagedError(f"{folder / _FILE} holds another kind of index")
        cache = cls(dims)
        cache._index, cache.commit = index, commit
        return cache


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
