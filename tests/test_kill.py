"""A process that indexes is killed again and again; what it was told is stored must be there, whole."""

import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from latechunk import Index
from tests.conftest import FakeEncoder

N_KILLS = 50
BATCH = 3

# Adds batches of documents for ever, new ones and new versions of old ones, and says which add has returned.
WRITER = """
import itertools, sys
from tests.conftest import FakeEncoder
from tests.test_kill import batch
from latechunk import Index
with Index.open(sys.argv[1], encoder=FakeEncoder(), lock_timeout=30) as index:
    print("open", flush=True)
    for number in itertools.count(int(sys.argv[2])):
        index.add(batch(number))
        print(number, flush=True)
        if number % 7 == 6:
            index.search("text", k=1)
            index.close()
            index = Index.open(sys.argv[1], encoder=FakeEncoder())
"""


def batch(number):
    from latechunk import Document

    slot = number % 20
    text = f"Version {number} stands here. It goes on for a while, so that it has some chunks. " * 5
    return [Document(f"{slot}-{part}", text + f"Part {part}.", {"version": number}) for part in range(BATCH)]


def kill_at_a_random_moment(path, first, chance):
    """Run the writer, kill it, and return the number of the last batch that it said was stored."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), str(first)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent.parent,
    )
    with process:
        assert process.stdout.readline() == "open\n"
        timer = threading.Timer(chance.uniform(0, 0.25), lambda: os.kill(process.pid, signal.SIGKILL))
        timer.start()
        said = [int(line) for line in process.stdout if line.endswith("\n")]
        timer.join()
    assert process.returncode == -signal.SIGKILL
    return said[-1] if said else first - 1


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_nothing_acknowledged_is_lost_and_nothing_half_written_is_seen(tmp_path):
    path = tmp_path / "index"
    Index.create(path, encoder=FakeEncoder()).close()
    chance = random.Random(7)
    last = -1
    for _ in range(N_KILLS):
        last = kill_at_a_random_moment(path, last + 1, chance)
        with Index.open(path, encoder=FakeEncoder(), lock_timeout=1) as index:
            stored = {one: index.get(one) for one in index.ids()}
            in_flight = f"{(last + 1) % 20}-0"
            if in_flight in stored and stored[in_flight].metadata["version"] == last + 1:
                last += 1
            acknowledged = {one.id: one for number in range(max(0, last - 19), last + 1) for one in batch(number)}
            assert stored == acknowledged
            hits = index.search("Version", k=10**6)
            found = {}
            for hit in sorted(hits, key=lambda hit: hit.chunk.number):
                found[hit.chunk.document_id] = found.get(hit.chunk.document_id, "") + hit.chunk.text
            assert found == {one.id: one.text for one in stored.values()}
            if chance.random() < 0.5:
                index.add([])  # the dead writer's lock is free
    assert last > N_KILLS
