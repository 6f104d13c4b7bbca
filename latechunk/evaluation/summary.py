"""Figures of an evaluation: means of every measure, and gains over a reference with how sure and where they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import pairwise
from typing import Any

import numpy as np

from latechunk.chunking.places import make_chunks, with_outline
from latechunk.evaluation.harness import SetResult
from latechunk.evaluation.metrics import Judgements, headline, judge, measure
from latechunk.evaluation.ranking import NOTHING, SCOPES, ArmResult, Ranking, Scope
from latechunk.evaluation.statistics import Comparison, Values, compare

_LEAST_QUESTIONS = 10  # of a part, for its mean to be told


def summarise(result: SetResult, reference: str, depth: int) -> list[dict[str, Any]]:
    """All figures of a set, a row for each encoder, chunk size, scope and arm.

    The other arms of an encoder and chunk size are compared with ``reference``; ``depth`` is the k of the measures.

    Returns:
        Rows with ``set``, ``encoder``, ``max_tokens``, ``scope``, ``arm``, ``headline`` (the measure that is
        compared), ``measures`` (means, times 100), ``comparison`` (times 100; None for the reference itself) and
        ``parts`` (gains by length of the question, length of the document and place of the answer).
    """
    judged = {key: judge(result.evaluation_set, table) for key, table in result.tables.items()}
    rows = []
    for size in dict.fromkeys(one.max_tokens for one in result.results):
        arms = [one for one in result.results if one.max_tokens == size]
        for scope in SCOPES:
            heads = [headline(judged[one.encoder, size], one.rankings[scope], scope, depth) for one in arms]
            for one, values in zip(arms, heads, strict=True):
                own = [number for number, other in enumerate(arms) if other.encoder == one.encoder]
                base = next((heads[number] for number in own if arms[number].arm == reference), heads[own[0]])
                rows += _summarise_arm(judged[one.encoder, size], one, scope, values, base, depth)
    return rows


def _summarise_arm(
    judged: Judgements, one: ArmResult, scope: Scope, values: Values, base: Values, depth: int
) -> list[dict[str, Any]]:
    """The row of an arm; none where no question asks for what the scope measures."""
    asked = ~np.isnan(base)
    if not asked.any():
        return []
    # Of chunks where questions ask for characters, of documents where they ask for those.
    name = f"nDCG@{depth}"
    if scope == "corpus" and not judged.has_spans.all():
        name = f"chunk or document {name}" if judged.has_spans.any() else f"document {name}"
    found = {name: values} | measure(judged, one.rankings[scope], scope, depth)
    found[name] = values
    clusters = [question.cluster for question in judged.evaluation_set.questions]
    compared = None
    if values is not base:
        compared = compare(values[asked], base[asked], [one for one, kept in zip(clusters, asked, strict=True) if kept])
    row = {
        "set": judged.evaluation_set.name,
        "encoder": one.encoder,
        "max_tokens": one.max_tokens,
        "scope": scope,
        "arm": one.arm,
        "late_weights": list(one.rankings[scope].weights),
        "n_questions": int(asked.sum()),
        "headline": name,
        "measures": {measured: _percent(_mean(column)) for measured, column in found.items()},
        "comparison": compared and _in_percent(compared),
        "parts": split_gains(judged, values - base) if compared else {},
    }
    return [row]


def split_gains(judgements: Judgements, gains: Values) -> dict[str, dict[str, Any]]:
    """Mean gain by length of the question, length of the document, and place of the first answer in it.

    Lengths are parted at their thirds, so parts are about even; places at thirds of the document.
    """
    questions = judgements.evaluation_set.questions
    lengths = {document.id: len(document.text) for document in judgements.evaluation_set.documents}
    words = np.array([len(question.text.split()) for question in questions], dtype=float)
    document = np.array([lengths[question.cluster] for question in questions], dtype=float)
    starts = [question.gold[0].spans[0].start if question.has_spans else np.nan for question in questions]
    thirds = (1 / 3, 2 / 3)
    return {
        "words of the question": _by_thirds(words, gains),
        "characters of the document": _by_thirds(document, gains),
        "place of the answer": _by_bounds(starts / document, gains, thirds, ("first third", "middle", "last third")),
    }


def _by_thirds(values: Values, gains: Values) -> dict[str, Any]:
    low, high = np.quantile(values, [1 / 3, 2 / 3])
    names = (f"up to {low:,.0f}", f"to {high:,.0f}", f"above {high:,.0f}")
    return _by_bounds(values, gains, (low, high), names)


def _by_bounds(values: Values, gains: Values, bounds: tuple[float, float], names: Sequence[str]) -> dict[str, Any]:
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
        For each ``set``, ``question``, ``document``, ``change``; ``ranks``, by arm that of the first relevant chunk or
        document (None beyond the depth); and ``passages``: first what answers, as far as a chunk holds it, then each
        passage that an arm puts first and that does not answer, once. A passage has ``label``, ``document``,
        ``citation`` and ``pieces``, pairs of a text and whether it is gold.
    """
    first = result.results[0]
    key = (first.encoder, first.max_tokens)
    by_arm = {one.arm: one.rankings["corpus"] for one in result.results if (one.encoder, one.max_tokens) == key}
    if arm == reference or arm not in by_arm or reference not in by_arm:
        return []
    judged = judge(result.evaluation_set, result.tables[key])
    compared = {name: by_arm[name] for name in (reference, arm)}
    before, after = (headline(judged, one, "corpus", depth) for one in compared.values())
    changes = np.nan_to_num(after - before)
    order = np.argsort(-np.abs(changes), kind="stable")[:n]
    return [
        {
            "set": result.evaluation_set.name,
            "question": result.evaluation_set.questions[number].text,
            "document": result.evaluation_set.questions[number].cluster,
            "change": _percent(float(changes[number])),
            "ranks": {name: _rank_of_answer(judged, one, number) for name, one in compared.items()},
            "passages": _show_passages(judged, compared, number),
        }
        for number in order.tolist()
        if changes[number]
    ]


def _rank_of_answer(judged: Judgements, ranking: Ranking, number: int) -> int | None:
    """The rank of the first chunk that answers, or of the first document where the question asks for one."""
    has_spans = judged.has_spans[number]
    relevant = judged.chunks[number] if has_spans else judged.documents[number]
    ranked = (ranking.chunks if has_spans else ranking.documents)[number].tolist()
    return next((place for place, one in enumerate(ranked, start=1) if one in relevant), None)


def _show_passages(judged: Judgements, rankings: Mapping[str, Ranking], number: int) -> list[dict[str, Any]]:
    """What answers a question, and what arms put first in its place."""
    relevant = judged.chunks[number]
    found = [chunk for one in rankings.values() for chunk in one.chunks[number].tolist() if chunk in relevant]
    answer = next(iter([*found, *relevant]), None)  # of several the one that is ranked
    wrong: dict[int, list[str]] = {}
    for name, one in rankings.items():
        chunk = int(one.chunks[number, 0])
        if chunk != NOTHING and chunk not in relevant:
            wrong.setdefault(chunk, []).append(name)
    shown = [] if answer is None else [_show(judged, answer, number, "the answer")]
    return shown + [_show(judged, chunk, number, f"first by {' and '.join(arms)}") for chunk, arms in wrong.items()]


def _show(judged: Judgements, chunk: int, number: int, label: str) -> dict[str, Any]:
    document = judged.evaluation_set.documents[judged.table.document_of[chunk]]
    span = judged.table.spans[chunk]
    gold = [
        (max(one.start, span.start), min(one.end, span.end))
        for answer in judged.evaluation_set.questions[number].gold
        if answer.document_id == document.id
        for one in answer.spans
        if one.start < span.end and span.start < one.end
    ]
    return {
        "label": label,
        "document": document.id,
        "citation": make_chunks(with_outline(document), [span])[0].citation,
        "pieces": mark(document.text, span.start, span.end, gold),
    }


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
    return {**asdict(compared), **scaled, "p_value": round(compared.p_value, 5), "is_sure": compared.is_sure}
