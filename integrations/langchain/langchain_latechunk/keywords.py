"""LangChain's names for options of a search, translated; and keywords that would have no effect, refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from latechunk.errors import InputError


def diversity(k: int, fetch_k: int, lambda_mult: float) -> dict[str, Any]:
    """LangChain's names for maximal marginal relevance, as the index has them."""
    return {"mmr": lambda_mult, "candidates": max(k, fetch_k)}


def to_relevance(cosine: float) -> float:
    """A cosine as a number from 0 to 1."""
    return min(1.0, max(0.0, (cosine + 1) / 2))


def require_none(given: Mapping[str, Any], what: str) -> None:
    """Raise where a keyword is given that would have no effect.

    Raises:
        InputError: The message names them.
    """
    if given:
        raise InputError(f"{what} takes no further keywords; got {', '.join(sorted(given))}")


def require_cosines(given: Mapping[str, Any]) -> None:
    """Raise where the scores of a search with these keywords are no cosines."""
    if given.get("mode", "dense") != "dense" or given.get("rerank") is not None:
        raise InputError(
            "relevance scores from 0 to 1 are made from cosines, and only dense search without rerank gives those; "
            "use similarity_search_with_score, or leave mode and rerank out"
        )
