"""What every arm works with: one set's questions and chunks, and the vectors that one encoder gave them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from latechunk.embedding import Embedding
from latechunk.evaluation.bm25 import bm25_scores
from latechunk.evaluation.dataset import EvaluationSet
from latechunk.evaluation.passes import Vectors
from latechunk.evaluation.ranking import SCOPES, ChunkTable, Ranking, Scope, rank
from latechunk.evaluation.statistics import Values
from latechunk.types import FloatArray


@dataclass(frozen=True)
class Material:
    """What an arm scores with.

    Attributes:
        evaluation_set: Documents and questions.
        table: The chunks.
        embedding: How an index makes chunk vectors with this encoder where nothing is asked for.
        depth: How many chunks a ranking has.
        seed: Of the halves that a blend is fitted on.
        encoded: The chunks' vectors and the questions', shape ``(n_questions, dims)``; None where no arm needs any.
    """

    evaluation_set: EvaluationSet
    table: ChunkTable
    embedding: Embedding
    depth: int
    seed: int
    encoded: tuple[Vectors, FloatArray] | None = None

    @property
    def vectors(self) -> Vectors:
        """Vectors of the chunks."""
        if self.encoded is None:
            raise RuntimeError("an arm was scored whose vectors were not computed")
        return self.encoded[0]

    def score(self, chunks: FloatArray) -> FloatArray:
        """Cosine of each question with each row of ``chunks``, shape ``(n_questions, len(chunks))``."""
        if self.encoded is None:
            raise RuntimeError("an arm was scored whose vectors were not computed")
        scores: FloatArray = self.encoded[1] @ chunks.T
        return scores

    @cached_property
    def bm25(self) -> FloatArray:
        """BM25 of each question with each chunk, shape ``(n_questions, n_chunks)``."""
        documents = self.evaluation_set.documents
        texts = [
            documents[number].text[span.start : span.end]
            for number, span in zip(self.table.document_of, self.table.spans, strict=True)
        ]
        languages = {str(document.metadata.get("lang", "en")) for document in documents}
        return bm25_scores(texts, [question.text for question in self.evaluation_set.questions], languages)

    def rank(self, scores: FloatArray, depth: int | None = None) -> dict[Scope, Ranking]:
        """The best chunks of each question by scope, ``depth`` of them or as many as a ranking has."""
        return {scope: self.rank_scope(scores, scope, depth) for scope in SCOPES}

    def rank_scope(self, scores: Iterable[Values], scope: Scope, depth: int | None = None) -> Ranking:
        """The same for one scope, from the scores of one question after another."""
        return rank(self.evaluation_set, self.table, scores, scope, depth or self.depth)


@dataclass(frozen=True, slots=True)
class Arm:
    """A way to score chunks.

    Attributes:
        colour: In plots.
        rank: Ranks all questions of a set.
        late: Whether it needs vectors that were read in context.
        naive: Whether it needs vectors of chunks that were read alone.
    """

    colour: str
    rank: Callable[[Material], ArmRankings]
    late: bool = False
    naive: bool = False


@dataclass(frozen=True, slots=True)
class ArmRankings:
    """What an arm gives for a set.

    Attributes:
        rankings: By scope.
        weights: Of a fitted blend, the late share of each half of the questions, by scope.
    """

    rankings: Mapping[Scope, Ranking]
    weights: Mapping[Scope, tuple[float, ...]] = field(default_factory=dict)
