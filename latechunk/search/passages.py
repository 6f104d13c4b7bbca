"""What becomes of candidates: fused, re-ranked, thinned, grouped and joined into passages; pure, but for rerankers."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from latechunk.errors import InputError
from latechunk.protocols import Reranker
from latechunk.types import Chunk, FloatArray, Hit


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
