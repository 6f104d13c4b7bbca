"""Whole documents: each chunk has the score of its document, so that only the document is found."""

from latechunk.evaluation.arms.material import Arm, ArmRankings, Material


def rank_document(material: Material) -> ArmRankings:
    """Rank by the cosine with the vector of the whole document."""
    return ArmRankings(material.rank(material.score(material.vectors.whole)[:, material.table.document_of]))


DOCUMENT = Arm(colour="#9467bd", rank=rank_document, late=True)
