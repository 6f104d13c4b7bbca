"""Compare two arms on the same questions: their difference, how sure it is, and who won how often.

Questions about one document share it, so documents, not questions, are drawn and swapped. With few documents a
bootstrap is too sure of itself; the swaps are not (with five documents no difference can be sure): both have to agree.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from latechunk.types import IntArray

Values: TypeAlias = NDArray[np.floating[Any]]

_RESAMPLES = 2_000
_PERMUTATIONS = 9_999
_TIE = 1e-9
_LEVEL = 0.05
_Z_LEVEL, _Z_POWER = 1.959964, 0.841621  # quantiles of the normal distribution at 1 - 0.05 / 2 and at 0.8


@dataclass(frozen=True, slots=True)
class Comparison:
    """An arm against a reference, on the same questions.

    Attributes:
        mean: Of the arm.
        difference: Mean of the arm less that of the reference; its 95 % interval is from ``low`` to ``high``.
        p_value: How often a difference at least as large comes from swapping the arms at random, two-sided.
        wins: Questions on which the arm is better; ``ties`` and ``losses`` accordingly.
    """

    mean: float
    difference: float
    low: float
    high: float
    p_value: float
    wins: int
    ties: int
    losses: int

    @property
    def is_sure(self) -> bool:
        """Whether the interval leaves out zero and the swaps agree, at 5 %."""
        return (self.low > 0 or self.high < 0) and self.p_value < _LEVEL


def compare(values: Values, reference: Values, clusters: Sequence[str]) -> Comparison:
    """Compare the values of two arms, one for each question; ``clusters`` names what it shares with others."""
    differences = np.asarray(values, dtype=np.float64) - np.asarray(reference, dtype=np.float64)
    low, high = bootstrap_interval(differences, clusters)
    return Comparison(
        mean=float(np.mean(values)),
        difference=float(differences.mean()),
        low=low,
        high=high,
        p_value=randomisation_test(differences, clusters),
        wins=int((differences > _TIE).sum()),
        ties=int((np.abs(differences) <= _TIE).sum()),
        losses=int((differences < -_TIE).sum()),
    )


def bootstrap_interval(differences: Values, clusters: Sequence[str], seed: int = 0) -> tuple[float, float]:
    """95 % percentile interval of the mean difference; clusters are drawn with replacement.

    With one cluster there is nothing to draw: the interval is then all there is, from minus to plus infinity.
    """
    sums, counts = _by_cluster(differences, clusters)
    if len(sums) < 2:
        return -np.inf, np.inf
    result = stats.bootstrap(
        (sums, counts),
        lambda sums, counts, axis: sums.sum(axis=axis) / counts.sum(axis=axis),
        paired=True,
        n_resamples=_RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def randomisation_test(differences: Values, clusters: Sequence[str]) -> float:
    """Two-sided p-value of the mean difference when the arms are swapped at random in whole clusters.

    With one cluster, swapped or not, every difference is as large as the one that is there: 1.
    """
    sums, _ = _by_cluster(differences, clusters)
    if len(sums) < 2 or not np.any(np.abs(sums) > _TIE):
        return 1.0
    result = stats.permutation_test(
        (sums, np.zeros_like(sums)),
        lambda left, right, axis: left.sum(axis=axis) - right.sum(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=_PERMUTATIONS,
        rng=np.random.default_rng(0),
    )
    return float(result.pvalue)


def _by_cluster(differences: Values, clusters: Sequence[str]) -> tuple[Values, IntArray]:
    names, owners = np.unique(np.asarray(clusters), return_inverse=True)
    sums: Values = np.bincount(owners, weights=differences, minlength=len(names)).astype(np.float64)
    return sums, np.bincount(owners, minlength=len(names)).astype(np.int64)


def questions_needed(n_better: int, n_worse: int, n_questions: int) -> int:
    """How many questions it takes to show a difference like this one in four of five evaluations.

    The sample size of McNemar's test, 5 % two-sided, power 80 % (Connor, 1987, Biometrics 43): with shares ``p`` of the
    questions on which the arms differ and ``d`` by which one is better more often, ``(1.96 sqrt(p) + 0.84
    sqrt(p - d^2))^2 / d^2``. Where they are better equally often, ``d`` is one question in ten. Questions count as
    independent, so it takes more of them where many are about one document.
    ``n_better`` and ``n_worse`` are questions that only the one or only the other arm answers.
    """
    difference = abs(n_better - n_worse) / n_questions or 0.1
    differing = max((n_better + n_worse) / n_questions, difference)
    spread = _Z_LEVEL * math.sqrt(differing) + _Z_POWER * math.sqrt(max(0.0, differing - difference**2))
    return math.ceil((spread / difference) ** 2)


def split_in_halves(clusters: Sequence[str], seed: int = 0) -> IntArray:
    """Half (0 or 1) of each question; all questions of a document are in the same, and halves are about even."""
    names, owners, counts = np.unique(np.asarray(clusters), return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(names))
    half = np.zeros(len(names), dtype=np.int64)
    sizes = [0, 0]
    for cluster in sorted(order.tolist(), key=lambda one: -counts[one]):
        lighter = int(sizes[1] < sizes[0])
        half[cluster] = lighter
        sizes[lighter] += int(counts[cluster])
    return half[owners]
