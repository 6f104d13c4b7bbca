"""Vectors and gold spans in, nDCG@10 of every question out, and intervals of differences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import ir_measures
import numpy as np
from common import Question
from scipy import stats

from latechunk.embed import Cut
from latechunk.types import FloatArray

DEPTH = 10
MEASURE = ir_measures.nDCG @ DEPTH


def score(cuts: Sequence[Cut], questions: Sequence[Question], scores: FloatArray, *, within: bool) -> FloatArray:
    """nDCG@10 of each question, times 100.

    A chunk is relevant where it shares a character with a gold span. A question without spans asks for its document,
    which is then ranked by its best chunk.

    Args:
        cuts: Documents with their chunks.
        questions: What was asked.
        scores: Of each question with each chunk, all documents' chunks in order.
        within: Rank only the chunks of the right document.
    """
    qrels = list(_judge(cuts, questions))
    run = list(_rank(cuts, questions, scores, within=within))
    found = {one.query_id: one.value for one in ir_measures.iter_calc([MEASURE], qrels, run)}
    return np.array([100 * found[question.id] for question in questions], dtype=np.float32)


def interval(differences: FloatArray, clusters: Sequence[str], seed: int = 0) -> tuple[float, float]:
    """95 % bootstrap interval of the mean paired difference, questions of one document drawn together."""
    names, owners = np.unique(np.asarray(clusters), return_inverse=True)
    sums = np.bincount(owners, weights=differences, minlength=len(names))
    counts = np.bincount(owners, minlength=len(names))
    result = stats.bootstrap(
        (sums, counts),
        lambda sums, counts, axis: sums.sum(axis=axis) / counts.sum(axis=axis),
        paired=True,
        n_resamples=2_000,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def _judge(cuts: Sequence[Cut], questions: Sequence[Question]) -> Iterator[ir_measures.Qrel]:
    places = {cut.document.id: number for number, cut in enumerate(cuts)}
    for question in questions:
        number = places[question.document_id]
        if not question.spans:
            yield ir_measures.Qrel(question.id, f"{number}", 1)
        for place, span in enumerate(cuts[number].spans):
            if any(span.start < end and start < span.end for start, end in question.spans):
                yield ir_measures.Qrel(question.id, f"{number}-{place}", 1)


def _rank(
    cuts: Sequence[Cut], questions: Sequence[Question], scores: FloatArray, *, within: bool
) -> Iterator[ir_measures.ScoredDoc]:
    counts = [len(cut.spans) for cut in cuts]
    names = [f"{number}-{place}" for number, count in enumerate(counts) for place in range(count)]
    starts = np.cumsum([0, *counts[:-1]])
    places = {cut.document.id: number for number, cut in enumerate(cuts)}
    for question, row in zip(questions, scores, strict=True):
        if not question.spans:
            best = np.maximum.reduceat(row, starts)
            for number in np.argsort(-best, kind="stable")[:DEPTH]:
                yield ir_measures.ScoredDoc(question.id, f"{number}", float(best[number]))
            continue
        number = places[question.document_id]
        allowed = starts[number] + np.arange(counts[number]) if within else np.arange(len(names))
        best_first = _best(row[allowed])
        for chunk in allowed[best_first]:
            yield ir_measures.ScoredDoc(question.id, names[chunk], float(row[chunk]))


def _best(scores: FloatArray) -> list[int]:
    """Places of the highest scores, best first, the earlier one on a tie."""
    if len(scores) > 4 * DEPTH:
        near = np.flatnonzero(scores >= np.partition(scores, -DEPTH)[-DEPTH])
    else:
        near = np.arange(len(scores))
    order = np.argsort(-scores[near], kind="stable")[:DEPTH]
    return [int(place) for place in near[order]]
