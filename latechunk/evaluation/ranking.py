"""Rank the chunks of each question by their scores: in the corpus, and within the documents that answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from latechunk.evaluation.dataset import EvaluationSet
from latechunk.evaluation.statistics import Values
from latechunk.types import IntArray, Span

Scope: TypeAlias = Literal["corpus", "document"]

SCOPES: tuple[Scope, ...] = ("corpus", "document")
NOTHING = -1  # where a ranking has no more to give


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
        documents: Document numbers by their best chunk, of the same shape; of width 0 within documents.
        weights: Of a fitted blend, the late share of each half of the questions.
    """

    chunks: IntArray
    documents: IntArray
    weights: tuple[float, ...] = ()


Rankings: TypeAlias = Mapping[Scope, Ranking]


@dataclass(frozen=True, slots=True)
class ArmResult:
    """The rankings of one arm on one set with one encoder and chunk size, by scope."""

    arm: str
    encoder: str
    max_tokens: int
    rankings: Rankings


def rank(
    evaluation_set: EvaluationSet, table: ChunkTable, scores: Iterable[Values], scope: Scope, depth: int
) -> Ranking:
    """Rank chunks and, over a corpus, documents by their best chunk. On a tie the earlier one comes first.

    ``scores`` are those of each question with each chunk: a matrix of shape ``(n_questions, n_chunks)``, or its rows
    one after another; ``-inf`` where there is none. The scope ``"document"`` ranks only the chunks of the documents
    that hold an answer, ``depth`` is how many.
    """
    places = evaluation_set.places
    n_questions = len(evaluation_set.questions)
    chunks = np.full((n_questions, depth), NOTHING, dtype=np.int64)
    documents = np.full((n_questions, depth if scope == "corpus" else 0), NOTHING, dtype=np.int64)
    for number, (question, row) in enumerate(zip(evaluation_set.questions, scores, strict=True)):
        if scope == "corpus":
            fill(documents[number], np.maximum.reduceat(row, table.first[:-1]))
            fill(chunks[number], row)
        else:
            answering = sorted({places[gold.document_id] for gold in question.gold})
            allowed = np.concatenate([np.arange(*table.first[one : one + 2]) for one in answering])
            fill(chunks[number], row[allowed])
            filled = chunks[number] != NOTHING
            chunks[number, filled] = allowed[chunks[number, filled]]
    return Ranking(chunks, documents)


def fill(row: IntArray, scores: Values) -> None:
    """Write the places of the highest scores into ``row``, best first; ``-inf`` is not ranked."""
    depth = min(len(row), int((scores > -np.inf).sum()))
    if depth:
        near = np.flatnonzero(scores >= np.partition(scores, -depth)[-depth])
        row[:depth] = near[np.argsort(-scores[near], kind="stable")[:depth]]
