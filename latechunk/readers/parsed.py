"""What a parser finds in a file, and its way between processes as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from latechunk.errors import DocumentError
from latechunk.types import Block, Page


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table of a workbook, where each row becomes a document.

    Attributes:
        rows: Each as (number in the sheet from 1, texts by column, numbers by column or None where a cell is an error).
    """

    name: str
    rows: tuple[tuple[int, Mapping[str, str], Mapping[str, float | None]], ...]


@dataclass(frozen=True, slots=True)
class Parsed:
    """The text of a file and what is known of it.

    Attributes:
        notes: What was done that the user may want to know.
        problems: Parts that could not be read, each as (part, reason), such as ``("page 3", "it is damaged")``.
        sheets: In place of the text, where rows are asked for.
    """

    text: str
    pages: tuple[Page, ...] = ()
    outline: tuple[Block, ...] | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    problems: tuple[tuple[str, str], ...] = ()
    sheets: tuple[Sheet, ...] = ()

    def to_json(self) -> str:
        """Write it as one line of ASCII."""
        # Without the copies that asdict makes, which take as long as parsing a sheet.
        return json.dumps(self, default=lambda part: {one.name: getattr(part, one.name) for one in fields(part)})

    @classmethod
    def from_json(cls, line: str | bytes) -> Parsed:
        """Read what ``to_json`` wrote; DocumentError if it is ``{"error"}`` instead."""
        found = json.loads(line)
        if "error" in found:
            raise DocumentError(found["error"])
        outline = found["outline"]
        return cls(
            found["text"],
            tuple(Page(**page) for page in found["pages"]),
            None if outline is None else tuple(Block(**block) for block in outline),
            found["metadata"],
            tuple(found["notes"]),
            tuple((part, reason) for part, reason in found["problems"]),
            tuple(Sheet(one["name"], tuple((*row,) for row in one["rows"])) for one in found["sheets"]),
        )


@dataclass(frozen=True, slots=True)
class ParserOptions:
    """What a parser is told.

    Attributes:
        password: Of an encrypted file.
        encoding: Of text that does not say it and is not UTF-8.
        rows: Whether each row of a sheet becomes a document.
        tick: To be called at each page or chapter, since a parser that goes on for long without it is ended.
    """

    password: str | None = None
    encoding: str | None = None
    rows: bool = False
    tick: Callable[[], None] = lambda: None
