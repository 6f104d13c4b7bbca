"""Choose the sets that a run trains on, and those that it measures with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from latechunk.errors import InputError
from latechunk.evaluation.dataset import EvaluationSet
from latechunk.evaluation.loaders import read_sets
from latechunk.training.data import NO_CHARACTERS, TrainingData, UnusableQuestion, require_usable
from latechunk.training.heldout import LEAST_DOCUMENTS, hold_out, require_apart
from latechunk.training.request import TrainingRequest


def weighted_sets(request: TrainingRequest, sets: Sequence[EvaluationSet]) -> list[EvaluationSet]:
    """The sets that are trained on: those with a weight of 0 are read, and not tokenised.

    Raises:
        InputError: If a set that is named is not there, or none is left.
    """
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
) -> tuple[list[EvaluationSet], tuple[UnusableQuestion, ...]]:
    """Sets without the questions that no characters answer, and those questions, held-out ones too.

    Raises:
        InputError: If there are some and they are not to be left out; it names the first of them.
    """
    unusable = tuple(
        UnusableQuestion(one.name, question.id, NO_CHARACTERS)
        for one in sets
        for question in one.questions
        if not question.has_spans
    )
    if not skip_unusable:
        require_usable(TrainingData((), (), unusable))
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
        require_apart(sets, given)
        return sets, given, f"given apart: {', '.join(one.name for one in given)}"
    kept, held_out = hold_out(sets, request.seed)
    if not held_out:
        return sets, [], f"there are fewer than {LEAST_DOCUMENTS} documents with questions"
    return kept, held_out, "drawn from the data below by document, and left out of it"
