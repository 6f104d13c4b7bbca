"""The values that a filter is made of, each checked; errors name their place in the filter."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from latechunk.errors import FilterError
from latechunk.storage.filter_sql import Scalar
from latechunk.types import require_text, to_plain

# SQLite takes expressions 1,000 deep: a chain of ANDs is as deep as it is long, and counts again for each query it is
# nested in. Before 3.46 its parser has a stack of 100 places, of which a level here can take six.
MAX_CONDITIONS = 200
MAX_LEVELS = 10


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a filter we are, how many mappings deep, and what is left of the conditions it may hold."""

    name: str
    level: int
    budget: Iterator[int]

    def __str__(self) -> str:
        return f"{self.name} in the filter" if self.name else "the filter"

    def key(self, key: str) -> Place:
        """The place of a key's value."""
        short = key if len(key) <= 40 else f"{key[:40]}…"
        shown = short if short.isprintable() and short else repr(short)
        return Place(f"{self.name}.{shown}" if self.name else shown, self.level + 1, self.budget)

    def item(self, number: int) -> Place:
        """The place of an element of a list."""
        return Place(f"{self.name}[{number}]", self.level, self.budget)

    def count(self) -> None:
        """Take one of the conditions that a filter may hold; a FilterError if none is left."""
        if next(self.budget, None) is None:
            raise FilterError(
                f"a filter may hold {MAX_CONDITIONS} operators and no more, and {self} is one too many; "
                f"to compare with many values use $in, which is one"
            )


def read_boolean(value: Any, place: Place) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise FilterError(f"{place} must be true or false, got {describe(value)}")
    return value


def read_mapping(value: Any, place: Place, needed: str) -> Mapping[str, Any]:
    """A mapping with strings as keys, not too deep; ``needed`` says what it is to be."""
    if not isinstance(value, Mapping):
        raise FilterError(f"{place} must be {needed}, got {describe(value)}")
    if place.level > MAX_LEVELS:
        raise FilterError(f"a filter may be {MAX_LEVELS} mappings deep and no more, and {place} is deeper")
    for key in value:
        if type(key) is not str:
            raise FilterError(f"{place} must have plain strings as keys, got {describe(key)}")
        require_text(key, str(place.key(key)), FilterError)
    return value


def read_list(value: Any, place: Place, needed: str) -> Sequence[Any]:
    """A list; ``needed`` says of what."""
    if not isinstance(value, list | tuple):
        raise FilterError(f"{place} must be {needed}, got {describe(value)}")
    return value


def read_scalar(value: Any, place: Place) -> Scalar:
    """A value that metadata can have: a string, a finite number, a boolean or None."""
    value = to_plain(value)
    if type(value) not in (str, bool, int, float, type(None)):
        raise FilterError(
            f"{place} must be a string, a number, a boolean or None, got {describe(value)}; {_advise(value)}"
        )
    if isinstance(value, str):
        require_text(value, str(place), FilterError)
    elif isinstance(value, float) and not math.isfinite(value):
        raise FilterError(f"{place} must be finite, as all numbers in metadata are, got {value}")
    elif isinstance(value, int) and not _fits_float(value):
        raise FilterError(f"{place} must be a number that a float can hold, got {describe(value)}")
    return value  # type: ignore[no-any-return]


def _fits_float(value: int) -> bool:
    try:
        float(value)
    except OverflowError:
        return False
    return True


def _advise(value: object) -> str:
    if isinstance(value, list | tuple | set | frozenset):
        return 'for any of several values give a list under an operator, as in {"$in": [1, 2]}'
    if isinstance(value, Mapping):
        return 'to look into a mapping name the keys, as in {"author.name": "x"}'
    return "turn it into one of these"


def describe(value: object) -> str:
    """A short value itself, and the type of one that could be long, deep or anybody's code."""
    if type(value) is str:
        return f"the string {value[:40]!r}{'…' if len(value) > 40 else ''}"
    if type(value) is int and value.bit_length() > 64:
        return f"a whole number of {value.bit_length()} bits"
    if value is None or type(value) in (bool, int, float):
        return repr(value)
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def list_keys(items: Mapping[str, Any]) -> str:
    """The first keys of a mapping, for an error."""
    shown = [repr(name[:40]) for name in list(items)[:6]]
    return f"one with the keys {', '.join(shown)}" if shown else "an empty mapping"
