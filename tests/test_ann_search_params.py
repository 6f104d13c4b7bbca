"""How hard a trained index is searched: which of its lists are looked into, and with what it is tuned."""

import faiss
import numpy as np
import pytest

from latechunk.ann.faiss_ops import SearchParams, lists_of, nearest
from latechunk.ann.id_filter import IdFilter
from latechunk.ann.tuning import _add_noise, _grow

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
    return set(nearest(index, QUERY, n, SearchParams(n_probes=n_probes), allowed).tolist())


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
