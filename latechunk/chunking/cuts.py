"""Where a text may be cut, and spans of the pieces: what all chunkers share."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np

from latechunk.types import IntArray, Span

_ROW_END = re.compile(r"(?:[)\]}][,;，；]|;(?=\s)|；)\s*")
_CLAUSE_END = re.compile(r"(?:[,:،؛·՝](?=\s)|[，、：၊፣፤])\s*")
# What is read with the character before it and is no mark to Unicode: joiners, vowels of Thai and Lao, vowels and last
# consonants of Korean in parts, signs of voiced sounds in half width, colours of skin, tags of flags.
_ATTACHED = re.compile(
    "[\u200c\u200d\u0e33\u0eb3\u1160-\u11ff\ud7b0-\ud7ff\uff9e\uff9f\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]"
)
_FLAG = re.compile("[\U0001f1e6-\U0001f1ff]{2}")
_VIRAMA = 9  # the combining class of signs that join two consonants


def cut_places(text: str, offsets: IntArray) -> tuple[list[bool], list[bool], list[bool]]:
    """Say of each token whether it begins a character of its own, one that is read alone, and a word."""
    starts, previous_ends = offsets[1:, 0], offsets[:-1, 1]
    begins_character = [True, *(starts >= previous_ends).tolist()]
    bounds = (*offsets[:1, 0].tolist(), *offsets[-1:, 1].tolist())
    flags = {flag.start() + 1 for flag in _FLAG.finditer(text, *bounds)}
    begins_alone = [True] + [
        own and start not in flags and not _is_attached(text, start)
        for own, start in zip(begins_character[1:], starts.tolist(), strict=True)
    ]
    gap = (starts > previous_ends).tolist()
    begins_word = [True] + [
        own and (apart or text[start].isspace())
        for own, apart, start in zip(begins_alone[1:], gap, starts.tolist(), strict=True)
    ]
    return begins_character, begins_alone, begins_word


def _is_attached(text: str, place: int) -> bool:
    """Whether a character is a part of what is read as one with the character before it, as a mark on a letter is.

    About what Unicode calls a grapheme cluster, which Python's regular expressions do not know.
    """
    own, before = text[place], text[place - 1]
    if own.isascii():
        return False
    category = unicodedata.category(own)[0]
    return (
        category == "M"
        or _ATTACHED.match(own) is not None
        or unicodedata.combining(before) == _VIRAMA
        or (category == "S" and before == "\u200d")
    )


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
    begins_alone: list[bool],
    begins_word: list[bool],
    *better: Sequence[bool],
) -> int:
    """The token after ``after`` before which to cut: at most ``size`` from ``begin`` where a character allows it.

    In the second half of that, places in ``better`` come first, those of its first sequence before those of the next.
    What is read as one, such as a letter and its marks, is parted only where it does not fit.
    """
    limit = begin + size
    if limit >= stop:
        return stop
    half = max(begin + (size - 1) // 2, after)
    nearest = ((begins_word, half), (begins_alone, after), (begins_character, after))
    for places, least in (*((one, half) for one in better), *nearest):
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


def trimmed(text: str, spans: Iterable[Span], offsets: IntArray) -> list[Span]:
    """Spans without the white space at both ends.

    One that then holds no token stays as it is: some tokenizers have tokens of white space.
    """

    def trim(span: Span) -> Span:
        piece = text[span.start : span.end]
        start, end = span.end - len(piece.lstrip()), span.start + len(piece.rstrip())
        first = np.searchsorted(offsets[:, 1], start, side="right")
        return Span(start, end) if first < np.searchsorted(offsets[:, 0], end, side="left") else span

    return list(map(trim, spans))
