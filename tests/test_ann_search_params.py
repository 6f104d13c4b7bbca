"""How hard a trained index is searched: which of its lists are looked into, and with what it is tuned."""

from dataclasses import replace

import faiss
import numpy as np
import pytest

from latechunk.ann import tuning
from latechunk.ann.faiss_ops import SearchParams, lists_of, nearest
from latechunk.ann.id_filter import IdFilter
from latechunk.ann.spec import FaissSpec
from latechunk.ann.tuning import _add_noise, _grow
from latechunk.ann.vector_index import VectorIndex
from tests.stores import clustered, contents, make_store

N_LISTS, PER_LIST = 64, 10
QUERY = (1 - np.arange(N_LISTS) / 1000).astype(np.float32)  # nearest to list 0, then 1, and so on
QUERY /= np.linalg.norm(QUERY)


def striking(number):
    """A vector of a list that is much nearer to the query than all others of all lists."""
    vector = QUERY.copy()
    vector[number] = 0.3
    return vector / np.linalg.norm(vector)


def lists_with(*striking_in):
    """An IVF index of 64 lists with 10 vectors each, the first of some lists being a striking one."""
    axes = np.eye(N_LISTS, dtype=np.float32)
    quantizer = faiss.IndexFlatIP(N_LISTS)
    quantizer.add(axes)
    index = faiss.IndexIVFFlat(quantizer, N_LISTS, N_LISTS, faiss.METRIC_INNER_PRODUCT)
    index.is_trained = True
    vectors = np.repeat(axes, PER_LIST, axis=0)
    for number in striking_in:
        vectors[number * PER_LIST] = striking(number)
    index.add_with_ids(vectors, np.arange(len(vectors)))
    return index, quantizer


def search(index, n, n_probes, mask):
    allowed = IdFilter(mask, len(mask), lambda: lists_of(index, len(mask)))
    found = nearest(index, QUERY, n, SearchParams(n_probes=n_probes), allowed)
    assert mask[found].all()
    return set(found.tolist())


@pytest.mark.parametrize(("n", "n_looked_into"), [(10, 4), (20, 4), (45, 6), (80, 8)])
def test_probes_grow_with_the_root_of_what_is_wanted_beyond_twenty_candidates(n, n_looked_into):
    index, _keep = lists_with(n_looked_into - 1, n_looked_into)

    found = search(index, n, 4, np.ones(index.ntotal, dtype=bool))

    assert (n_looked_into - 1) * PER_LIST in found
    assert n_looked_into * PER_LIST not in found


def test_a_filtered_search_compares_less_by_the_cube_root_of_the_share():
    # Allowed is every eighth list, an eighth of all. Eight probes meet 80 vectors unfiltered, so 80 * (1/8)^(1/3) = 40
    # allowed ones are enough: the lists 0, 8, 16 and 24. With the whole 80, list 32 would be seen as well.
    index, _keep = lists_with(24, 32)
    mask = np.repeat(np.arange(N_LISTS) % 8 == 0, PER_LIST)

    found = search(index, 2, 8, mask)

    assert 24 * PER_LIST in found
    assert 32 * PER_LIST not in found


@pytest.mark.parametrize(
    ("n", "n_probes", "last_seen"),
    [
        (1, 8, 24),  # as above: 40 are enough, and they lie in the lists 0, 8, 16 and 24
        (3, 1, 40),  # the share asks for 5, but twenty are compared for each hit, so 60: up to list 40
    ],
)
def test_how_far_a_filtered_search_looks(n, n_probes, last_seen):
    mask = np.repeat(np.arange(N_LISTS) % 8 == 0, PER_LIST)
    for number, is_seen in ((last_seen, True), (last_seen + 8, False)):
        index, _keep = lists_with(number)

        assert (number * PER_LIST in search(index, n, n_probes, mask)) == is_seen


def test_lists_with_one_that_is_allowed_are_counted():
    # One of each list is allowed. Of 64 that are, 20 are compared for one hit: the lists 0 to 19.
    mask = np.arange(N_LISTS * PER_LIST) % PER_LIST == 0
    for number, is_seen in ((19, True), (20, False)):
        index, _keep = lists_with(number)

        assert (number * PER_LIST in search(index, 1, 1, mask)) == is_seen


def test_the_first_position_is_found_like_any_other():
    index, _keep = lists_with()

    assert search(index, 10, 8, np.repeat(np.arange(N_LISTS) % 8 == 0, PER_LIST)) == set(range(10))
    assert search(index, 10, 8, np.ones(index.ntotal, dtype=bool)) == set(range(10))


def test_more_lists_are_looked_into_until_there_are_enough():
    index, _keep = lists_with()

    assert search(index, 100, 1, np.ones(index.ntotal, dtype=bool)) == set(range(100))


@pytest.mark.parametrize("n", [1, 2])
def test_a_small_graph_is_searched_through(n):
    index = faiss.IndexHNSWFlat(N_LISTS, 8, faiss.METRIC_INNER_PRODUCT)
    index.add(np.eye(N_LISTS, dtype=np.float32))

    assert search(index, n, 1, np.arange(N_LISTS) >= 3) == {3, 4}.intersection(range(3 + n))


def test_efforts_grow_by_a_fifth_and_end_at_the_most():
    # 1.2, 1.44, 1.73, 2.07, 2.49, 2.99, 3.58, 4.3, 5.16, 6.19, 7.43, 8.92, 10.7 and 12.8, rounded up
    assert _grow(1, 12) == [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12]
    assert _grow(16, 24) == [16, 20, 24]


def test_noisy_queries_lie_at_a_cosine_of_four_tenths():
    random = np.random.default_rng(0)
    vectors = random.standard_normal((2_000, 64)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)

    noisy = _add_noise(random, vectors[:500], vectors)

    assert np.linalg.norm(noisy, axis=1) == pytest.approx(1, abs=1e-5)
    assert np.einsum("nd,nd->n", noisy, vectors[:500]).mean() == pytest.approx(0.4, abs=0.02)


def test_candidates_are_ten_more_than_there_may_be_hits():
    assert [SearchParams(per_hit=2).n_candidates(k) for k in (1, 10, 11)] == [30, 30, 32]


@pytest.mark.parametrize(
    ("shares", "asked", "chosen"),
    [
        ([0.5, 0.6, 0.7, 0.8, 0.9], [4], 4),  # none is enough: the last
        ([0.5, 0.6, 0.7, 0.8, 0.98], [4, 2, 3], 4),  # 2 and 3 are too little
        ([0.5, 0.6, 0.98, 0.99, 1.0], [4, 2, 1], 2),  # 2 is enough, 0 and 1 are not
        ([0.98, 0.99, 1.0, 1.0, 1.0], [4, 2, 1, 0], 0),
        ([1.0], [0], 0),
    ],
)
@pytest.mark.parametrize("worse", [0, 1])
def test_the_least_level_that_is_enough_for_both_kinds_of_queries(shares, asked, chosen, worse):
    levels = [SearchParams(n_probes=number) for number in range(len(shares))]
    measured = []

    def measure(params):
        measured.append(params.n_probes)
        share = shares[params.n_probes]
        return (share, 1.0) if worse == 0 else (1.0, share)

    assert tuning._least(levels, measure) == (levels[chosen], *measure(levels[chosen]))
    assert measured == [*asked, chosen]


def test_levels_and_their_cost():
    ivf, hnsw, flat = (VectorIndex(FaissSpec(factory, N_LISTS)) for factory in ("IVF4,Flat", "HNSW8", "SQ8"))
    ivf.index.train(np.eye(N_LISTS, dtype=np.float32))
    ivf.add(np.arange(1, N_LISTS + 1), np.arange(N_LISTS), np.eye(N_LISTS, dtype=np.float32))

    assert tuning._levels(ivf) == [SearchParams(n_probes=n) for n in (1, 2, 3, 4)]
    assert [one.n_explored for one in tuning._levels(hnsw)] == _grow(16, 1024)
    assert tuning._levels(flat) == [SearchParams()]
    # Two of four lists hold 32 of 64 vectors; a read vector costs as much as 250, and 3 * 10 + 10 are read.
    assert tuning._cost(ivf, SearchParams(n_probes=2, per_hit=3)) == 32 + 250 * 40
    assert tuning._cost(hnsw, SearchParams(n_explored=5)) == 32 * 5 + 250 * 20
    assert tuning._cost(flat, SearchParams(n_probes=9, n_explored=9)) == 250 * 20


@pytest.mark.parametrize(
    ("needed", "chosen"),
    [
        ({1: 3}, (3, 1)),  # found with one candidate a hit, which is the cheapest
        ({2: 2, 4: 1}, (2, 2)),
        ({1: 4, 2: 2}, (4, 1)),  # 64 met and 20 read cost less than 32 met and 30 read
        ({}, (4, 1)),  # never enough: the most thorough of the first
    ],
)
def test_the_cheapest_effort_that_is_enough_is_chosen(monkeypatch, needed, chosen):
    cache = VectorIndex(FaissSpec("IVF4,Flat", N_LISTS))
    cache.index.train(np.eye(N_LISTS, dtype=np.float32))
    cache.add(np.arange(1, N_LISTS + 1), np.arange(N_LISTS), np.eye(N_LISTS, dtype=np.float32))

    def recall(cache_, store, dims, probe, params):
        assert (cache_, store, dims, probe) == (cache, "store", N_LISTS, "probe")
        is_enough = params.n_probes >= needed.get(params.per_hit, 99)
        return (0.99, 0.985) if is_enough else (0.97, 0.6)

    monkeypatch.setattr(tuning, "_recall", recall)

    params, *recalls = tuning._tune(cache, "store", N_LISTS, "probe")

    assert (params.n_probes, params.per_hit) == chosen
    assert recalls == ([0.99, 0.985] if needed else [0.97, 0.6])


def test_of_efforts_that_are_enough_the_cheapest_is_chosen_wherever_it_stands(monkeypatch):
    costs = {1: 10.0, 2: 5.0, 4: 11.0}  # by candidates for a hit; those of 4 are more than the first, so that it ends
    cache = VectorIndex(FaissSpec("IVF4,Flat", N_LISTS))
    monkeypatch.setattr(tuning, "_cost", lambda _, params: costs[params.per_hit])
    monkeypatch.setattr(tuning, "_recall", lambda *given: (0.98, 0.98) if given[-1].n_probes >= 2 else (0.97, 0.99))

    params, *recalls = tuning._tune(cache, "store", N_LISTS, "probe")

    assert (params.n_probes, params.per_hit) == (2, 2)
    assert recalls == [0.98, 0.98]


@pytest.mark.parametrize(("step", "chosen"), [(0.01, max(tuning._PER_HIT)), (-0.01, min(tuning._PER_HIT))])
def test_where_nothing_is_enough_that_is_chosen_whose_worse_kind_of_query_finds_most(monkeypatch, step, chosen):
    cache = VectorIndex(FaissSpec("IVF4,Flat", N_LISTS))
    monkeypatch.setattr(tuning, "_recall", lambda *given: (0.5 + step * given[-1].per_hit, 0.99))

    params, *recalls = tuning._tune(cache, "store", N_LISTS, "probe")

    assert (params.n_probes, params.per_hit) == (4, chosen)
    assert recalls == [0.5 + step * chosen, 0.99]


def test_a_sample_holds_the_vectors_of_its_places_whatever_the_blocks(tmp_path, monkeypatch):
    store = make_store(tmp_path, 50)
    read = store.vectors
    monkeypatch.setattr(store, "vectors", lambda dims, **given: read(dims, **given, block=7))
    places, steps = np.array([0, 6, 7, 13, 20, 49]), []
    with store.snapshot():
        numbers, sample = tuning._sample(store, 16, 0, places, lambda *step: steps.append(step), 50)

    assert numbers.tolist() == [1, 7, 8, 14, 21, 50]
    assert sample.dtype == np.float32
    assert sample.tolist() == clustered(50)[places].tolist()
    assert steps == [("sample", min(7 * number, 50), 50) for number in range(1, 9)]
    store.close()


def test_a_probe_holds_the_ten_best_scores_of_all_but_the_query_itself():
    vectors = clustered(60)
    probe = tuning._make_probe(np.random.default_rng(0), np.arange(1, 61), vectors)
    plain = probe.own > 0
    for begin in range(0, 60, 25):
        probe.see(np.arange(begin + 1, min(begin + 25, 60) + 1), vectors[begin : begin + 25])

    assert plain.tolist() == [number % 2 == 0 for number in range(60)]
    assert len(set(probe.own[plain])) == 30
    assert probe.queries[plain] == pytest.approx(vectors[probe.own[plain] - 1])
    scores = probe.queries @ vectors.T
    scores[plain, probe.own[plain] - 1] = -np.inf
    assert np.sort(probe.best) == pytest.approx(np.sort(scores)[:, -10:], abs=1e-6)
    assert len(tuning._make_probe(np.random.default_rng(0), np.arange(300), clustered(300)).queries) == 200


def test_recall_is_the_share_of_the_ten_best_among_the_candidates(tmp_path):
    store = make_store(tmp_path, 200)
    numbers, documents, vectors = contents(store)
    cache = VectorIndex(FaissSpec("IVF8,Flat", 16))
    cache.index.train(vectors)
    cache.add(numbers, documents, vectors)
    cache.settle()
    probe = tuning._make_probe(np.random.default_rng(0), numbers, vectors)
    probe.see(numbers, vectors)
    params, expected = SearchParams(n_probes=1), []
    for query, own in zip(probe.queries, probe.own, strict=True):
        best = [n for n in numbers[np.argsort(-(vectors @ query))] if n != own][:10]
        found = nearest(cache.index, query, 21, params, cache.filters.everything)
        expected.append(len(set(best) & set(numbers[found].tolist())) / 10)

    with store.snapshot():
        plain, noisy = tuning._recall(cache, store, 16, probe, params)
        assert tuning._recall(cache, store, 16, probe, replace(params, n_probes=8)) == (1.0, 1.0)

    assert (plain, noisy) == (pytest.approx(np.mean(expected[::2])), pytest.approx(np.mean(expected[1::2])))
    assert plain < 1
    store.close()


def test_noise_has_the_directions_of_the_sample():
    random = np.random.default_rng(0)
    sample = np.zeros((50, 8), dtype=np.float32)
    sample[:25, 0] = sample[25:, 1] = 1

    noisy = _add_noise(random, np.eye(8, dtype=np.float32)[[7] * 400], sample)

    assert noisy[:, 7] == pytest.approx(0.4, abs=1e-5)
    assert not noisy[:, 2:7].any()
    assert np.abs(noisy[:, :2].mean(axis=0)).max() < 0.1
    assert (noisy[:, :2] ** 2).mean(axis=0) == pytest.approx(0.42, abs=0.05)
