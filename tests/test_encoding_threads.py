"""Queries of several threads share the processor, and give back what they took."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from latechunk.encoding.threads import ThreadShare


@pytest.fixture
def four_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


def test_alone_has_all(four_threads):
    share = ThreadShare()
    for _ in range(3):
        with share.take():
            assert torch.get_num_threads() == 4
        assert torch.get_num_threads() == 4


def test_passes_at_the_same_time_split_the_threads_and_give_them_back(four_threads):
    share = ThreadShare()
    all_in = threading.Barrier(3)

    def encode(_):
        with share.take():
            all_in.wait()
            own = torch.get_num_threads()
            all_in.wait()
        all_in.wait()
        return own, torch.get_num_threads()

    with ThreadPoolExecutor(3) as pool:
        first = list(pool.map(encode, range(3)))
        with share.take():
            assert torch.get_num_threads() == 4
    assert sorted(own for own, _ in first) == [1, 2, 4]
    assert {after for _, after in first} == {4}


def test_a_pass_that_fails_gives_its_threads_back(four_threads):
    share = ThreadShare()

    def fail():
        with share.take():
            assert torch.get_num_threads() == 2
            raise ValueError("out")

    with share.take():
        with pytest.raises(ValueError, match="out"):
            fail()
        assert torch.get_num_threads() == 4


def test_no_more_passes_than_threads_at_once(four_threads):
    share = ThreadShare()
    lock, counts = threading.Lock(), {"now": 0, "most": 0}

    def encode(_):
        with share.take():
            with lock:
                counts["now"] += 1
                counts["most"] = max(counts["most"], counts["now"])
            with lock:
                counts["now"] -= 1

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(encode, range(400)))
    assert counts["now"] == 0
    assert 1 <= counts["most"] <= 4


def test_a_thread_that_begins_with_a_share_of_others_gets_all_when_it_is_alone(four_threads):
    share = ThreadShare()

    def begin_with_one():
        torch.set_num_threads(1)  # as a thread has it whose first pass falls into a split
        with share.take():
            return torch.get_num_threads()

    with share.take(), share.take():
        assert torch.get_num_threads() == 2
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(begin_with_one).result() == 4
    with share.take():
        assert torch.get_num_threads() == 4
