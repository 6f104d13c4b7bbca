"""How to search: the options of one search, checked and documented once for all who pass them on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self, TypeAlias, TypedDict

import numpy as np
from pydantic import BeforeValidator, Field, SkipValidation, model_validator

from latechunk.errors import InputError
from latechunk.protocols import Reranker
from latechunk.search.filters import compile_filter
from latechunk.types import require_ids
from latechunk.validation import Validated

SearchMode: TypeAlias = Literal["dense", "lexical", "hybrid"]
Fusion: TypeAlias = Literal["calibrated", "rrf"]


def _to_python(value: object) -> object:
    """Numbers of numpy, which arithmetic on arrays leaves behind, as Python's own."""
    return value.item() if isinstance(value, np.integer | np.floating) else value


def _check_ids(value: Any) -> Sequence[str] | None:
    if value is not None:
        require_ids(value, "document_ids")
    return value  # type: ignore[no-any-return]


_Whole = Annotated[int, BeforeValidator(_to_python)]
_Number = Annotated[float, BeforeValidator(_to_python), Field(allow_inf_nan=False)]
_Share = Annotated[_Number, Field(ge=0, le=1)]


class SearchOptions(Validated):
    """How to search: what ``latechunk.Index.search`` takes as keywords, as one value to pass on.

    What is found is in a total order: by score, and by chunk number where scores are equal. With an exact index
    (``vectors="flat"``), dense search, and no ``rerank``, ``mmr`` or ``expand``, the hits for a smaller ``k`` are the
    first of those for a larger one; lexical and hybrid search promise the same for an equal number of ``candidates``.

    Attributes:
        k: How many hits; all chunks come back if there are fewer.
        mode: ``"dense"`` compares vectors, ``"lexical"`` words (BM25) and loads no model, ``"hybrid"`` fuses both. None
            for ``"hybrid"`` where there are words: a text is searched for, in an index with words.
        fusion: ``"calibrated"`` adds both scores in standard deviations above their mean over all chunks of the index,
            so that a score depends neither on ``k`` nor on the filter; ``"rrf"`` is reciprocal rank fusion. It and
            ``dense_weight`` have an effect on hybrid search alone.
        dense_weight: Share of the dense side in a fusion, from 0 to 1; None for 0.65, or 0.1 where the question is
            surely in a language that the model does not read.
        filter: Only documents whose metadata meet this; see ``latechunk.search.filters.compile_filter``.
        document_ids: Only these documents; unknown ids are passed over.
        granularity: Which chunks to search, by name; None for the first.
        score_threshold: Leave out hits with a lower score; see ``latechunk.Hit`` for what it is.
        rerank: Scores the candidates again; ``latechunk.CrossEncoderReranker`` or any function of a question and
            texts.
        mmr: Maximal marginal relevance: 1 for relevance alone, 0 for difference from better hits alone.
        candidates: How many chunks are fused, re-ranked or thinned, and how many of the best by words may gain by
            their titles, at least ``k``; None for ``max(4 * k, 50)``.
        per_document: Only the best chunk of each document.
        within: Give back the chunks of this granularity that the found ones lie in, each once; ``"section"`` for the
            text from one heading to the next, in any index that has no granularity of this name. In a document without
            headings a chunk comes back itself.
        expand: Give back each hit with so many neighbours on either side, at most 1,000; passages that touch become
            one, so that there may be fewer than ``k``.

    Raises:
        InputError: If one is of the wrong type, out of range, unknown, or contradicts another.

    Examples:
        >>> options = SearchOptions(k=5, mode="hybrid", filter={"lang": "de"})
        >>> options.n_candidates
        50
    """

    k: _Whole = Field(default=10, ge=1)
    mode: SearchMode | None = None
    fusion: Fusion = "calibrated"
    dense_weight: _Share | None = None
    # Read by compile_filter, whose messages name the place in the filter.
    filter: Annotated[Mapping[str, Any] | None, SkipValidation] = None
    document_ids: Annotated[Sequence[str] | None, SkipValidation, BeforeValidator(_check_ids)] = None
    granularity: str | None = None
    score_threshold: _Number | None = None
    rerank: Reranker | None = None
    mmr: _Share | None = None
    candidates: _Whole | None = None
    per_document: bool = False
    within: str | None = None
    expand: _Whole = Field(default=0, ge=0, le=1_000)

    @model_validator(mode="after")
    def _check_together(self) -> SearchOptions:
        if self.candidates is not None and self.candidates < self.k:
            raise InputError(f"candidates must be at least k, which is {self.k}, got {self.candidates}")
        if self.per_document and self.within is not None:
            raise InputError("per_document and within both say what to group by; choose one")
        return self

    def require_filter(self) -> Self:
        """Raise now what a search with these options would raise of the filter.

        Raises:
            FilterError: If the filter is not one.
        """
        if self.filter is not None:
            compile_filter(self.filter)
        return self

    @property
    def n_candidates(self) -> int:
        """How many chunks to look at first: ``k`` where nothing is chosen among them."""
        if self.candidates is not None:
            return self.candidates
        reorders = self.rerank is not None or self.mmr is not None or self.mode in ("lexical", "hybrid")
        return max(4 * self.k, 50) if reorders else self.k

    @property
    def chooses(self) -> bool:
        """Whether the hits are chosen among candidates, rather than being the first ``k`` of them."""
        return self.rerank is not None or self.mmr is not None or self.per_document or self.within is not None


class SearchKeywords(TypedDict, total=False):
    """The fields of ``SearchOptions`` less ``k``, as keywords of a function; documented there."""

    mode: SearchMode | None
    fusion: Fusion
    dense_weight: float | None
    filter: Mapping[str, Any] | None
    document_ids: Sequence[str] | None
    granularity: str | None
    score_threshold: float | None
    rerank: Reranker | None
    mmr: float | None
    candidates: int | None
    per_document: bool
    within: str | None
    expand: int
