"""Turn candidates into hits: re-rank, group, choose diverse ones, join passages that touch."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Protocol, TypeVar

import numpy as np

from latechunk.errors import InputError
from latechunk.protocols import Reranker
from latechunk.search.fusion import choose_diverse
from latechunk.search.options import SearchOptions
from latechunk.types import Chunk, FloatArray, Hit
from latechunk.types.citation import join_sections


@dataclass(frozen=True, slots=True)
class Candidate:
    """A chunk that may become a hit.

    Attributes:
        score: How well it answers, more being better.
        chunk: The chunk itself.
        passage: What is given back for it: itself, a larger chunk around it, or it with its neighbours.
        group: Of candidates with equal values only the best comes back.
        vector: Its vector, shape ``(dims,)``; None where nothing needs it.
        similarity: On the scale of cosines, for maximal marginal relevance; see ``choose_groups``.
        dense: Its cosine with the question; None in lexical search.
        lexical: Its score by words; None in dense search.
    """

    score: float
    chunk: Chunk
    passage: Chunk
    group: Hashable
    vector: FloatArray | None = None
    similarity: float = 0.0
    dense: float | None = None
    lexical: float | None = None


class Grouped(Protocol):
    """What belongs to a group, of which only the best comes back."""

    @property
    def group(self) -> Hashable:
        """The same for all of a group."""
        ...


_Found = TypeVar("_Found", bound=Grouped)


def find_enough(
    options: SearchOptions, find: Callable[[int], Sequence[_Found]], count_groups: Callable[[], int]
) -> list[_Found]:
    """As many of the best as are candidates, and of the groups beyond these the best until there are ``k`` groups.

    So where a few documents or larger chunks have all that is near, a reranker still reads no more than it should.

    ``find`` gives up to so many, best first, and fewer only if there are no more. ``count_groups`` says how many groups
    there can be, and is asked where the candidates are of fewer than ``k``.
    """
    n = options.n_candidates
    found = find(n)
    while len(found) == n and (n_groups := len({one.group for one in found})) < options.k and n_groups < count_groups():
        n *= 4
        found = find(n)
    kept = list(found[: options.n_candidates])
    groups = {one.group for one in kept}
    for one in found[options.n_candidates :]:
        if len(groups) < options.k and one.group not in groups:
            groups.add(one.group)
            kept.append(one)
    return kept


def choose_hits(question: str, options: SearchOptions, candidates: Sequence[Candidate]) -> list[Hit]:
    """The hits of a search, best first, from what ``find_enough`` gave; a reranker is given the question."""
    if options.rerank is not None:
        candidates = rerank(question, candidates, options.rerank)
    if options.score_threshold is not None:
        candidates = [one for one in candidates if one.score >= options.score_threshold]
    by_group: dict[Hashable, list[Candidate]] = {}
    for one in candidates:
        by_group.setdefault(one.group, []).append(one)
    groups = list(by_group.values())  # in the order of their first, which are their best
    if options.mmr is not None:
        groups = choose_groups(groups, options.k, options.mmr)
    hits = [to_hit(members) for members in groups[: options.k]]
    return join_adjacent(hits) if options.expand else hits


def rerank(question: str, candidates: Sequence[Candidate], reranker: Reranker) -> list[Candidate]:
    """Order candidates by what a reranker says of their passages, each of which it reads once.

    Raises:
        InputError: If it does not give one finite number for each.
    """
    if not candidates:
        return []
    places = [(one.passage.document_id, one.passage.start, one.passage.end) for one in candidates]
    texts = {place: one.passage.text for place, one in zip(places, candidates, strict=True)}
    given = reranker(question, list(texts.values()))
    try:
        scores = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"rerank must return numbers, got {given!r:.80}: {error}") from error
    if scores.shape != (len(texts),) or not np.isfinite(scores).all():
        raise InputError(
            f"rerank must return one finite number for each of the {len(texts)} texts, got shape {scores.shape}: "
            f"{given!r:.80}"
        )
    score_of = dict(zip(texts, scores.tolist(), strict=True))
    scored = [replace(one, score=score_of[place]) for place, one in zip(places, candidates, strict=True)]
    return sorted(scored, key=lambda one: -one.score)


def choose_groups(groups: Sequence[list[Candidate]], k: int, balance: float) -> list[list[Candidate]]:
    """Choose groups that are relevant and differ from each other, each seen as its best member.

    Maximal marginal relevance weighs relevance against the cosine with what is chosen already, so both must be on one
    scale. Fused and re-ranked scores are not, and to stretch them to [0, 1] lets any copy of the best hit beat all
    else: its relevance of 1 pays for its similarity of 1. So the ranking says who is more relevant, and the cosines
    with the query by how much: the group at place i has the i-th largest cosine of all leaders. In dense search that
    is its own cosine. Where there is no query vector, a BM25 score as a share of the best one stands in for it.

    The groups come best first, and the best member of each has a vector. A ``balance`` of 1 is for relevance alone,
    which keeps the order, and 0 for difference alone.
    """
    leaders = [members[0] for members in groups]
    if not leaders:
        return []
    relevance = np.sort(np.array([one.similarity for one in leaders], dtype=np.float32))[::-1]
    vectors = np.stack([one.vector for one in leaders if one.vector is not None])
    return [groups[place] for place in choose_diverse(relevance, vectors, k, balance)]


def to_hit(members: Sequence[Candidate]) -> Hit:
    """The hit of a group, best first: the passage of its best, with those that were found in it."""
    best = members[0]
    if best.passage == best.chunk:
        return Hit(best.score, best.chunk, dense=best.dense, lexical=best.lexical)
    found = tuple(one.chunk for one in members if _overlap(one.chunk, best.passage))
    return Hit(best.score, best.passage, found, best.dense, best.lexical)


def join_adjacent(hits: Sequence[Hit]) -> list[Hit]:
    """Make one hit of those, best first, of one document whose passages touch or overlap, in the place of the best."""
    joined: dict[str, list[tuple[int, Hit]]] = {}  # of each document, in order; no two touch. A look at all is too slow
    for rank, hit in enumerate(hits):
        own = joined.setdefault(hit.chunk.document_id, [])
        first = bisect_left(own, hit.chunk.start, key=lambda one: one[1].chunk.end)
        last = bisect_right(own, hit.chunk.end, key=lambda one: one[1].chunk.start)
        touching = sorted(own[first:last], key=lambda one: one[0])
        passage, found = hit.chunk, _parts(hit)
        for _, other in reversed(touching):
            passage, found = _union(other.chunk, passage), (*_parts(other), *found)
        best = touching[0] if touching else (rank, hit)
        own[first:last] = [(best[0], replace(best[1], chunk=passage, found=found) if touching else hit)]
    return [hit for _, hit in sorted(chain.from_iterable(joined.values()), key=lambda one: one[0])]


def _parts(hit: Hit) -> tuple[Chunk, ...]:
    return hit.found or (hit.chunk,)


def _overlap(one: Chunk, other: Chunk) -> bool:
    return one.document_id == other.document_id and one.start < other.end and other.start < one.end


def _union(one: Chunk, other: Chunk) -> Chunk:
    first, second = sorted((one, other), key=lambda chunk: (chunk.start, -chunk.end))
    if second.end <= first.end:
        return first
    text = first.text + second.text[first.end - second.start :]
    sections = join_sections(first.sections, second.sections, overlap=second.start < first.end)
    pages = tuple(sorted({*first.pages, *second.pages}))
    return replace(first, end=second.end, text=text, sections=sections, pages=pages)
