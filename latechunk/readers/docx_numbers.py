"""The numbers that Word gives to headings, clauses and items of lists, which no text of a file has."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from latechunk.readers.archive import Archive
from latechunk.readers.notation import to_letters, to_roman

_PART = "word/numbering.xml"
_PLACE = re.compile(r"%([1-9])")
_MOST_LEVELS = 9
_FORMS: Mapping[str, Callable[[int], str]] = {
    "lowerLetter": to_letters,
    "upperLetter": lambda number: to_letters(number).upper(),
    "lowerRoman": to_roman,
    "upperRoman": lambda number: to_roman(number).upper(),
    "decimalZero": lambda number: f"{number:02}",
}


@dataclass(slots=True)
class _Level:
    start: int = 1
    form: str = "decimal"
    text: str = ""
    is_legal: bool = False  # whether all numbers in its text are decimal


@dataclass(slots=True)
class _List:
    """A numbering: ``base`` is the abstract one, whose count it shares."""

    base: str = ""
    levels: dict[int, _Level] = field(default_factory=dict)  # that differ from those of the base
    starts: dict[int, int] = field(default_factory=dict)  # at its own first item


class Numbering:
    """Counts the paragraphs of a file, in their order."""

    def __init__(self, archive: Archive) -> None:
        self._bases: dict[str, dict[int, _Level]] = {}
        self._lists: dict[str, _List] = {}
        self._counts: dict[str, dict[int, int]] = {}
        self._open: dict[int, _Level] = {}
        self._list = _List()
        self._depth = 0
        if _PART in archive:
            archive.parse(_PART, self._start)

    def count(self, name: str, depth: int) -> str:
        """Count a paragraph of a list at a depth from 0: its mark, such as ``4.2``; none if it has a bullet or none."""
        numbering = self._lists.get(name)
        if not numbering or not 0 <= depth < _MOST_LEVELS:
            return ""
        levels = self._bases.get(numbering.base, {}) | numbering.levels
        counts = self._counts.setdefault(numbering.base, {})
        before = counts.get(depth, levels.get(depth, _Level()).start - 1)
        counts[depth] = numbering.starts.pop(depth, before + 1)
        for deeper in range(depth + 1, _MOST_LEVELS):
            counts.pop(deeper, None)
        return _write(levels, counts, depth)

    def _start(self, tag: str, attributes: Mapping[str, str]) -> None:
        value = attributes.get("val", "")
        if tag == "abstractNum":
            self._open = self._bases.setdefault(attributes.get("abstractNumId", ""), {})
        elif tag == "num":
            self._list = self._lists[attributes.get("numId", "")] = _List()
            self._open = self._list.levels
        elif tag == "abstractNumId":
            self._list.base = value
        elif tag in ("lvl", "lvlOverride"):
            self._depth = _number(attributes.get("ilvl", ""), 0)
            if tag == "lvl":
                self._open[self._depth] = _Level()
        elif tag == "startOverride":
            self._list.starts[self._depth] = _number(value, 1)
        elif self._depth in self._open:
            _describe(self._open[self._depth], tag, value)


def _describe(level: _Level, tag: str, value: str) -> None:
    if tag == "start":
        level.start = _number(value, 1)
    elif tag == "numFmt":
        level.form = value
    elif tag == "lvlText":
        level.text = value
    elif tag == "isLgl":
        level.is_legal = value not in ("0", "false")


def _write(levels: Mapping[int, _Level], counts: Mapping[int, int], depth: int) -> str:
    level = levels.get(depth)
    if level is None or level.form in ("bullet", "none"):
        return ""

    def write(place: re.Match[str]) -> str:
        other = levels.get(int(place[1]) - 1, _Level())
        number = counts.get(int(place[1]) - 1, other.start)
        return str(number) if level.is_legal or number < 1 else _FORMS.get(other.form, str)(number)

    return _PLACE.sub(write, level.text).strip()


def _number(text: str, default: int) -> int:
    return int(text) if text.isdecimal() and len(text) < 10 else default
