"""Ways to score the same chunks. A new arm is a function here and an entry in ``ARMS``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Unpack

import numpy as np

from latechunk.embedding import Embedding
from latechunk.evaluation.dataset import EvaluationSet
from latechunk.evaluation.metrics import headline, judge
from latechunk.evaluation.passes import Vectors
from latechunk.evaluation.ranking import SCOPES, ChunkTable, Ranking, Rankings, Scope, rank
from latechunk.evaluation.searching import rank_by_search
from latechunk.evaluation.statistics import Values, split_in_halves
from latechunk.index import Index
from latechunk.search.options import SearchKeywords
from latechunk.types import FloatArray

WEIGHTS = tuple(round(0.1 * step, 1) for step in range(1, 10))


@dataclass(frozen=True, slots=True)
class Material:
    """What an arm scores with: the questions and chunks of a set, and what one encoder made of them.

    Attributes:
        depth: How many chunks a ranking has.
        seed: Of the halves that a blend is fitted on.
        vectors: Of the chunks; None where no arm compares vectors of its own.
        questions: Vectors of the questions, shape ``(n_questions, dims)``; None where no arm needs them.
        index: Holds the chunks, for the arms that search; None where none does.
    """

    evaluation_set: EvaluationSet
    table: ChunkTable
    depth: int
    seed: int
    vectors: Vectors | None = None
    questions: FloatArray | None = None
    index: Index | None = None

    def score(self, pick: Callable[[Vectors], FloatArray]) -> FloatArray:
        """Cosine of each question with each row that ``pick`` gives, shape ``(n_questions, n_rows)``."""
        if self.vectors is None or self.questions is None:
            raise RuntimeError("an arm was scored whose vectors were not computed")
        scores: FloatArray = self.questions @ pick(self.vectors).T
        return scores

    def rank(self, scores: FloatArray) -> Rankings:
        """The best chunks of each question by scope."""
        return {scope: rank(self.evaluation_set, self.table, scores, scope, self.depth) for scope in SCOPES}

    def rank_embedding(self, embedding: Embedding) -> Rankings:
        """The same by the cosine of each question with each chunk of an index with this embedding."""
        return self.rank(self.score(lambda vectors: vectors.of(embedding)))

    def search(self, options: SearchKeywords) -> Rankings:
        """What a search of the index finds."""
        if self.index is None:
            raise RuntimeError("an arm was ranked that searches an index, and there is none")
        return rank_by_search(self.index, self.evaluation_set, self.table, self.depth, options)


@dataclass(frozen=True, slots=True)
class Arm:
    """A way to rank chunks: by vectors of its own, all compared with the question's, or by a search of an index.

    Attributes:
        name: As a sentence has it.
        late: Whether it needs vectors that were read in context.
        naive: Whether it needs vectors of chunks that were read alone.
        searches: Whether it is a search of an index.
        dense: Of one that is, whether it compares vectors, too.
    """

    name: str
    colour: str
    rank: Callable[[Material], Rankings]
    late: bool = False
    naive: bool = False
    searches: bool = False
    dense: bool = False


def search_arm(name: str, colour: str, **options: Unpack[SearchKeywords]) -> Arm:
    """``Index.search`` with these options."""
    is_dense = options.get("mode") != "lexical"
    return Arm(name, colour, lambda material: material.search(options), searches=True, dense=is_dense)


def rank_blend(material: Material) -> Rankings:
    """Late and naive vectors mixed: each half of the questions with the weight that did best on the other half.

    A weight that was fitted on the questions that it is measured with would flatter the blend.
    """
    halves = split_in_halves([question.cluster for question in material.evaluation_set.questions], material.seed)
    judged = judge(material.evaluation_set, material.table)
    by_weight = {weight: material.rank_embedding(Embedding("blend", weight)) for weight in WEIGHTS}
    rankings: dict[Scope, Ranking] = {}
    for scope in SCOPES:
        values = {weight: headline(judged, one[scope], scope, material.depth) for weight, one in by_weight.items()}
        chosen = [_fit({weight: one[halves != half] for weight, one in values.items()}) for half in (0, 1)]
        first, second = (by_weight[weight][scope] for weight in chosen)
        is_first = halves[:, None] == 0
        rankings[scope] = Ranking(
            chunks=np.where(is_first, first.chunks, second.chunks),
            documents=np.where(is_first[:, : first.documents.shape[1]], first.documents, second.documents),
            weights=tuple(chosen),
        )
    return rankings


def _fit(values: Mapping[float, Values]) -> float:
    """The weight with the highest mean; the middle one where there is no question to fit it on."""
    kept = {weight: one[~np.isnan(one)] for weight, one in values.items()}
    return max(kept, key=lambda weight: kept[weight].mean()) if all(map(len, kept.values())) else 0.5


def rank_document(material: Material) -> Rankings:
    """Whole documents: each chunk has the score of its document, so that only the document is found."""
    return material.rank(material.score(lambda vectors: vectors.whole)[:, material.table.document_of])


ARMS: Mapping[str, Arm] = {
    "naive": Arm("naive chunking", "#8c8c8c", lambda material: material.rank_embedding(Embedding("naive")), naive=True),
    "late": Arm("late chunking", "#d1622b", lambda material: material.rank_embedding(Embedding("late")), late=True),
    "blend": Arm("a fitted blend", "#2f7fb8", rank_blend, late=True, naive=True),
    "document": Arm("whole documents", "#9467bd", rank_document, late=True),
    "default": search_arm("the default", "#c2185b"),
    "dense": search_arm("search by vectors", "#00838f", mode="dense"),
    "lexical": search_arm("search by words", "#8a7d00", mode="lexical"),
    "hybrid": search_arm("search by both", "#1f9168", mode="hybrid"),
}
