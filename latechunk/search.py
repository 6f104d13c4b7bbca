"""What becomes of candidates: fused, re-ranked, thinned, grouped and joined into passages; pure, but for rerankers."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from latechunk.errors import InputError
from latechunk.types import Chunk, FloatArray, Hit

SearchMode: TypeAlias = Literal["dense", "lexical", "hybrid"]
Fusion: TypeAlias = Literal["rrf", "weighted"]
Reranker: TypeAlias = Callable[[str, Sequence[str]], Sequence[float]]
"""Scores texts by how well they answer a question, more being better, one score for each."""

_RRF_CONSTANT = 60  # of the paper that proposed it
_MOST_NEIGHBOURS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchOptions:
    """How to search; :meth:`latechunk.Index.search` says what each means.

    Raises:
        InputError: If one is of the wrong type, out of range, or contradicts another.
    """

    k: int
    mode: SearchMode = "dense"
    fusion: Fusion = "rrf"
    dense_weight: float = 0.5
    filter: Mapping[str, Any] | None = None
    document_ids: Sequence[str] | None = None
    granularity: str | None = None
    score_threshold: float | None = None
    rerank: Reranker | None = None
    mmr: float | None = None
    candidates: int | None = None
    per_document: bool = False
    within: str | None = None
    expand: int = 0

    def __post_init__(self) -> None:
        _require_whole("k", self.k, 1)
        object.__setattr__(self, "k", int(self.k))  # whatever kind of whole number came
        _require_whole("expand", self.expand, 0, _MOST_NEIGHBOURS)
        _require_one_of("mode", self.mode, get_args(SearchMode))
        _require_one_of("fusion", self.fusion, get_args(Fusion))
        _require_number("dense_weight", self.dense_weight, 0, 1)
        if self.score_threshold is not None:
            _require_number("score_threshold", self.score_threshold, -math.inf, math.inf)
        if self.mmr is not None:
            _require_number("mmr", self.mmr, 0, 1)
        if self.candidates is not None:
            _require_whole("candidates", self.candidates, self.k)
        if self.rerank is not None and not callable(self.rerank):
            raise InputError(
                f"rerank must be a function of a question and texts, such as latechunk.CrossEncoderReranker.load(...), "
                f"got {type(self.rerank).__name__}"
            )
        if not isinstance(self.per_document, bool):
            raise InputError(f"per_document must be True or False, got {self.per_document!r:.80}")
        if self.per_document and self.within is not None:
            raise InputError("per_document and within both say what to group by; choose one")

    @property
    def n_candidates(self) -> int:
        """How many chunks to look at first: ``k`` where nothing is chosen among them."""
        if self.candidates is not None:
            return self.candidates
        chooses = self.rerank is not None or self.mmr is not None or self.mode == "hybrid"
        return max(4 * self.k, 50) if chooses else self.k


@dataclass(frozen=True, slots=True)
class Candidate:
    """A chunk that may become a hit.

    Attributes:
        score: How well it answers, more being better.
        number: The chunk's number in the store.
        document: Its document's.
        chunk: The chunk itself.
        passage: What is given back for it: itself, a larger chunk around it, or it with its neighbours.
        group: Of candidates with equal values only the best comes back.
        vector: Its vector, shape ``(dims,)``; None where nothing needs it.
    """

    score: float
    number: int
    document: int
    chunk: Chunk
    passage: Chunk
    group: Hashable
    vector: FloatArray | None = None


def fuse_by_rank(rankings: Sequence[Sequence[int]], weights: Sequence[float]) -> dict[int, float]:
    """Reciprocal rank fusion (Cormack, Clarke and Büttcher, 2009).

    Args:
        rankings: Of the same things, best first; what one lacks gains nothing from it.
        weights: Of each ranking.

    Returns:
        For each thing the sum over rankings of ``weight / (60 + rank)``, ranks from 1.
    """
    scores: dict[int, float] = {}
    for ranking, weight in zip(rankings, weights, strict=True):
        for rank, one in enumerate(ranking, start=1):
            scores[one] = scores.get(one, 0.0) + weight / (_RRF_CONSTANT + rank)
    return scores


def fuse_by_score(scorings: Sequence[Mapping[int, float]], weights: Sequence[float]) -> dict[int, float]:
    """Weighted sum of scores, each scoring stretched to [0, 1] first; what a scoring lacks has 0 in it."""
    fused: dict[int, float] = {}
    for scoring, weight in zip(scorings, weights, strict=True):
        low, high = min(scoring.values(), default=0.0), max(scoring.values(), default=0.0)
        for one, score in scoring.items():
            share = (score - low) / (high - low) if high > low else 1.0
            fused[one] = fused.get(one, 0.0) + weight * share
    return fused


def best_first(scores: Mapping[int, float]) -> list[tuple[int, float]]:
    """Things with their scores, by number on a tie."""
    return sorted(scores.items(), key=lambda item: (-item[1], item[0]))


def rerank(question: str, candidates: Sequence[Candidate], reranker: Reranker) -> list[Candidate]:
    """Order candidates by what a reranker says of their passages.

    Raises:
        InputError: If it does not give one finite number for each.
    """
    if not candidates:
        return []
    given = reranker(question, [one.passage.text for one in candidates])
    try:
        scores = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"rerank must return numbers, got {given!r:.80}: {error}") from error
    if scores.shape != (len(candidates),) or not np.isfinite(scores).all():
        raise InputError(
            f"rerank must return one finite number for each of the {len(candidates)} texts, got shape {scores.shape}: "
            f"{given!r:.80}"
        )
    scored = [replace(one, score=float(score)) for one, score in zip(candidates, scores, strict=True)]
    return sorted(scored, key=lambda one: -one.score)


def group(candidates: Sequence[Candidate]) -> list[list[Candidate]]:
    """Put candidates of one group together, the groups in the order of their first, which must be their best."""
    groups: dict[Hashable, list[Candidate]] = {}
    for one in candidates:
        groups.setdefault(one.group, []).append(one)
    return list(groups.values())


def choose_diverse(relevance: FloatArray, vectors: FloatArray, k: int, balance: float) -> list[int]:
    """Maximal marginal relevance (Carbonell and Goldstein, 1998).

    Args:
        relevance: Of each item, shape ``(n,)``.
        vectors: Unit vectors, shape ``(n, dims)``.
        k: How many to choose.
        balance: 1 for relevance alone, 0 for distance from what is chosen alone.

    Returns:
        Places of the chosen, in order: each has the largest ``balance * relevance - (1 - balance) * similarity`` to
        the most similar one chosen before; the first has the largest relevance, whatever the balance.
    """
    chosen: list[int] = []
    nearest = np.full(len(relevance), -np.inf, dtype=np.float32)
    for _ in range(min(k, len(relevance))):
        worth = balance * relevance - (1 - balance) * nearest if chosen else relevance.copy()
        worth[chosen] = -np.inf
        chosen.append(int(np.argmax(worth)))
        nearest = np.maximum(nearest, vectors @ vectors[chosen[-1]])
    return chosen


def to_hit(members: Sequence[Candidate]) -> Hit:
    """The hit of a group, best first: the passage of its best, with those that were found in it."""
    best = members[0]
    if best.passage == best.chunk:
        return Hit(best.score, best.chunk)
    return Hit(best.score, best.passage, tuple(one.chunk for one in members if _touch(one.chunk, best.passage)))


def join_adjacent(hits: Sequence[Hit]) -> list[Hit]:
    """Make hits of one document whose passages touch or overlap into one, in the place of the best of them.

    Args:
        hits: Best first.
    """
    joined: list[Hit] = []
    for hit in hits:
        touching = [other for other in joined if _touch(other.chunk, hit.chunk)]
        if not touching:
            joined.append(hit)
            continue
        place = joined.index(touching[0])
        passage, found = hit.chunk, _parts(hit)
        for other in reversed(touching):
            passage, found = _union(other.chunk, passage), (*_parts(other), *found)
        joined = [other for other in joined if other not in touching]
        joined.insert(place, Hit(touching[0].score, passage, found))
    return joined


def _parts(hit: Hit) -> tuple[Chunk, ...]:
    return hit.found or (hit.chunk,)


def _touch(one: Chunk, other: Chunk) -> bool:
    return one.document_id == other.document_id and one.start <= other.end and other.start <= one.end


def _union(one: Chunk, other: Chunk) -> Chunk:
    first, second = sorted((one, other), key=lambda chunk: (chunk.start, -chunk.end))
    if second.end <= first.end:
        return first
    return replace(first, end=second.end, text=first.text + second.text[first.end - second.start :])


def _require_whole(name: str, value: object, least: int, most: int | None = None) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise InputError(f"{name} must be a whole number of at least {least}, got {value!r:.80}")
    if most is not None and value > most:
        raise InputError(f"{name} must be at most {most:,}, got {value!r:.80}")


def _require_number(name: str, value: object, least: float, most: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float | np.floating) or not least <= value <= most:
        bounds = "" if math.isinf(most) else f" from {least:g} to {most:g}"
        raise InputError(f"{name} must be a number{bounds}, got {value!r:.80}")


def _require_one_of(name: str, value: object, known: Sequence[str]) -> None:
    if not isinstance(value, str) or value not in known:
        raise InputError(f"{name} must be one of {', '.join(map(repr, known))}, got {value!r:.80}")
