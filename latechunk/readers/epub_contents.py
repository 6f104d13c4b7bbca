"""The table of contents of a book, which names the chapters whose text has no heading."""

from __future__ import annotations

import contextlib
import posixpath
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import unquote

from latechunk.errors import DocumentError
from latechunk.readers.archive import Archive
from latechunk.readers.structured import StructuredText

_MOST_TITLE = 200  # characters
_MOST_LINES = 4  # at the beginning of a chapter, of which some may be its title
_LINE = re.compile(r"[^\n]+")


class Entry(NamedTuple):
    """A title, and how deep it stands in the table, from 1."""

    title: str
    depth: int


def read_contents(archive: Archive, names: Sequence[str]) -> dict[str, Entry]:
    """The first entry for each member, in the first of these files that has any; damage costs no text."""
    for name in names:
        contents = _Contents(posixpath.dirname(name))
        with contextlib.suppress(DocumentError):
            archive.parse(name, contents.start, contents.end, contents.text)
        if contents.found:
            return contents.found
    return {}


class _Contents:
    """Takes the events of the ``nav`` of EPUB 3, whose entries are links in lists, or of the NCX of EPUB 2."""

    def __init__(self, folder: str) -> None:
        self.found: dict[str, Entry] = {}
        self._folder = folder
        self._depth = 0
        self._is_other = False  # landmarks, or pages, which in an NCX are no points
        self._place: str | None = None
        self._title: list[str] | None = None

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        if tag == "nav":
            self._is_other = attributes.get("type", "toc") != "toc"
        elif tag in ("ol", "navPoint"):
            self._depth += 1
        elif tag == "text":
            self._title = []
        elif tag == "a":
            self._title, self._place = [], attributes.get("href")
        elif tag == "content" and self._title is not None:  # of an NCX, whose label comes first
            self._add(attributes.get("src"))

    def end(self, tag: str) -> None:
        if tag in ("ol", "navPoint"):
            self._depth -= 1
        elif tag == "a":
            self._add(self._place)

    def text(self, text: str) -> None:
        if self._title is not None:
            self._title.append(text)

    def _add(self, place: str | None) -> None:
        title = " ".join("".join(self._title or ()).split())
        if place and self._depth and not self._is_other and 0 < len(title) <= _MOST_TITLE:
            name = posixpath.normpath(posixpath.join(self._folder, unquote(place.partition("#")[0])))
            self.found.setdefault(name, Entry(title, self._depth))
        self._title = None


def with_titles(chapters: Sequence[tuple[str, StructuredText]], contents: Mapping[str, Entry]) -> list[StructuredText]:
    """The chapters, by name, where one without a heading has its title of the contents for one.

    It has the level that other chapters at this depth of the contents have.
    """
    levels: dict[int, Counter[int]] = {}
    for name, text in chapters:
        own = [block.level for block in text.outline if block.kind == "heading"]
        if own and name in contents:
            levels.setdefault(contents[name].depth, Counter())[own[0]] += 1
    titled = []
    for name, text in chapters:
        is_bare = str(text) and not any(block.kind == "heading" for block in text.outline)
        if is_bare and name in contents:
            title, depth = contents[name]
            level = levels[depth].most_common(1)[0][0] if depth in levels else depth
            titled.append(_with_title(text, title, level))
        else:
            titled.append(text)
    return titled


def _with_title(text: StructuredText, title: str, level: int) -> StructuredText:
    """The text with the lines at its beginning that say the title as a heading, or with the title above it."""
    lines = list(_LINE.finditer(str(text)))[:_MOST_LINES]
    for number, first in enumerate(lines):
        for last in lines[number:]:
            if _letters(str(text)[first.start() : last.end()]) == _letters(title):
                text.mark_heading(first.start(), last.end(), level)
                return text
    titled = StructuredText()
    titled.heading(title, level)
    titled.append(text)
    return titled


def _letters(text: str) -> str:
    return re.sub(r"\W+", "", text).casefold()
