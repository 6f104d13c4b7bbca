r"""A metadata filter, as LangChain and LlamaIndex users write them, becomes a condition in SQL.

A filter is a mapping, and all that it holds must be true of a document's metadata::

    {}                                  every document
    {"lang": "de"}                      the same as {"lang": {"$eq": "de"}}
    {"year": {"$gte": 1990, "$lt": 2000}}    all of these operators
    {"lang": "de", "year": 1999}        all of these fields; $and, $or and $not may stand beside them
    {"author.name": "x"}                the key name in the mapping author, or the top-level key author.name:
                                        an operator holds if it holds at either place
    {"author": {"name": "x"}}           the same
    {"$and": [f, ...]}                  all of these filters, at least one
    {"$or": [f, ...]}                   any of these filters, at least one
    {"$not": f}                         not this filter

An operator looks at a field's candidates: its value or, if that is an array, the array's elements. ``v`` is a string,
a finite number, a boolean or null::

    {"$eq": v}                          a candidate equals v and is of its JSON type: 1 equals 1.0, not true, not "1"
    {"$in": [v, ...]}                   a candidate equals one of these; an empty list matches nothing
    {"$gt": v}, $gte, $lt, $lte         a candidate is greater than v (or equal, less, less or equal): numbers beside
                                        numbers, strings beside strings by code point, other types never
    {"$ne": v}, {"$nin": [v, ...]}      not $eq, not $in; so they hold where the field is missing
    {"$between": [v, w]}                a candidate is at least v and at most w, by the order of $gt
    {"$like": "a%b_"}                   a candidate is a string of this pattern: % is any characters, _ is one, and
                                        \%, \_ and \\ are themselves
    {"$ilike": "a%b_"}                  the same whatever the case, in any script
    {"$startswith": "a"}                a candidate is a string that begins so
    {"$contains": v}                    the value is a string with v in it, or an array with v as an element
    {"$is_empty": true}                 the key is missing, or its value is null, "" or []; false: none of these
    {"$exists": true}                   the key is there, with null, too; false: it is not there
    {"$not": {"$gt": v, ...}}           not all of these operators

Each operator looks on its own: ``{"$gt": 1, "$lt": 5}`` holds for ``[0, 9]``. A path leads through mappings, never
into arrays. Dates, times, paths, UUIDs, enums and numpy's values stand for what metadata keep of them: dates and times
are ISO strings, and compare as strings, so write all of one key alike. Whole numbers beyond 64 bits compare as the
floats nearest to them. What begins with ``$`` is an operator, so a top-level key of that kind cannot be filtered by.

What must hold of a top-level key, alone or with others, is looked up in rows that the index keeps of all metadata. The
rest reads the metadata of every document that is left: keys within keys, ``$or``, ``$not``, ``$ne``, ``$nin``,
``$exists``, ``$is_empty`` and ``$contains``. Reading takes 1 to 2 us for each document of 8 keys, and up to 1 us more
for each further operator; of 50,000 documents a look-up takes 0.001 to 0.3 times as long, by how many it finds. What a
filter finds is remembered until the index changes.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from latechunk.errors import FilterError
from latechunk.search.filter_values import (
    MAX_CONDITIONS,
    MAX_LEVELS,
    Place,
    describe,
    list_keys,
    read_boolean,
    read_list,
    read_mapping,
    read_scalar,
)
from latechunk.storage.filter_sql import (
    NEVER,
    Condition,
    Logic,
    Selection,
    Test,
    both,
    compares,
    contains,
    equals_any,
    has_path,
    is_filled,
    is_like,
    join,
    negate,
    over_documents,
    select,
    starts_with,
)

__all__ = [
    "FIELD_OPERATORS",
    "MAX_CONDITIONS",
    "MAX_KEYS",
    "MAX_LEVELS",
    "Condition",
    "compile_filter",
    "select_documents",
]

MAX_KEYS = 16  # SQLite joins 64 tables at most, and each key of a path is one

_LOGICAL = ("$and", "$or", "$not")
_ORDERS = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
_TEXTS = ("$like", "$ilike", "$startswith")
FIELD_OPERATORS = (
    *("$eq", "$ne", "$in", "$nin", *_ORDERS, "$between", *_TEXTS, "$contains", "$is_empty", "$exists", "$not"),
)
_ELSEWHERE = {  # operators of other stores, by the nearest one here
    "$regex": "$like",
    "$match": "$contains",
    "$text": "$contains",
    "$text_match": "$contains",
    "$text_match_insensitive": "$ilike",
    "$search": "$contains",
    "$any": "$in",
    "$not_in": "$nin",
    "$notin": "$nin",
    "$empty": "$is_empty",
    "$isnull": "$is_empty",
    "$null": "$is_empty",
    "$prefix": "$startswith",
    "$range": "$between",
    "$equals": "$eq",
    "$neq": "$ne",
    "$all": "$and with an $eq for each value",
    "$nor": "$not with $or",
    "$endswith": "$like with % at the beginning",
}
_LONGEST_PATTERN = 1_000  # a pattern with many % takes time that grows with its length times the text's


def compile_filter(filter: Mapping[str, Any]) -> Condition:  # noqa: A002
    """Turn a filter, as this module's text defines it, into SQL.

    Args:
        filter: At most ``MAX_LEVELS`` mappings deep, with at most ``MAX_CONDITIONS`` operators (``$eq`` counts where
            it is left out, and an empty filter as one), and at most ``MAX_KEYS`` keys in a path.

    Raises:
        FilterError: If it is not a filter; the message names the place in it, like ``$or[1].year.$gt``.
    """
    return over_documents(_read(filter))


def select_documents(filter: Mapping[str, Any]) -> Selection:  # noqa: A002
    """The same documents as by ``compile_filter``, found without reading the metadata of all where that can be."""
    return select(_read(filter))


def _read(filter: Mapping[str, Any]) -> Logic:  # noqa: A002
    return _read_filter(filter, Place("", 1, iter(range(MAX_CONDITIONS))))


def _read_filter(value: Any, place: Place) -> Logic:
    items = read_mapping(value, place, 'a filter, like {"year": {"$gt": 1999}}')
    if not items:
        place.count()
    return join("AND", [_read_entry(name, operand, place.key(name)) for name, operand in items.items()])


def _read_entry(name: str, operand: Any, place: Place) -> Logic:
    if not name.startswith("$"):
        return _read_field(name, operand, place)
    if name in FIELD_OPERATORS and name not in _LOGICAL:
        raise FilterError(f'{place} must stand under a field, like {{"year": {{"{name}": ...}}}}')
    if name not in _LOGICAL:
        raise FilterError(_explain_unknown(name, place, _LOGICAL))
    place.count()
    if name == "$not":
        return negate(_read_filter(operand, place))
    filters = read_list(operand, place, "a list of filters")
    if not filters:
        raise FilterError(f"{place} must be a list of at least one filter, got an empty list; leave {name} out")
    parts = [_read_filter(one, place.item(number)) for number, one in enumerate(filters)]
    return join("AND" if name == "$and" else "OR", parts)


def _read_field(path: str, operand: Any, place: Place) -> Logic:
    if not isinstance(operand, Mapping):
        return _read_operator(path, "$eq", operand, place)
    items = read_mapping(operand, place, "a mapping")
    n_operators = sum(name.startswith("$") for name in items)
    if not items or 0 < n_operators < len(items):
        raise FilterError(
            f"{place} must be a value, a mapping of operators or a mapping of fields, got {list_keys(items)}"
        )
    if n_operators:
        return _read_operators(path, items, place)
    return join("AND", [_read_field(f"{path}.{name}", one, place.key(name)) for name, one in items.items()])


def _read_operators(path: str, items: Mapping[str, Any], place: Place) -> Logic:
    return join("AND", [_read_operator(path, name, operand, place.key(name)) for name, operand in items.items()])


def _read_operator(path: str, operator: str, operand: Any, place: Place) -> Logic:
    if operator in _LOGICAL and operator != "$not":
        raise FilterError(f'{place} must stand above fields, like {{"{operator}": [{{"year": 1999}}, ...]}}')
    if operator not in FIELD_OPERATORS:
        raise FilterError(_explain_unknown(operator, place, FIELD_OPERATORS))
    place.count()
    if operator == "$not":
        return negate(_read_operators(path, _read_negated(operand, place), place))
    if operator == "$exists":
        found = _find(path, None, place)
        return found if read_boolean(operand, place) else negate(found)
    if operator == "$is_empty":
        filled = _find(path, is_filled, place)
        return negate(filled) if read_boolean(operand, place) else filled
    found = _find(path, _read_test(operator, operand, place), place, in_rows=operator != "$contains")
    if operator in ("$in", "$nin") and not operand:
        found = NEVER  # said so, lest a deletion by $nin and an empty list be taken for one that leaves some
    return negate(found) if operator in ("$ne", "$nin") else found


def _read_test(operator: str, operand: Any, place: Place) -> Test:
    if operator in ("$in", "$nin"):
        values = read_list(operand, place, "a list of values")
        return equals_any([read_scalar(one, place.item(number)) for number, one in enumerate(values)])
    if operator == "$between":
        ends = read_list(operand, place, "a list of two values, the least and the greatest")
        if len(ends) != 2:
            raise FilterError(f"{place} must be a list of two values, the least and the greatest, got {len(ends)}")
        low, high = (_read_test(sign, end, place) for sign, end in zip(("$gte", "$lte"), ends, strict=True))
        return both(low, high)
    value = read_scalar(operand, place)
    if operator in _TEXTS:
        if not isinstance(value, str) or len(value) > _LONGEST_PATTERN:
            raise FilterError(
                f"{place} must be a string of at most {_LONGEST_PATTERN:,} characters, got {describe(value)}"
            )
        if operator == "$startswith":
            return starts_with(value)
        return is_like(value, fold=operator == "$ilike")
    if operator == "$contains":
        return contains(value)
    if operator in _ORDERS and (value is None or isinstance(value, bool)):
        raise FilterError(f"{place} must be a number or a string, got {describe(value)}, which has no order")
    return compares(_ORDERS.get(operator, "="), value)


def _read_negated(operand: Any, place: Place) -> Mapping[str, Any]:
    needed = 'a mapping of operators, like {"$gt": 1999}'
    items = read_mapping(operand, place, needed)
    if not items or not all(name.startswith("$") for name in items):
        raise FilterError(f"{place} must be {needed}, got {list_keys(items)}")
    return items


def _find(path: str, test: Test | None, place: Place, *, in_rows: bool = False) -> Logic:
    n_keys = path.count(".") + 1
    if n_keys > MAX_KEYS:
        raise FilterError(f"{place} must have at most {MAX_KEYS} keys in its path, got {n_keys}")
    return has_path(path, test, in_rows=in_rows)


def _explain_unknown(operator: str, place: Place, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(operator[:40].lower(), known, n=1, cutoff=0.75)
    meant = _ELSEWHERE.get(operator.lower()) or (near[0] if near else None)
    advice = f"did you mean {meant}?" if meant else "a field's name cannot begin with $ here"
    return f"{place} must be one of {', '.join(known)}; {advice}"
