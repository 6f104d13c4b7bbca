"""The keywords that a store's searches take beside LangChain's own, and what is made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from latechunk.errors import InputError

BY_VECTOR = (
    "candidates",
    "document_ids",
    "expand",
    "filter",
    "granularity",
    "mmr",
    "per_document",
    "score_threshold",
    "within",
)
BY_TEXT = (*BY_VECTOR, "dense_weight", "fusion", "mode", "rerank")


def diversity(k: int, fetch_k: int, lambda_mult: float) -> dict[str, Any]:
    """LangChain's names for maximal marginal relevance, as the index has them."""
    return {"mmr": lambda_mult, "candidates": max(k, fetch_k)}


def to_relevance(cosine: float) -> float:
    """A cosine as a number from 0 to 1."""
    return min(1.0, max(0.0, (cosine + 1) / 2))


def require_known(given: Mapping[str, Any], known: Sequence[str], what: str) -> None:
    """Raise where a keyword is not known, rather than ignore it."""
    unknown = sorted(given.keys() - set(known))
    if unknown:
        takes = f"these keywords: {', '.join(sorted(known))}" if known else "no further keywords"
        raise InputError(f"{what} takes {takes}; got {', '.join(unknown)}")


def require_cosines(given: Mapping[str, Any]) -> None:
    """Raise where the scores of a search with these keywords are no cosines."""
    if given.get("mode", "dense") != "dense" or given.get("rerank") is not None:
        raise InputError(
            "relevance scores from 0 to 1 are made from cosines, and only dense search without rerank gives those; "
            "use similarity_search_with_score, or leave mode and rerank out"
        )
