"""Put the letters of words that are written from right to left into their order, by where they stand on the page."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from itertools import groupby, pairwise
from typing import TypeAlias

_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]{2,}")
_DIRECTIONS = ("R", "AL", "NSM")  # of letters from right to left, and of what stands above or below them
_REVERSED = re.compile("[\u0622\u0623\u0625\u0627\u0671]\u0644|\u0647\u0644\u0644\u0627?")  # alef and lam, "Allah"
_LEAST = 0.1  # points

Place: TypeAlias = tuple[float, float]
"""Of a character on a page: its origin, and its left edge, which tells some letters of a ligature apart."""


def order_letters(line: str, place_of: Callable[[int], Place]) -> str:
    """Order the letters of each word from right to left where they come in another order.

    PDFium gives the words of a line in their order, and the letters of most. Where a program writes a replacement text
    for each letter, as Chromium does, letters come from left to right, and so do those of a ligature of several.

    Args:
        line: As PDFium gives it.
        place_of: Gives the place on the page of the character at this place of the line.

    Examples:
        >>> order_letters("םולש 12", lambda at: (at * 10, at * 10))
        'שלום 12'
    """
    return _RIGHT_TO_LEFT.sub(lambda word: _order_word(word[0], word.start(), place_of), line)


def _order_word(word: str, start: int, place_of: Callable[[int], Place]) -> str:
    """Order the letters of a word; numbers in it stay where they are."""
    parts = []
    for is_letter, run in groupby(enumerate(word, start), lambda one: unicodedata.bidirectional(one[1]) in _DIRECTIONS):
        letters = [(place_of(at) if is_letter else (0.0, 0.0), letter) for at, letter in run]
        parts.append(_order_run(letters) if is_letter else "".join(letter for _, letter in letters))
    return "".join(parts)


def _order_run(letters: Sequence[tuple[Place, str]]) -> str:
    bases = [place for place, letter in letters if not unicodedata.combining(letter)]
    if any(_is_right_of(other, one) for one, other in pairwise(bases)):
        letters = sorted(letters, key=lambda one: one[0], reverse=True)
    glyphs = ("".join(letter for _, letter in run) for _, run in groupby(letters, lambda one: one[0]))
    return "".join(glyph[::-1] if _REVERSED.fullmatch(glyph) else glyph for glyph in glyphs)


def _is_right_of(one: Place, other: Place) -> bool:
    return one[0] > other[0] + _LEAST or (abs(one[0] - other[0]) <= _LEAST and one[1] > other[1] + _LEAST)
