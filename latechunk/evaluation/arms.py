"""Ways to score the same chunks. A new arm is a function here and an entry in ``ARMS``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from latechunk.embedding import Embedding
from latechunk.evaluation.bm25 import bm25_scores
from latechunk.evaluation.dataset import EvaluationSet
from latechunk.evaluation.metrics import headline, judge
from latechunk.evaluation.passes import Vectors
from latechunk.evaluation.ranking import NOTHING, SCOPES, ChunkTable, Ranking, Rankings, Scope, rank
from latechunk.evaluation.statistics import Values, split_in_halves
from latechunk.search.fusion import fuse_by_rank
from latechunk.search.options import SearchOptions
from latechunk.types import FloatArray

WEIGHTS = tuple(round(0.1 * step, 1) for step in range(1, 10))


@dataclass(frozen=True)
class Material:
    """What an arm scores with: the questions and chunks of a set, and the vectors that one encoder gave them.

    Attributes:
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

    def score(self, pick: Callable[[Vectors], FloatArray]) -> FloatArray:
        """Cosine of each question with each row that ``pick`` gives, shape ``(n_questions, n_rows)``."""
        if self.encoded is None:
            raise RuntimeError("an arm was scored whose vectors were not computed")
        vectors, questions = self.encoded
        scores: FloatArray = questions @ pick(vectors).T
        return scores

    def score_embedding(self, embedding: Embedding) -> FloatArray:
        """Cosine of each question with each chunk of an index with this embedding."""
        return self.score(lambda vectors: vectors.of(embedding))

    @cached_property
    def bm25(self) -> FloatArray:
        """BM25 of each question with each chunk, shape ``(n_questions, n_chunks)``."""
        documents = self.evaluation_set.documents
        places = zip(self.table.document_of, self.table.spans, strict=True)
        texts = [documents[number].text[span.start : span.end] for number, span in places]
        languages = {str(document.metadata.get("lang", "en")) for document in documents}
        return bm25_scores(texts, [question.text for question in self.evaluation_set.questions], languages)

    def rank(self, scores: FloatArray, depth: int | None = None) -> Rankings:
        """The best chunks of each question by scope, ``depth`` of them or as many as a ranking has."""
        return {scope: self.rank_scope(scores, scope, depth) for scope in SCOPES}

    def rank_scope(self, scores: Iterable[Values], scope: Scope, depth: int | None = None) -> Ranking:
        """The same for one scope, from the scores of one question after another."""
        return rank(self.evaluation_set, self.table, scores, scope, depth or self.depth)


@dataclass(frozen=True, slots=True)
class Arm:
    """A way to score chunks.

    ``late`` and ``naive`` say whether it needs vectors that were read in context, and of chunks that were read alone.
    """

    colour: str
    rank: Callable[[Material], Rankings]
    late: bool = False
    naive: bool = False


def rank_naive(material: Material) -> Rankings:
    """Each chunk read alone: what late chunking is compared with."""
    return material.rank(material.score_embedding(Embedding("naive")))


def rank_late(material: Material) -> Rankings:
    """Late chunking: each chunk's vector is the mean of its tokens, read within the document."""
    return material.rank(material.score_embedding(Embedding("late")))


def rank_blend(material: Material) -> Rankings:
    """Late and naive vectors mixed: each half of the questions with the weight that did best on the other half.

    A weight that was fitted on the questions that it is measured with would flatter the blend.
    """
    halves = split_in_halves([question.cluster for question in material.evaluation_set.questions], material.seed)
    judged = judge(material.evaluation_set, material.table)
    by_weight = {weight: material.rank(material.score_embedding(Embedding("blend", weight))) for weight in WEIGHTS}
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


def rank_bm25(material: Material) -> Rankings:
    """Words alone, as ``Index.search(mode="lexical")`` ranks."""
    return material.rank(material.bm25)


def rank_hybrid(material: Material) -> Rankings:
    """What ``Index.search(mode="hybrid")`` does: as many candidates, with the same weights, by the same function.

    Vectors are those of an index made with defaults: of a blend, the encoder's own share and none fitted here.
    """
    options = SearchOptions(k=material.depth, mode="hybrid")
    dense = material.rank(material.score_embedding(material.embedding), options.n_candidates)
    words = material.rank(material.bm25, options.n_candidates)

    def fuse(scope: Scope) -> Iterator[Values]:
        for both in zip(dense[scope].chunks, words[scope].chunks, strict=True):
            ranked = [one[one != NOTHING].tolist() for one in both]
            fused = fuse_by_rank(ranked, (options.dense_weight, 1 - options.dense_weight))
            scores = np.full(len(material.table), -np.inf)  # in float64, as a search adds them: float32 would make ties
            scores[list(fused)] = list(fused.values())
            yield scores

    return {scope: material.rank_scope(fuse(scope), scope) for scope in SCOPES}


ARMS: Mapping[str, Arm] = {
    "naive": Arm("#8c8c8c", rank_naive, naive=True),
    "late": Arm("#d1622b", rank_late, late=True),
    "blend": Arm("#2f7fb8", rank_blend, late=True, naive=True),
    "document": Arm("#9467bd", rank_document, late=True),
    "bm25": Arm("#8a7d00", rank_bm25),
    "hybrid": Arm("#1f9168", rank_hybrid, late=True, naive=True),
}
