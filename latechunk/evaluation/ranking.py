"""Scores of questions with chunks in, the best chunks of each question out: in the corpus and within its document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from latechunk.evaluation.dataset import EvaluationSet, Question
from latechunk.types import FloatArray, IntArray, Span

Scope: TypeAlias = Literal["corpus", "document"]

SCOPES: tuple[Scope, ...] = ("corpus", "document")
NOTHING = -1  # where a ranking has no more to give
_BLOCK = 256  # questions scored at a time


@dataclass(frozen=True, slots=True)
class ChunkTable:
    """The chunks of all documents of a set, document after document.

    Attributes:
        spans: All chunks' spans.
        document_of: Number of each chunk's document, shape ``(n_chunks,)``.
        first: First chunk of each document, and one past the last chunk, shape ``(n_documents + 1,)``.
    """

    spans: tuple[Span, ...]
    document_of: IntArray
    first: IntArray

    @classmethod
    def of(cls, spans: Sequence[Sequence[Span]]) -> ChunkTable:
        """Lay out chunks given document by document."""
        counts = np.array([len(one) for one in spans], dtype=np.int64)
        return cls(
            spans=tuple(span for one in spans for span in one),
            document_of=np.repeat(np.arange(len(spans)), counts),
            first=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        )

    def __len__(self) -> int:
        return len(self.spans)


@dataclass(frozen=True, slots=True)
class Ranking:
    """The best of each question, best first; ``NOTHING`` where there is no more.

    Attributes:
        chunks: Chunk numbers, shape ``(n_questions, depth)``.
        documents: Document numbers by their best chunk; empty within documents.
    """

    chunks: IntArray
    documents: IntArray


def rank(evaluation_set: EvaluationSet, table: ChunkTable, scores: FloatArray, scope: Scope, depth: int) -> Ranking:
    """Rank chunks and, over a corpus, documents by their best chunk. On a tie the earlier one comes first.

    Args:
        evaluation_set: The questions, in order.
        table: The chunks.
        scores: Of each question with each chunk, shape ``(n_questions, n_chunks)``; ``-inf`` where there is none.
        scope: ``"document"`` ranks only the chunks of the documents that hold an answer.
        depth: How many.
    """
    places = {document.id: number for number, document in enumerate(evaluation_set.documents)}
    n_questions = len(evaluation_set.questions)
    chunks = np.full((n_questions, depth), NOTHING, dtype=np.int64)
    documents = np.full((n_questions, depth if scope == "corpus" else 0), NOTHING, dtype=np.int64)
    for number, question in enumerate(evaluation_set.questions):
        row = scores[number]
        if scope == "corpus":
            fill(documents[number], np.maximum.reduceat(row, table.first[:-1]))
            fill(chunks[number], row)
        else:
            allowed = answering_chunks(table, question, places)
            fill(chunks[number], row[allowed])
            filled = chunks[number] != NOTHING
            chunks[number, filled] = allowed[chunks[number, filled]]
    return Ranking(chunks, documents)


def answering_chunks(table: ChunkTable, question: Question, places: dict[str, int]) -> IntArray:
    """All chunks of the documents that hold an answer, in order."""
    numbers = sorted({places[gold.document_id] for gold in question.gold})
    return np.concatenate([np.arange(table.first[number], table.first[number + 1]) for number in numbers])


def fill(row: IntArray, scores: FloatArray) -> None:
    """Write the places of the highest scores into ``row``, best first; ``-inf`` is not ranked."""
    depth = min(len(row), int((scores > -np.inf).sum()))
    if not depth:
        return
    near = np.arange(len(scores))
    if len(scores) > 4 * depth:
        near = np.flatnonzero(scores >= np.partition(scores, -depth)[-depth])
    order = np.argsort(-scores[near], kind="stable")[:depth]
    row[:depth] = near[order]


def fuse(rankings: Sequence[IntArray], n_chunks: int, constant: int = 60) -> FloatArray:
    """Reciprocal rank fusion: the sum of ``1 / (constant + rank)``, ranks from 1 (Cormack et al., 2009).

    Args:
        rankings: Of each retriever, chunk numbers, shape ``(n_questions, depth)``.
        n_chunks: How many chunks there are.
        constant: 60 in the paper.

    Returns:
        Scores, ``-inf`` where no retriever ranks a chunk, shape ``(n_questions, n_chunks)``.
    """
    scores = np.zeros((len(rankings[0]), n_chunks), dtype=np.float32)
    for ranking in rankings:
        for place in range(ranking.shape[1]):
            rows = np.flatnonzero(ranking[:, place] != NOTHING)
            scores[rows, ranking[rows, place]] += 1.0 / (constant + place + 1)
    scores[scores == 0] = -np.inf
    return scores
