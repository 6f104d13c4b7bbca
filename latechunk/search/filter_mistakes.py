"""What looks like a mistake in a filter that selects no document, by the metadata that are stored."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Protocol

from latechunk.search.filter_values import describe
from latechunk.search.filters import FIELD_OPERATORS
from latechunk.types import to_plain

_NEGATIONS = ("$ne", "$nin", "$not", "$exists", "$is_empty")  # which hold where a key is missing
_KINDS = {"text": "strings", "integer": "numbers", "real": "numbers", "true": "booleans", "false": "booleans"}


class StoredKeys(Protocol):
    """What an index knows of its metadata."""

    def field_names(self) -> Collection[str]:
        """Top-level keys that have a value, or an array of values, in any document."""
        ...

    def field_kinds(self, key: str) -> Collection[str]:
        """Types of these values in all documents, as SQLite names those of JSON."""
        ...


def find_mistakes(filter: Mapping[str, Any], stored: StoredKeys) -> list[str]:  # noqa: A002
    """Say what in a valid filter no document can meet: keys that none has, values of another type, a missing $.

    Keys within keys are not looked into, nor is what ``$or`` and ``$not`` hold.

    Examples:
        >>> class Stored:
        ...     field_names = staticmethod(lambda: ["year"])
        ...     field_kinds = staticmethod(lambda key: ["integer"])
        >>> find_mistakes({"year": "2023"}, Stored())
        ["'year' has only numbers, and is compared with the string '2023'"]
    """
    said = []
    for key, operand in _fields(filter):
        bare = sorted(f"${name}" for name in operand if f"${name}" in FIELD_OPERATORS) if _is_bare(operand) else []
        if bare:
            said.append(f"operators begin with $: under {key!r:.80} it is {' and '.join(bare)}")
        elif "." not in key and not _is_bare(operand):
            said += _of_field(key, operand, stored)
    return list(dict.fromkeys(said))


def _fields(filter: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:  # noqa: A002
    """The fields that must all hold, with what they must be."""
    for name, operand in filter.items():
        if name == "$and":
            for one in operand:
                yield from _fields(one)
        elif not name.startswith("$"):
            yield name, operand


def _is_bare(operand: Any) -> bool:
    return isinstance(operand, Mapping) and not any(name.startswith("$") for name in operand)


def _of_field(key: str, operand: Any, stored: StoredKeys) -> Iterator[str]:
    operators = operand if isinstance(operand, Mapping) else {"$eq": operand}
    wanted = [value for name, value in operators.items() if name not in _NEGATIONS]
    values = [one for value in wanted for one in (value if isinstance(value, list | tuple) else [value])]
    if not values:
        return
    kinds = {_KINDS.get(one, one) for one in stored.field_kinds(key)}
    if not kinds:
        near = difflib.get_close_matches(key, stored.field_names(), n=1) or [
            one for one in stored.field_names() if one.casefold() == key.casefold()
        ]
        yield f"no document has a plain value for the key {key!r:.80}" + (
            f": did you mean {near[0]!r}?" if near else ""
        )
    elif kinds.isdisjoint(_kind_of(value) for value in values) and kinds != {"null"}:
        came = describe(to_plain(values[0]))
        yield f"{key!r:.80} has only {' and '.join(sorted(kinds - {'null'}))}, and is compared with {came}"


def _kind_of(value: Any) -> str:
    value = to_plain(value)
    if value is None:
        return "null"
    return "booleans" if isinstance(value, bool) else "strings" if isinstance(value, str) else "numbers"
