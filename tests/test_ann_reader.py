"""When a search of whole vectors is sure that none of the best is missing, and when it looks at more."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from latechunk.ann import reader
from latechunk.ann.reader import VectorReader
from latechunk.errors import IndexDamagedError


@dataclass
class Everything:
    n: int


@dataclass
class FakeIndex:
    """Finds the first of its chunks, whose cosines with the query are ``scores``, in the order of ``places``."""

    scores: list[float]
    places: list[int]
    exact: bool = True
    asked: list[int] = field(default_factory=list)

    @property
    def filters(self):
        return self

    @property
    def params(self):
        return self

    @property
    def spec(self):
        return self

    def of(self, documents):
        assert documents is None
        return Everything(len(self.places))

    def n_candidates(self, k):
        return 2 * k

    def find(self, query, n, allowed):
        self.asked.append(n)
        return np.array(self.places[:n], dtype=np.int64)

    def is_exact(self, dims):
        assert dims == 2
        return self.exact

    def vectors_of(self, numbers, dims=2):
        return np.array([[self.scores[number], 0.0] for number in numbers])


@pytest.fixture(autouse=True)
def _none_is_scored_outright(monkeypatch):
    monkeypatch.setattr(reader, "_SCORED_OUTRIGHT", 0)


def search(scores, places, k=2, **given):
    index = FakeIndex(scores, places, **given)
    found = VectorReader(index, index, 2).search(np.array([1.0, 0.0]), k)
    return found, index.asked


def test_ties_with_the_last_hit_make_it_look_at_more():
    # Of four candidates three tie with the second hit, so others may as well: the first number of all does.
    scores = [0.8, 0.9, 0.8, 0.8, 0.8, 0.1, 0.1, 0.1, 0.1]
    found, asked = search(scores, [1, 2, 3, 4, 0, 5, 6, 7, 8])
    assert found == ([0.9, 0.8], [1, 0])
    assert asked == [4, 16]


@pytest.mark.parametrize("scores", [[0.9, 0.8, 0.7, 0.5], [0.9, 0.8, 0.8, 0.7]])
def test_a_worse_last_candidate_is_enough(scores):
    found, asked = search([*scores, 0.1, 0.1], [0, 1, 2, 3, 4, 5])
    assert found == ([0.9, 0.8], [0, 1])
    assert asked == [4]


def test_an_index_of_parts_of_vectors_is_not_asked_again():
    # Which chunks it finds is not certain in any case; how they are ordered is.
    found, asked = search([0.8, 0.9, 0.8, 0.8, 0.8], [4, 3, 2, 1, 0], exact=False)
    assert found == ([0.9, 0.8], [1, 2])
    assert asked == [4]


def test_all_there_are_is_certain():
    found, asked = search([0.5, 0.5, 0.5], [2, 1, 0])
    assert found == ([0.5, 0.5], [0, 1])
    assert asked == [4]
    assert search([0.5], [0], k=9)[0] == ([0.5], [0])
    assert search([], [], k=9) == (([], []), [])


def test_few_chunks_are_all_scored(monkeypatch):
    monkeypatch.setattr(reader, "_SCORED_OUTRIGHT", 5)
    assert search([0.9, 0.8, 0.7, 0.6, 0.5], [0, 1, 2, 3, 4])[1] == [5]
    assert search([0.9, 0.8, 0.7, 0.6, 0.5, 0.4], [0, 1, 2, 3, 4, 5])[1] == [4]


def test_an_index_that_lacks_chunks_is_told():
    class Lacking(FakeIndex):
        def find(self, query, n, allowed):
            return np.array([0], dtype=np.int64)

    index = Lacking([0.5, 0.5], [0, 1])
    with pytest.raises(IndexDamagedError, match="holds less than the store"):
        VectorReader(index, index, 2).search(np.array([1.0, 0.0]), 2)
