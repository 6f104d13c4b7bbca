"""Late and naive vectors mixed, with a weight that is fitted on the other half of the questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from latechunk.embedding import Embedding
from latechunk.evaluation.arms.material import Arm, ArmRankings, Material
from latechunk.evaluation.metrics import headline, judge
from latechunk.evaluation.ranking import SCOPES, Ranking, Scope
from latechunk.evaluation.statistics import Values, split_in_halves
from latechunk.types import IntArray

WEIGHTS = tuple(round(0.1 * step, 1) for step in range(1, 10))


def rank_blend(material: Material) -> ArmRankings:
    """Rank each half of the questions with the weight that did best on the other half.

    A weight that was fitted on the questions that it is measured with would flatter the blend.
    """
    halves = split_in_halves([question.cluster for question in material.evaluation_set.questions], material.seed)
    judged = judge(material.evaluation_set, material.table)
    by_weight = {
        weight: material.rank(material.score(material.vectors.of(Embedding("blend", weight)))) for weight in WEIGHTS
    }
    rankings: dict[Scope, Ranking] = {}
    weights: dict[Scope, tuple[float, ...]] = {}
    for scope in SCOPES:
        values = {weight: headline(judged, one[scope], scope, material.depth) for weight, one in by_weight.items()}
        chosen = [_fit({weight: one[halves != half] for weight, one in values.items()}) for half in (0, 1)]
        rankings[scope] = _take_halves([by_weight[weight][scope] for weight in chosen], halves)
        weights[scope] = tuple(chosen)
    return ArmRankings(rankings, weights)


def _fit(values: Mapping[float, Values]) -> float:
    """The weight with the highest mean; the middle one where there is no question to fit it on."""
    kept = {weight: one[~np.isnan(one)] for weight, one in values.items()}
    return max(kept, key=lambda weight: kept[weight].mean()) if all(map(len, kept.values())) else 0.5


def _take_halves(rankings: Sequence[Ranking], halves: IntArray) -> Ranking:
    """Rows of the first ranking for the first half of the questions, of the second for the second."""
    chosen = halves[:, None] == 0
    first, second = rankings
    documents = np.where(chosen, first.documents, second.documents) if first.documents.size else first.documents
    return Ranking(np.where(chosen, first.chunks, second.chunks), documents)


BLEND = Arm(colour="#2f7fb8", rank=rank_blend, late=True, naive=True)
