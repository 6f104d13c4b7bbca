"""Each chunk read alone: what late chunking is compared with."""

from latechunk.embedding import Embedding
from latechunk.evaluation.arms.material import Arm, ArmRankings, Material


def rank_naive(material: Material) -> ArmRankings:
    """Rank by the cosine with naive vectors."""
    return ArmRankings(material.rank(material.score(material.vectors.of(Embedding("naive")))))


NAIVE = Arm(colour="#8c8c8c", rank=rank_naive, naive=True)
