"""Settings that check themselves: pydantic models whose errors are this package's own."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Collection, Mapping
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from latechunk.errors import InputError, LateChunkError

_SAID_BETTER = {
    "bool_type": "must be True or False",
    "callable_type": "must be a function",
    "finite_number": "must be a finite number",
    "float_type": "must be a number",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "model_attributes_type": "must be a JSON object",
    "string_type": "must be a string",
}
_OTHER_WORDS = {  # what the same is called elsewhere
    "k": ("top_k", "top_n", "limit", "n", "n_results", "num_results", "similarity_top_k"),
    "query": ("q", "question", "text"),
    "filter": ("where", "filters", "metadata"),
    "score_threshold": ("threshold", "min_score", "cutoff"),
}


class Validated(BaseModel):
    """Base of all settings: frozen, keyword-only, strict types, unknown names refused.

    A subclass sets ``error`` to what is raised, and ``subject`` to what messages call it.

    Raises:
        InputError: Or the subclass's ``error``, if a value is of the wrong type or out of range, a name is unknown, or
            one is missing.

    Examples:
        >>> class Size(Validated):
        ...     n_tokens: int = Field(ge=1)
        >>> Size(n_tokens=0)
        Traceback (most recent call last):
        latechunk.errors.InputError: n_tokens must be at least 1, got 0
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", arbitrary_types_allowed=True)

    error: ClassVar[type[LateChunkError]] = InputError
    subject: ClassVar[str] = ""

    def __init__(self, /, *nameless: Any, **values: Any) -> None:
        if nameless:
            meant = ", ".join(
                f"{name}={value!r:.80}" for name, value in zip(type(self).model_fields, nameless, strict=False)
            )
            raise self.error(f"{type(self).__name__} takes its settings by name: {type(self).__name__}({meant})")
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise self.error(explain(error, type(self).model_fields, self.subject)) from None

    # Without this mark pydantic would call __init__ for nested models too, and lose the name of the outer field.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Build from JSON, where arrays stand for tuples."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise cls.error(explain(error, cls.model_fields, cls.subject)) from None

    def replaced(self, **changes: Any) -> Self:
        """Copy with some values changed, all checked again."""
        return type(self)(**{**dict(self), **changes})


class Sealed(Validated):
    """Settings with a checksum of everything else in them, for files that must come back as they were written."""

    sha256: str = ""

    def sealed(self) -> Self:
        """The same with its checksum."""
        return self.model_copy(update={"sha256": self.checksum()})

    def checksum(self) -> str:
        """SHA-256 of all other values as JSON."""
        return hashlib.sha256(self.model_dump_json(exclude={"sha256"}).encode()).hexdigest()


def explain(error: ValidationError, known: Mapping[str, object], subject: str = "") -> str:
    """Say what was needed and what came, for every value that was refused; ``known`` are the names there are."""
    said = "; ".join(explain_one(one, known) for one in error.errors(include_url=False))
    return f"{subject}: {said}" if subject else said


def explain_one(one: ErrorDetails, known: Mapping[str, object]) -> str:
    """Say what was needed and what came, for one value that was refused."""
    name = ".".join(map(str, one["loc"])) or "the value"
    kind, limits = one["type"], one.get("ctx", {})
    if kind == "value_error":
        return str(limits["error"])
    if kind == "json_invalid":
        return f"it is not JSON: {limits['error']}"
    if kind == "missing":
        return f"{name} is missing"
    if kind in ("extra_forbidden", "unexpected_keyword_argument"):
        return explain_unknown(name, known)
    return f"{name} {_need(kind, one['msg'], limits)}, got {one['input']!r:.80}"


def explain_unknown(name: str, known: Collection[str]) -> str:
    """Say that there is no argument of a name, and which was meant, or which there are."""
    meant = [one for one, words in _OTHER_WORDS.items() if name in words and one in known]
    near = meant or difflib.get_close_matches(name, known, n=1)
    hint = (
        f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(known))}" if known else "leave it out"
    )
    return f"there is no {name!r:.80}: {hint}"


def _need(kind: str, message: str, limits: Mapping[str, Any]) -> str:
    bounds = {"greater_than_equal": "ge", "greater_than": "gt", "less_than_equal": "le", "less_than": "lt"}
    words = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
    if kind in bounds:
        bound = limits[bounds[kind]]
        return f"must be {words[bounds[kind]]} {bound:{',' if isinstance(bound, int) else 'g'}}"
    if kind in _SAID_BETTER:
        return _SAID_BETTER[kind]
    if kind == "literal_error":
        return f"must be one of {limits['expected']}"
    said = re.sub(r"^\w+ should", "must", message).replace("must be a valid", "must be a", 1)
    return said.replace("must be a array", "must be an array", 1)


def require_function(name: str, value: object) -> None:
    """Raise an InputError unless the argument ``name`` is a function or None."""
    if value is not None and not callable(value):
        raise InputError(f"{name} must be a function, or None, got {value!r:.80}")


def parse_object(name: str, text: str) -> dict[str, Any]:
    """Read a JSON object, as the argument ``name`` has it; InputError for anything else."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name} must be JSON such as '{{\"year\": 2024}}', got {text!r:.80}: {error}") from error
    if not isinstance(value, dict):
        raise InputError(f"{name} must be a JSON object such as '{{\"year\": 2024}}', got {text!r:.80}")
    return value
