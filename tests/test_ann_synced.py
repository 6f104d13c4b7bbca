import itertools
import logging
import signal
import subprocess
import sys
import threading

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latechunk.ann import synced as synced_module
from latechunk.ann.persist import read_cache, read_label
from latechunk.ann.spec import IndexSpec
from latechunk.ann.synced import SyncedIndex
from latechunk.ann.verify import check_cache
from latechunk.errors import IndexBusyError, IndexDamagedError, InputError, StoreError
from latechunk.storage.directory import hold_write_lock
from latechunk.storage.store import Store, StoredDocument
from latechunk.types import Document, Span
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


def open_synced(folder, store, spec=None):
    return SyncedIndex(folder, store, DIMS, granularity=0, spec=spec or IndexSpec())


def search(synced, query, k, documents=None):
    with synced.snapshot() as vectors:
        return vectors.search(query, k, None if documents is None else np.array(documents, dtype=np.int64))


def held(synced):
    """What is in memory, brought up to date."""
    with synced.snapshot() as vectors:
        return vectors.index


def require_right(synced, store, seed, k, share=None):
    """Count, scores, order and membership are exact, whatever the kind. Returns the share of the best ones found."""
    random = np.random.default_rng(seed)
    query = clustered(1, DIMS, seed=seed + 1000)[0]
    numbers, owners, vectors = contents(store)
    documents = None
    if share is not None:
        documents = [one for one in np.unique(owners).tolist() if random.random() < share]
    allowed = np.ones(len(numbers), bool) if documents is None else np.isin(owners, documents)

    scores, found = search(synced, query, k, documents)

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
    synced = open_synced(tmp_path, store, kind)
    synced.update()
    assert (held(synced).tuning is None) == (kind.kind == "flat")
    recalls = []
    for round_ in range(3):
        for seed, (k, share) in enumerate(
            [(1, None), (10, None), (10, 0.5), (10, 0.02), (50, 0.1), (3, 0), (2000, None)]
        ):
            recalls.append(require_right(synced, store, 10 * round_ + seed, k, share))
        put(store, clustered(120, DIMS, seed=50 + round_), prefix=f"new{round_}-")
        store.delete([f"d{number}" for number in range(20 * round_, 20 * round_ + 11)])
        recalls.append(require_right(synced, store, 10 * round_ + 8, 10))
        synced.update()
        assert check_cache(tmp_path, store, DIMS, 0) == []
        synced = open_synced(tmp_path, store, kind)
    assert np.mean(recalls) > 0.9
    store.close()


@settings(max_examples=25)
@given(st.data())
def test_any_changes_and_filters_give_what_brute_force_gives(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("store")
    kind = data.draw(st.sampled_from(KINDS))
    store = make_store(folder, data.draw(st.integers(250, 400)), seed=data.draw(st.integers(0, 5)))
    synced = open_synced(folder, store, kind)
    for step in range(data.draw(st.integers(1, 5))):
        action = data.draw(st.sampled_from(["add", "delete", "replace", "write", "optimize", "open"]))
        if action == "add":
            put(store, clustered(data.draw(st.integers(1, 60)), DIMS, seed=step), prefix=f"s{step}-")
        elif action == "delete":
            store.delete([f"d{number}" for number in data.draw(st.sets(st.integers(0, 79)))])
        elif action == "replace":
            put(store, clustered(data.draw(st.integers(1, 60)), DIMS, seed=100 + step))
        elif action == "write":
            synced.update()
        elif action == "optimize":
            assert synced.optimize().n_vectors == len(contents(store)[0])
        else:
            synced = open_synced(folder, store, kind)
        k = data.draw(st.one_of(st.integers(1, 20), st.just(10_000)))
        require_right(synced, store, step, k, data.draw(st.sampled_from([None, 0.0, 0.02, 0.3, 1.0])))
    store.close()


@pytest.mark.parametrize("kind", ["flat", "ivf", "hnsw"])
def test_an_empty_store_and_one_of_one_chunk(tmp_path, kind):
    store = make_store(tmp_path)
    synced = open_synced(tmp_path, store, IndexSpec(kind))
    query = clustered(1)[0]

    assert search(synced, query, 5) == ([], [])
    synced.optimize()
    assert check_cache(tmp_path, store, DIMS, 0) == []
    put(store, clustered(1))
    assert search(synced, query, 5) == ([pytest.approx(1.0, abs=1e-6)], [1])
    assert search(synced, query, 5, [1])[1] == [1]
    assert search(synced, query, 5, [2]) == search(synced, query, 5, []) == ([], [])
    store.close()


@pytest.mark.parametrize("kind", ["flat", "ivf", "hnsw", "SQ8"])
def test_equal_vectors_come_in_order_of_number(tmp_path, kind):
    store = make_store(tmp_path, 400)
    same = np.repeat(clustered(1, seed=7), 5, axis=0)
    put(store, same, "same")
    put(store, clustered(100, seed=8), "more")
    put(store, same, "again")
    synced = open_synced(tmp_path, store, IndexSpec(kind))
    synced.optimize()

    scores, numbers = search(synced, same[0], 10)

    assert len(set(scores)) == 1
    assert numbers == [401, 402, 403, 404, 405, 506, 507, 508, 509, 510]
    store.close()


def test_scores_are_cosines_in_the_order_given(tmp_path):
    store = make_store(tmp_path, 20)
    synced = open_synced(tmp_path, store)
    query = clustered(1, seed=3)[0]
    with synced.snapshot() as vectors:
        assert vectors.scores(query, [7, 3]) == pytest.approx([clustered(20)[6] @ query, clustered(20)[2] @ query])
        assert vectors.scores(query, []) == []
    store.close()


@pytest.mark.parametrize("kind", ["ivf", "hnsw", "IVF16,RaBitQ", "IVF16,PQ8x4"])
def test_tuned_kinds_find_nearly_all(tmp_path, kind):
    store = make_store(tmp_path, 3000)
    synced = open_synced(tmp_path, store, IndexSpec(kind))
    report = synced.optimize()

    found = [require_right(synced, store, seed, 10, share) for seed in range(15) for share in (None, 0.5, 0.1, 0.01)]

    assert report.n_vectors == 3000
    assert min(report.recall, report.recall_noisy) >= 0.98
    assert np.mean(found) >= 0.95
    store.close()


@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
def test_what_is_allowed_is_found_far_from_the_query_too(tmp_path, kind):
    store = make_store(tmp_path)
    vectors = clustered(4000, n_clusters=40)
    put(store, vectors[np.argsort(vectors @ vectors[0])])
    synced = open_synced(tmp_path, store, IndexSpec(kind))
    synced.optimize()

    found = []
    for share in (0.01, 0.1, 0.3, 0.6):
        documents = list(range(1, int(800 * share)))
        _, numbers = search(synced, vectors[0], 10, documents)
        found.append(len(set(numbers) & set(exact(store, vectors[0], 10, documents))))

    assert found[:2] == [10, 10]
    assert sum(found) >= 30  # the worst there is: only what is least like the query is allowed
    store.close()


def test_nothing_is_trained_by_searching(tmp_path):
    store = make_store(tmp_path, 1000)
    synced = open_synced(tmp_path, store, IndexSpec("ivf"))

    search(synced, clustered(1)[0], 3)

    assert held(synced).spec.factory == "Flat"
    assert not (tmp_path / "vectors.faiss").exists()
    store.close()


def test_write_trains_when_due_and_only_then(tmp_path):
    store = make_store(tmp_path, 300)
    kind = IndexSpec("ivf")
    synced = open_synced(tmp_path, store, kind)
    synced.update()
    assert held(synced).tuning.n_trained == 300
    put(store, clustered(600, seed=1), "a")
    synced.update()
    assert held(synced).tuning.n_trained == 300
    put(store, clustered(300, seed=2), "b")
    synced.update()
    assert held(synced).tuning.n_trained == 1200
    store.delete([f"a{number}" for number in range(40)])
    synced.update()
    assert held(synced).tuning.n_trained == 1200
    store.delete([f"a{number}" for number in range(40, 60)])
    synced.update()
    assert held(synced).tuning.n_trained == 900
    assert held(synced).dead_share == 0
    store.close()


def test_auto_becomes_ivf_and_goes_back_only_at_half_the_size(tmp_path, monkeypatch):
    monkeypatch.setattr("latechunk.ann.spec.AUTO_IVF_FROM", 600)
    store = make_store(tmp_path, 500)
    synced = open_synced(tmp_path, store)
    factories = []
    for change in (
        lambda: None,
        lambda: put(store, clustered(100, seed=1), "a"),
        lambda: store.delete([f"a{number}" for number in range(10)]),
        lambda: store.delete([f"d{number}" for number in range(12)]),
        lambda: store.delete([f"d{number}" for number in range(12, 60)]),
    ):
        change()
        synced.update()
        factories.append(held(synced).spec.factory[:3])
    assert factories == ["Fla", "IVF", "IVF", "IVF", "Fla"]
    store.close()


def test_what_is_written_is_used_and_trusted_only_for_its_kind(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    store = make_store(tmp_path, 500)
    open_synced(tmp_path, store, IndexSpec("ivf")).update()

    same = open_synced(tmp_path, store, IndexSpec("ivf"))
    search(same, clustered(1)[0], 3)
    other = open_synced(tmp_path, store, IndexSpec("hnsw"))
    search(other, clustered(1)[0], 3)

    (message,) = caplog.messages  # a new index, which has no files yet, says nothing
    assert message.startswith("the vector cache is rebuilt from the store: ")
    assert held(same).spec.factory == "IVF12,SQ8"
    assert held(other).spec.factory == "Flat"
    assert "is wanted" in caplog.text
    store.close()


def test_granularities_have_files_of_their_own(tmp_path):
    store = make_store(tmp_path, 20)
    open_synced(tmp_path, store).update()
    SyncedIndex(tmp_path, store, DIMS, granularity=3, spec=IndexSpec()).update()

    assert {path.name for path in tmp_path.glob("vectors*")} == {
        f"{stem}.{suffix}" for stem in ("vectors", "vectors-3") for suffix in ("faiss", "npy", "json")
    }
    store.close()


def test_the_label_says_what_was_measured(tmp_path):
    store = make_store(tmp_path, 500)
    report = open_synced(tmp_path, store, IndexSpec("ivf")).optimize()

    label = read_label(tmp_path, 0)

    assert label.held.factory == report.kind == "IVF12,SQ8"
    assert (label.tuning.recall, label.tuning.recall_noisy) == (report.recall, report.recall_noisy)
    assert label.tuning.n_trained == 500
    store.close()


def test_an_index_that_holds_less_than_the_store_is_named(tmp_path):
    store = make_store(tmp_path, 600)
    synced = open_synced(tmp_path, store, IndexSpec("ivf"))
    synced.update()
    held(synced).index.reset()

    with pytest.raises(
        IndexDamagedError, match=r"^the FAISS index holds less than the store: delete the vectors\* files$"
    ):
        search(synced, clustered(1)[0], 10)
    store.close()


def test_changes_of_a_cache_show_in_filters_used_before(tmp_path):
    store = make_store(tmp_path, 100)
    synced = open_synced(tmp_path, store)
    query = clustered(1)[0]
    documents = np.array([1, 2, 21], dtype=np.int64)
    with synced.snapshot() as vectors:
        assert sorted(vectors.search(query, 99, documents)[1]) == list(range(1, 11))
    put(store, clustered(5, seed=4), "new")
    store.delete(["d0"])
    with synced.snapshot() as vectors:
        assert sorted(vectors.search(query, 99, documents)[1]) == [*range(6, 11), *range(101, 106)]
    store.close()


def interrupt_at_line(number):
    """A trace function that interrupts at so many lines of the modules that hold vectors, counted from 1."""
    left = itertools.count(number, -1)

    def trace(frame, event, _):
        if not frame.f_code.co_filename.endswith(("synced.py", "vector_index.py")):
            return None
        if event == "line" and next(left) == 1:
            raise KeyboardInterrupt
        return trace

    return trace


@pytest.mark.parametrize("kind", ["flat", "ivf"])
def test_an_interrupt_at_any_line_leaves_what_the_next_search_puts_right(tmp_path, kind):
    store = make_store(tmp_path, 600)
    synced = open_synced(tmp_path, store, IndexSpec(kind))
    synced.optimize()
    query = clustered(1, DIMS, seed=1)[0]
    for number in itertools.count(1):
        put(store, clustered(10, seed=number))  # in the place of two others
        previous = sys.gettrace()
        sys.settrace(interrupt_at_line(number))
        try:
            search(synced, query, 5)
            break  # it has fewer lines
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(previous)
        require_right(synced, store, number, 10)
    assert number > 30
    assert held(synced).spec == read_cache(tmp_path, 0, DIMS, IndexSpec(kind)).spec


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timers that interrupt")
def test_interrupts_leave_no_lock_held():
    script = """
import signal, threading
from latechunk.ann.read_write_lock import ReadWriteLock

lock = ReadWriteLock()
signal.signal(signal.SIGALRM, signal.default_int_handler)
for number in range(2_000):
    try:
        signal.setitimer(signal.ITIMER_REAL, 1e-5 + number % 97 * 1e-6)
        for _ in range(100):
            with lock.shared():
                pass
            with lock.exclusive():
                pass
    except KeyboardInterrupt:
        pass
signal.signal(signal.SIGALRM, signal.SIG_IGN)

def take():
    with lock.exclusive():
        print("taken", flush=True)

threading.Thread(target=take, daemon=True).start()
threading.Event().wait(0.5)
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)

    assert run.stdout == "taken\n"


def test_what_cannot_be_written_is_logged_by_write_and_raised_by_optimize(tmp_path, monkeypatch, caplog):
    store = make_store(tmp_path, 100)
    synced = open_synced(tmp_path, store)
    monkeypatch.setattr(synced_module, "write_cache", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    search(synced, clustered(1)[0], 3)

    synced.write()

    assert caplog.messages[-1] == (
        f"the vector cache of {tmp_path} could not be written and is built at the next opening: disk full"
    )
    with pytest.raises(StoreError, match=f"^the vector cache of {tmp_path} could not be written: disk full$"):
        synced.optimize()
    store.close()


def test_another_writer_is_left_alone(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    store = make_store(tmp_path, 300)
    synced = open_synced(tmp_path, store)
    search(synced, clustered(1)[0], 3)
    with hold_write_lock(tmp_path, 0):
        synced.write()
        assert not (tmp_path / "vectors.faiss").exists()
        assert caplog.messages[-1] == f"the vector cache of {tmp_path} is left to the process that is writing"
        for change in (synced.optimize, synced.update, open_synced(tmp_path, store, IndexSpec("ivf")).update):
            with pytest.raises(IndexBusyError, match=r"waited 0 s"):
                change()
            with pytest.raises(IndexBusyError, match=r"waited 0.01 s"):
                change(lock_timeout=0.01)
    store.close()


def test_an_exact_index_is_written_once_and_never_trained(tmp_path):
    store = make_store(tmp_path, 300)
    synced = open_synced(tmp_path, store, IndexSpec("flat"))

    assert synced.update() is None
    report = synced.optimize()
    assert (report.kind, report.dims, report.n_vectors, report.n_lists, report.n_probes) == ("Flat", DIMS, 300, 0, 1)
    assert (report.recall, report.recall_noisy) == (1.0, 1.0)
    assert report.size_bytes == sum(path.stat().st_size for path in tmp_path.glob("vectors*"))
    written = (tmp_path / "vectors.faiss").stat().st_ino
    assert synced.update() is None
    assert open_synced(tmp_path, store, IndexSpec("flat")).update() is None
    assert (tmp_path / "vectors.faiss").stat().st_ino == written
    store.close()


@pytest.mark.parametrize("change", [SyncedIndex.update, SyncedIndex.optimize])
def test_training_tells_how_it_goes_and_what_it_made(tmp_path, change):
    store = make_store(tmp_path, 300)
    steps = []

    report = change(open_synced(tmp_path, store, IndexSpec("ivf", 8)), lambda *step: steps.append(step))

    assert steps == [("sample", 300, 300), ("train", 0, 1), ("add", 300, 300), ("tune", 0, 1)]
    label = read_label(tmp_path, 0)
    assert (report.kind, report.dims, report.n_vectors, report.n_lists) == ("IVF7,SQ8", 8, 300, 7)
    assert report.n_probes == label.params.n_probes
    assert 0 <= report.seconds < 600
    assert report.size_bytes == sum(path.stat().st_size for path in tmp_path.glob("vectors*"))
    store.close()


def test_a_trained_index_without_gaps_becomes_exact_below_half_of_what_it_takes(tmp_path):
    store = make_store(tmp_path, 400)
    synced = open_synced(tmp_path, store, IndexSpec("SQ8"))
    assert synced.update().n_lists == 0
    factories = []
    for first, last in ((0, 52), (52, 55)):  # 140 vectors are left, then 125; it takes 256 to train one
        store.delete([f"d{number}" for number in range(first, last)])
        synced.update()
        factories.append(held(synced).spec.factory)

    assert factories == ["SQ8", "Flat"]
    store.close()


def test_another_kind_is_built_by_the_next_training_and_read_again_by_others(tmp_path):
    store = make_store(tmp_path, 300)
    synced, other = (open_synced(tmp_path, store, IndexSpec("flat")) for _ in range(2))
    before = held(other)
    synced.change_spec(IndexSpec("hnsw"))
    assert held(synced).spec.factory == "Flat"
    synced.optimize()
    other.change_spec(IndexSpec("hnsw"))
    assert held(other) is before

    with other.alone():
        other.reload()

    assert held(synced).spec.factory == held(other).spec.factory == "HNSW32,SQ8"
    store.close()


def test_write_replaces_files_of_an_earlier_state_and_of_another_store(tmp_path):
    store = make_store(tmp_path / "own", 100)
    other = make_store(tmp_path / "other", 100)
    put(other, clustered(5, seed=1), "more")
    open_synced(tmp_path / "other", other).update()
    synced = open_synced(tmp_path / "own", store)
    synced.update()
    for foreign in (False, True):
        put(store, clustered(5, seed=2), f"new{foreign}")
        held(synced)
        if foreign:
            for path in (tmp_path / "other").glob("vectors*"):
                path.rename(tmp_path / "own" / path.name)
        synced.write()
        assert read_label(tmp_path / "own", 0).commit == store.last_commit()
    store.close()
    other.close()


def test_write_writes_what_is_in_memory_and_makes_nothing(tmp_path):
    store = make_store(tmp_path, 300)
    synced = open_synced(tmp_path, store, IndexSpec("flat"))
    synced.write()
    assert not list(tmp_path.glob("vectors*"))  # nothing is in memory

    search(synced, clustered(1)[0], 3)
    put(store, clustered(10, seed=1), "new")
    synced.write()

    again = open_synced(tmp_path, store, IndexSpec("flat"))
    assert len(read_cache(tmp_path, 0, DIMS, IndexSpec("flat"))) == 300  # as it was in memory
    assert len(held(again)) == 310
    store.close()


def test_write_leaves_an_index_that_has_yet_to_be_trained_to_optimize(tmp_path):
    store = make_store(tmp_path, 300)
    synced = open_synced(tmp_path, store, IndexSpec("ivf"))

    assert require_right(synced, store, 1, 10) == 1.0
    synced.write()

    assert not list(tmp_path.glob("vectors*"))
    assert held(synced).spec.factory == "Flat"
    store.close()


def test_write_does_not_undo_what_another_process_trained(tmp_path):
    store = make_store(tmp_path, 300)
    old, new = (open_synced(tmp_path, store, IndexSpec("ivf")) for _ in range(2))
    old.update()
    put(store, clustered(10, seed=1), "new")
    assert len(held(old)) == 310
    new.optimize()

    old.write()

    assert read_label(tmp_path, 0).tuning.n_trained == 310
    store.close()


@pytest.mark.parametrize("share", [None, 0.6])
def test_hits_for_fewer_are_the_first_of_those_for_more_whatever_ties(tmp_path, share):
    store = make_store(tmp_path, 200, n_clusters=3)
    put(store, np.repeat(clustered(2, seed=7), 150, axis=0), "copies")
    put(store, np.repeat(clustered(1, seed=7), 300, axis=0), "later")
    synced = open_synced(tmp_path, store, IndexSpec("flat"))
    query = clustered(1, seed=8)[0]
    documents = None if share is None else [n for n in range(1, 161) if n % 5 < 5 * share]

    scores, numbers = search(synced, query, 800, documents)

    assert numbers == exact(store, query, 800, documents)
    for k in (1, 9, 10, 11, 149, 150, 151, 290, 301, 450):
        assert search(synced, query, k, documents) == (scores[:k], numbers[:k])
    store.close()


def test_searches_share_and_changes_are_seen_whole(tmp_path):
    store = make_store(tmp_path, 50)
    synced = open_synced(tmp_path, store)
    search(synced, clustered(1)[0], 1)
    inside, errors, stop = threading.Barrier(2), [], threading.Event()

    def meet():
        with synced.snapshot():
            inside.wait()

    threads = [threading.Thread(target=meet) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()  # ends only if both were in at once

    def look():
        while not stop.is_set():
            with synced.snapshot() as vectors:
                _, numbers = vectors.search(clustered(1)[0], 10_000)
                if sorted(numbers) != contents(store)[0].tolist() or len(vectors.store.rows(numbers)) != len(numbers):
                    errors.append(numbers)

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for round_ in range(30):
        put(store, clustered(10, seed=round_), f"r{round_ % 3}-")
        store.delete([f"d{round_ % 10}"])
    stop.set()
    for thread in threads:
        thread.join(20)
    assert not errors
    store.close()


def test_a_kind_that_does_not_fit_is_refused_at_once(tmp_path):
    store = make_store(tmp_path)
    with pytest.raises(InputError, match="16"):
        open_synced(tmp_path, store, IndexSpec("IVF4,PQ7"))
    with pytest.raises(InputError, match="16"):
        open_synced(tmp_path, store, IndexSpec("flat", 17))
    store.close()


def test_check_tells_what_is_wrong(tmp_path):
    store = make_store(tmp_path, 300)
    assert check_cache(tmp_path, store, DIMS, 0) == []  # it need not be there
    synced = open_synced(tmp_path, store, IndexSpec("ivf"))
    synced.update()
    assert check_cache(tmp_path, store, DIMS, 0) == []
    put(store, clustered(PER_DOCUMENT, seed=9), "new")
    assert check_cache(tmp_path, store, DIMS, 0) == []  # nor be up to date
    other = make_store(tmp_path / "other", 300)
    assert "another store" in check_cache(tmp_path, other, DIMS, 0)[0]
    (tmp_path / "vectors.faiss").write_bytes(b"rubbish")
    assert "cannot be used" in check_cache(tmp_path, store, DIMS, 0)[0]
    store.close()
    other.close()


@pytest.mark.parametrize("damage", ["vector", "number", "document", "missing"])
def test_check_finds_what_differs(tmp_path, damage):
    store = make_store(tmp_path, 300)
    cache = held(open_synced(tmp_path, store, IndexSpec("flat")))
    put(store, clustered(PER_DOCUMENT, seed=9), "new")
    with store.snapshot():
        ((numbers, documents, vectors),) = store.vectors(DIMS, after=300)
        if damage != "missing":
            cache.add(
                numbers + (damage == "number"),
                documents + (damage == "document"),
                (-1) ** (damage == "vector") * vectors,
            )
            cache.settle()
        cache.commit = store.last_commit()
    synced_module.write_cache(cache, tmp_path, 0, IndexSpec("flat"))

    (problem,) = check_cache(tmp_path, store, DIMS, 0)

    assert problem.startswith("vectors.faiss holds other chunks, documents or vectors than the store")
    store.close()


def test_check_says_in_full_what_is_wrong(tmp_path):
    store, other = make_store(tmp_path, 300), make_store(tmp_path / "other", 300)
    path = tmp_path / "vectors.faiss"
    rebuilt = "it is rebuilt from the store when the index is next searched"
    open_synced(tmp_path, store, IndexSpec("flat")).update()

    assert check_cache(tmp_path, other, DIMS, 0) == [
        f"vectors.faiss is of another store, or of a state that this one never was in: {rebuilt}"
    ]
    path.write_bytes(b"rubbish")
    assert check_cache(tmp_path, store, DIMS, 0) == [
        f"{path} cannot be used: it is not the file that was written: {rebuilt}"
    ]
    store.close()
    other.close()


@pytest.mark.parametrize("damaged", [None, 0, 12, 17, 39])
def test_check_compares_every_block_of_its_own_granularity(tmp_path, monkeypatch, damaged):
    Store.create(tmp_path / "store.sqlite3", {})
    store = Store.open(tmp_path / "store.sqlite3", read_only=False)
    vectors = clustered(60, DIMS)
    for number in range(20):
        own = vectors[3 * number : 3 * number + 3]
        chunkings = [[Span(0, 2)], [Span(0, 1), Span(1, 2)]]
        store.put([StoredDocument(Document(f"d{number}", "xx"), 2, chunkings, own)])
    read = store.vectors
    monkeypatch.setattr(store, "vectors", lambda dims, **given: read(dims, **given, block=7))
    synced = SyncedIndex(tmp_path, store, DIMS, granularity=1, spec=IndexSpec("flat"))
    cache = held(synced)
    assert len(cache) == 40
    if damaged is not None:
        faiss.rev_swig_ptr(cache.index.get_xb(), 40 * DIMS)[damaged * DIMS] += 0.5
    synced.optimize() if damaged is None else synced_module.write_cache(cache, tmp_path, 1, IndexSpec("flat"))

    assert check_cache(tmp_path, store, DIMS, 1) == (
        []
        if damaged is None
        else ["vectors-1.faiss holds other chunks, documents or vectors than the store: delete the file"]
    )
    store.close()
