"""Queries of several threads are encoded together, and each gets its own vector or its own error."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from latechunk import Encoder
from latechunk.encoding.query_batching import JoinedCalls
from latechunk.errors import QueryError


class Held:
    """Doubles numbers; the first call lasts until ``n_waiting`` other threads wait for their turn."""

    def __init__(self, n_waiting: int) -> None:
        self.calls: list[list[int]] = []
        self.n_waiting = n_waiting
        self.joined = JoinedCalls(self)

    def __call__(self, items):
        self.calls.append(list(items))
        if len(self.calls) == 1:
            self.started.set()
            while len(self.joined._waiting) < self.n_waiting:
                threading.Event().wait(0.001)
        if len(items) == 1 and items[0] < 0:
            raise ValueError(f"negative: {items[0]}")
        if any(one < 0 for one in items):
            raise ValueError("one is negative")
        return [2 * one for one in items]

    def run(self, first: int, others: list[int]):
        """The outcomes of ``first``, which runs alone, and of the others, which come meanwhile."""
        self.started = threading.Event()
        with ThreadPoolExecutor(1 + len(others)) as pool:
            futures = [pool.submit(self.joined, first)]
            self.started.wait()
            futures += [pool.submit(self.joined, one) for one in others]
        return [future.exception() or future.result() for future in futures]


def test_what_comes_meanwhile_goes_into_one_call():
    held = Held(n_waiting=7)
    assert held.run(1, list(range(2, 9))) == [2 * one for one in range(1, 9)]
    assert held.calls[0] == [1]
    assert [sorted(one) for one in held.calls[1:]] == [list(range(2, 9))]


def test_an_error_reaches_the_thread_whose_item_it_is_alone():
    held = Held(n_waiting=3)
    outcomes = held.run(1, [2, -3, 4])
    assert [outcomes[0], outcomes[1], outcomes[3]] == [2, 4, 8]
    assert str(outcomes[2]) == "negative: -3"
    assert len(held.calls) == 1 + 1 + 3  # the first, the joined one that fails, and each of its items alone


def test_an_interrupt_is_that_of_its_thread_alone():
    joined = JoinedCalls(lambda items: [_interrupt(one) for one in items])
    with pytest.raises(KeyboardInterrupt):
        joined(-1)
    assert joined(1) == 1


def _interrupt(item: int) -> int:
    if item < 0:
        raise KeyboardInterrupt
    return item


def test_every_thread_gets_the_vector_of_its_query():
    encoder = Encoder.load(device="cpu", dtype="float32")
    queries = [f"which town has {n} bridges" + " and inns" * (n % 5) for n in range(40)]
    alone = np.stack([encoder.encode_query(one) for one in queries])
    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(encoder.encode_query, one) for one in queries]
        blank = pool.submit(encoder.encode_query, " ")
    np.testing.assert_allclose(np.stack([one.result() for one in futures]), alone, atol=2e-6)
    assert isinstance(blank.exception(), QueryError)
