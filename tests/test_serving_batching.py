"""Requests share passes: in fair turns, under a budget, each with its own results and errors."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

pytest.importorskip("fastapi")

from latechunk.errors import ModelError, QueryError
from latechunk.serving.batching import Dispatcher
from latechunk.serving.encoding import SharedEncoder
from latechunk.serving.errors import BusyError
from tests.conftest import FakeEncoder


class Gate:
    """A function that waits to be let go, and notes what it was called with."""

    def __init__(self):
        self.calls = []
        self.open = threading.Event()
        self.entered = threading.Event()

    def __call__(self, items):
        self.calls.append(list(items))
        self.entered.set()
        assert self.open.wait(30)
        return [item * 2 for item in items]


@pytest.fixture
def dispatcher():
    made = Dispatcher(batch_tokens=10, patience=30)
    yield made
    made.close()


def wait_until_waiting(dispatcher, n_tokens):
    for _ in range(3_000):
        if dispatcher.waiting_tokens == n_tokens:
            return
        threading.Event().wait(0.01)
    pytest.fail(f"{dispatcher.waiting_tokens} tokens wait, not {n_tokens}")


def test_what_waits_goes_together_in_turns_under_the_budget(dispatcher):
    gate = Gate()
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(dispatcher.run, gate, [0], [1])
        assert gate.entered.wait(30)
        many = pool.submit(dispatcher.run, gate, [1, 2, 3, 4], [3, 3, 3, 3])
        wait_until_waiting(dispatcher, 12)
        one = pool.submit(dispatcher.run, gate, [10], [3])
        wait_until_waiting(dispatcher, 15)
        gate.open.set()

        assert first.result(30) == [0]
        assert many.result(30) == [2, 4, 6, 8]
        assert one.result(30) == [20]

    # The first ran alone; then one of each in turn up to 10 tokens; then the rest.
    assert gate.calls == [[0], [1, 10, 2], [3, 4]]


def test_a_text_beyond_the_budget_goes_alone(dispatcher):
    gate = Gate()
    gate.open.set()

    assert dispatcher.run(gate, [1, 2, 3], [5, 50, 5]) == [2, 4, 6]
    assert gate.calls == [[1], [2], [3]]


def test_different_functions_do_not_wait_for_each_others_rest(dispatcher):
    gate, other = Gate(), Gate()
    other.open.set()
    with ThreadPoolExecutor(8) as pool:
        pool.submit(dispatcher.run, gate, [0], [1])
        assert gate.entered.wait(30)
        long = pool.submit(dispatcher.run, gate, [1, 2, 3], [10, 10, 10])
        wait_until_waiting(dispatcher, 30)
        short = pool.submit(dispatcher.run, other, [7], [1])
        wait_until_waiting(dispatcher, 31)
        order = []
        gate_run, other_run = gate.calls.append, other.calls.append
        gate.calls, other.calls = order, order
        gate.open.set()
        assert long.result(30) == [2, 4, 6]
        assert short.result(30) == [14]
        assert gate_run
        assert other_run

    assert order == [[1], [7], [2], [3]]


def test_only_the_one_at_fault_gets_the_error(dispatcher):
    gate = Gate()

    def fussy(items):
        if 13 in items:
            raise ModelError("13")
        return items

    with ThreadPoolExecutor(8) as pool:
        held = pool.submit(dispatcher.run, gate, [0], [1])
        assert gate.entered.wait(30)
        good, bad = (
            pool.submit(dispatcher.run, fussy, [1, 2], [1, 1]),
            pool.submit(dispatcher.run, fussy, [13, 3], [1, 1]),
        )
        wait_until_waiting(dispatcher, 4)
        gate.open.set()

        assert good.result(30) == [1, 2]
        with pytest.raises(ModelError, match="13"):
            bad.result(30)
        assert held.result(30) == [0]
    assert dispatcher.waiting_tokens == 0
    assert dispatcher.run(fussy, [5], [1]) == [5]


def test_who_waits_too_long_is_told_to_come_back_and_is_not_computed():
    gate = Gate()
    dispatcher = Dispatcher(batch_tokens=10, patience=0.2)
    with ThreadPoolExecutor(8) as pool:
        held = pool.submit(dispatcher.run, gate, [0], [1])
        assert gate.entered.wait(30)
        with pytest.raises(BusyError, match=r"not done within 0\.2 seconds") as caught:
            dispatcher.run(gate, [1], [5])
        with pytest.raises(BusyError):
            held.result(30)  # before the gate opens: a thread that wakes late would find it done
        gate.open.set()
        dispatcher.close()

    assert 1 <= caught.value.retry_after <= 60
    assert gate.calls == [[0]]
    assert dispatcher.waiting_tokens == 0


def test_closing_finishes_what_waits_and_takes_nothing_new():
    gate = Gate()
    dispatcher = Dispatcher(batch_tokens=10, patience=30)
    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(dispatcher.run, gate, [0], [1])]
        assert gate.entered.wait(30)
        jobs += [pool.submit(dispatcher.run, gate, [number], [6]) for number in range(1, 5)]
        wait_until_waiting(dispatcher, 24)
        closing = pool.submit(dispatcher.close)
        gate.open.set()
        closing.result(30)

        assert [job.result(30) for job in jobs] == [[0], [2], [4], [6], [8]]
        with pytest.raises(BusyError, match="shutting down"):
            dispatcher.run(gate, [1], [1])


def test_a_thread_that_the_system_does_not_start_is_started_with_the_next_request(dispatcher, monkeypatch):
    """As where a container has as many processes and threads as it may."""

    def start(_):
        raise RuntimeError("can't start new thread")

    double = lambda items: [2 * item for item in items]  # noqa: E731
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        with pytest.raises(RuntimeError, match="can't start"):
            dispatcher.run(double, [1], [1])
    assert dispatcher.waiting_tokens == 0

    assert dispatcher.run(double, [3], [1]) == [6]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_runs_what_it_is_asked(dispatcher):
    """As a worker of gunicorn does whose application was loaded before the fork."""
    double = lambda items: [2 * item for item in items]  # noqa: E731
    assert dispatcher.run(double, [1], [1]) == [2]
    child = os.fork()
    if not child:
        status = 1
        try:
            with ThreadPoolExecutor(1) as pool:
                found = [pool.submit(dispatcher.run, double, [number], [1]).result(5) for number in range(3)]
            status = 0 if found == [[0], [2], [4]] else 2
        finally:
            os._exit(status)

    assert os.waitpid(child, 0)[1] == 0
    assert dispatcher.run(double, [3], [1]) == [6]


def test_shared_vectors_are_the_encoders_own(dispatcher):
    encoder = FakeEncoder()
    shared = SharedEncoder(encoder, dispatcher)
    texts = [f"word{number} and more" for number in range(40)]

    with ThreadPoolExecutor(8) as pool:
        queries = list(pool.map(shared.encode_query, texts))

    np.testing.assert_allclose(queries, [encoder.encode_query(text) for text in texts], atol=1e-6)
    with pytest.raises(QueryError, match="holds none"):
        shared.encode_query(" ")
    assert not hasattr(shared, "windows")
    assert shared.settings == encoder.settings
