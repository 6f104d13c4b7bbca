"""The headings of a PDF: its bookmarks where they are found in the text, else lines of larger type."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from latechunk.types import Block

_LARGER = 1.15  # times the type of most of the text
_SAME = 0.97
_MOST_TITLE = 200  # characters
_MOST_LINES = 3  # of one heading
_MOST_OF_TEXT = 0.3  # what is large beyond that is no heading
_MOST_LEVELS = 6
_NUMBER = re.compile(r"[0-9]{1,9}")
_WORD = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the document: its page, its characters, and its height in points, 0 if that is not known.

    ``y`` is where it stands on the page, in points.
    """

    page: int
    start: int
    end: int
    size: float
    y: float = 0.0


def find_headings(text: str, lines: Sequence[Line], bookmarks: Iterable[tuple[int, str, int]]) -> tuple[Block, ...]:
    """Find headings by bookmarks (page, title, level) if most of those are in the text, else by the size of type."""
    wanted = list(bookmarks)
    by_page = {page: list(members) for page, members in groupby(lines, lambda line: line.page)}
    found = [
        block for page, title, level in wanted if (block := _find_title(text, by_page.get(page, []), title, level))
    ]
    if wanted and 2 * len(found) >= len(wanted):
        unique = {block.start: block for block in reversed(found)}
        return tuple(block for _, block in sorted(unique.items()))
    return tuple(_large_lines(text, lines))


def _find_title(text: str, lines: Sequence[Line], title: str, level: int) -> Block | None:
    """The line or lines that say the title, with or without a number before it."""
    wanted = _plain(title)
    if not wanted:
        return None
    for number, line in enumerate(lines):
        said = ""
        for last in lines[number : number + _MOST_LINES]:
            said += _plain(text[last.start : last.end])
            if said == wanted or (said.endswith(wanted) and not said[: -len(wanted)].strip("0123456789.ivxlc")):
                return Block("heading", line.start, last.end, level)
            if len(said) > len(wanted) + 10:
                break
    return None


def _plain(text: str) -> str:
    return re.sub(r"\W+", "", text).casefold()


def _large_lines(text: str, lines: Sequence[Line]) -> Iterator[Block]:
    n_characters: Counter[float] = Counter()
    for line in lines:
        n_characters[line.size] += line.end - line.start
    usual = max(n_characters, key=n_characters.__getitem__, default=0.0)
    large = sorted((size for size in n_characters if usual and size >= _LARGER * usual), reverse=True)
    if sum(n_characters[size] for size in large) > _MOST_OF_TEXT * sum(n_characters.values()):
        return
    n_pages = len({line.page for line in lines})
    heads = _running_heads(text, [line for line in lines if line.size in large], n_pages)
    lines = [line for line in lines if line not in heads]
    levels = _levels(large)
    for (_, level), run in groupby(lines, lambda line: (line.page, levels.get(line.size))):
        members = list(run)
        start, end = members[0].start, members[-1].end
        is_title = len(members) <= _MOST_LINES and end - start <= _MOST_TITLE
        if level and is_title and any(one.isalpha() for one in text[start:end]):
            yield Block("heading", start, end, level)


def _levels(sizes: Sequence[float]) -> dict[float, int]:
    """The level of each size of type, the largest first; letters of one font may differ a little."""
    levels: dict[float, int] = {}
    largest = math.inf
    level = 0
    for size in sizes:
        if size < _SAME * largest:
            largest, level = size, min(level + 1, _MOST_LEVELS)
        levels[size] = level
    return levels


def _running_heads(text: str, lines: Sequence[Line], n_pages: int) -> set[Line]:
    """The lines that say the same in the same place of both of two pages, or of at least 3, and half, of more.

    In those of two words and more numbers may count the pages: "Annual Report, 3 of 12".
    """
    places: dict[tuple[str, int], list[Line]] = {}
    for line in lines:
        said = text[line.start : line.end]
        key = _NUMBER.sub("#", said) if len(_WORD.findall(said)) > 1 else said
        places.setdefault((key, round(line.y)), []).append(line)
    least = max(2, min(3, n_pages), n_pages / 2)
    alike = (same for same in places.values() if len({one.page for one in same}) >= least)
    return {line for same in alike if _counts_pages(text, same) for line in same}


def _counts_pages(text: str, lines: Sequence[Line]) -> bool:
    """Whether each number of lines that else say the same is one number, or grows with the pages."""
    numbers = [[int(one) for one in _NUMBER.findall(text, line.start, line.end)] for line in lines]
    pages = [line.page for line in lines]
    return all(
        len(set(column)) == 1 or len({n - page for n, page in zip(column, pages, strict=True)}) == 1
        for column in zip(*numbers, strict=True)
    )
