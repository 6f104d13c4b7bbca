"""Words alone: BM25, as ``Index.search(mode="lexical")`` ranks."""

from latechunk.evaluation.arms.material import Arm, ArmRankings, Material


def rank_bm25(material: Material) -> ArmRankings:
    """Rank by BM25."""
    return ArmRankings(material.rank(material.bm25))


BM25 = Arm(colour="#8a7d00", rank=rank_bm25)
