import threading

import pytest

from latechunk import Document
from latechunk.embedding.stream import Pace, prepare_ahead, take_batches


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


def test_an_empty_source_gives_nothing():
    assert list(prepare_ahead([], str)) == []


def test_batches_grow_to_what_half_a_minute_takes():
    pace = Pace()
    assert pace.n_characters == 20_000

    pace.note(20_000, 2.0)  # 10,000 characters a second
    assert pace.n_characters == 300_000
    pace.note(300_000, 0.1)
    assert pace.n_characters == 400_000
    pace.note(400_000, 4_000.0)
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
