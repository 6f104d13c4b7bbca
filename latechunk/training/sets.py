"""Choose the sets that a run trains on, and those that it measures with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from latechunk.errors import InputError
from latechunk.evaluation.dataset import EvaluationSet, Question
from latechunk.evaluation.loaders import read_sets
from latechunk.training.data import require_usable, word_unusable
from latechunk.training.request import TrainingRequest

_LEAST_DOCUMENTS, _MOST_HELD_OUT = 10, 20
_SHARE = 0.1


def weighted_sets(request: TrainingRequest, sets: Sequence[EvaluationSet]) -> list[EvaluationSet]:
    """The sets of a weight above 0; InputError if a set that is named is not there, or none is left."""
    names = [one.name for one in sets]
    unknown = [name for name in (*request.weights, *request.own_document_only) if name not in names]
    if unknown:
        raise InputError(f"there is no set {unknown[0]!r} in {request.data}; there are {', '.join(names)}")
    left = [one for one in sets if request.weights.get(one.name, 1.0) != 0]
    if not left:
        raise InputError("every set has the weight 0; give one more")
    return left


def usable_questions(
    sets: Sequence[EvaluationSet], *, skip_unusable: bool
) -> tuple[list[EvaluationSet], tuple[str, ...]]:
    """Sets without the questions that no characters answer, and those questions, which ``skip_unusable`` allows."""
    unusable = tuple(
        word_unusable(one.name, question) for one in sets for question in one.questions if not question.has_spans
    )
    if not skip_unusable:
        require_usable(unusable)
    usable = [(one, tuple(question for question in one.questions if question.has_spans)) for one in sets]
    return [replace(one, questions=questions) for one, questions in usable if questions], unusable


def split_sets(
    request: TrainingRequest, sets: Sequence[EvaluationSet]
) -> tuple[Sequence[EvaluationSet], Sequence[EvaluationSet], str]:
    """Sets to train on, sets to measure with, and where the latter come from, or why there are none."""
    if request.no_evaluate:
        return sets, [], "the run was told not to"
    if request.evaluate is not None:
        given = read_sets(request.evaluate)
        _require_apart(sets, given)
        return sets, given, f"given apart: {', '.join(one.name for one in given)}"
    kept, held_out = hold_out(sets, request.seed)
    if not held_out:
        return sets, [], f"there are fewer than {_LEAST_DOCUMENTS} documents with questions"
    return kept, held_out, "drawn from the data below by document, and left out of it"


def hold_out(sets: Sequence[EvaluationSet], seed: int) -> tuple[list[EvaluationSet], list[EvaluationSet]]:
    """Draw a tenth of the documents that are asked about, at least 1 and at most 20, to measure with.

    Returns:
        Sets of the other documents, and sets of those drawn; each with the questions that they answer. One that
        documents of both answer is asked of those drawn alone: it is not trained on. Documents of one text are drawn
        together, and count as one. Nothing is held out of less than 10 documents.
    """
    asked = sorted(
        {(number, gold.document_id) for number, one in enumerate(sets) for q in one.questions for gold in q.gold}
    )
    texts = {(number, document.id): document.text for number, one in enumerate(sets) for document in one.documents}
    alike: dict[str, list[tuple[int, str]]] = {}
    for document in asked:
        alike.setdefault(texts[document], []).append(document)
    groups = list(alike.values())
    if len(groups) < _LEAST_DOCUMENTS:
        return list(sets), []
    n_held = min(_MOST_HELD_OUT, max(1, round(_SHARE * len(groups))))
    chosen = np.random.default_rng(seed).choice(len(groups), n_held, replace=False)
    held = {document for number in chosen.tolist() for document in groups[number]}
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


def _require_apart(sets: Sequence[EvaluationSet], given: Sequence[EvaluationSet]) -> None:
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
