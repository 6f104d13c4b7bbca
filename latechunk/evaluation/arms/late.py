"""Late chunking: each chunk's vector is the mean of its tokens, read within the document."""

from latechunk.embedding import Embedding
from latechunk.evaluation.arms.material import Arm, ArmRankings, Material


def rank_late(material: Material) -> ArmRankings:
    """Rank by the cosine with late vectors."""
    return ArmRankings(material.rank(material.score(material.vectors.of(Embedding("late")))))


LATE = Arm(colour="#d1622b", rank=rank_late, late=True)
