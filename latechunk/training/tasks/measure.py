"""Measure vectors by what their task is for, as MTEB does."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from latechunk.training.tasks.data import LabelledTexts, ScoredPairs, TextData, TextTask
from latechunk.types import FloatArray

MEASURES = {
    "text-matching": "Spearman correlation of cosines with scores",
    "classification": "accuracy of logistic regression",
    "separation": "V-measure of k-means",
}
_MOST_FITTED = 2_000
_ROUNDS = 10  # of k-means, from other centres


def measure_texts(
    task: TextTask, encode: Callable[[tuple[str, ...]], FloatArray], train: TextData, held_out: TextData, seed: int
) -> float:
    """The measure of a task on ``held_out``, times 100; a classifier is fitted on at most 2,000 texts of ``train``."""
    if isinstance(held_out, ScoredPairs):
        return _correlation(encode(held_out.texts), held_out)
    if task == "classification" and isinstance(train, LabelledTexts):
        drawn = np.random.default_rng(seed).permutation(train.n_rows)[:_MOST_FITTED]
        fitted = train.take(drawn)
        return _accuracy(encode(fitted.texts), fitted, encode(held_out.texts), held_out)
    return _v_measure(encode(held_out.texts), held_out, seed)


def _correlation(vectors: FloatArray, pairs: ScoredPairs) -> float:
    from scipy.stats import spearmanr

    cosines = (vectors[pairs.pairs[:, 0]] * vectors[pairs.pairs[:, 1]]).sum(axis=1)
    return 100 * float(spearmanr(cosines, pairs.scores).statistic)


def _accuracy(fitted: FloatArray, train: LabelledTexts, vectors: FloatArray, held_out: LabelledTexts) -> float:
    from sklearn.linear_model import LogisticRegression

    classifier = LogisticRegression(max_iter=1_000).fit(fitted, train.labels)
    return 100 * float(classifier.score(vectors, held_out.labels))


def _v_measure(vectors: FloatArray, texts: LabelledTexts, seed: int) -> float:
    from sklearn.cluster import KMeans
    from sklearn.metrics import v_measure_score

    clusters = KMeans(len(np.unique(texts.labels)), n_init=_ROUNDS, random_state=seed).fit_predict(vectors)
    return 100 * float(v_measure_score(texts.labels, clusters))
