"""What ``Index.search(mode="hybrid")`` does: the index's vectors and BM25, fused by reciprocal ranks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from latechunk.evaluation.arms.material import Arm, ArmRankings, Material
from latechunk.evaluation.ranking import NOTHING, SCOPES, Ranking
from latechunk.evaluation.statistics import Values
from latechunk.search.fusion import fuse_by_rank
from latechunk.search.options import SearchOptions


def rank_hybrid(material: Material) -> ArmRankings:
    """Fuse as many candidates, with the weights and by the function that a search with defaults does.

    Vectors are those of an index made with defaults: of a blend, the encoder's own share and none fitted here.
    """
    options = SearchOptions(k=material.depth, mode="hybrid")
    dense = material.rank(material.score(material.vectors.of(material.embedding)), options.n_candidates)
    words = material.rank(material.bm25, options.n_candidates)
    weights = (options.dense_weight, 1 - options.dense_weight)
    return ArmRankings(
        {
            scope: material.rank_scope(_fuse(dense[scope], words[scope], weights, len(material.table)), scope)
            for scope in SCOPES
        }
    )


def _fuse(dense: Ranking, words: Ranking, weights: tuple[float, float], n_chunks: int) -> Iterator[Values]:
    """Fused scores of each question, ``-inf`` for chunks that neither ranks, shape ``(n_chunks,)``."""
    for both in zip(dense.chunks, words.chunks, strict=True):
        fused = fuse_by_rank([one[one != NOTHING].tolist() for one in both], weights)
        scores = np.full(n_chunks, -np.inf)  # in float64, as a search adds them: float32 would make ties
        scores[list(fused)] = list(fused.values())
        yield scores


HYBRID = Arm(colour="#1f9168", rank=rank_hybrid, late=True, naive=True)
