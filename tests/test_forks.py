"""Processes that are forked while other threads are at work."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from latechunk import Document, Encoder, Index
from latechunk.ann.read_write_lock import ReadWriteLock
from latechunk.encoding.query_batching import JoinedCalls
from latechunk.errors import StoreError
from latechunk.maintenance.verify import verify
from latechunk.storage import pool
from tests.conftest import FakeEncoder

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork"),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]
DOCUMENTS = [Document(f"d{number}", f"Text {number} of a river. It is {number} miles long.") for number in range(20)]


def fork(work):
    """Whether ``work`` is true in a forked process, which ends after half a minute."""
    child = os.fork()
    if not child:
        status = 1
        try:
            signal.alarm(30)
            status = 0 if work() else 2
        finally:
            os._exit(status)
    return os.waitpid(child, 0)[1] == 0


class AtWork:
    """Another thread that is within a context while this one is."""

    def __init__(self, context):
        self._context = context
        self._inside, self._end = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        with self._context:
            self._inside.set()
            self._end.wait(60)

    def __enter__(self):
        self._thread.start()
        self._inside.wait(60)
        return self

    def end_soon(self):
        threading.Timer(0.3, self._end.set).start()

    def __exit__(self, *_):
        self._end.set()
        self._thread.join()


@pytest.fixture
def index(tmp_path):
    with Index.create(tmp_path / "index", encoder=FakeEncoder()) as index:
        index.add(DOCUMENTS)
        yield index


def finds(index, text="Text 3 of a river"):
    return len(index.search(text, k=3)) == 3


def test_a_forked_process_searches_and_adds_while_threads_of_its_parent_search_and_add(index):
    ended = threading.Event()

    def use(number):
        while not ended.is_set():
            if number:
                assert finds(index)
            else:
                index.add([Document("changing", f"Text of {time.monotonic_ns()}.")])
                time.sleep(0.1)

    def work(number):
        index.add([Document(f"child {number}", "Text of a child.")])
        return finds(index)

    with ThreadPoolExecutor(3) as threads:
        uses = [threads.submit(use, number) for number in range(3)]
        try:
            assert all(fork(lambda number=number: work(number)) for number in range(5))
        finally:
            ended.set()
        assert all(one.result() is None for one in uses)
    assert len(index.ids(prefix="child ")) == 5
    assert verify(index.path) == []


def test_a_fork_waits_for_what_is_read_and_written_at_the_moment(index):
    for context in (index._store.snapshot(), index._store.change()):
        with AtWork(context) as other:
            other.end_soon()
            assert fork(lambda: finds(index) and index.delete(["d1"]) == 1)
        index.add(DOCUMENTS[1:2])
    assert verify(index.path) == []


@pytest.mark.parametrize("use", ["snapshot", "change"])
def test_what_takes_longer_keeps_the_child_from_the_index_and_nothing_else(tmp_path, monkeypatch, index, use):
    monkeypatch.setattr(pool, "_FORK_PATIENCE", 0.1)
    other = Index.create(tmp_path / "other", encoder=FakeEncoder())
    other.add(DOCUMENTS)
    refused = r"cannot be used in this process, since another thread was using it when the process was forked"

    def work():
        for attempt in (
            lambda: index.search("river"),
            lambda: index.add(DOCUMENTS),
            lambda: Index.open(index.path),  # SQLite still takes the parent's locks for its own
        ):
            with pytest.raises(StoreError, match=refused):
                attempt()
        index.close()
        return finds(other) and other.delete(["d1"]) == 1

    with AtWork(getattr(index._store, use)()):
        assert fork(work)

    assert finds(index)
    assert index.delete(["d2"]) == 1
    assert len(other) == 19
    other.close()
    assert verify(index.path) == []


def test_ctrl_c_while_a_fork_waits_leaves_the_parent_able_to_go_on(tmp_path, monkeypatch, index):
    ignored = []
    monkeypatch.setattr(sys, "unraisablehook", lambda one: ignored.append(one.exc_type))
    other = Index.create(tmp_path / "other", encoder=FakeEncoder())

    def work():
        for one in (index, other):  # neither is closed before the fork
            with pytest.raises(StoreError, match="when the process was forked"):
                one.add(DOCUMENTS)
        return True

    assert fork(lambda: True)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore the signal
    try:
        with AtWork(index._store.snapshot()), AtWork(other._store.change()):
            threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
            assert fork(work)
    finally:
        signal.signal(signal.SIGINT, before)
    assert ignored == [KeyboardInterrupt]

    other.close()
    assert fork(lambda: finds(index) and index.delete(["d1"]) == 1)
    with Index.open(index.path, encoder=FakeEncoder()) as again:
        assert again.delete(["d2"]) == 1
    assert verify(index.path) == []


def test_locks_that_a_thread_holds_stay_with_the_parent():
    lock = ReadWriteLock()

    def take():
        with lock.exclusive(), lock._guard:
            pass
        return True

    for context in (lock.shared(), lock.exclusive()):
        with AtWork(context):
            assert fork(take)
    assert take()


def test_a_forked_process_encodes_queries_though_its_parent_is_doing_so():
    class Waiting(threading.Event):
        def __call__(self, items):
            if items == [0]:
                self.set()
                time.sleep(1)
            return [2 * one for one in items]

    function = Waiting()
    joined = JoinedCalls(function)
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(joined, 0)
        function.wait()
        assert fork(lambda: joined(2) == 4)
        assert first.result() == 0


def test_a_forked_process_computes_under_its_own_adapter():
    encoder = Encoder.load()
    vector = encoder.encode_query("Which river?")
    adapters = encoder._model.adapters
    with adapters.at_work(None):
        adapters._layers.put("retrieval_passage")  # as where a thread has come halfway in a switch
        assert fork(lambda: np.allclose(encoder.encode_query("Which river?"), vector, atol=1e-5))
