"""Translate LlamaIndex's metadata filters into latechunk's."""

from __future__ import annotations

import re
from typing import Any

from llama_index.core.vector_stores import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters

from latechunk import SearchOptions
from latechunk.errors import FilterError

_OPERATORS = {
    FilterOperator.EQ: "$eq",
    FilterOperator.NE: "$ne",
    FilterOperator.GT: "$gt",
    FilterOperator.GTE: "$gte",
    FilterOperator.LT: "$lt",
    FilterOperator.LTE: "$lte",
    FilterOperator.IN: "$in",
    FilterOperator.NIN: "$nin",
    FilterOperator.ANY: "$in",  # an operator looks at the elements of an array
    FilterOperator.CONTAINS: "$contains",
    FilterOperator.TEXT_MATCH: "$contains",
}


def to_filter(filters: MetadataFilters) -> dict[str, Any]:
    """Translate filters, which may be nested, to what ``latechunk.SearchOptions`` takes as ``filter``.

    None at all hold for every document, as in LlamaIndex's own stores.

    Raises:
        FilterError: If a filter cannot be used.

    Examples:
        >>> from llama_index.core.vector_stores import MetadataFilter, MetadataFilters
        >>> to_filter(MetadataFilters(filters=[MetadataFilter(key="country", value="Germany")]))
        {'$and': [{'country': {'$eq': 'Germany'}}]}
    """
    if not isinstance(filters, MetadataFilters):
        raise FilterError(
            f"filters must be LlamaIndex's MetadataFilters, got {type(filters).__name__}; "
            f"a mapping in latechunk's own words goes into filter="
        )
    translated = _join(filters)
    SearchOptions(filter=translated).require_filter()  # an error now, not at the first question
    return translated


def _join(filters: MetadataFilters) -> dict[str, Any]:
    parts = [_join(one) if isinstance(one, MetadataFilters) else _translate(one) for one in filters.filters]
    if not parts:
        return {}
    if filters.condition == FilterCondition.NOT:  # none of them
        return {"$not": {"$or": parts}}
    return {"$or" if filters.condition == FilterCondition.OR else "$and": parts}


def _translate(one: MetadataFilter) -> dict[str, Any]:
    if one.operator == FilterOperator.IS_EMPTY:
        return {one.key: {"$is_empty": True}}
    if one.operator == FilterOperator.TEXT_MATCH_INSENSITIVE:
        quoted = re.sub(r"[%_\\]", r"\\\g<0>", one.value) if isinstance(one.value, str) else one.value
        return {one.key: {"$ilike": f"%{quoted}%" if isinstance(quoted, str) else quoted}}
    if one.operator != FilterOperator.ALL:
        return {one.key: {_OPERATORS[one.operator]: one.value}}
    if not isinstance(one.value, list):
        raise FilterError(f"the filter on {one.key!r} has the operator 'all' and needs a list, got {one.value!r:.80}")
    return {"$and": [{one.key: {"$eq": value}} for value in one.value]} if one.value else {}
