"""A store that several threads share: snapshots, changes, and the connections behind them."""

import contextlib
import gc
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from latechunk.errors import IndexReadOnlyError, StoreError
from latechunk.storage.store import Store
from tests.stores import clustered, make_store, put

WAIT = 30  # seconds, of which none is used unless something hangs


@pytest.fixture
def store(tmp_path):
    with_vectors = make_store(tmp_path, 20)
    yield with_vectors
    with_vectors.close()


def n_open_files(path):
    """How many files of this process lead to a path."""
    links = (os.path.join("/proc/self/fd", name) for name in os.listdir("/proc/self/fd"))
    return sum(os.path.exists(one) and os.path.realpath(one) == str(path.resolve()) for one in links)


@pytest.mark.parametrize("read_only", [False, True])
def test_threads_are_in_snapshots_at_the_same_time(store, tmp_path, read_only):
    other = Store.open(tmp_path / "store.sqlite3", read_only=read_only)
    both_inside = threading.Barrier(4)

    def read(_):
        with other.snapshot():
            both_inside.wait(WAIT)  # which all must reach before any goes on
            return other.counts().n_chunks

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(read, range(4))) == [20] * 4
    other.close()


def test_a_snapshot_keeps_its_state_while_another_thread_commits(store):
    def change():
        store.delete(["d0"])
        put(store, clustered(5), prefix="new")
        return store.document_ids()

    with ThreadPoolExecutor(1) as pool, store.snapshot():
        commit, before = store.last_commit(), store.document_ids()
        after = pool.submit(change).result(WAIT)
        with store.snapshot():
            assert (store.last_commit(), store.document_ids()) == (commit, before)
            assert store.document("d0").text == "xxxxx"
            assert len(store.rows_of_document("d0", 0)) == 5
            assert store.document("new0") is None
    assert store.document_ids() == after == ["d1", "d2", "d3", "new0"]
    assert store.last_commit() != commit


def test_a_writer_waits_for_another_and_reads_what_it_wrote_itself(store):
    inside, seen = threading.Event(), threading.Event()

    def read():
        inside.wait(WAIT)
        ids = store.document_ids()
        seen.set()
        return ids

    with ThreadPoolExecutor(1) as pool:
        reader = pool.submit(read)
        with store._change():
            store._remove(["d0", "d1"])
            inside.set()
            assert seen.wait(WAIT)  # a reader does not wait for the change
            with store.snapshot():
                assert store.document_ids() == ["d2", "d3"]
        assert reader.result(WAIT) == ["d0", "d1", "d2", "d3"]
    assert store.document_ids() == ["d2", "d3"]


def test_a_change_within_a_snapshot_is_not_seen_in_it(store):
    with store.snapshot():
        before = store.document_ids()
        store.delete(["d0"])
        assert store.document_ids() == before
    assert store.document_ids() == before[1:]


def test_a_change_that_fails_leaves_nothing_and_the_store_works_on(store):
    with contextlib.suppress(KeyboardInterrupt), store._change():
        store._remove(["d0"])
        raise KeyboardInterrupt
    assert len(store.document_ids()) == 4
    assert store.delete(["d0"]) == 1


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")
def test_threads_that_end_leave_no_connection_open(store, tmp_path):
    path = tmp_path / "store.sqlite3"
    together = threading.Barrier(20)

    def read(wait):
        with store.snapshot():
            if wait:
                together.wait(WAIT)
            store.counts()

    for wait in (True, True, False):
        threads = [threading.Thread(target=read, args=(wait,)) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT)
    gc.collect()
    # Under POSIX, closing a file drops the locks of its process, so SQLite keeps the file of a closed connection for
    # the next one that is opened. There are as many as threads that read at a time, and not as threads there ever were.
    assert n_open_files(path) <= 1 + 20
    assert len(store._pool._idle) <= 8

    store.close()
    assert n_open_files(path) == 0


def test_a_statement_left_halfway_does_not_keep_an_old_state_alive(store):
    halfway = []
    with contextlib.suppress(ZeroDivisionError), store.snapshot():
        blocks = store.vectors(16, after=0, block=1)
        halfway.append((blocks, next(blocks)))
        raise ZeroDivisionError

    put(store, clustered(5), prefix="new")

    assert store.counts().n_documents == 5
    assert len(halfway) == 1


def test_a_store_that_is_closed_meanwhile_is_read_to_the_end(store, tmp_path):
    with store.snapshot():
        store.counts()
        store.close()
        assert store.counts().n_documents == 4
    for use in (store.counts, lambda: store.delete(["d0"])):
        with pytest.raises(StoreError, match="the index is closed"):
            use()
    again = Store.open(tmp_path / "store.sqlite3", read_only=True)
    assert again.counts().n_documents == 4
    again.close()


def test_another_file_at_the_same_path_is_not_read(tmp_path):
    store = make_store(tmp_path / "index", 20)
    (tmp_path / "index").rename(tmp_path / "elsewhere")
    make_store(tmp_path / "index", 5).close()
    assert store.counts().n_documents == 4
    with ThreadPoolExecutor(1) as pool, store.snapshot(), pytest.raises(StoreError, match="removed or replaced"):
        pool.submit(store.counts).result(WAIT)
    store.close()


def test_what_is_read_only_is_not_changed(store, tmp_path):
    reader = Store.open(tmp_path / "store.sqlite3", read_only=True)
    for change in (reader.compact, lambda: reader.delete(["d0"]), lambda: reader.put([])):
        with pytest.raises(IndexReadOnlyError):
            change()
    reader.close()


def test_reading_in_parts_needs_a_snapshot(store):
    with pytest.raises(StoreError, match="within a snapshot only"):
        store.vectors_of([1], 16)
    with store.snapshot():
        assert np.array_equal(store.vectors_of([1], 16), clustered(20)[:1])
