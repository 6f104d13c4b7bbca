"""Check arguments that Python or LangChain would take wrongly, or refuse without saying which is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from latechunk import SearchOptions
from latechunk.errors import InputError
from latechunk.protocols import FloatArray


def require_none(given: Iterable[str], what: str, known: str) -> None:
    """Raise InputError for the names of keywords that a function does not know."""
    if given:
        raise InputError(f"{what} takes {known} and no further keywords; got {', '.join(sorted(given))}")


def require_list(name: str, values: object, what: str) -> None:
    """Raise InputError unless ``values`` is a list; a string is a sequence, too, of its letters."""
    if isinstance(values, str | bytes) or not isinstance(values, Sequence):
        raise InputError(f"{name} must be a list of {what}, got {type(values).__name__}: {values!r:.80}")


def list_texts(texts: Iterable[str]) -> list[str]:
    """Texts as a list; InputError, which says which, if one is none."""
    if isinstance(texts, str | bytes | Mapping) or not isinstance(texts, Iterable):
        raise InputError(f"texts must be a list of strings, got {type(texts).__name__}: {texts!r:.80}")
    listed = list(texts)
    for number, text in enumerate(listed):
        if not isinstance(text, str):
            raise InputError(f"text number {number} must be a string, got {type(text).__name__}: {text!r:.80}")
    return listed


def require_beside(n_texts: int, metadatas: Sequence[Mapping[str, Any]] | None, ids: Sequence[object] | None) -> None:
    """Raise InputError unless what is given beside texts are lists of as many."""
    for name, values, what in (("metadatas", metadatas, "mappings"), ("ids", ids, "ids")):
        if values is not None:
            require_list(name, values, what)
            if len(values) != n_texts:
                raise InputError(f"{name} must be as many as the texts, {n_texts}, got {len(values)}")
    for number, one in enumerate(metadatas or []):
        if not isinstance(one, Mapping):
            raise InputError(
                f"metadata number {number} must be a mapping, got {type(one).__name__}: {one!r:.80}; for none pass {{}}"
            )


def to_vector(embedding: object) -> FloatArray:
    """Numbers as the index takes them, which checks how many there are."""
    try:
        vector = np.asarray(embedding)
    except (TypeError, ValueError):
        vector = np.array(None)
    if vector.dtype.kind not in "iuf":
        raise InputError(f"embedding must be a list of numbers, got {type(embedding).__name__}: {embedding!r:.80}")
    return vector.astype(np.float32)


def diversity(k: int, fetch_k: int = 20, lambda_mult: float = 0.5) -> dict[str, Any]:
    """LangChain's names for maximal marginal relevance, and its defaults, as options of a search for ``k`` chunks."""
    SearchOptions(k=k)
    if not isinstance(fetch_k, int | np.integer) or isinstance(fetch_k, bool) or fetch_k < 1:
        raise InputError(f"fetch_k must be a whole number of at least 1, got {fetch_k!r:.80}")
    is_number = isinstance(lambda_mult, int | float | np.integer | np.floating) and not isinstance(lambda_mult, bool)
    if not is_number or not 0 <= lambda_mult <= 1:
        raise InputError(f"lambda_mult must be a number from 0 to 1, got {lambda_mult!r:.80}")
    return {"mmr": float(lambda_mult), "candidates": max(k, fetch_k)}
