"""How hard a trained index is searched: which of its lists are looked into, and with what it is tuned."""

import faiss
import numpy as np
import pytest

from latechunk.ann.faiss_ops import SearchParams, lists_of, nearest
from latechunk.ann.id_filter import IdFilter
from latechunk.ann.tuning import _add_noise

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


def test_noisy_queries_lie_at_a_cosine_of_four_tenths():
    random = np.random.default_rng(0)
    vectors = random.standard_normal((2_000, 64)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)

    noisy = _add_noise(random, vectors[:500], vectors)

    assert np.linalg.norm(noisy, axis=1) == pytest.approx(1, abs=1e-5)
    assert np.einsum("nd,nd->n", noisy, vectors[:500]).mean() == pytest.approx(0.4, abs=0.02)
