import dataclasses
import itertools
import subprocess
import sys
import threading
import types

import pytest

from latechunk import Document, Index, SentenceChunker, TokenChunker
from latechunk.embedding import Progress
from latechunk.embedding.stream import Pace, prepare_ahead, take_batches
from latechunk.errors import DocumentError
from latechunk.indexing import AddReport
from tests.conftest import FakeEncoder


def test_results_come_in_order_and_one_is_prepared_ahead():
    begun = []
    third_begun = threading.Event()

    def prepare(item):
        begun.append(item)
        if item == 2:
            third_begun.set()
        return item * 10

    results = prepare_ahead(range(4), prepare)

    assert next(results) == 0
    assert next(results) == 10
    assert third_begun.wait()  # while the caller still holds the second
    assert begun == [0, 1, 2]
    assert list(results) == [20, 30]


def test_preparing_runs_beside_the_caller():
    caller_works, prepared = threading.Event(), threading.Event()

    def prepare(item):
        if item == 1:
            assert caller_works.wait()
            prepared.set()
        return item

    for item in prepare_ahead([0, 1], prepare):
        if item == 0:
            caller_works.set()
            assert prepared.wait()


def test_what_prepare_raises_comes_in_its_place():
    results = prepare_ahead([1, 0, 2], lambda item: 1 // item)

    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_if_the_source_fails_the_item_before_comes_first():
    def source():
        yield 1
        yield 2
        raise OSError("the stream broke")

    results = prepare_ahead(source(), str)
    assert [next(results), next(results)] == ["1", "2"]
    with pytest.raises(OSError, match="the stream broke"):
        next(results)


def test_a_caller_may_stop_early():
    taken = []

    def source():
        for number in range(100):
            taken.append(number)
            yield number

    results = prepare_ahead(source(), str)
    next(results)
    results.close()

    assert taken == [0, 1]


def test_a_thread_adds_and_searches_after_the_main_thread_has_ended(tmp_path):
    script = """
import sys, threading
from latechunk import Document, Index
from tests.conftest import FakeEncoder

def work(path):
    threading.main_thread().join()
    documents = [Document(str(number), "Some words. " * 4_000) for number in range(3)]
    with Index.create(path, encoder=FakeEncoder()) as index:
        index.add(documents)
        index.search("words", k=1)
    with Index.open(path, encoder=FakeEncoder()) as index:
        print(len(index), len(index.search("words", k=1)))

threading.Thread(target=work, args=sys.argv[1:]).start()
"""
    run = subprocess.run([sys.executable, "-c", script, tmp_path / "index"], capture_output=True, text=True, timeout=60)

    assert (run.stdout, run.stderr) == ("3 1\n", "")


def test_an_empty_source_gives_nothing():
    assert list(prepare_ahead([], str)) == []


def test_batches_grow_to_what_half_a_minute_takes():
    pace = Pace()
    assert pace.n_characters == 20_000

    pace.note(20_000, 2.0)  # 10,000 characters a second
    assert pace.n_characters == 300_000
    pace.note(300_000, 0.1)
    assert pace.n_characters == 1_600_000
    pace.note(1_600_000, 4_000.0)
    assert pace.n_characters == 20_000
    pace.note(0, 5.0)  # nothing was encoded: nothing is learnt
    assert pace.n_characters == 20_000


def test_a_batch_ends_when_it_is_full():
    pace = Pace()
    documents = [Document(str(number), "x" * 9_000) for number in range(7)]
    documents.insert(4, Document("1", "again"))

    batches = list(take_batches(documents, pace))

    assert [[one.id for one in batch.documents] for batch in batches] == [["0", "1", "2"], ["3", "4", "5"], ["6"]]
    assert [[one.text for one, _ in batch.failures] for batch in batches] == [[], ["again"], []]


# What add does, through the index.


class Counting(FakeEncoder):
    """Remembers how many texts it was given at a time."""

    def __init__(self):
        super().__init__()
        self.batches = []

    def encode_spans(self, tasks, on_progress=None):
        self.batches.append(len(tasks))
        return super().encode_spans(tasks, on_progress)


def test_add_reports_what_it_did(tmp_path):
    with Index.create(tmp_path / "index", encoder=FakeEncoder(), chunker=SentenceChunker(max_sentences=1)) as index:
        index.add([Document("same", "One. Two."), Document("text", "Old."), Document("label", "Three four.", {"n": 1})])
        progress, failed = [], []

        report = index.add(
            [
                Document("same", "One. Two."),
                Document("text", "New words. More words here."),
                Document("label", "Three four.", {"n": 2}),
                Document("new", "Five six seven."),
                Document("blank", " "),
                Document("new", "Again."),
            ],
            on_error=lambda document, error: failed.append((document.id, type(error))),
            on_progress=progress.append,
        )

        assert [name for name, _ in report.left_out] == ["blank", "new"]
        counts = dataclasses.replace(report, left_out=())
        assert counts == AddReport(n_added=1, n_updated=2, n_unchanged=1, n_failed=2, n_chunks=3, n_tokens=8)
        assert sorted(failed) == [("blank", DocumentError), ("new", DocumentError)]
        assert progress[0] == Progress(2, 0, left_out=2)  # the unchanged and the relabelled
        assert (sum(one.documents for one in progress), sum(one.tokens for one in progress)) == (4, 8)
        assert index.get("label").metadata == {"n": 2}
        assert index.get("text").text == "New words. More words here."
        assert index.add([Document("label", "Three four.", {"n": 3})]) == AddReport(n_updated=1)
        assert index.add([Document("label", "Three four.", {"n": 3})]) == AddReport(n_unchanged=1)
        assert index.add([]) == AddReport()


def test_an_error_says_how_many_documents_were_stored_before_it(tmp_path):
    with Index.create(tmp_path / "index", encoder=FakeEncoder()) as index:
        index.add([Document(str(number), "Old.") for number in range(31)])
        known = [Document(str(number), "Old.") for number in range(20)]
        changed = [Document(str(number), "New.") for number in range(20, 31)]
        new = [Document(str(number), "New.") for number in range(31, 512)]

        with pytest.raises(DocumentError) as caught:  # two batches of 256, then one that fails
            index.add(iter([*known, *changed, *new, Document("bad", "")]))

        assert caught.value.__notes__ == ["512 documents of this call were stored before the error"]


def test_batches_follow_the_speed_of_those_before(tmp_path, monkeypatch):
    seconds = itertools.count(1_000)
    monkeypatch.setattr("latechunk.indexing.time", types.SimpleNamespace(monotonic=lambda: next(seconds)))
    encoder = Counting()

    with Index.create(tmp_path / "index", encoder=encoder, chunker=TokenChunker(max_tokens=1_800)) as index:
        index.add([Document(str(number), "word " * 1_800) for number in range(12)])

    # Three reach 20,000 characters, and the next three are prepared beside them. These 27,000 took one second, so
    # half a minute takes more than there is.
    assert encoder.batches == [3, 3, 6]
