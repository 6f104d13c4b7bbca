"""Figures of an evaluation: means of every measure, and gains over a reference with how sure and where they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import pairwise
from typing import Any

import numpy as np

from latechunk.evaluation.harness import SetResult
from latechunk.evaluation.metrics import Judgements, headline, judge, measure
from latechunk.evaluation.ranking import NOTHING, SCOPES, ArmResult, Scope
from latechunk.evaluation.statistics import Comparison, Values, compare

Figures = Mapping[str, Any]

_LEAST_QUESTIONS = 10  # of a part, for its mean to be told


def summarise(result: SetResult, reference: str, depth: int) -> list[dict[str, Any]]:
    """All figures of a set, a row for each encoder, chunk size, scope and arm.

    Args:
        result: What was ranked.
        reference: The arm that the others of the same encoder and chunk size are compared with.
        depth: The k of the measures.

    Returns:
        Rows with ``set``, ``encoder``, ``max_tokens``, ``scope``, ``arm``, ``headline`` (the measure that is
        compared), ``measures`` (means, times 100), ``comparison`` (times 100; None for the reference itself) and
        ``parts`` (gains by length of the question, length of the document and place of the answer).
    """
    rows = []
    for size in dict.fromkeys(one.max_tokens for one in result.results):
        for scope in SCOPES:
            same = [one for one in result.results if one.max_tokens == size]
            rows += _summarise_scope(result, same, scope, reference, depth)
    return rows


def _summarise_scope(
    result: SetResult, arms: Sequence[ArmResult], scope: Scope, reference: str, depth: int
) -> list[dict[str, Any]]:
    judged = {one.encoder: judge(result.evaluation_set, result.tables[one.encoder, one.max_tokens]) for one in arms}
    name = name_headline(judged[arms[0].encoder], scope, depth)
    if name is None:
        return []
    heads = [headline(judged[one.encoder], one.rankings[scope], scope, depth) for one in arms]
    rows = []
    for one, values in zip(arms, heads, strict=True):
        own = [number for number, other in enumerate(arms) if other.encoder == one.encoder]
        base = next((heads[number] for number in own if arms[number].arm == reference), heads[own[0]])
        asked = ~np.isnan(base)
        clusters = [each.cluster for each, kept in zip(result.evaluation_set.questions, asked, strict=True) if kept]
        compared = None if values is base else compare(values[asked], base[asked], clusters)
        found = measure(judged[one.encoder], one.rankings[scope], scope, depth)
        rows.append(
            {
                "set": result.evaluation_set.name,
                "encoder": one.encoder,
                "max_tokens": one.max_tokens,
                "scope": scope,
                "arm": one.arm,
                "late_weights": list(one.weights.get(scope, ())),
                "n_questions": int(asked.sum()),
                "headline": name,
                "measures": {name: _percent(_mean(values))}
                | {other: _percent(_mean(column)) for other, column in found.items() if other != name},
                "comparison": None if compared is None else _in_percent(compared),
                "parts": {} if compared is None else split_gains(judged[one.encoder], values - base),
            }
        )
    return rows


def name_headline(judgements: Judgements, scope: Scope, depth: int) -> str | None:
    """What is compared: nDCG of chunks where questions ask for characters, of documents where they ask for those."""
    if judgements.has_spans.all():
        return f"nDCG@{depth}"
    if scope == "document":
        return f"nDCG@{depth}" if judgements.has_spans.any() else None
    return f"chunk or document nDCG@{depth}" if judgements.has_spans.any() else f"document nDCG@{depth}"


def split_gains(judgements: Judgements, gains: Values) -> dict[str, dict[str, Any]]:
    """Mean gain by length of the question, length of the document, and place of the first answer in it.

    Lengths are parted at their thirds, so parts are about even; places at thirds of the document.
    """
    evaluation_set = judgements.evaluation_set
    lengths = {document.id: len(document.text) for document in evaluation_set.documents}
    words = np.array([len(question.text.split()) for question in evaluation_set.questions], dtype=float)
    document = np.array([lengths[question.cluster] for question in evaluation_set.questions], dtype=float)
    place = np.array(
        [
            question.gold[0].spans[0].start / lengths[question.cluster] if question.has_spans else np.nan
            for question in evaluation_set.questions
        ]
    )
    return {
        "words of the question": _by_thirds(words, gains),
        "characters of the document": _by_thirds(document, gains),
        "place of the answer": _by_bounds(place, gains, (1 / 3, 2 / 3), ("first third", "middle", "last third")),
    }


def _by_thirds(values: Values, gains: Values) -> dict[str, Any]:
    low, high = np.quantile(values, [1 / 3, 2 / 3])
    names = (f"up to {low:,.0f}", f"to {high:,.0f}", f"above {high:,.0f}")
    return _by_bounds(values, gains, (low, high), names)


def _by_bounds(
    values: Values, gains: Values, bounds: tuple[float, float], names: tuple[str, str, str]
) -> dict[str, Any]:
    low, high = bounds
    parts = (values <= low, (values > low) & (values <= high), values > high)
    found = {}
    for name, part in zip(names, parts, strict=True):
        kept = gains[part & ~np.isnan(gains)]
        if len(kept) >= _LEAST_QUESTIONS:
            found[name] = {"n_questions": len(kept), "gain": _percent(float(kept.mean()))}
    return found


def most_changed(result: SetResult, arm: str, reference: str, depth: int, n: int) -> list[dict[str, Any]]:
    """The questions whose headline changed most between two arms, first encoder and chunk size, in the corpus.

    Returns:
        For each ``question``, ``document``, ``change`` and ``passages``: of both arms the rank of the first relevant
        chunk (None beyond the depth) and the first passage, as pieces ``(text, whether it is gold)``.
    """
    first = result.results[0]
    key = (first.encoder, first.max_tokens)
    by_arm = {one.arm: one for one in result.results if (one.encoder, one.max_tokens) == key}
    if arm not in by_arm or reference not in by_arm:
        return []
    judged = judge(result.evaluation_set, result.tables[key])
    before, after = (headline(judged, by_arm[name].rankings["corpus"], "corpus", depth) for name in (reference, arm))
    changes = np.nan_to_num(after - before)
    order = np.argsort(-np.abs(changes), kind="stable")[:n]
    return [
        _describe_change(judged, {name: by_arm[name] for name in (reference, arm)}, int(number), float(changes[number]))
        for number in order
        if changes[number]
    ]


def _describe_change(judged: Judgements, arms: Mapping[str, ArmResult], number: int, change: float) -> dict[str, Any]:
    question = judged.evaluation_set.questions[number]
    return {
        "set": judged.evaluation_set.name,
        "question": question.text,
        "document": question.cluster,
        "change": _percent(change),
        "passages": {
            name: {
                "rank": _first_relevant(judged, arm.rankings["corpus"].chunks[number], number),
                **_show_passage(judged, int(arm.rankings["corpus"].chunks[number, 0]), number),
            }
            for name, arm in arms.items()
        },
    }


def _first_relevant(judged: Judgements, ranked: np.ndarray, number: int) -> int | None:
    relevant = judged.chunks[number]
    return next((place for place, chunk in enumerate(ranked.tolist(), start=1) if chunk in relevant), None)


def _show_passage(judged: Judgements, chunk: int, number: int) -> dict[str, Any]:
    if chunk == NOTHING:
        return {"document": None, "pieces": []}
    document = judged.evaluation_set.documents[judged.table.document_of[chunk]]
    span = judged.table.spans[chunk]
    gold = [
        (max(one.start, span.start), min(one.end, span.end))
        for answer in judged.evaluation_set.questions[number].gold
        if answer.document_id == document.id
        for one in answer.spans
        if one.start < span.end and span.start < one.end
    ]
    return {"document": document.id, "pieces": mark(document.text, span.start, span.end, gold)}


def mark(text: str, start: int, end: int, gold: Sequence[tuple[int, int]]) -> list[tuple[str, bool]]:
    """Cut ``text[start:end]`` into pieces, each wholly inside of the gold spans or outside."""
    bounds = sorted({start, end, *(place for span in gold for place in span if start < place < end)})
    return [
        (text[begin:stop], any(low <= begin and stop <= high for low, high in gold)) for begin, stop in pairwise(bounds)
    ]


def _mean(column: Values) -> float:
    kept = column[~np.isnan(column)]
    return float(kept.mean()) if len(kept) else float("nan")


def _percent(value: float) -> float | None:
    return None if np.isnan(value) or np.isinf(value) else round(100 * value, 2)


def _in_percent(compared: Comparison) -> dict[str, Any]:
    scaled = {name: _percent(getattr(compared, name)) for name in ("mean", "difference", "low", "high")}
    counts = {name: getattr(compared, name) for name in ("wins", "ties", "losses")}
    return {**asdict(compared), **scaled, **counts, "p_value": round(compared.p_value, 5), "is_sure": compared.is_sure}
