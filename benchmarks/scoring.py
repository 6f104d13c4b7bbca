"""nDCG@10 of every question from the scores of chunks, by the evaluation harness."""

from __future__ import annotations

from collections.abc import Sequence

from latechunk.embedding import ChunkedDocument
from latechunk.evaluation.dataset import EvaluationSet, Question
from latechunk.evaluation.metrics import headline, judge
from latechunk.evaluation.ranking import ChunkTable, Scope, rank
from latechunk.evaluation.statistics import Values
from latechunk.types import FloatArray

DEPTH = 10


def score(
    cuts: Sequence[ChunkedDocument], questions: Sequence[Question], scores: FloatArray, *, within: bool
) -> Values:
    """The nDCG@10 of each question, times 100; of documents where a question asks for one.

    Args:
        cuts: Documents with their chunks.
        questions: What was asked.
        scores: Of each question with each chunk, all documents' chunks in order.
        within: Rank only the chunks of the right document.
    """
    asked = EvaluationSet("asked", tuple(cut.document for cut in cuts), tuple(questions))
    table = ChunkTable.of([cut.spans for cut in cuts])
    scope: Scope = "document" if within else "corpus"
    return 100 * headline(judge(asked, table), rank(asked, table, scores, scope, DEPTH), scope, DEPTH)
