"""The styles of a Word file: which of them are of headings, lists and hidden text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from latechunk.readers.archive import Archive

_OFF = ("0", "false", "off")
_BODY_LEVEL = 9  # of an outline level that is none


@dataclass(slots=True)
class Style:
    """A style: the level of headings in it, its list and depth there, whether it hides; None where its base says it.

    The list ``"0"`` is none.
    """

    base: str = ""
    level: int | None = None
    numbering: str | None = None
    depth: int | None = None
    is_hidden: bool | None = None


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
        elif tag == "vanish":
            style.is_hidden = is_on(attributes.get("val"))

    if "word/styles.xml" in archive:
        archive.parse("word/styles.xml", start)
    return styles


def with_bases(styles: Mapping[str, Style], name: str) -> Iterator[Style]:
    """The style of this name, if there is one, then what it is like, and so on."""
    for _ in range(len(styles)):  # styles that are based on each other end as well
        if name not in styles:
            break
        yield styles[name]
        name = styles[name].base


def find_hidden(styles: Mapping[str, Style]) -> frozenset[str]:
    """The styles that hide text."""
    said = {name: (one.is_hidden for one in with_bases(styles, name)) for name in styles}
    return frozenset(name for name, each in said.items() if next((one for one in each if one is not None), False))


def is_on(value: str | None) -> bool:
    """Whether a setting of this value holds; None if it has none."""
    return value not in _OFF


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
