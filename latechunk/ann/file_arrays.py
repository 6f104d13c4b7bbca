"""What a FAISS index learnt and holds, as arrays, and such arrays back into an empty index of the same recipe."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import faiss
import numpy as np
from numpy.typing import DTypeLike, NDArray

from latechunk.ann.faiss_ops import core_of, transforms_of
from latechunk.ann.id_filter import BoolArray
from latechunk.errors import IndexDamagedError
from latechunk.types import FloatArray

_BLOCK = 16 * 2**20
_RANGED = (faiss.ScalarQuantizer.QT_8bit, faiss.ScalarQuantizer.QT_6bit, faiss.ScalarQuantizer.QT_4bit)


class Source(Protocol):
    """Where arrays are read from; all raise IndexDamagedError if it has not so much left."""

    def require(self, n_bytes: int) -> None:
        """Raise unless so many bytes are left."""
        ...

    def take(self, dtype: DTypeLike, n: int) -> NDArray[Any]:
        """Read ``n`` items."""
        ...

    def fill(self, array: NDArray[Any]) -> None:
        """Read as many items as an array has room for."""
        ...


def write_data(index: faiss.Index) -> Iterator[NDArray[Any]]:
    """The arrays of an index, in the order in which :func:`read_data` takes them; valid until the next is asked for."""
    for vector, _ in _learnt(index):
        yield faiss.vector_to_array(vector).astype("<f4")
    core = core_of(index)
    if isinstance(core, faiss.IndexIVF):
        yield _centroids(core)
        yield from _lists(core)
    elif isinstance(core, faiss.IndexHNSW):
        yield faiss.vector_to_array(core.hnsw.levels).astype("<i4")
        yield faiss.vector_to_array(core.hnsw.neighbors).astype("<i4")
        yield np.array([core.hnsw.entry_point, core.hnsw.max_level], dtype="<i4")
        yield _codes(faiss.downcast_index(core.storage))
    else:
        yield _codes(core)


def read_data(index: faiss.Index, source: Source, alive: BoolArray) -> None:
    """Read the arrays of an index into an empty one of the same recipe.

    Args:
        index: As :func:`latechunk.ann.faiss_ops.build` makes it.
        source: Where they are.
        alive: Whether each position is to hold a vector that can be found.

    Raises:
        IndexDamagedError: If they do not fit the index, each other, or ``alive``.
    """
    for vector, n in _learnt(index):
        faiss.copy_array_to_vector(_finite(source, n), vector)
    for transform in transforms_of(index):
        transform.is_trained = True
    core = core_of(index)
    if isinstance(core, faiss.IndexIVF):
        core.quantizer.add(_finite(source, core.nlist * core.d).reshape(core.nlist, core.d))
        _read_lists(core, source, alive)
    elif isinstance(core, faiss.IndexHNSW):
        _read_graph(core, source, len(alive))
        _read_codes(faiss.downcast_index(core.storage), source, len(alive))
    else:
        if not alive.all():
            raise IndexDamagedError("it has gaps where there can be none")
        _read_codes(core, source, len(alive))
    for one in (core, index):
        one.is_trained = True
        one.ntotal = int(np.count_nonzero(alive)) if isinstance(core, faiss.IndexIVF) else len(alive)


def _learnt(index: faiss.Index) -> list[tuple[Any, int]]:
    """The float vectors of FAISS in which training leaves its results, with the lengths they have then."""
    found = []
    for transform in transforms_of(index):
        found.append((transform.A, transform.d_in * transform.d_out))
        found.append((transform.b, transform.d_out if transform.have_bias else 0))
    core = core_of(index)
    storage = faiss.downcast_index(core.storage) if isinstance(core, faiss.IndexHNSW) else core
    if isinstance(storage, faiss.IndexScalarQuantizer | faiss.IndexIVFScalarQuantizer):
        found.append((storage.sq.trained, 2 * storage.d if storage.sq.qtype in _RANGED else 0))
    elif isinstance(storage, faiss.IndexIVFPQ):
        found.append((storage.pq.centroids, storage.pq.d * storage.pq.ksub))
    elif isinstance(storage, faiss.IndexRaBitQ):
        found.append((storage.center, storage.d))
    return found


def _finite(source: Source, n: int) -> FloatArray:
    array = source.take("<f4", n)
    if not np.isfinite(array).all():
        raise IndexDamagedError("it has learnt numbers that are not finite")
    return np.asarray(array, dtype=np.float32)


def _centroids(core: faiss.IndexIVF) -> NDArray[Any]:
    quantizer = faiss.downcast_index(core.quantizer)
    return np.asarray(faiss.vector_to_array(quantizer.codes).view(np.float32), dtype="<f4")


def _lists(core: faiss.IndexIVF) -> Iterator[NDArray[Any]]:
    lists = core.invlists
    sizes = np.array([lists.list_size(number) for number in range(core.nlist)], dtype="<i8")
    yield sizes
    for number in np.flatnonzero(sizes).tolist():
        yield faiss.rev_swig_ptr(lists.get_ids(number), int(sizes[number])).astype("<i8")
    for number in np.flatnonzero(sizes).tolist():
        yield faiss.rev_swig_ptr(lists.get_codes(number), int(sizes[number]) * core.code_size)


def _read_lists(core: faiss.IndexIVF, source: Source, alive: BoolArray) -> None:
    sizes = source.take("<i8", core.nlist)
    if sizes.min() < 0 or sizes.max() > len(alive) or sizes.sum() != np.count_nonzero(alive):
        raise IndexDamagedError("its lists do not hold as many vectors as there are")
    ids = np.asarray(source.take("<i8", int(sizes.sum())), dtype=np.int64)
    if len(ids) and (ids.min() < 0 or ids.max() >= len(alive)):
        raise IndexDamagedError("its lists hold positions that there are not")
    if not np.array_equal(np.bincount(ids, minlength=len(alive)), alive):
        raise IndexDamagedError("its lists do not hold each vector once")
    ends = np.cumsum(sizes)
    for number in np.flatnonzero(sizes).tolist():
        end, size = int(ends[number]), int(sizes[number])
        codes = source.take(np.uint8, size * core.code_size)
        core.invlists.add_entries(number, size, faiss.swig_ptr(ids[end - size : end]), faiss.swig_ptr(codes))


def _codes(storage: faiss.IndexFlatCodes) -> NDArray[Any]:
    n_bytes = storage.codes.size()
    if not n_bytes:
        return np.empty(0, dtype=np.uint8)
    codes: NDArray[Any] = faiss.rev_swig_ptr(storage.codes.data(), n_bytes)
    return codes


def _read_codes(storage: faiss.IndexFlatCodes, source: Source, n: int) -> None:
    source.require(n * storage.code_size)
    storage.codes.resize(n * storage.code_size)
    codes = _codes(storage)
    for begin in range(0, len(codes), _BLOCK):
        source.fill(codes[begin : begin + _BLOCK])
    storage.ntotal = n
    storage.is_trained = True


def _read_graph(core: faiss.IndexHNSW, source: Source, n: int) -> None:
    links = faiss.vector_to_array(core.hnsw.cum_nneighbor_per_level).astype(np.int64)
    levels = np.asarray(source.take("<i4", n), dtype=np.int32)
    if n and (levels.min() < 1 or levels.max() >= len(links)):
        raise IndexDamagedError("its graph has levels that there are not")
    offsets = np.concatenate([[0], np.cumsum(links[levels])])
    neighbors = np.asarray(source.take("<i4", int(offsets[-1])), dtype=np.int32)
    entry, top = (int(one) for one in source.take("<i4", 2))
    _require_walkable(levels, offsets[:-1], neighbors, links, entry, top)
    faiss.copy_array_to_vector(levels, core.hnsw.levels)
    faiss.copy_array_to_vector(offsets.astype(np.uint64), core.hnsw.offsets)
    faiss.copy_array_to_vector(neighbors, core.hnsw.neighbors)
    core.hnsw.entry_point, core.hnsw.max_level = entry, top


def _require_walkable(
    levels: NDArray[np.int32],
    offsets: NDArray[np.int64],
    neighbors: NDArray[np.int32],
    links: NDArray[np.int64],
    entry: int,
    top: int,
) -> None:
    """Raise unless each link of each level leads to a node that has this level."""
    n = len(levels)
    if n == 0:
        is_sound = entry == -1 and top == -1
    else:
        is_sound = 0 <= entry < n and 0 <= top == levels[entry] - 1 and -1 <= neighbors.min() <= neighbors.max() < n
    for level in range(1, top + 1 if is_sound else 0):
        starts = offsets[levels > level] + links[level]
        places = starts[:, None] + np.arange(links[level + 1] - links[level])
        linked = neighbors[places]
        is_sound = is_sound and bool((levels[linked[linked >= 0]] > level).all())
    if not is_sound:
        raise IndexDamagedError("its graph leads to nowhere")
