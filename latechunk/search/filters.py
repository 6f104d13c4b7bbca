"""A metadata filter, as LangChain and LlamaIndex users write them, becomes a condition in SQL.

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
    {"$exists": true}                   the key is there, with null, too; false: it is not there
    {"$not": {"$gt": v, ...}}           not all of these operators

Each operator looks on its own: ``{"$gt": 1, "$lt": 5}`` holds for ``[0, 9]``. A path leads through mappings, never
into arrays. Whole numbers beyond 64 bits compare as the floats nearest to them. What begins with ``$`` is an operator,
so a top-level key of that kind cannot be filtered by.

On one core of a server, 10,000 documents with 8 keys each take 10 to 20 ms, and each further operator that has to look
at all of them up to 10 ms more; 100,000 values in ``$in`` take 50 to 100 ms once.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from latechunk.errors import FilterError
from latechunk.storage.filter_sql import (
    Condition,
    Logic,
    Scalar,
    Test,
    compares,
    equals_any,
    has_path,
    join,
    negate,
    over_documents,
)
from latechunk.types import require_text

__all__ = ["MAX_CONDITIONS", "MAX_KEYS", "MAX_LEVELS", "Condition", "compile_filter"]

# SQLite takes expressions 1,000 deep: a chain of ANDs is as deep as it is long, and counts again for each query it is
# nested in. Before 3.46 its parser has a stack of 100 places, of which a level here can take six.
MAX_CONDITIONS = 200
MAX_LEVELS = 10
MAX_KEYS = 16  # SQLite joins 64 tables at most, and each key of a path is one

_LOGICAL = ("$and", "$or", "$not")
_ORDERS = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
_FIELD_OPERATORS = ("$eq", "$ne", "$in", "$nin", *_ORDERS, "$exists", "$not")


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in a filter we are, how many mappings deep, and what is left of the conditions it may hold."""

    name: str
    level: int
    budget: Iterator[int]

    def __str__(self) -> str:
        return f"{self.name} in the filter" if self.name else "the filter"

    def key(self, key: str) -> _Place:
        short = key if len(key) <= 40 else f"{key[:40]}…"
        shown = short if short.isprintable() and short else repr(short)
        return _Place(f"{self.name}.{shown}" if self.name else shown, self.level + 1, self.budget)

    def item(self, number: int) -> _Place:
        return _Place(f"{self.name}[{number}]", self.level, self.budget)

    def count(self) -> None:
        if next(self.budget, None) is None:
            raise FilterError(
                f"a filter may hold {MAX_CONDITIONS} operators and no more, and {self} is one too many; "
                f"to compare with many values use $in, which is one"
            )


def compile_filter(filter: Mapping[str, Any]) -> Condition:  # noqa: A002
    """Turn a filter, as this module's text defines it, into SQL.

    Args:
        filter: At most ``MAX_LEVELS`` mappings deep, with at most ``MAX_CONDITIONS`` operators (``$eq`` counts where
            it is left out, and an empty filter as one), and at most ``MAX_KEYS`` keys in a path.

    Raises:
        FilterError: If it is not a filter; the message names the place in it, like ``$or[1].year.$gt``.
    """
    return over_documents(_read_filter(filter, _Place("", 1, iter(range(MAX_CONDITIONS)))))


def _read_filter(value: Any, place: _Place) -> Logic:
    items = _read_mapping(value, place, 'a filter, like {"year": {"$gt": 1999}}')
    if not items:
        place.count()
    return join("AND", [_read_entry(name, operand, place.key(name)) for name, operand in items.items()])


def _read_entry(name: str, operand: Any, place: _Place) -> Logic:
    if not name.startswith("$"):
        return _read_field(name, operand, place)
    if name in _FIELD_OPERATORS and name not in _LOGICAL:
        raise FilterError(f'{place} must stand under a field, like {{"year": {{"{name}": ...}}}}')
    if name not in _LOGICAL:
        raise FilterError(_explain_unknown(name, place, _LOGICAL))
    place.count()
    if name == "$not":
        return negate(_read_filter(operand, place))
    filters = _read_list(operand, place, "a list of filters")
    if not filters:
        raise FilterError(f"{place} must be a list of at least one filter, got an empty list; leave {name} out")
    parts = [_read_filter(one, place.item(number)) for number, one in enumerate(filters)]
    return join("AND" if name == "$and" else "OR", parts)


def _read_field(path: str, operand: Any, place: _Place) -> Logic:
    if not isinstance(operand, Mapping):
        return _read_operator(path, "$eq", operand, place)
    items = _read_mapping(operand, place, "a mapping")
    n_operators = sum(name.startswith("$") for name in items)
    if not items or 0 < n_operators < len(items):
        raise FilterError(
            f"{place} must be a value, a mapping of operators or a mapping of fields, got {_list_keys(items)}"
        )
    if n_operators:
        return _read_operators(path, items, place)
    return join("AND", [_read_field(f"{path}.{name}", one, place.key(name)) for name, one in items.items()])


def _read_operators(path: str, items: Mapping[str, Any], place: _Place) -> Logic:
    return join("AND", [_read_operator(path, name, operand, place.key(name)) for name, operand in items.items()])


def _read_operator(path: str, operator: str, operand: Any, place: _Place) -> Logic:
    if operator in _LOGICAL and operator != "$not":
        raise FilterError(f'{place} must stand above fields, like {{"{operator}": [{{"year": 1999}}, ...]}}')
    if operator not in _FIELD_OPERATORS:
        raise FilterError(_explain_unknown(operator, place, _FIELD_OPERATORS))
    place.count()
    if operator == "$not":
        return negate(_read_operators(path, _read_negated(operand, place), place))
    if operator == "$exists":
        found = _find(path, None, place)
        return found if _read_boolean(operand, place) else negate(found)
    found = _find(path, _read_test(operator, operand, place), place)
    return negate(found) if operator in ("$ne", "$nin") else found


def _read_test(operator: str, operand: Any, place: _Place) -> Test:
    if operator in ("$in", "$nin"):
        values = _read_list(operand, place, "a list of values")
        return equals_any([_read_scalar(one, place.item(number)) for number, one in enumerate(values)])
    value = _read_scalar(operand, place)
    if operator in _ORDERS and (value is None or isinstance(value, bool)):
        raise FilterError(f"{place} must be a number or a string, got {_describe(value)}, which has no order")
    return compares(_ORDERS.get(operator, "="), value)


def _read_negated(operand: Any, place: _Place) -> Mapping[str, Any]:
    needed = 'a mapping of operators, like {"$gt": 1999}'
    items = _read_mapping(operand, place, needed)
    if not items or not all(name.startswith("$") for name in items):
        raise FilterError(f"{place} must be {needed}, got {_list_keys(items)}")
    return items


def _read_boolean(value: Any, place: _Place) -> bool:
    if not isinstance(value, bool):
        raise FilterError(f"{place} must be true or false, got {_describe(value)}")
    return value


def _read_mapping(value: Any, place: _Place, needed: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise FilterError(f"{place} must be {needed}, got {_describe(value)}")
    if place.level > MAX_LEVELS:
        raise FilterError(f"a filter may be {MAX_LEVELS} mappings deep and no more, and {place} is deeper")
    for key in value:
        if type(key) is not str:
            raise FilterError(f"{place} must have plain strings as keys, got {_describe(key)}")
        require_text(key, str(place.key(key)), FilterError)
    return value


def _read_list(value: Any, place: _Place, needed: str) -> Sequence[Any]:
    if not isinstance(value, list | tuple):
        raise FilterError(f"{place} must be {needed}, got {_describe(value)}")
    return value


def _read_scalar(value: Any, place: _Place) -> Scalar:
    # Exact types: an enum or a numpy scalar can be a kind of str or float without being what the metadata holds.
    if type(value) not in (str, bool, int, float, type(None)):
        raise FilterError(
            f"{place} must be a string, a number, a boolean or None, got {_describe(value)}; {_advise(value)}"
        )
    if isinstance(value, str):
        require_text(value, str(place), FilterError)
    elif isinstance(value, float) and not math.isfinite(value):
        raise FilterError(f"{place} must be finite, as all numbers in metadata are, got {value}")
    elif isinstance(value, int) and not _fits_float(value):
        raise FilterError(f"{place} must be a number that a float can hold, got {_describe(value)}")
    return value  # type: ignore[no-any-return]


def _find(path: str, test: Test | None, place: _Place) -> Logic:
    n_keys = path.count(".") + 1
    if n_keys > MAX_KEYS:
        raise FilterError(f"{place} must have at most {MAX_KEYS} keys in its path, got {n_keys}")
    return has_path(path, test)


def _fits_float(value: int) -> bool:
    try:
        float(value)
    except OverflowError:
        return False
    return True


def _explain_unknown(operator: str, place: _Place, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(operator[:40], known, n=1)
    advice = f"did you mean {near[0]}?" if near else "a field's name cannot begin with $ here"
    return f"{place} must be one of {', '.join(known)}; {advice}"


def _advise(value: object) -> str:
    if isinstance(value, list | tuple | set | frozenset):
        return 'for any of several values give a list under an operator, as in {"$in": [1, 2]}'
    if isinstance(value, Mapping):
        return 'to look into a mapping name the keys, as in {"author.name": "x"}'
    return "give dates as ISO strings, and numpy scalars and enums as the plain numbers or strings they stand for"


def _describe(value: object) -> str:
    """A short value itself, and the type of one that could be long, deep or anybody's code."""
    if type(value) is str:
        return f"the string {value[:40]!r}{'…' if len(value) > 40 else ''}"
    if type(value) is int and value.bit_length() > 64:
        return f"a whole number of {value.bit_length()} bits"
    if value is None or type(value) in (bool, int, float):
        return repr(value)
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _list_keys(items: Mapping[str, Any]) -> str:
    shown = [repr(name[:40]) for name in list(items)[:6]]
    return f"one with the keys {', '.join(shown)}" if shown else "an empty mapping"
