"""A vector cache to two files and back: its arrays, and a label that says what they are.

The files may have been prepared by anyone. So nothing in them is handed to FAISS's own reader, which takes counts,
classes, nested indices and even names of other files from what it reads. The index is built from its recipe, which is
checked as a user's would be, and only arrays are read into it, each of a size that follows from the recipe and is there
in the file, with every position in them looked at.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import faiss
import numpy as np
from numpy.typing import DTypeLike, NDArray

from latechunk.ann.faiss_ops import SearchParams
from latechunk.ann.file_arrays import Source, read_data, write_data
from latechunk.ann.spec import EXACT, FaissSpec, IndexSpec, is_factory
from latechunk.ann.vector_index import Tuning, VectorIndex
from latechunk.errors import IndexDamagedError, InputError
from latechunk.storage.store import Commit

_LAYOUT = 2
_MOST = 2**31 - 1  # positions; FAISS's graphs number them in 32 bits


def file_names(granularity: int) -> tuple[str, str]:
    """Names of the file with the arrays and of its label."""
    stem = "vectors" if granularity == 0 else f"vectors-{granularity}"
    return f"{stem}.faiss", f"{stem}.json"


def write_cache(cache: VectorIndex, folder: Path, granularity: int, kind: IndexSpec) -> int:
    """Write to files in ``folder``, each replaced whole, the label last. Returns their bytes.

    Raises:
        OSError: If the disk does not take them; what was there before is then stale or unlabelled, never trusted.
    """
    name, label_name = file_names(granularity)
    new_file, new_label = folder / f"{name}.new", folder / f"{label_name}.new"
    try:
        with new_file.open("wb") as file:
            writer = _Writer(file)
            writer.write(cache.numbers.astype("<i8"))
            writer.write(cache.documents.astype("<i8"))
            writer.write(np.packbits(cache.alive, bitorder="little"))
            for part in write_data(cache.index):
                writer.write(part)
        new_label.write_text(json.dumps(_label(cache, kind, writer.digest.hexdigest())), encoding="utf-8")
        os.replace(new_file, folder / name)
        os.replace(new_label, folder / label_name)
    finally:
        new_file.unlink(missing_ok=True)
        new_label.unlink(missing_ok=True)
    return sum((folder / one).stat().st_size for one in (name, label_name))


def read_cache(folder: Path, granularity: int, dims: int, kind: IndexSpec | None) -> VectorIndex:
    """Read what :func:`write_cache` wrote for this kind, or for any kind where it is None.

    Raises:
        IndexDamagedError: If it is missing, incomplete, altered, inconsistent or of another kind than is wanted; build
            a new one instead.
    """
    name, label_name = file_names(granularity)
    try:
        label = json.loads((folder / label_name).read_text(encoding="utf-8"))
        cache, n = _read_label(label, dims, kind)
        # Through one handle, once: another process may replace the file at any moment.
        with (folder / name).open("rb") as file:
            reader = _Reader(file, os.fstat(file.fileno()).st_size)
            _read_arrays(cache, reader, n)
        if reader.digest.hexdigest() != label["sha256"]:
            raise IndexDamagedError("it is not the file that was written")
    except (OSError, ValueError, TypeError, KeyError, RecursionError, InputError, IndexDamagedError) as error:
        raise IndexDamagedError(f"{folder / name} cannot be used: {error}") from error
    return cache


def read_tuning(folder: Path, granularity: int) -> dict[str, Any] | None:
    """What the label says for people: the recipe, how hard it searches and what that finds; None if it says nothing.

    Nothing of it is checked against the file.
    """
    try:
        label = json.loads((folder / file_names(granularity)[1]).read_text(encoding="utf-8"))
        effort, tuning = _read_effort(label["effort"]), _read_tuning(label["tuning"])
        return {"kind": _read_recipe(label["recipe"]).factory, **asdict(effort), **(asdict(tuning) if tuning else {})}
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


class _Writer:
    """Writes arrays and sums up what was written, so that the file need not be read again."""

    def __init__(self, file: BinaryIO) -> None:
        self.digest = hashlib.sha256()
        self._file = file

    def write(self, array: NDArray[Any]) -> None:
        data = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
        self._file.write(data)
        self.digest.update(data)


class _Reader(Source):
    """Reads arrays of given sizes, never more than the file holds, and sums up what was read."""

    def __init__(self, file: BinaryIO, n_bytes: int) -> None:
        self.digest = hashlib.sha256()
        self._file = file
        self._n_left = n_bytes

    def take(self, dtype: DTypeLike, n: int) -> NDArray[Any]:
        """Read ``n`` items."""
        self.require(np.dtype(dtype).itemsize * n)
        array = np.empty(n, dtype=dtype)
        self.fill(array)
        return array

    def fill(self, array: NDArray[Any]) -> None:
        """Read as many items as an array has room for."""
        self.require(array.nbytes)
        if not array.size:
            return
        view = array.view(np.uint8).data
        if self._file.readinto(view) != array.nbytes:  # type: ignore[attr-defined]
            raise IndexDamagedError("it ends too early")
        self.digest.update(view)
        self._n_left -= array.nbytes

    def finish(self) -> None:
        """Raise unless all was read."""
        if self._n_left:
            raise IndexDamagedError(f"it has {self._n_left} bytes too many")

    def require(self, n_bytes: int) -> None:
        """Raise unless so many bytes are left."""
        if not 0 <= n_bytes <= self._n_left:
            raise IndexDamagedError("it is too short for what its label says")


def _label(cache: VectorIndex, kind: IndexSpec, sha256: str) -> dict[str, Any]:
    return {
        "layout": _LAYOUT,
        "faiss": faiss.__version__,
        "kind": asdict(kind),
        "recipe": asdict(cache.recipe),
        "effort": asdict(cache.effort),
        "tuning": asdict(cache.tuning) if cache.tuning else None,
        "n": len(cache.numbers),
        "commit": asdict(cache.commit) if cache.commit else None,
        "sha256": sha256,
    }


def _read_label(label: dict[str, Any], dims: int, wanted: IndexSpec | None) -> tuple[VectorIndex, int]:
    if label["layout"] != _LAYOUT:
        raise IndexDamagedError("another version of this package wrote it")
    recipe = _read_recipe(label["recipe"])
    kind = IndexSpec(label["kind"]["kind"], label["kind"]["first_pass_dims"])
    if wanted not in (None, kind) or not kind.allows(recipe.factory):
        raise IndexDamagedError(f"it holds {recipe.factory!r} for {kind}, and {wanted or kind} is wanted")
    if recipe.dims != (kind.first_pass_dims or dims) and recipe != FaissSpec(EXACT, dims):
        raise IndexDamagedError(f"it holds vectors of {recipe.dims} numbers, and {dims} are wanted")
    if "RaBitQ" in recipe.factory and label["faiss"] != faiss.__version__:
        raise IndexDamagedError("FAISS lays such codes out differently from version to version, and another wrote it")
    n = _whole(label["n"], 0, _MOST)
    cache = VectorIndex(recipe)
    cache.effort, cache.tuning = _read_effort(label["effort"]), _read_tuning(label["tuning"])
    cache.commit = _read_commit(label["commit"])
    if cache.tuning is None and not cache.is_exact(dims):
        raise IndexDamagedError("it says of nothing that it was trained")
    return cache, n


def _read_arrays(cache: VectorIndex, reader: _Reader, n: int) -> None:
    numbers, documents = reader.take("<i8", n), reader.take("<i8", n)
    bits = reader.take(np.uint8, (n + 7) // 8)
    alive = np.unpackbits(bits, count=n, bitorder="little").astype(np.bool_)
    if n and (numbers[0] < 1 or documents.min() < 1 or (np.diff(numbers) < 1).any()):
        raise IndexDamagedError("its numbers are none that a store gives")
    read_data(cache.index, reader, alive)
    reader.finish()
    cache.fill(numbers, documents, alive)


def _read_recipe(fields: dict[str, Any]) -> FaissSpec:
    factory, dims = fields["factory"], _whole(fields["dims"], 1, 2**20)
    if not isinstance(factory, str) or not is_factory(factory):
        raise ValueError(f"there is no recipe {factory!r:.80}")
    return FaissSpec(factory, dims)


def _read_effort(fields: dict[str, Any]) -> SearchParams:
    return SearchParams(**{name: _whole(fields[name], 1, 2**20) for name in SearchParams.__dataclass_fields__})


def _read_tuning(fields: dict[str, Any] | None) -> Tuning | None:
    if fields is None:
        return None
    recalls = [float(fields[name]) for name in ("recall", "recall_noisy")]
    if not all(0 <= one <= 1 for one in recalls):
        raise ValueError(f"these are no shares: {recalls}")
    return Tuning(_whole(fields["n_trained"], 1, _MOST), *recalls)


def _read_commit(fields: dict[str, Any]) -> Commit:
    token = fields["token"]
    if not isinstance(token, str):
        raise ValueError(f"these fields name no state of a store: {fields!r:.200}")
    return Commit(_whole(fields["number"], 0, 2**63 - 1), token, _whole(fields["n_removed"], 0, 2**63 - 1))


def _whole(value: object, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ValueError(f"{value!r:.80} is no whole number from {least} to {most}")
    return value
