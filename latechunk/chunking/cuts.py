"""Where a text may be cut, and spans of the pieces: what all chunkers share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np

from latechunk.types import IntArray, Span

_ROW_END = re.compile(r"(?:[)\]}][,;，；]|;(?=\s)|；)\s*")
_CLAUSE_END = re.compile(r"(?:[,:،؛·՝](?=\s)|[，、：၊፣፤])\s*")


def cut_places(text: str, offsets: IntArray) -> tuple[list[bool], list[bool]]:
    """Say of each token whether it begins a character of its own, and whether it begins a word."""
    starts, previous_ends = offsets[1:, 0], offsets[:-1, 1]
    begins_character = [True, *(starts >= previous_ends).tolist()]
    gap = (starts > previous_ends).tolist()
    begins_word = [True] + [
        own and (apart or text[start].isspace())
        for own, apart, start in zip(begins_character[1:], gap, starts.tolist(), strict=True)
    ]
    return begins_character, begins_word


def line_places(text: str, offsets: IntArray) -> list[bool]:
    """Say of each token whether it is the first of a line."""
    starts = [end.end() for end in re.finditer(r"\n|\r\n?", text)]
    tokens = np.searchsorted(offsets[:, 0], [0, *starts], side="left")
    begins_line = np.zeros(len(offsets) + 1, dtype=bool)
    begins_line[tokens] = True
    return begins_line.tolist()


def clause_places(text: str, offsets: IntArray) -> list[list[bool]]:
    """Say of each token whether it is the first after a row, a statement or the like, and whether after a clause."""
    found = []
    for ends in (_ROW_END, _CLAUSE_END):
        start, stop = int(offsets[0, 0]), int(offsets[-1, 1])
        starts = np.array([end.end() for end in ends.finditer(text, start, stop)], dtype=np.int64)
        begins = np.zeros(len(offsets) + 1, dtype=bool)
        begins[np.searchsorted(offsets[:, 0], starts, side="left")] = True
        found.append(begins.tolist())
    return found


def next_cut(
    begin: int,
    after: int,
    stop: int,
    size: int,
    begins_character: list[bool],
    begins_word: list[bool],
    *better: Sequence[bool],
) -> int:
    """The token after ``after`` before which to cut: at most ``size`` from ``begin`` where a character allows it.

    In the second half of that, places in ``better`` come first, those of its first sequence before those of the next.
    """
    limit = begin + size
    if limit >= stop:
        return stop
    half = max(begin + (size - 1) // 2, after)
    for places, least in (*((one, half) for one in better), (begins_word, half), (begins_character, after)):
        for token in range(limit, least, -1):
            if places[token] and begins_character[token]:
                return token
    return next((token for token in range(limit + 1, stop) if begins_character[token]), stop)


def is_small(letter: str) -> bool:
    """Whether a letter is a small one of a script that has large ones at the start of sentences, as Georgian has not.

    Examples:
        >>> is_small("a"), is_small("A"), is_small("ა")
        (True, False, False)
    """
    return letter.islower() and not "ა" <= letter <= "ჿ"


def is_caseless(letter: str) -> bool:
    """Whether it is a letter of a script that does not begin sentences and names with large letters."""
    return letter.isalpha() and not letter.isupper() and not is_small(letter)


def trimmed(text: str, spans: Iterable[Span]) -> list[Span]:
    """Spans without the white space at both ends.

    One that is white space throughout holds a token (some tokenizers have such) and stays as it is.
    """
    pieces = ((span, text[span.start : span.end]) for span in spans)
    return [
        Span(span.end - len(piece.lstrip()), span.start + len(piece.rstrip())) if piece.strip() else span
        for span, piece in pieces
    ]
