"""Find where spans of a document stand: under which headings, on which pages, on which line."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from latechunk.chunking.outline import find_outline, heading_title
from latechunk.types import FIRST_LINE, Block, Chunk, Document, PageNumber, Span
from latechunk.types.citation import elide

_NOT_BLANK = re.compile(r"\S")
_MOST_TITLE = 200  # characters; it comes back with every hit


@dataclass(frozen=True, slots=True)
class Place:
    """Where a passage stands, see ``latechunk.Chunk``, and the titles of the sections that begin in it."""

    headings: tuple[str, ...]
    pages: tuple[PageNumber, ...]
    line: int
    titles: tuple[str, ...] = ()


def with_outline(document: Document) -> Document:
    """The document with its outline, which is found in its text if nobody knows it."""
    return document if document.outline is not None else document.with_outline(find_outline(document.text))


def find_places(document: Document, spans: Sequence[Span]) -> list[Place]:
    r"""Find where each span stands, in order; takes time for the document once, and little for each span.

    The headings are those above the first text that is no heading itself: a passage that begins with the heading of its
    section stands in that section. White space at the ends of a span does not count.

    Examples:
        >>> document = Document("a", "# Guide\n## Refunds\nWe pay.", outline=None)
        >>> find_places(with_outline(document), [Span(0, 26)])
        [Place(headings=('Guide', 'Refunds'), pages=(), line=1, titles=('Refunds',))]
    """
    places = Places(document)
    return [places.of(span) for span in spans]


class Places:
    """Says where spans of a document stand, for which it goes through all of the document once; see ``find_places``."""

    def __init__(self, document: Document) -> None:
        self._text = document.text
        headings = [block for block in document.outline or () if block.kind == "heading"]
        self._outline = _Outline(document.text, headings)
        pages = [(number, page) for number, page in enumerate(document.pages) if page.start < page.end]
        self._page_starts = [page.start for _, page in pages]
        self._page_ends = [page.end for _, page in pages]
        self._pages = [PageNumber(number, page.label) for number, page in pages]
        self._position, self._line = 0, 1  # of the last span

    def of(self, span: Span) -> Place:
        """Where a span stands; spans in order take the least time."""
        part = self._text[span.start : span.end]
        start, end = span.end - len(part.lstrip()), span.start + len(part.rstrip())
        if start >= end:  # it is blank
            start, end = span.start, span.end
        pages = self._pages[bisect_right(self._page_ends, start) : bisect_left(self._page_starts, end)]
        if start < self._position:
            self._position, self._line = 0, 1
        self._line += self._text.count("\n", self._position, start)  # from where the last span was
        self._position = start
        outline = self._outline
        return Place(outline.above(start, end), tuple(pages), self._line, outline.within(start, end))


def make_chunks(document: Document, spans: Sequence[Span]) -> list[Chunk]:
    """The spans as chunks that know where they stand, numbered from 0."""
    return [
        Chunk(
            document.id,
            number,
            span.start,
            span.end,
            document.text[span.start : span.end],
            document.metadata,
            headings=place.headings,
            sections=place.titles,
            pages=place.pages,
            line=line_of_file(place.line, document.metadata),
        )
        for number, (span, place) in enumerate(zip(spans, find_places(document, spans), strict=True))
    ]


def line_of_file(line: int, metadata: Mapping[str, Any]) -> int:
    """The line of the file that is this line of a document's text, of which a reader may have left out the beginning.

    Examples:
        >>> line_of_file(2, {"first_line": 5})
        6
    """
    first = metadata.get(FIRST_LINE)
    return line + first - 1 if type(first) is int and first > 0 else line


def find_sections(document: Document) -> list[Span]:
    r"""Cut a document before each heading; headings with nothing between them begin one section.

    Returns:
        The sections in order, the text before the first heading included unless it is blank; none if the document has
        no heading.

    Examples:
        >>> document = Document("a", "Preface\n# Guide\n## Refunds\nWe pay.\n# Staff\n")
        >>> find_sections(with_outline(document))
        [Span(start=0, end=8), Span(start=8, end=35), Span(start=35, end=43)]
    """
    text = document.text
    starts: list[int] = []
    end = 0
    for heading in document.outline or ():
        if heading.kind != "heading":
            continue
        if not starts or text[end : heading.start].strip():
            starts.append(heading.start)
        end = max(end, heading.end)
    if not starts:
        return []
    before = [0] if text[: starts[0]].strip() else []
    starts = [*before, *starts] if before else [0, *starts[1:]]
    return [Span(begin, stop) for begin, stop in zip(starts, [*starts[1:], len(text)], strict=True)]


class _Outline:
    """The headings of a document with the path to each."""

    def __init__(self, text: str, headings: Sequence[Block]) -> None:
        self._text = text
        self._ends = [heading.end for heading in headings]
        self._starts = [heading.start for heading in headings]
        self._headings = headings
        self._parents: list[int | None] = []
        self._paths: dict[int | None, tuple[str, ...]] = {None: ()}
        above: list[int] = []
        for number, heading in enumerate(headings):
            while above and headings[above[-1]].level >= heading.level:
                above.pop()
            self._parents.append(above[-1] if above else None)
            above.append(number)
        self._has_title = self._parents.count(None) == 1

    def above(self, start: int, end: int) -> tuple[str, ...]:
        """The path at the first text in ``[start, end)`` that is no heading, else at its last heading."""
        position = start
        number = bisect_right(self._starts, position) - 1
        while number >= 0 and self._ends[number] > position:
            found = _NOT_BLANK.search(self._text, self._ends[number], end)
            if not found:
                break
            position = found.start()
            number = bisect_right(self._starts, position) - 1
        return self._path(number) if number >= 0 else ()

    def within(self, start: int, end: int) -> tuple[str, ...]:
        """The titles of the headings that begin in ``[start, end)``; see ``elide``.

        The title of the whole document is left out: it says nothing of one passage more than of another.
        """
        first, last = bisect_left(self._starts, start), bisect_left(self._starts, end)
        inner = [number for number in range(first, last) if not self._has_title or self._parents[number] is not None]
        titles = (_title(self._text, self._headings[number]) for number in inner)
        return elide([title for title in titles if title])

    def _path(self, number: int | None) -> tuple[str, ...]:
        """The titles of a heading and of those above it; there may be thousands, of which few are asked for."""
        if number is not None and number not in self._paths:
            title = _title(self._text, self._headings[number])
            self._paths[number] = (*self._path(self._parents[number]), *([title] if title else []))
        return self._paths[number]


def _title(text: str, heading: Block) -> str:
    title = heading_title(text, heading)
    return title if len(title) <= _MOST_TITLE else f"{title[: _MOST_TITLE - 1]}…"
