"""Calls of FAISS: build an index by its specification, and find a query's nearest positions among those allowed."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass

import faiss
import numpy as np
from numpy.typing import NDArray

from latechunk.ann.id_filter import IdFilter
from latechunk.ann.spec import FaissSpec, IndexSpec
from latechunk.errors import InputError
from latechunk.types import FloatArray, IntArray

_TUNED_HITS = 10
_PLENTY = 10**9  # vectors, so that every kind can be trained
_MET_PER_CANDIDATE = 20
_LINKS_MET = 32  # vectors that a walk compares for each that it explores, about
_MANY_NUMBERS = 10_000_000  # 3 ms of one thread


@dataclass(frozen=True, slots=True)
class SearchParams:
    """How hard to search for ten hits, as tuned.

    Attributes:
        n_probes: How many lists of an IVF index to look into.
        n_explored: ``efSearch`` of an HNSW index.
        per_hit: How many candidates to score exactly for each hit wanted.
    """

    n_probes: int = 1
    n_explored: int = 16
    per_hit: int = 1

    def n_candidates(self, k: int) -> int:
        """How many candidates to ask for, for ``k`` hits."""
        # Two scores that differ by rounding only must both be there for the exact ones to decide.
        return max(k, _TUNED_HITS) * self.per_hit + _TUNED_HITS


def build(spec: FaissSpec) -> faiss.Index:
    """Make an empty index for inner products; InputError if FAISS does not build it for vectors of this length."""
    try:
        index = faiss.index_factory(spec.dims, spec.factory, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        said = str(error).rpartition("Error: ")[2].strip()[:300]  # without where in FAISS's source it says so
        raise InputError(f"FAISS makes no {spec.factory!r} for vectors of {spec.dims} numbers: {said}") from error
    core = core_of(index)
    if isinstance(core, faiss.IndexHNSW):
        core.hnsw.efConstruction = (
            100  # of 40,000 chunks, exploring 256 then finds 97.7 % for questions; with 40, 95.8 %
        )
    if isinstance(core, faiss.IndexIVF):
        core.cp.min_points_per_centroid = 1  # else FAISS writes warnings to stderr; IndexSpec sees to the number
    if isinstance(core, faiss.IndexIVFPQ):
        core.pq.cp.min_points_per_centroid = 1
    return index


def require_buildable(wanted: IndexSpec, dims: int) -> None:
    """Raise an InputError unless FAISS builds what is wanted for vectors of ``dims`` numbers."""
    spec = wanted.faiss_spec(_PLENTY, dims)
    if spec.factory != wanted.kind:
        return
    index = build(spec)  # keep a reference: objects obtained from it do not
    for transform in transforms_of(index):
        if transform.d_out > transform.d_in:
            raise InputError(
                f"{spec.factory!r} makes vectors of {transform.d_out} numbers out of {transform.d_in}, and only so "
                f"many or fewer make sense"
            )


def core_of(index: faiss.Index) -> faiss.Index:
    """The index behind the transformations of the vectors, as its own class."""
    found = faiss.downcast_index(index)
    return faiss.downcast_index(found.index) if isinstance(found, faiss.IndexPreTransform) else found


def transforms_of(index: faiss.Index) -> list[faiss.LinearTransform]:
    """What the vectors go through first, in order."""
    found = faiss.downcast_index(index)
    if not isinstance(found, faiss.IndexPreTransform):
        return []
    return [faiss.downcast_VectorTransform(found.chain.at(place)) for place in range(found.chain.size())]


def can_renumber(index: faiss.Index) -> bool:
    """Whether removing vectors moves those behind them up, as in flat storage, rather than leaving gaps."""
    return not isinstance(core_of(index), faiss.IndexIVF | faiss.IndexHNSW)


def map_lists(path: str) -> faiss.Index:
    """Read an IVF index, whose lists stay in the file and are read as they are searched."""
    index = faiss.read_index(path, faiss.IO_FLAG_MMAP)
    # Each search would start so many threads to read its lists ahead.
    faiss.downcast_InvertedLists(core_of(index).invlists).prefetch_nthread = 0
    return index


def own_lists(index: faiss.Index) -> None:
    """Copy lists that ``map_lists`` left in a file into memory, so that they can change."""
    core = core_of(index)
    mapped = faiss.downcast_InvertedLists(core.invlists) if isinstance(core, faiss.IndexIVF) else None
    if not isinstance(mapped, faiss.OnDiskInvertedLists):
        return
    own = faiss.ArrayInvertedLists(core.nlist, core.code_size)
    for number in range(core.nlist):
        own.add_entries(number, mapped.list_size(number), mapped.get_ids(number), mapped.get_codes(number))
    own.this.disown()
    core.replace_invlists(own, True)


def add(index: faiss.Index, first: int, vectors: FloatArray) -> None:
    """Add vectors, shape ``(n, dims)``, at the positions from ``first`` on, above all that there are or were."""
    own_lists(index)
    if isinstance(core_of(index), faiss.IndexIVF):
        # Without ids it would count from the number of those that are left.
        index.add_with_ids(vectors, np.arange(first, first + len(vectors)))
    else:
        index.add(vectors)


def remove(index: faiss.Index, positions: IntArray) -> None:
    """Remove what can be removed; an HNSW graph keeps its nodes, which are then passed over."""
    if len(positions) and not isinstance(core_of(index), faiss.IndexHNSW):
        own_lists(index)
        index.remove_ids(faiss.IDSelectorBatch(positions))


def nearest(index: faiss.Index, query: FloatArray, n: int, params: SearchParams, allowed: IdFilter) -> IntArray:
    """Find the allowed positions of the largest inner products, best first, roughly for all but flat storage.

    ``n`` is at most as many as are allowed; they are fewer only if the index does not hold what it should. ``params``
    say how hard to search for ten; for more it looks further.
    """
    core = core_of(index)
    row = query.reshape(1, -1)
    for transform in transforms_of(index):
        row = transform.apply(row)
    if isinstance(core, faiss.IndexIVF):
        return _nearest_in_lists(core, row, n, params, allowed)
    if isinstance(core, faiss.IndexHNSW):
        return _nearest_in_graph(core, row, n, params, allowed)
    return _nearest_in_storage(core, row, n, allowed)


def lists_of(index: faiss.Index, n: int) -> tuple[NDArray[np.uint16], int]:
    """The list of an IVF index in which each of ``n`` positions is, 65,535 if in none, and how many lists there are."""
    core = core_of(index)
    known = faiss.DirectMap()  # in half the time of a loop over the lists
    known.set_type(faiss.DirectMap.Array, core.invlists, n)
    lists = np.empty(n, dtype=np.uint16)  # there are no more than 65,536
    if n:  # without an array of 64 bits between, whose memory takes longer to get than the rest
        np.right_shift(faiss.rev_swig_ptr(known.array.data(), n), 32, out=lists, casting="unsafe")
    return lists, core.nlist


def _nearest_in_lists(
    core: faiss.IndexIVF, row: FloatArray, n: int, params: SearchParams, allowed: IdFilter
) -> IntArray:
    # More hits lie in more lists, though not in proportion.
    n_probes = params.n_probes * math.sqrt(max(1.0, n / params.n_candidates(_TUNED_HITS)))
    if allowed.n < core.ntotal:
        return _nearest_allowed_in_lists(core, row, n, n_probes, allowed)
    while True:
        n_probes = min(core.nlist, math.ceil(n_probes))
        n_met = n_probes / core.nlist * core.ntotal
        found = _search(core, row, n, faiss.SearchParametersIVF(nprobe=n_probes), n_met=n_met)
        if len(found) == n or n_probes == core.nlist:
            return found
        n_probes *= 4


def _nearest_allowed_in_lists(
    core: faiss.IndexIVF, row: FloatArray, n: int, n_probes: float, allowed: IdFilter
) -> IntArray:
    """Look into the nearest lists that hold anything allowed, until enough was met.

    What is allowed may lie far from the query, as where German texts are asked for with an English question; so it is
    not lists that are counted, but what is allowed in them: as much as an unfiltered search compares, less by the
    cube root of the share allowed. Of 150,000 chunks, 97 to 100 % of the ten best are then found, where a tenth is
    allowed at random or about one topic, in no more time than without a filter.
    """
    with _one_thread():
        products, ranked = core.quantizer.search(row, core.nlist)
    counts = allowed.n_per_list[ranked[0]]
    lists, products = ranked[0][counts > 0], products[0][counts > 0]
    n_met = np.cumsum(counts[counts > 0])
    wanted = n_probes / core.nlist * core.ntotal * allowed.share ** (1 / 3)
    wanted = min(allowed.n, max(wanted, _MET_PER_CANDIDATE * n))
    n_lists = int(np.searchsorted(n_met, wanted)) + 1
    while True:
        found = _search_lists(core, row, n, lists[:n_lists], products[:n_lists], allowed)
        if len(found) == n or n_lists >= len(lists):
            return found
        n_lists *= 4


def _threads_for(index: faiss.Index, n_met: float) -> contextlib.AbstractContextManager[None]:
    """All cores for a long comparison, one for a short one, for which waking the others takes longer than it saves.

    Of 1,000,000 chunks in 4,000 lists, looking into 285 takes two cores 3.5 ms and one 6.0.
    """
    if n_met * index.d <= _MANY_NUMBERS:
        return _one_thread()
    if isinstance(index, faiss.IndexIVF):
        index.parallel_mode = 1  # over the lists of one query, rather than over queries, of which there is one
    return contextlib.nullcontext()


def _search_lists(
    core: faiss.IndexIVF, row: FloatArray, n: int, lists: IntArray, products: FloatArray, allowed: IdFilter
) -> IntArray:
    query = np.ascontiguousarray(row)
    scores, positions = np.empty(n, dtype=np.float32), np.empty(n, dtype=np.int64)
    parameters = faiss.SearchParametersIVF(nprobe=len(lists), sel=allowed.bitmap)
    arrays = [faiss.swig_ptr(one) for one in (lists, products, scores, positions)]
    with _threads_for(core, len(lists) / core.nlist * core.ntotal):
        # The wrapper without "_c" takes no parameters.
        core.search_preassigned_c(1, faiss.swig_ptr(query), n, *arrays, False, parameters)
    return positions[positions >= 0]


def _nearest_in_graph(
    core: faiss.IndexHNSW, row: FloatArray, n: int, params: SearchParams, allowed: IdFilter
) -> IntArray:
    found = np.empty(0, dtype=np.int64)
    n_explored = math.ceil(max(params.n_explored, n) / max(allowed.share, 1e-9))
    if _LINKS_MET * n_explored < allowed.n:  # else to go through all that are allowed is quicker, and certain
        selector = None if allowed.is_all else allowed.bitmap
        found = _search(core, row, n, faiss.SearchParametersHNSW(efSearch=n_explored, sel=selector))
    return found if len(found) == n else _nearest_in_storage(faiss.downcast_index(core.storage), row, n, allowed)


def _nearest_in_storage(storage: faiss.Index, row: FloatArray, n: int, allowed: IdFilter) -> IntArray:
    if allowed.is_all:
        return _search(storage, row, n, None)
    is_flat = isinstance(storage, faiss.IndexFlat)
    selector = allowed.array if is_flat else allowed.bitmap
    return _search(storage, row, n, faiss.SearchParameters(sel=selector))


def _search(
    index: faiss.Index, row: FloatArray, n: int, parameters: faiss.SearchParameters | None, *, n_met: float = 0.0
) -> IntArray:
    """Search; ``n_met`` is how many vectors are compared with, where that is not all."""
    if parameters is None and isinstance(index, faiss.IndexFlat):
        n_met = index.ntotal
    with _threads_for(index, n_met):
        _, positions = index.search(np.ascontiguousarray(row), n, params=parameters)
    return np.asarray(positions[0][positions[0] >= 0], dtype=np.int64)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Let this thread's next query do without helpers.

    Two threads take 0.28 ms instead of 0.42 for 64 lists, but wait 20 ms for each other when the other core is busy.
    """
    n = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(n)
