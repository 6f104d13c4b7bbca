"""Translate a structured query, which an LLM made of a question, to a question and a filter."""

from __future__ import annotations

from typing import Any

from langchain_core.structured_query import Comparator, Comparison, Operation, Operator, StructuredQuery, Visitor

_COMPARATORS = {
    Comparator.EQ: "$eq",
    Comparator.NE: "$ne",
    Comparator.GT: "$gt",
    Comparator.GTE: "$gte",
    Comparator.LT: "$lt",
    Comparator.LTE: "$lte",
    Comparator.CONTAIN: "$contains",
    Comparator.IN: "$in",
    Comparator.NIN: "$nin",
}


class LateChunkTranslator(Visitor):
    """What ``SelfQueryRetriever`` of langchain-classic needs as ``structured_query_translator``.

    Dates are compared as the texts of ISO 8601 that they are in an index. Give the retriever
    ``use_original_query=True``: where a filter says all of a question, its LLM leaves an empty one, which is an error.

    Examples:
        >>> from langchain_core.structured_query import Comparator, Comparison, StructuredQuery
        >>> wanted = Comparison(Comparator.GT, "year", 1999)
        >>> LateChunkTranslator().visit_structured_query(StructuredQuery("cities", wanted))
        ('cities', {'filter': {'year': {'$gt': 1999}}})
    """

    allowed_comparators = tuple(_COMPARATORS)
    allowed_operators = tuple(Operator)

    def visit_operation(self, operation: Operation) -> dict[str, Any]:
        """A filter of the filters in it."""
        parts = [argument.accept(self) for argument in operation.arguments]
        if operation.operator == Operator.NOT:  # of one; of several none
            return {"$not": {"$or": parts}}
        return {"$or" if operation.operator == Operator.OR else "$and": parts}

    def visit_comparison(self, comparison: Comparison) -> dict[str, Any]:
        """A filter on one key of the metadata; ValueError for a comparator that is not allowed."""
        self._validate_func(comparison.comparator)
        value = comparison.value
        if isinstance(value, dict) and value.get("type") in ("date", "datetime"):
            value = value[value["type"]]
        return {comparison.attribute: {_COMPARATORS[comparison.comparator]: value}}

    def visit_structured_query(self, structured_query: StructuredQuery) -> tuple[str, dict[str, Any]]:
        """The question, and what a search is to be told."""
        wanted = structured_query.filter
        return structured_query.query, {} if wanted is None else {"filter": wanted.accept(self)}
