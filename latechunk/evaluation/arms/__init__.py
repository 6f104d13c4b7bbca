"""Ways to score the same chunks, one module each. A new arm is a module here and an entry in ``ARMS``."""

from collections.abc import Mapping

from latechunk.evaluation.arms.blend import BLEND
from latechunk.evaluation.arms.bm25 import BM25
from latechunk.evaluation.arms.document import DOCUMENT
from latechunk.evaluation.arms.hybrid import HYBRID
from latechunk.evaluation.arms.late import LATE
from latechunk.evaluation.arms.material import Arm, Material
from latechunk.evaluation.arms.naive import NAIVE

__all__ = ["ARMS", "Arm", "Material"]

ARMS: Mapping[str, Arm] = {
    "naive": NAIVE,
    "late": LATE,
    "blend": BLEND,
    "document": DOCUMENT,
    "bm25": BM25,
    "hybrid": HYBRID,
}
