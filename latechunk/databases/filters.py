"""A metadata filter as a small tree that each database translates, or refuses by the name of the operator."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

from latechunk.errors import FilterError
from latechunk.search.filters import compile_filter
from latechunk.storage.filter_sql import Scalar
from latechunk.types import to_plain

Order: TypeAlias = Literal["$gt", "$gte", "$lt", "$lte"]
EQUALITY = frozenset({"$eq", "$ne", "$in", "$nin", "$and", "$or", "$not"})
ORDERS = frozenset({"$gt", "$gte", "$lt", "$lte"})


@dataclass(frozen=True, slots=True)
class OneOf:
    """A value of the metadata at ``path``, or an element of an array there, equals one of ``values``; none of none."""

    path: str
    values: tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class Compares:
    """A value, or an element of an array, is of the type of ``value``, a number or a string, and stands so to it."""

    path: str
    order: Order
    value: str | int | float


@dataclass(frozen=True, slots=True)
class FromDocuments:
    """The chunk is of one of these documents."""

    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Negation:
    """What holds where ``part`` does not."""

    part: Where


@dataclass(frozen=True, slots=True)
class Junction:
    """All of the parts hold (``AND``), or one of them does (``OR``)."""

    word: Literal["AND", "OR"]
    parts: tuple[Where, ...]


Where: TypeAlias = OneOf | Compares | FromDocuments | Negation | Junction


def read_where(
    filter: Mapping[str, Any] | None,  # noqa: A002
    document_ids: Sequence[str] | None,
    operators: Collection[str],
    database: str,
) -> Where | None:
    """What must hold of a chunk, as ``latechunk.SearchOptions`` has it; None for nothing.

    Raises:
        FilterError: If the filter is none, or has another operator than those that the database has.
    """
    parts: list[Where] = []
    if filter is not None:
        compile_filter(filter)  # which refuses what is no filter
        parts.append(_Reader(operators, database).filter(filter))
    if document_ids is not None:
        parts.append(FromDocuments(tuple(dict.fromkeys(document_ids))))
    return _join("AND", parts) if parts else None


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads filters that ``compile_filter`` took."""

    operators: Collection[str]
    database: str

    def filter(self, value: Mapping[str, Any]) -> Where:
        return _join("AND", [self._entry(name, operand) for name, operand in value.items()])

    def _entry(self, name: str, operand: Any) -> Where:
        if not name.startswith("$"):
            return self._field(name, operand)
        self._require(name)
        if name == "$not":
            return Negation(self.filter(operand))
        return _join("AND" if name == "$and" else "OR", [self.filter(one) for one in operand])

    def _field(self, path: str, operand: Any) -> Where:
        if not isinstance(operand, Mapping):
            return self._operator(path, "$eq", operand)
        if any(name.startswith("$") for name in operand):
            return _join("AND", [self._operator(path, name, one) for name, one in operand.items()])
        return _join("AND", [self._field(f"{path}.{name}", one) for name, one in operand.items()])

    def _operator(self, path: str, name: str, operand: Any) -> Where:
        self._require(name)
        if name == "$not":
            return Negation(_join("AND", [self._operator(path, one, value) for one, value in operand.items()]))
        if name in ORDERS:
            return Compares(path, cast("Order", name), to_plain(operand))
        values = operand if name in ("$in", "$nin") else [operand]
        found = OneOf(path, tuple(to_plain(one) for one in values))
        return Negation(found) if name in ("$ne", "$nin") else found

    def _require(self, operator: str) -> None:
        if operator not in self.operators:
            known = ", ".join(sorted(self.operators))
            raise FilterError(
                f"{operator} in the filter cannot be asked of {self.database} exactly, which takes {known}; an index "
                f"takes every operator"
            )


def _join(word: Literal["AND", "OR"], parts: Sequence[Where]) -> Where:
    return parts[0] if len(parts) == 1 else Junction(word, tuple(parts))
