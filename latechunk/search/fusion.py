"""Merge rankings into one, and choose diverse results from it. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from latechunk.types import FloatArray

_RRF_CONSTANT = 60  # of the paper that proposed it


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


def fuse_by_score(scorings: Sequence[Mapping[int, float]], weights: Sequence[float]) -> dict[int, float]:
    """Weighted sum of scores, each scoring stretched to [0, 1] first; what a scoring lacks has 0 in it."""
    fused: dict[int, float] = {}
    for scoring, weight in zip(scorings, weights, strict=True):
        low, high = min(scoring.values(), default=0.0), max(scoring.values(), default=0.0)
        for one, score in scoring.items():
            share = (score - low) / (high - low) if high > low else 1.0
            fused[one] = fused.get(one, 0.0) + weight * share
    return fused


def best_first(scores: Mapping[int, float]) -> list[tuple[int, float]]:
    """Things with their scores, by number on a tie."""
    return sorted(scores.items(), key=lambda item: (-item[1], item[0]))


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
        nearest = np.maximum(nearest, vectors @ vectors[chosen[-1]])
    return chosen
