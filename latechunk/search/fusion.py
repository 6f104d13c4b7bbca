"""Merge rankings into one, and choose diverse results from it. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from latechunk.types import FloatArray, IntArray, ScoreArray

_RRF_CONSTANT = 60  # of the paper that proposed it
_NO_DEVIATION = 1e-6  # what rounding leaves of scores that are equal


def fuse_by_rank(rankings: Sequence[Sequence[int]], weights: Sequence[float]) -> dict[int, float]:
    """Reciprocal rank fusion (Cormack, Clarke and Büttcher, 2009).

    Args:
        rankings: Of the same things, best first; what one lacks gains nothing from it.
        weights: Of each ranking.

    Returns:
        For each thing the sum over rankings of ``weight / (60 + rank)``, ranks from 1.
    """
    scores: dict[int, float] = {}
    for ranking, weight in zip(rankings, weights, strict=True):
        for rank, one in enumerate(ranking, start=1):
            scores[one] = scores.get(one, 0.0) + weight / (_RRF_CONSTANT + rank)
    return scores


def standardise(scores: ScoreArray, mean: float, deviation: float) -> ScoreArray:
    """Scores in standard deviations above a mean; all 0 where nothing deviates."""
    return (scores - mean) / deviation if deviation > _NO_DEVIATION else np.zeros(len(scores))


def best_first(scores: Mapping[int, float]) -> list[tuple[int, float]]:
    """Things with their scores, by number on a tie."""
    return sorted(scores.items(), key=lambda item: (-item[1], item[0]))


def best_places(scores: ScoreArray | FloatArray, places: IntArray, n: int) -> IntArray:
    """The ``n`` of some places, ascending, that have the largest scores, best first, by place on a tie."""
    if n < len(places):
        least = np.partition(scores[places], len(places) - n)[len(places) - n]
        places = places[scores[places] >= least]
    return places[np.argsort(-scores[places], kind="stable")][:n]


def choose_diverse(relevance: FloatArray, vectors: FloatArray, k: int, balance: float) -> list[int]:
    """Maximal marginal relevance (Carbonell and Goldstein, 1998).

    Args:
        relevance: Of each item, shape ``(n,)``.
        vectors: Unit vectors, shape ``(n, dims)``.
        k: How many to choose.
        balance: 1 for relevance alone, 0 for distance from what is chosen alone.

    Returns:
        Places of the chosen, in order: each has the largest ``balance * relevance - (1 - balance) * similarity`` to
        the most similar one chosen before; the first has the largest relevance, whatever the balance.
    """
    chosen: list[int] = []
    nearest = np.full(len(relevance), -np.inf, dtype=np.float32)
    for _ in range(min(k, len(relevance))):
        worth = balance * relevance - (1 - balance) * nearest if chosen else relevance.copy()
        worth[chosen] = -np.inf
        chosen.append(int(np.argmax(worth)))
        nearest = np.maximum(nearest, np.einsum("nd,d->n", vectors, vectors[chosen[-1]]))
    return chosen
