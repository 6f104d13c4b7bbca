"""A store that several threads share: snapshots, changes, and the connections behind them."""

import contextlib
import gc
import hashlib
import os
import sqlite3
import threading
from concurrent import futures
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latechunk.errors import IndexReadOnlyError, StoreError
from latechunk.storage.connection import transaction
from latechunk.storage.fulltext import DOCUMENTS
from latechunk.storage.reader import LAST_COMMIT
from latechunk.storage.schema import log_commit
from latechunk.storage.store import Store, StoredDocument
from latechunk.types import Document, Span
from tests.stores import PER_DOCUMENT, clustered, documents, make_store, put

WAIT = 600  # seconds, of which none is used unless something hangs


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
        with store.change() as connection:
            store._remove(connection, ["d0", "d1"])
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
    with contextlib.suppress(KeyboardInterrupt), store.change() as connection:
        store._remove(connection, ["d0"])
        raise KeyboardInterrupt
    assert len(store.document_ids()) == 4
    assert store.delete(["d0"]) == 1


def test_threads_share_the_connections_to_a_file_that_was_removed(store, tmp_path):
    other = Store.open(tmp_path / "store.sqlite3", read_only=True)
    inside, leave = threading.Event(), threading.Event()

    def stay():
        with other.snapshot():
            inside.set()
            assert leave.wait(WAIT)
            return len(other.document_ids())

    with ThreadPoolExecutor(5) as threads:
        first = threads.submit(stay)
        assert inside.wait(WAIT)
        for path in tmp_path.glob("store.sqlite3*"):
            path.unlink()
        others = [threads.submit(lambda: len(other.document_ids())) for _ in range(4)]
        futures.wait(others, 0.5)  # none of which can end
        leave.set()
        found = [one.result(WAIT) for one in (first, *others)]

    assert found == [4] * 5
    with pytest.raises(ZeroDivisionError), other.snapshot():
        1 / 0  # which closes the last one
    with pytest.raises(StoreError, match="cannot be opened"):
        other.document_ids()
    other.close()


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


@pytest.fixture
def with_words(tmp_path):
    settings = {"chunkers": {"a": {}, "b": {}}, "search": {"words": True}, "encoder": {"dims": 16}}
    Store.create(tmp_path / "words.sqlite3", settings)
    opened = Store.open(tmp_path / "words.sqlite3", read_only=False)
    opened.put([stored(f"d{number}", f"Äpfel {number} 東京. Birnen.") for number in range(4)])
    yield opened
    opened.close()


def stored(document_id, text):
    """A document of one chunk in one granularity and two in the other."""
    return StoredDocument(
        Document(document_id, text, {"n": 1}), 3, [[Span(0, len(text))], [Span(0, 5), Span(6, len(text))]], clustered(3)
    )


def test_the_log_of_a_large_change_is_given_back_to_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr("latechunk.storage.pool._MOST_LOG", 2**17)
    store = make_store(tmp_path)
    log = tmp_path / "store.sqlite3-wal"
    store.put([StoredDocument(Document("large", "x" * 2**23), 1, [[Span(0, 1)]], clustered(1))])
    assert log.stat().st_size > 2**23
    put(store, clustered(5), prefix="a")
    put(store, clustered(5), prefix="b")

    assert log.stat().st_size <= 2**17
    store.close()


def is_same(some, others):
    names = ("numbers", "documents", "document_of", "sizes")
    return some.commit == others.commit and all(
        np.array_equal(getattr(some, name), getattr(others, name)) for name in names
    )


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.sets(st.integers(0, 9), max_size=5)), max_size=6), st.data())
def test_places_renewed_from_any_earlier_state_are_those_read_whole(tmp_path_factory, steps, data):
    store = make_store(tmp_path_factory.mktemp("places"))
    states = []
    for is_added, names in [*steps, (True, {1})]:
        with store.snapshot():
            states.append(store.chunk_places(0))
        if is_added:
            store.put([part for name in names for part in documents(clustered(7, seed=name), f"{name}-")])
        else:
            store.delete([f"{name}-{number}" for name in names for number in range(2)])
        known = data.draw(st.sampled_from(states))
        with store.snapshot():
            assert is_same(store.chunk_places(0, known), store.chunk_places(0))
    store.close()


def test_places_of_a_later_state_or_of_another_store_are_not_gone_on_from(store, tmp_path):
    other = make_store(tmp_path / "other", 35)
    with other.snapshot():
        foreign = other.chunk_places(0)
    with ThreadPoolExecutor(1) as pool, store.snapshot():
        before = store.chunk_places(0)

        def later():
            store.delete(["d0"])
            with store.snapshot():
                return store.chunk_places(0)

        known = pool.submit(later).result()
        assert len(known) == len(before) - PER_DOCUMENT
        assert is_same(store.chunk_places(0, known), before)
        assert is_same(store.chunk_places(0, foreign), before)
    other.close()


def test_no_more_places_are_read_than_what_is_new(store):
    with store.snapshot():
        known = store.chunk_places(0)
    store.delete(["d1"])
    put(store, clustered(5), prefix="new")
    with store.snapshot() as connection:
        asked = []
        connection.set_trace_callback(asked.append)
        renewed = store.chunk_places(0, known)
        connection.set_trace_callback(None)

    assert len(renewed) == 20
    (query,) = [one for one in asked if "FROM chunks" in one]
    assert "number > 20" in query


@pytest.mark.parametrize("n", [2, 501, 1001])
def test_an_id_that_is_named_often_is_deleted_once(with_words, n):
    assert with_words.delete(["d3", "never there"] * n) == 1

    assert with_words.document_ids() == ["d0", "d1", "d2"]
    with with_words.snapshot():
        for granularity in (0, 1):
            places = with_words.chunk_places(granularity)
            known = with_words.word_rows(granularity, places.numbers)
            assert known.lengths.sum() == 3 * 6  # 東, 東京 and 京 are three terms
            found, scores = with_words.score_term("apfel", granularity, known)
            assert len(found) == 3
            assert len(set(scores)) == 1
        known = with_words.word_rows(DOCUMENTS, np.array([1, 2, 3]))
        assert with_words.score_term("apfel", DOCUMENTS, known)[0].tolist() == [0, 1, 2]


@pytest.mark.parametrize("n", [1, 500, 1001])
def test_what_is_asked_for_often_comes_once(with_words, n):
    ids = ["d1", "d2"] * n
    assert with_words.numbers_of_ids(ids) == [2, 3]
    assert list(with_words.fingerprints(ids)) == ["d1", "d2"]
    with with_words.snapshot():
        assert with_words.vectors_of([1, 2] * n, 16).shape == (2 * n, 16)
        assert [row.number for row in with_words.rows([2, 1] * n)] == [2, 1] * n


def test_a_commit_reads_no_more_than_the_last_one(with_words):
    with with_words.change() as connection:
        queries = []
        connection.set_trace_callback(queries.append)
        log_commit(connection, 1)
        connection.set_trace_callback(None)
        with_words.last_commit()
        assert len(queries) == 2
        for query in [*queries, LAST_COMMIT]:
            plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}")]
            assert any("SEARCH commits" in step for step in plan)
            assert not any("SCAN commits" in step for step in plan), (query, plan)


def test_a_change_of_documents_reads_no_table_whole(with_words):
    queries = []
    with with_words.change() as connection:
        connection.set_trace_callback(queries.append)
    with_words.put([stored("d1", "Kirschen. Birnen.")], [Document("d2", "Äpfel 2 東京. Birnen.", {"new": [1, "x"]})])
    with_words.delete(["d3"])
    with with_words.change() as connection:
        connection.set_trace_callback(None)
        changes = [one for one in queries if one.startswith(("DELETE", "UPDATE"))]
        assert sum(one.startswith("DELETE FROM fields") for one in changes) == 3
        for query in changes:
            plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}")]
            assert not any(f"SCAN {table}" in step for step in plan for table in ("fields", "documents", "chunks")), (
                query
            )


def test_only_the_last_commits_are_kept(with_words, monkeypatch):
    monkeypatch.setattr("latechunk.storage.schema.MOST_COMMITS", 5)
    with_words.delete(["d0"])
    early = with_words.last_commit()
    assert early.n_removed == 1 + 1 + 3 + 3  # a document, its structure, its chunks, their vectors
    assert with_words.has_commit(early)
    for number in range(4):
        with_words.put([stored("d1", f"Version {number} of it.")])
    assert with_words.has_commit(early)

    with_words.put([stored("d1", "Another version.")])

    assert not with_words.has_commit(early)
    last = with_words.last_commit()
    assert (last.number, last.n_removed) == (early.number + 5, 6 * 8)
    with with_words.snapshot() as connection:
        assert connection.execute("SELECT count(*) FROM commits").fetchone() == (5,)


def test_texts_of_any_script_are_found_and_cut_by_their_bytes(with_words):
    text = "Ein Café. 東京は日本の首都。 👍🏽 Москва."
    spans = [Span(4, 8), Span(10, 19), Span(20, 30)]
    with_words.put([StoredDocument(Document("many", text), 9, [[Span(0, len(text))], spans], clustered(4))])

    with with_words.snapshot():
        rows = with_words.rows_of_document("many", 1)
        assert [chunk.text for chunk in with_words.chunks(rows)] == [text[one.start : one.end] for one in spans]
        numbers = with_words.chunk_places(1).numbers
        found, _ = with_words.score_term("москва", 1, with_words.word_rows(1, numbers))
        assert numbers[found].tolist() == [rows[2].number]
        assert with_words.document("many").text == text
        assert with_words.stored("many").chunkings[1] == spans


def test_a_document_is_hashed_and_its_metadata_written_once(with_words, monkeypatch):
    document = Document("new", "Neue Äpfel.", {"b": 1, "a": "é"})
    digest = hashlib.sha256("Neue Äpfel.".encode()).digest()
    assert document.text_sha256 == digest
    assert document.metadata_json == '{"a":"é","b":1}'
    monkeypatch.setattr("latechunk.types.documents.encode_metadata", None)
    hashed = []
    sha256 = hashlib.sha256
    monkeypatch.setattr("latechunk.types.documents.hashlib.sha256", lambda *data: hashed.extend(data) or sha256(*data))

    with_words.put([StoredDocument(document, 3, [[Span(0, 4)], [Span(5, 11)]], clustered(2))])
    assert document.text.encode() not in hashed
    monkeypatch.undo()
    assert with_words.fingerprints(["new"]) == {"new": (digest, document.metadata_json, "[]", "[]")}


def test_an_interrupt_as_a_transaction_begins_leaves_none_open(tmp_path):
    class Interrupted(sqlite3.Connection):
        def execute(self, *statement):
            super().execute(*statement)
            if statement[0].startswith("BEGIN"):
                raise KeyboardInterrupt

    with contextlib.closing(sqlite3.connect(tmp_path / "a", isolation_level=None, factory=Interrupted)) as connection:
        with pytest.raises(KeyboardInterrupt), transaction(connection):
            pass
        assert not connection.in_transaction
