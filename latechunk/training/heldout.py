"""Hold documents out of the training data, and measure how well an encoder answers the questions about them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from latechunk.embedding import Embedding
from latechunk.encoding.encoder import Encoder
from latechunk.errors import InputError
from latechunk.evaluation.dataset import EvaluationSet, Question
from latechunk.evaluation.metrics import headline, judge
from latechunk.evaluation.passes import encode
from latechunk.evaluation.ranking import SCOPES, Scope, rank
from latechunk.evaluation.statistics import Comparison, Values, compare

CHUNK_TOKENS = 64
DEPTH = 10
LEAST_DOCUMENTS, MOST_HELD_OUT = 10, 20
_SHARE = 0.1

Scores = dict[Scope, Values]


def hold_out(sets: Sequence[EvaluationSet], seed: int) -> tuple[list[EvaluationSet], list[EvaluationSet]]:
    """Draw a tenth of the documents that are asked about, at least 1 and at most 20, to measure with.

    Returns:
        Sets of the other documents, and sets of those drawn; each with the questions that they answer. One that
        documents of both answer is asked of those drawn alone: it is not trained on. Nothing is held out of less than
        10 documents.
    """
    asked = sorted(
        {(number, gold.document_id) for number, one in enumerate(sets) for q in one.questions for gold in q.gold}
    )
    if len(asked) < LEAST_DOCUMENTS:
        return list(sets), []
    n_held = min(MOST_HELD_OUT, max(1, round(_SHARE * len(asked))))
    chosen = np.random.default_rng(seed).choice(len(asked), n_held, replace=False)
    held = {asked[int(one)] for one in chosen}
    parts: list[list[EvaluationSet]] = [[], []]
    for number, one in enumerate(sets):
        for part, is_held in zip(parts, (False, True), strict=True):
            names = {d.id for d in one.documents if ((number, d.id) in held) == is_held}
            questions = _asked_of(one.questions, names) if is_held else _asked_only_of(one.questions, names)
            if questions:
                documents = tuple(document for document in one.documents if document.id in names)
                part.append(replace(one, documents=documents, questions=questions))
    return parts[0], parts[1]


def _asked_of(questions: Sequence[Question], names: set[str]) -> tuple[Question, ...]:
    """Questions with those of their answers that are in some documents."""
    kept = [replace(one, gold=tuple(gold for gold in one.gold if gold.document_id in names)) for one in questions]
    return tuple(one for one in kept if one.gold)


def _asked_only_of(questions: Sequence[Question], names: set[str]) -> tuple[Question, ...]:
    """Questions that no other documents answer."""
    return tuple(one for one in questions if all(gold.document_id in names for gold in one.gold))


def require_apart(sets: Sequence[EvaluationSet], given: Sequence[EvaluationSet]) -> None:
    """Raise InputError if a text of ``given``, to measure with, is in ``sets``, to train on."""
    trained: dict[str, str] = {}
    for one in sets:
        asked = {gold.document_id for question in one.questions for gold in question.gold}
        trained |= {
            document.text: f"{document.id!r} of {one.name}" for document in one.documents if document.id in asked
        }
    for one in given:
        for document in one.documents:
            if document.text in trained:
                raise InputError(
                    f"document {document.id!r} of {one.name}, to measure with, has the text of {trained[document.text]}"
                    f", which is trained on; measure with documents that are not trained on"
                )


def measure(
    encoder: Encoder,
    sets: Sequence[EvaluationSet],
    embeddings: Sequence[Embedding],
    on_characters: Callable[[int], None] | None = None,
) -> list[Scores]:
    """Measure how well chunks of 64 tokens are found, with chunk vectors made in one or more ways.

    Args:
        encoder: Reads documents and questions.
        sets: Each is a corpus of its own.
        embeddings: How chunk vectors are made.
        on_characters: Called with the characters done since the last call.

    Returns:
        For each way the nDCG@10 of every question of all sets, times 100, in the corpus and within its document; NaN
        where a question has none.
    """
    found: list[dict[Scope, list[Values]]] = [{scope: [] for scope in SCOPES} for _ in embeddings]
    modes = {embedding.mode for embedding in embeddings}
    for one in sets:
        vectors = encode(
            encoder,
            one,
            [CHUNK_TOKENS],
            late=bool(modes & {"late", "blend"}),
            naive={CHUNK_TOKENS: bool(modes & {"naive", "blend"})},
            on_progress=on_characters or no_report,
        )[CHUNK_TOKENS]
        judgements = judge(one, vectors.table)
        queries = encoder.encode_queries([question.text for question in one.questions])
        for embedding, values in zip(embeddings, found, strict=True):
            scores = queries @ vectors.of(embedding).T
            for scope in SCOPES:
                ranking = rank(one, vectors.table, scores, scope, DEPTH)
                values[scope].append(100 * headline(judgements, ranking, scope, DEPTH))
    return [{scope: np.concatenate(values[scope]) for scope in SCOPES} for values in found]


def means(scores: Scores) -> dict[Scope, float]:
    """Of all questions that have a value; NaN where none has."""
    kept = {scope: values[~np.isnan(values)] for scope, values in scores.items()}
    return {scope: float(values.mean()) if len(values) else float("nan") for scope, values in kept.items()}


def compare_scores(scores: Scores, reference: Scores, sets: Sequence[EvaluationSet]) -> dict[Scope, Comparison]:
    """Compare two ways of making vectors, questions of one document together."""
    clusters = np.array([f"{one.name}\0{question.cluster}" for one in sets for question in one.questions])
    compared: dict[Scope, Comparison] = {}
    for scope, values in scores.items():
        kept = ~np.isnan(values) & ~np.isnan(reference[scope])
        if kept.any():
            compared[scope] = compare(values[kept], reference[scope][kept], clusters[kept].tolist())
    return compared


def no_report(n_done: int) -> None:
    """Report to nobody."""
