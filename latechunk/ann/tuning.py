"""Train a FAISS index on the vectors of a store, and choose how hard it must search to find nearly all."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import faiss
import numpy as np

from latechunk.ann.faiss_ops import SearchParams, core_of, nearest
from latechunk.ann.spec import FaissSpec
from latechunk.ann.vector_index import Tuning, VectorIndex, first_pass
from latechunk.storage.store import Store
from latechunk.types import FloatArray, IntArray

OnStep = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""

# Share of the ten best hits to find for the queries of the probe. Real questions get 0.952 of 100,000 chunks and 0.974
# of a million (docs/operations.md): most lie further from any chunk than the noisy queries do, see _add_noise.
TARGET_RECALL = 0.98
_K = 10
_N_QUERIES = 200
_NEAR = 0.4
_N_MIXED = 60
_PER_HIT = (1, 2, 4, 8, 16, 32)
_READ_COST = 250  # to read one stored vector takes as long, 4 µs, as to compare this many of 384 bytes in a list


def train(store: Store, dims: int, spec: FaissSpec, *, granularity: int, on_step: OnStep | None = None) -> VectorIndex:
    """Build an index that needs training, within one snapshot of the store; reads all vectors twice, holds a sample.

    Half of the queries that it is tuned with are stored vectors, the others lie further away: see ``_add_noise``.

    Returns:
        An index of all vectors with the cheapest parameters that find 98 % of the ten best hits of the probe's
        queries, or with the most thorough ones if none find so many.
    """
    report: OnStep = on_step or (lambda *_: None)
    n = store.count_vectors(granularity)
    random = np.random.default_rng(0)
    chosen = np.sort(random.choice(n, min(n, spec.training_size), replace=False))
    numbers, sample = _sample(store, dims, granularity, chosen, report, n)
    probe = _make_probe(random, numbers, sample)
    cache = VectorIndex(spec)
    report("train", 0, 1)
    if not cache.index.is_trained:
        cache.index.train(first_pass(sample, spec.dims))
    del sample
    n_done = 0
    for block, documents, vectors in store.vectors(dims, after=0, granularity=granularity):
        cache.add(block, documents, vectors)
        probe.see(block, vectors)
        n_done += len(block)
        report("add", n_done, n)
    cache.settle()
    report("tune", 0, 1)
    cache.params, recall, recall_noisy = _tune(cache, store, dims, probe)
    cache.tuning = Tuning(n, recall, recall_noisy)
    return cache


def _sample(
    store: Store, dims: int, granularity: int, places: IntArray, report: OnStep, n: int
) -> tuple[IntArray, FloatArray]:
    """The vectors at these places of the stream, with their numbers."""
    numbers = np.empty(len(places), dtype=np.int64)
    sample = np.empty((len(places), dims), dtype=np.float32)
    n_seen = 0
    for block, _, vectors in store.vectors(dims, after=0, granularity=granularity):
        begin, end = np.searchsorted(places, [n_seen, n_seen + len(block)])
        numbers[begin:end] = block[places[begin:end] - n_seen]
        sample[begin:end] = vectors[places[begin:end] - n_seen]
        n_seen += len(block)
        report("sample", n_seen, n)
    return numbers, sample


@dataclass(eq=False)
class _RecallProbe:
    """Queries with the scores of their ten best hits; ``own`` is the chunk that a query is and must not find, or 0."""

    queries: FloatArray
    own: IntArray
    best: FloatArray

    def see(self, numbers: IntArray, vectors: FloatArray) -> None:
        """Take the next vectors of the stream into account."""
        scores = self.queries @ vectors.T
        scores[self.own[:, None] == numbers] = -np.inf
        joined = np.concatenate([self.best, scores], axis=1)
        self.best = np.partition(joined, -_K, axis=1)[:, -_K:]


def _make_probe(random: np.random.Generator, numbers: IntArray, sample: FloatArray) -> _RecallProbe:
    chosen = random.choice(len(sample), min(_N_QUERIES, len(sample)), replace=False)
    is_noisy = np.arange(len(chosen)) % 2 == 1
    queries = sample[chosen]
    queries[is_noisy] = _add_noise(random, queries[is_noisy], sample)
    own = np.where(is_noisy, 0, numbers[chosen])
    return _RecallProbe(queries, own, np.full((len(chosen), _K), -np.inf, dtype=np.float32))


def _add_noise(random: np.random.Generator, vectors: FloatArray, sample: FloatArray) -> FloatArray:
    """Move vectors away to a cosine of about 0.4, in directions in which the stored ones are spread.

    Questions lie further from any chunk than chunks do from each other, and to find their neighbours takes more. Of
    100,000 chunks under all-MiniLM-L6-v2 in 1,264 lists, looking into 64 and 128 finds 94.5 % and 97.6 % for real
    questions, most of them about other things than the chunks; 99.1 % and 99.8 % for chunks as queries; and 97.3 % and
    99.0 % for such noisy ones.
    """
    mixed = sample[random.integers(len(sample), size=(len(vectors), _N_MIXED))]
    noise = np.einsum("qmd,qm->qd", mixed, random.standard_normal((len(vectors), _N_MIXED)))
    noise /= np.maximum(np.linalg.norm(noise, axis=1, keepdims=True), 1e-12)
    noisy = _NEAR * vectors + math.sqrt(1 - _NEAR**2) * noise
    return np.asarray(noisy / np.maximum(np.linalg.norm(noisy, axis=1, keepdims=True), 1e-12), dtype=np.float32)


def _tune(cache: VectorIndex, store: Store, dims: int, probe: _RecallProbe) -> tuple[SearchParams, float, float]:
    """The cheapest effort that is enough, with the recall of plain and of noisy queries that it gives."""
    enough: list[tuple[float, SearchParams, float, float]] = []
    most: tuple[SearchParams, float, float] | None = None
    for per_hit in _PER_HIT:
        levels = [replace(one, per_hit=per_hit) for one in _levels(cache)]
        found = _least(levels, lambda params: _recall(cache, store, dims, probe, params))
        if min(found[1:]) >= TARGET_RECALL:
            enough.append((_cost(cache, found[0]), *found))
        if most is None or min(found[1:]) > min(most[1:]):
            most = found
        if enough and _cost(cache, replace(levels[0], per_hit=2 * per_hit)) > enough[0][0]:
            break
    chosen = min(enough, key=lambda one: one[0])[1:] if enough else most
    return chosen or (SearchParams(), 0.0, 0.0)


def _least(
    levels: Sequence[SearchParams], measure: Callable[[SearchParams], tuple[float, float]]
) -> tuple[SearchParams, float, float]:
    """The first level that is enough, by halving, since more effort finds more; the last one if none is."""
    low, high = 0, len(levels) - 1
    best = (levels[high], *measure(levels[high]))
    while low < high and min(best[1:]) >= TARGET_RECALL:
        middle = (low + high) // 2
        result = measure(levels[middle])
        if min(result) >= TARGET_RECALL:
            high, best = middle, (levels[middle], *result)
        else:
            low = middle + 1
    return best


def _levels(cache: VectorIndex) -> list[SearchParams]:
    """Efforts to choose from, each about a fifth more than the one before."""
    core = core_of(cache.index)
    if isinstance(core, faiss.IndexIVF):
        return [SearchParams(n_probes=n) for n in _grow(1, core.nlist)]
    if isinstance(core, faiss.IndexHNSW):
        return [SearchParams(n_explored=n) for n in _grow(16, 1024)]
    return [SearchParams()]


def _grow(least: int, most: int) -> list[int]:
    steps = {min(most, math.ceil(least * 1.2**step)) for step in range(64)}
    return sorted(steps)


def _cost(cache: VectorIndex, params: SearchParams) -> float:
    core = core_of(cache.index)
    n_met = params.n_probes * core.ntotal / core.nlist if isinstance(core, faiss.IndexIVF) else 0.0
    if isinstance(core, faiss.IndexHNSW):
        n_met = 32.0 * params.n_explored
    return n_met + _READ_COST * params.n_candidates(_K)


def _recall(
    cache: VectorIndex, store: Store, dims: int, probe: _RecallProbe, params: SearchParams
) -> tuple[float, float]:
    """Share of the ten best hits that are among the candidates, for plain and for noisy queries."""
    everything = cache.filters.everything
    n = min(params.n_candidates(_K) + 1, everything.n)
    shares: list[float] = []
    for query, own, best in zip(probe.queries, probe.own, probe.best, strict=True):
        row = first_pass(query.reshape(1, -1), cache.spec.dims)[0]
        numbers = cache.numbers[nearest(cache.index, row, n, params, everything)]
        numbers = numbers[numbers != own]
        scores = store.vectors_of(numbers.tolist(), dims) @ query
        # Any of several equal scores will do, as where the same text comes many times.
        shares.append(min(_K, int(np.count_nonzero(scores >= best.min() - 1e-6))) / _K)
    return float(np.mean(shares[::2])), float(np.mean(shares[1::2]))
