"""How to search: the options of one search, checked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from latechunk.errors import InputError
from latechunk.protocols import Reranker

SearchMode: TypeAlias = Literal["dense", "lexical", "hybrid"]


Fusion: TypeAlias = Literal["rrf", "weighted"]


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
