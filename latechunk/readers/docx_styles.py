"""The paragraph styles of a Word file: which of them are of headings and lists."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from latechunk.readers.archive import Archive

_BODY_LEVEL = 9  # of an outline level that is none


@dataclass(slots=True)
class Style:
    """A paragraph style: the level of headings in it, and its list and depth there; None where its base says it.

    The list ``"0"`` is none.
    """

    base: str = ""
    level: int | None = None
    numbering: str | None = None
    depth: int | None = None


def read_styles(archive: Archive) -> dict[str, Style]:
    """The styles of a file by their ids."""
    styles: dict[str, Style] = {}
    style = Style()

    def start(tag: str, attributes: Mapping[str, str]) -> None:
        nonlocal style
        value = attributes.get("val", "")
        if tag == "style":
            style = styles[attributes.get("styleId", "")] = Style()
        elif tag == "name":
            style.level = _level_of_name(value)
        elif tag == "basedOn":
            style.base = value
        elif tag == "outlineLvl":
            style.level = to_level(value)
        elif tag == "numId":
            style.numbering = value
        elif tag == "ilvl":
            style.depth = to_depth(value)

    if "word/styles.xml" in archive:
        archive.parse("word/styles.xml", start)
    return styles


def _level_of_name(name: str) -> int | None:
    """Word's own styles have these names in every language."""
    found = re.fullmatch(r"heading ([1-9])", name.casefold())
    return int(found[1]) if found else 1 if name.casefold() == "title" else None


def to_level(value: str) -> int:
    """The level of a heading, from 1, of an outline level, from 0; 0 of the level of other text."""
    level = int(value) if value.isdecimal() and len(value) < 3 else _BODY_LEVEL
    return 0 if level >= _BODY_LEVEL else level + 1


def to_depth(value: str) -> int:
    """The depth in a list, from 0."""
    return int(value) if value.isdecimal() and len(value) < 3 else 0
