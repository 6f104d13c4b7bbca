"""Measures of each question from rankings: by chunk, by document, by character."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ir_measures
import numpy as np
from ir_measures import RR, R, Success, nDCG
from numpy.typing import NDArray

from latechunk.evaluation.dataset import EvaluationSet
from latechunk.evaluation.ranking import NOTHING, ChunkTable, Ranking, Scope
from latechunk.evaluation.statistics import Values
from latechunk.types import IntArray, Span

CUTOFFS = (1, 5, 10)
_CHARACTER_DEPTH = 5


@dataclass(frozen=True, slots=True)
class Judgements:
    """What is relevant to each question of a set, with its grade.

    Attributes:
        chunks: Of each question, the chunks that share a character with a gold span.
        documents: Of each question, the documents that hold an answer.
        has_spans: Which questions ask for characters, and not for a document, shape ``(n_questions,)``.
    """

    evaluation_set: EvaluationSet
    table: ChunkTable
    chunks: tuple[dict[int, int], ...]
    documents: tuple[dict[int, int], ...]
    has_spans: NDArray[np.bool_]


def judge(evaluation_set: EvaluationSet, table: ChunkTable) -> Judgements:
    """Find what is relevant to each question."""
    places = evaluation_set.places
    starts = np.array([span.start for span in table.spans])
    ends = np.array([span.end for span in table.spans])
    chunks, documents = [], []
    for question in evaluation_set.questions:
        grades: dict[int, int] = {}
        of_documents: dict[int, int] = {}
        for gold in question.gold:
            place = places[gold.document_id]
            of_documents[place] = max(gold.grade, of_documents.get(place, 0))
            own = slice(*table.first[place:][:2])
            for span in gold.spans:
                for number in np.flatnonzero((starts[own] < span.end) & (span.start < ends[own])):
                    chunk = int(own.start + number)
                    grades[chunk] = max(gold.grade, grades.get(chunk, 0))
        chunks.append(grades)
        documents.append(of_documents)
    has_spans = np.array([question.has_spans for question in evaluation_set.questions])
    return Judgements(evaluation_set, table, tuple(chunks), tuple(documents), has_spans)


def measure(judgements: Judgements, ranking: Ranking, scope: Scope, depth: int) -> dict[str, Values]:
    """All measures of a ranking, one value for each question, NaN where a measure does not fit the question.

    A question without spans asks for its document, and is measured by documents alone. nDCG, recall, MRR and hit (a
    relevant one among the first k) are those of ir-measures; ``depth`` is the k of nDCG, recall and MRR. Within
    documents nothing is measured by document.
    """
    names = {nDCG @ depth: f"nDCG@{depth}", RR @ depth: f"MRR@{depth}", R @ depth: f"recall@{depth}"}
    names |= {Success @ k: f"hit@{k}" for k in CUTOFFS if k <= depth}
    found = {
        name: np.where(judgements.has_spans, values, np.nan)
        for name, values in _library(names, judgements.chunks, ranking.chunks).items()
    }
    found |= _by_character(judgements, ranking.chunks[:, : min(_CHARACTER_DEPTH, depth)])
    if scope == "corpus":
        by_document = _library(names, judgements.documents, ranking.documents)
        found |= {f"document {name}": values for name, values in by_document.items()}
    return found


def headline(judgements: Judgements, ranking: Ranking, scope: Scope, depth: int) -> Values:
    """The nDCG of each question, by document where it asks for one; NaN where that is not measured."""
    names = {nDCG @ depth: "nDCG"}
    values = _library(names, judgements.chunks, ranking.chunks[:, :depth])["nDCG"]
    if judgements.has_spans.all():
        return values
    if scope == "document":
        return np.where(judgements.has_spans, values, np.nan)
    by_document = _library(names, judgements.documents, ranking.documents[:, :depth])["nDCG"]
    return np.where(judgements.has_spans, values, by_document)


def _library(names: Mapping[Any, str], relevant: Sequence[dict[int, int]], ranked: IntArray) -> dict[str, Values]:
    values: dict[str, Values] = {name: np.zeros(len(relevant)) for name in names.values()}
    qrels = [
        ir_measures.Qrel(str(number), str(chunk), grade)
        for number, grades in enumerate(relevant)
        for chunk, grade in grades.items()
    ]
    run = [
        ir_measures.ScoredDoc(str(number), str(chunk), float(len(row) - place))
        for number, row in enumerate(ranked)
        for place, chunk in enumerate(row)
        if chunk != NOTHING
    ]
    for one in ir_measures.iter_calc(list(names), qrels, run):
        values[names[one.measure]][int(one.query_id)] = one.value
    return values


def _by_character(judgements: Judgements, ranked: IntArray) -> dict[str, Values]:
    """Recall, precision and intersection over union of the characters in the chunks of a ranking.

    As Chroma defines them (Smith and Troynikov, 2024, Evaluating Chunking Strategies for Retrieval), over characters
    instead of tokens: retrieved are the characters of the chunks together, each once.
    """
    names = [f"character {name}@{ranked.shape[1]}" for name in ("recall", "precision", "IoU")]
    values = np.full((3, len(ranked)), np.nan)
    table, documents = judgements.table, judgements.evaluation_set.documents
    for number in np.flatnonzero(judgements.has_spans):
        chunks = [int(chunk) for chunk in ranked[number] if chunk != NOTHING]
        retrieved = _by_document((documents[table.document_of[one]].id, table.spans[one]) for one in chunks)
        gold = judgements.evaluation_set.questions[number].gold
        expected = _by_document((one.document_id, span) for one in gold for span in one.spans)
        values[:, number] = character_overlap(retrieved, expected)
    return dict(zip(names, values, strict=True))


def _by_document(spans: Iterable[tuple[str, Span]]) -> dict[str, list[Span]]:
    grouped: dict[str, list[Span]] = {}
    for name, span in spans:
        grouped.setdefault(name, []).append(span)
    return grouped


def character_overlap(retrieved: dict[str, list[Span]], gold: dict[str, list[Span]]) -> tuple[float, float, float]:
    """Recall, precision and intersection over union of two sets of characters, given by document."""
    n_retrieved = sum(_count(spans) for spans in retrieved.values())
    n_gold = sum(_count(spans) for spans in gold.values())
    n_either = sum(_count([*retrieved.get(name, []), *gold.get(name, [])]) for name in retrieved.keys() | gold.keys())
    n_both = n_retrieved + n_gold - n_either
    return n_both / n_gold, n_both / n_retrieved if n_retrieved else 0.0, n_both / n_either


def _count(spans: Sequence[Span]) -> int:
    """Characters in at least one of the spans."""
    total, reached = 0, 0
    for span in sorted(spans):
        total += max(0, span.end - max(span.start, reached))
        reached = max(reached, span.end)
    return total
