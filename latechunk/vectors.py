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
            with new_file.open("w+b") as file:
                faiss.write_index(self._index, faiss.PyCallbackIOWriter(file.write))  # type: ignore[attr-defined]
                file.seek(0)
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            label = {"commit": asdict(self.commit) if self.commit else None, "sha256": sha256}
            new_label.write_text(json.dumps(label), encoding="utf-8")
            os.replace(new_file, folder / _FILE)
            os.replace(new_label, folder / _LABEL)
        except RuntimeError as error:
            raise OSError(f"{new_file} could not be written: {error}") from error
        finally:
            new_file.unlink(missing_ok=True)
            new_label.unlink(missing_ok=True)

    @classmethod
    def read(cls, folder: Path, dims: int) -> VectorCache:
        """Read what :meth:`write` wrote.

        Raises:
            IndexDamagedError: If it is missing, incomplete, altered, or not of ``dims``; build a new one instead.
        """
        try:
            label = json.loads((folder / _LABEL).read_text(encoding="utf-8"))
            commit = _read_commit(label["commit"])
            # Hashed and read through one handle: another process may replace the file at any moment.
            with (folder / _FILE).open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != label["sha256"]:
                    raise IndexDamagedError(f"{folder / _FILE} is not the file that was written")
                file.seek(0)
                index = faiss.read_index(faiss.PyCallbackIOReader(file.read))  # type: ignore[attr-defined]
        except (OSError, ValueError, TypeError, KeyError, RuntimeError) as error:
            raise IndexDamagedError(f"{folder / _FILE} cannot be read: {error}") from error
        if not isinstance(index, faiss.IndexIDMap2) or index.d != dims:
            raise IndexDamagedError(f"{folder / _FILE} holds another kind of index")
        cache = cls(dims)
        cache._index, cache.commit = index, commit
        return cache


def _read_commit(fields: dict[str, object]) -> Commit:
    number, token, n_removed = fields["number"], fields["token"], fields["n_removed"]
    if not (isinstance(number, int) and isinstance(token, str) and isinstance(n_removed, int)):
        raise ValueError(f"these fields name no state of a store: {fields}")
    if not 0 <= number < 2**63:
        raise ValueError(f"there is no state of number {number}")
    return Commit(number, token, n_removed)
