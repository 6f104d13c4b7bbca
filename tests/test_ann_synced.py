import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latechunk.ann import synced as synced_module
from latechunk.ann.persist import read_tuning
from latechunk.ann.spec import IndexSpec
from latechunk.ann.synced import SyncedIndex
from latechunk.ann.verify import check_cache
from latechunk.errors import IndexBusyError, InputError, StoreError
from latechunk.storage.directory import hold_write_lock
from tests.stores import PER_DOCUMENT, clustered, contents, exact, make_store, put

DIMS = 16
KINDS = [
    IndexSpec("flat"),
    IndexSpec("ivf"),
    IndexSpec("hnsw"),
    IndexSpec("auto", 8),
    IndexSpec("IVF16,RaBitQ"),
    IndexSpec("IVF16,PQ8x4"),
    IndexSpec("SQ8"),
    IndexSpec("RaBitQ4", 12),
    IndexSpec("HNSW16,Flat"),
    IndexSpec("RR16,IVF16,SQ4"),
    IndexSpec("PCAR8,SQ6"),
    IndexSpec("OPQ4_8,IVF8,PQ4x5"),
]


def open_mirror(folder, store, kind=None):
    return SyncedIndex(folder, store, DIMS, granularity=0, kind=kind or IndexSpec())


def search(mirror, store, query, k, documents=None):
    with store.snapshot():
        return mirror.search(query, k, None if documents is None else np.array(documents, dtype=np.int64))


def require_right(mirror, store, seed, k, share=None):
    """Count, scores, order and membership are exact, whatever the kind. Returns the share of the best ones found."""
    random = np.random.default_rng(seed)
    query = clustered(1, DIMS, seed=seed + 1000)[0]
    numbers, owners, vectors = contents(store)
    documents = None
    if share is not None:
        documents = [one for one in np.unique(owners).tolist() if random.random() < share]
    allowed = np.ones(len(numbers), bool) if documents is None else np.isin(owners, documents)

    scores, found = search(mirror, store, query, k, documents)

    assert len(found) == len(set(found)) == min(k, int(allowed.sum()))
    assert set(found) <= set(numbers[allowed].tolist())
    score_of = dict(zip(numbers.tolist(), np.einsum("nd,d->n", vectors, query).tolist(), strict=True))
    assert scores == pytest.approx([score_of[one] for one in found], abs=1e-6)
    assert sorted(zip([-one for one in scores], found, strict=True)) == list(
        zip([-one for one in scores], found, strict=True)
    )
    best = exact(store, query, k, documents)
    return len(set(found) & set(best)) / len(best) if best else 1.0


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_every_kind_gives_exact_counts_scores_and_order_through_changes_and_files(tmp_path, kind):
    store = make_store(tmp_path, 1000)
    mirror = open_mirror(tmp_path, store, kind)
    mirror.write()
    assert (mirror.synced().tuning is None) == (kind.kind == "flat")
    recalls = []
    for round_ in range(3):
        for seed, (k, share) in enumerate(
            [(1, None), (10, None), (10, 0.5), (10, 0.02), (50, 0.1), (3, 0), (2000, None)]
        ):
            recalls.append(require_right(mirror, store, 10 * round_ + seed, k, share))
        put(store, clustered(120, DIMS, seed=50 + round_), prefix=f"new{round_}-")
        store.delete([f"d{number}" for number in range(20 * round_, 20 * round_ + 11)])
        recalls.append(require_right(mirror, store, 10 * round_ + 8, 10))
        mirror.write()
        assert check_cache(tmp_path, store, DIMS, 0) == []
        mirror = open_mirror(tmp_path, store, kind)
    assert np.mean(recalls) > 0.9
    store.close()


@settings(max_examples=25)
@given(st.data())
def test_any_changes_and_filters_give_what_brute_force_gives(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("store")
    kind = data.draw(st.sampled_from(KINDS))
    store = make_store(folder, data.draw(st.integers(250, 400)), seed=data.draw(st.integers(0, 5)))
    mirror = open_mirror(folder, store, kind)
    for step in range(data.draw(st.integers(1, 5))):
        action = data.draw(st.sampled_from(["add", "delete", "replace", "write", "optimize", "open"]))
        if action == "add":
            put(store, clustered(data.draw(st.integers(1, 60)), DIMS, seed=step), prefix=f"s{step}-")
        elif action == "delete":
            store.delete([f"d{number}" for number in data.draw(st.sets(st.integers(0, 79)))])
        elif action == "replace":
            put(store, clustered(data.draw(st.integers(1, 60)), DIMS, seed=100 + step))
        elif action == "write":
            mirror.write()
        elif action == "optimize":
            assert mirror.optimize().n_vectors == len(contents(store)[0])
        else:
            mirror = open_mirror(folder, store, kind)
        k = data.draw(st.one_of(st.integers(1, 20), st.just(10_000)))
        require_right(mirror, store, step, k, data.draw(st.sampled_from([None, 0.0, 0.02, 0.3, 1.0])))
    store.close()


@pytest.mark.parametrize("kind", ["flat", "ivf", "hnsw"])
def test_an_empty_store_and_one_of_one_chunk(tmp_path, kind):
    store = make_store(tmp_path)
    mirror = open_mirror(tmp_path, store, IndexSpec(kind))
    query = clustered(1)[0]

    assert search(mirror, store, query, 5) == ([], [])
    mirror.optimize()
    assert check_cache(tmp_path, store, DIMS, 0) == []
    put(store, clustered(1))
    assert search(mirror, store, query, 5) == ([pytest.approx(1.0, abs=1e-6)], [1])
    assert search(mirror, store, query, 5, [1])[1] == [1]
    assert search(mirror, store, query, 5, [2]) == search(mirror, store, query, 5, []) == ([], [])
    store.close()


@pytest.mark.parametrize("kind", ["flat", "ivf", "hnsw", "SQ8"])
def test_equal_vectors_come_in_order_of_number(tmp_path, kind):
    store = make_store(tmp_path, 400)
    same = np.repeat(clustered(1, seed=7), 5, axis=0)
    put(store, same, "same")
    put(store, clustered(100, seed=8), "more")
    put(store, same, "again")
    mirror = open_mirror(tmp_path, store, IndexSpec(kind))
    mirror.optimize()

    scores, numbers = search(mirror, store, same[0], 10)

    assert len(set(scores)) == 1
    assert numbers == [401, 402, 403, 404, 405, 506, 507, 508, 509, 510]
    store.close()


def test_scores_are_cosines_in_the_order_given(tmp_path):
    store = make_store(tmp_path, 20)
    mirror = open_mirror(tmp_path, store)
    query = clustered(1, seed=3)[0]
    with store.snapshot():
        assert mirror.scores(query, [7, 3]) == pytest.approx([clustered(20)[6] @ query, clustered(20)[2] @ query])
        assert mirror.scores(query, []) == []
    store.close()


@pytest.mark.parametrize("kind", ["ivf", "hnsw", "IVF16,RaBitQ", "IVF16,PQ8x4"])
def test_tuned_kinds_find_nearly_all(tmp_path, kind):
    store = make_store(tmp_path, 3000)
    mirror = open_mirror(tmp_path, store, IndexSpec(kind))
    report = mirror.optimize()

    found = [require_right(mirror, store, seed, 10, share) for seed in range(15) for share in (None, 0.5, 0.1, 0.01)]

    assert report.n_vectors == 3000
    assert min(report.recall, report.recall_noisy) >= 0.98
    assert np.mean(found) >= 0.95
    store.close()


@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
def test_what_is_allowed_is_found_far_from_the_query_too(tmp_path, kind):
    store = make_store(tmp_path)
    vectors = clustered(4000, n_clusters=40)
    put(store, vectors[np.argsort(vectors @ vectors[0])])
    mirror = open_mirror(tmp_path, store, IndexSpec(kind))
    mirror.optimize()

    found = []
    for share in (0.01, 0.1, 0.3, 0.6):
        documents = list(range(1, int(800 * share)))
        _, numbers = search(mirror, store, vectors[0], 10, documents)
        found.append(len(set(numbers) & set(exact(store, vectors[0], 10, documents))))

    assert found[:2] == [10, 10]
    assert sum(found) >= 30  # the worst there is: only what is least like the query is allowed
    store.close()


def test_nothing_is_trained_by_searching(tmp_path):
    store = make_store(tmp_path, 1000)
    mirror = open_mirror(tmp_path, store, IndexSpec("ivf"))

    search(mirror, store, clustered(1)[0], 3)

    assert mirror.synced().recipe.factory == "Flat"
    assert not (tmp_path / "vectors.faiss").exists()
    store.close()


def test_write_trains_when_due_and_only_then(tmp_path):
    store = make_store(tmp_path, 300)
    kind = IndexSpec("ivf")
    mirror = open_mirror(tmp_path, store, kind)
    mirror.write()
    assert mirror.synced().tuning.n_trained == 300
    put(store, clustered(600, seed=1), "a")
    mirror.write()
    assert mirror.synced().tuning.n_trained == 300
    put(store, clustered(300, seed=2), "b")
    mirror.write()
    assert mirror.synced().tuning.n_trained == 1200
    store.delete([f"a{number}" for number in range(40)])
    mirror.write()
    assert mirror.synced().tuning.n_trained == 1200
    store.delete([f"a{number}" for number in range(40, 60)])
    mirror.write()
    assert mirror.synced().tuning.n_trained == 900
    assert mirror.synced().dead_share == 0
    store.close()


def test_auto_becomes_ivf_and_goes_back_only_at_half_the_size(tmp_path, monkeypatch):
    monkeypatch.setattr("latechunk.ann.spec.AUTO_IVF_FROM", 600)
    store = make_store(tmp_path, 500)
    mirror = open_mirror(tmp_path, store)
    factories = []
    for change in (
        lambda: None,
        lambda: put(store, clustered(100, seed=1), "a"),
        lambda: store.delete([f"a{number}" for number in range(10)]),
        lambda: store.delete([f"d{number}" for number in range(12)]),
        lambda: store.delete([f"d{number}" for number in range(12, 60)]),
    ):
        change()
        mirror.write()
        factories.append(mirror.synced().recipe.factory[:3])
    assert factories == ["Fla", "IVF", "IVF", "IVF", "Fla"]
    store.close()


def test_what_is_written_is_used_and_trusted_only_for_its_kind(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    store = make_store(tmp_path, 500)
    open_mirror(tmp_path, store, IndexSpec("ivf")).write()

    same = open_mirror(tmp_path, store, IndexSpec("ivf"))
    search(same, store, clustered(1)[0], 3)
    other = open_mirror(tmp_path, store, IndexSpec("hnsw"))
    search(other, store, clustered(1)[0], 3)

    assert same.synced().recipe.factory == "IVF12,SQ8"
    assert other.synced().recipe.factory == "Flat"
    assert "is wanted" in caplog.text
    store.close()


def test_granularities_have_files_of_their_own(tmp_path):
    store = make_store(tmp_path, 20)
    open_mirror(tmp_path, store).write()
    SyncedIndex(tmp_path, store, DIMS, granularity=3, kind=IndexSpec()).write()

    assert {path.name for path in tmp_path.glob("vectors*")} == {
        "vectors.faiss",
        "vectors.json",
        "vectors-3.faiss",
        "vectors-3.json",
    }
    store.close()


def test_the_label_says_what_was_measured(tmp_path):
    store = make_store(tmp_path, 500)
    report = open_mirror(tmp_path, store, IndexSpec("ivf")).optimize()

    said = read_tuning(tmp_path, 0)

    assert said["kind"] == report.kind == "IVF12,SQ8"
    assert (said["recall"], said["recall_noisy"], said["n_trained"]) == (report.recall, report.recall_noisy, 500)
    assert read_tuning(tmp_path, 1) is None
    store.close()


def test_numbers_that_the_store_does_not_have_are_found_out(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    store = make_store(tmp_path, 500)
    mirror = open_mirror(tmp_path, store, IndexSpec("ivf"))
    mirror.write()
    cache = mirror.synced()
    cache.fill(cache.numbers + 10_000, cache.documents, cache.alive)
    synced_module.write_cache(cache, tmp_path, 0, IndexSpec("ivf"))

    again = open_mirror(tmp_path, store, IndexSpec("ivf"))

    assert require_right(again, store, 1, 10) == 1.0
    assert "built anew" in caplog.text
    assert "missing in" in check_cache(tmp_path, store, DIMS, 0)[0]
    again.write()
    assert check_cache(tmp_path, store, DIMS, 0) == []
    store.close()


def test_an_index_that_gives_too_few_hits_does_not_make_too_few(tmp_path):
    store = make_store(tmp_path, 600)
    mirror = open_mirror(tmp_path, store, IndexSpec("ivf"))
    mirror.write()
    mirror.synced().index.reset()

    assert require_right(mirror, store, 1, 10) == 1.0
    assert require_right(mirror, store, 2, 10, 0.7) == 1.0
    store.close()


def test_changes_of_a_cache_show_in_filters_used_before(tmp_path):
    store = make_store(tmp_path, 100)
    mirror = open_mirror(tmp_path, store)
    query = clustered(1)[0]
    documents = np.array([1, 2, 21], dtype=np.int64)
    with store.snapshot():
        assert sorted(mirror.search(query, 99, documents)[1]) == list(range(1, 11))
    put(store, clustered(5, seed=4), "new")
    store.delete(["d0"])
    with store.snapshot():
        assert sorted(mirror.search(query, 99, documents)[1]) == [*range(6, 11), *range(101, 106)]
    store.close()


def test_what_cannot_be_written_is_logged_by_write_and_raised_by_optimize(tmp_path, monkeypatch, caplog):
    store = make_store(tmp_path, 100)
    mirror = open_mirror(tmp_path, store)
    monkeypatch.setattr(synced_module, "write_cache", lambda *_: (_ for _ in ()).throw(OSError("disk full")))

    mirror.write()

    assert "disk full" in caplog.text
    with pytest.raises(StoreError, match="disk full"):
        mirror.optimize()
    store.close()


def test_another_writer_is_left_alone(tmp_path):
    store = make_store(tmp_path, 100)
    mirror = open_mirror(tmp_path, store)
    with hold_write_lock(tmp_path, 0):
        mirror.write()
        assert not (tmp_path / "vectors.faiss").exists()
        with pytest.raises(IndexBusyError):
            mirror.optimize()
    store.close()


def test_a_kind_that_does_not_fit_is_refused_at_once(tmp_path):
    store = make_store(tmp_path)
    with pytest.raises(InputError, match="16"):
        open_mirror(tmp_path, store, IndexSpec("IVF4,PQ7"))
    with pytest.raises(InputError, match="16"):
        open_mirror(tmp_path, store, IndexSpec("flat", 17))
    store.close()


def test_check_tells_what_is_wrong(tmp_path):
    store = make_store(tmp_path, 300)
    assert check_cache(tmp_path, store, DIMS, 0) == []  # it need not be there
    mirror = open_mirror(tmp_path, store, IndexSpec("ivf"))
    mirror.write()
    assert check_cache(tmp_path, store, DIMS, 0) == []
    put(store, clustered(PER_DOCUMENT, seed=9), "new")
    assert check_cache(tmp_path, store, DIMS, 0) == []  # nor be up to date
    other = make_store(tmp_path / "other", 300)
    assert "another store" in check_cache(tmp_path, other, DIMS, 0)[0]
    (tmp_path / "vectors.faiss").write_bytes(b"rubbish")
    assert "cannot be used" in check_cache(tmp_path, store, DIMS, 0)[0]
    store.close()
    other.close()


@pytest.mark.parametrize("kind", ["flat", "ivf", "hnsw", "IVF8,RaBitQ", "RR16,IVF8,SQ8"])
def test_check_finds_vectors_that_differ(tmp_path, kind):
    store = make_store(tmp_path, 300)
    mirror = open_mirror(tmp_path, store, IndexSpec(kind))
    mirror.write()
    cache = mirror.synced()
    put(store, clustered(PER_DOCUMENT, seed=9), "new")
    with store.snapshot():
        ((numbers, documents, vectors),) = store.vectors(DIMS, after=300)
        cache.add(numbers, documents, -vectors)
        cache.commit = store.last_commit()
    synced_module.write_cache(cache, tmp_path, 0, IndexSpec(kind))

    (problem,) = check_cache(tmp_path, store, DIMS, 0)

    assert "5 chunks of the store have another vector" in problem
    assert "301" in problem
    store.close()
