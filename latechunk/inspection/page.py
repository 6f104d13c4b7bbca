"""Write the page of a view: HTML that needs no server, no network and no other file.

A document is data. It travels as JSON in a block that browsers do not run, is put into the page as text nodes only, and
the page's policy allows no script and no style but those two whose hashes it names, and no request at all.
"""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any

from latechunk.errors import InputError
from latechunk.inspection.html import fill_page
from latechunk.inspection.view import View
from latechunk.types import Span

_OPENING = 160  # characters of a chunk that the list of the best shows; what does not fit is cut off by the browser
_BINS = 240  # columns of the small maps of the document
_DIGITS = 5
_ESCAPES = str.maketrans({one: f"\\u{ord(one):04x}" for one in "<>&\u2028\u2029"})


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of characters that the page shows as one.

    Attributes:
        end: One past the last character; ``start`` for a chunk all of whose text is shown in later chunks.
        chunk: The chunk in which it is shown, the last of those that hold it; None where none does.
        is_gold: Whether it lies in the gold span.
        window: Number of the window that begins here, from 1; None where none does. Window 1 is not marked.
        page: The page that begins here, as it is cited; None where none does.
        heading: Number of the heading that begins here, from 0; None where none does.
    """

    start: int
    end: int
    chunk: int | None
    is_gold: bool
    window: int | None
    page: str | None = None
    heading: int | None = None


def write_page(path: Path, view: View) -> None:
    """Write the page of a view, in the place of what was there; InputError if the file cannot be written."""
    page = make_page(view)
    try:
        path.write_text(page, encoding="utf-8", newline="\n")
    except OSError as error:
        raise InputError(
            f"the page needs a file that can be written, and {path} cannot ({error.strerror or error}): name a file in "
            f"a folder that exists and is yours to write"
        ) from error


def make_page(view: View) -> str:
    """The page of a view, as HTML."""
    data = embed_json(_page_data(view))
    page, _ = fill_page(__package__, "page.css", "page.js", "template.html", policy="form-action 'none'", data=data)
    return page


def embed_json(value: Any) -> str:
    """JSON that may stand in a script element: no character of it can end the element or mean anything to HTML."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).translate(_ESCAPES)


def _page_data(view: View) -> dict[str, Any]:
    """What the page's script works from. Offsets count code points and are only shown: texts come cut into pieces."""
    return {
        "question": view.question,
        "document": view.document_id,
        "model": view.model,
        "mode": view.mode,
        "lateWeight": view.late_weight,
        "nCharacters": len(view.text),
        "nWindows": None if view.seams is None else len(view.seams) + 1,
        "gold": [view.gold.start, view.gold.end] if view.gold else None,
        "chunks": [
            {
                "start": span.start,
                "end": span.end,
                "nTokens": n_tokens,
                "shift": None if view.shifts is None else round(view.shifts[number], _DIGITS),
                "windows": list(windows_of(span, view.seams or ())),
                "isGold": view.gold is not None and overlap(span, view.gold),
                "citation": view.citations[number] if view.citations else "",
                "opening": " ".join(view.text[span.start : min(span.end, span.start + _OPENING)].split()),
            }
            for number, (span, n_tokens) in enumerate(zip(view.spans, view.n_tokens, strict=True))
        ],
        "arms": [
            {
                "name": arm.name,
                "scores": [round(score, _DIGITS) for score in arm.scores],
                "ranks": list(arm.ranks),
                "map": map_of(view.spans, arm.scores, len(view.text)),
            }
            for arm in view.arms
        ],
        "headings": [{"level": level, "title": title} for _, level, title in view.headings],
        "pieces": [
            {
                "text": view.text[piece.start : piece.end],
                "start": piece.start,
                "end": piece.end,
                "chunk": piece.chunk,
                "isGold": piece.is_gold,
                "window": piece.window,
                "page": piece.page,
                "heading": piece.heading,
            }
            for piece in cut_pieces(
                len(view.text),
                view.spans,
                view.seams or (),
                view.gold,
                dict(view.pages),
                [start for start, _, _ in view.headings],
            )
        ],
    }


def cut_pieces(
    n_characters: int,
    spans: Sequence[Span],
    seams: Sequence[int],
    gold: Span | None,
    pages: Mapping[int, str] = MappingProxyType({}),
    headings: Sequence[int] = (),
) -> list[Piece]:
    """Cut a text wherever something begins or ends, so that the pieces in their order are the whole of it.

    ``spans`` are in order of their starts, ``seams`` (the first character of each window but the first) and the first
    characters of ``headings`` do not decrease; ``pages`` are by their first characters.
    """
    marked = [gold] if gold else []
    ends = {place for span in (*spans, *marked) for place in (span.start, span.end)}
    places = sorted({0, n_characters, *seams, *ends, *pages, *headings})
    windows = {place: number for number, place in enumerate(seams, start=2)}
    titles = {place: number for number, place in enumerate(headings)}
    pieces = [
        Piece(
            begin,
            end,
            chunk,
            any(overlap(Span(begin, end), one) for one in marked),
            windows.get(begin),
            pages.get(begin),
            titles.get(begin),
        )
        for (begin, end), chunk in zip(pairwise(places), _last_holders(places, spans), strict=True)
    ]
    shown = {piece.chunk for piece in pieces}
    hidden = [
        Piece(span.start, span.start, number, False, None) for number, span in enumerate(spans) if number not in shown
    ]
    # A hidden chunk comes before the later one that shows its first character.
    return sorted([*pieces, *hidden], key=lambda one: (one.start, -1 if one.chunk is None else one.chunk))


def windows_of(span: Span, seams: Sequence[int]) -> tuple[int, int]:
    """First and last window, from 1, that own characters of a span; ``seams`` are the windows' first characters."""
    return 1 + bisect_right(seams, span.start), 1 + bisect_left(seams, span.end)


def map_of(spans: Sequence[Span], scores: Sequence[float], n_characters: int) -> list[float | None]:
    """The best score in each of equal parts of a text, None where no chunk lies."""
    n_bins = min(_BINS, n_characters)
    best: list[float | None] = [None] * n_bins
    for span, score in zip(spans, scores, strict=True):
        for number in range(span.start * n_bins // n_characters, -(-span.end * n_bins // n_characters)):
            known = best[number]
            best[number] = round(score if known is None else max(known, score), _DIGITS)
    return best


def overlap(one: Span, other: Span) -> bool:
    """Whether two spans share a character."""
    return one.start < other.end and other.start < one.end


def _last_holders(places: Sequence[int], spans: Sequence[Span]) -> Iterator[int | None]:
    """For each stretch between neighbouring places the last span that holds it; every end of a span is a place."""
    holders: list[int] = []
    next_span = 0
    for begin in places[:-1]:
        while next_span < len(spans) and spans[next_span].start <= begin:
            holders.append(next_span)
            next_span += 1
        holders = [number for number in holders if spans[number].end > begin]
        yield holders[-1] if holders else None
