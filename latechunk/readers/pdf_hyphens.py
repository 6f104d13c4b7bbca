"""Join words that are broken at line ends, with or without their hyphens."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator
from itertools import accumulate, pairwise

BROKEN = "\ufffe"
"""What stands in a text in place of a hyphen and the line end after it; it is in no other text."""

_MOST_LETTERS = 50  # of a part of a word
_LAST_PART = re.compile(r"[^\W\d_]*\Z")
_FIRST_PART = re.compile(r"[^\W\d_]*")
_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
_CONJUNCTIONS = {"and", "or", "und", "oder", "bzw", "et", "ou"}


def join_words(text: str, *, is_hard: bool = False) -> tuple[str, Callable[[int], int]]:
    r"""Join broken words, and give for a place in ``text`` the one in the joined text.

    Whether the hyphen is the word's own, the other pages know: it stays where they have the word with it and never
    without. It stays with its line end in "pre- and postfix". Else it is taken out, unless ``is_hard`` says that all
    hyphens are the words' own.

    Examples:
        >>> join_words("A well\ufffeknown word\ufffeless pump, well-known, pre\ufffeand postfix.")[0]
        'A well-known wordless pump, well-known, pre-\nand postfix.'
    """
    places = [found.start() for found in re.finditer(BROKEN, text)]
    broken = [_parts(text, place) for place in places]
    wanted = set() if is_hard else {form for one, other in broken for form in (one + other, f"{one}-{other}")}
    seen = _find_seen(text, wanted)
    joints = [_joint(one, other, seen, "-" if is_hard else "") for one, other in broken]
    shifts = list(accumulate((len(joint) - 1 for joint in joints), initial=0))
    bounds = pairwise([-1, *places, len(text)])
    pieces = [text[before + 1 : place] + joint for (before, place), joint in zip(bounds, [*joints, ""], strict=True)]
    return "".join(pieces), lambda place: place + shifts[bisect_left(places, place)]


def _parts(text: str, place: int) -> tuple[str, str]:
    """The letters before and after a break, in small ones."""
    before = _LAST_PART.search(text[max(0, place - _MOST_LETTERS) : place])
    after = _FIRST_PART.match(text[place + 1 : place + 1 + _MOST_LETTERS])
    return before[0].casefold() if before else "", after[0].casefold() if after else ""


def _find_seen(text: str, wanted: set[str]) -> set[str]:
    """Which of these the text has as words, or as neighbouring parts of words with hyphens."""
    return {form for word in _WORD.finditer(text) if wanted for form in _forms(word[0].casefold()) if form in wanted}


def _forms(word: str) -> Iterator[str]:
    parts = word.split("-")
    yield from parts
    yield from map("-".join, pairwise(parts))


def _joint(one: str, other: str, seen: set[str], default: str) -> str:
    if one + other in seen:
        return ""
    if f"{one}-{other}" in seen:
        return "-"
    return "-\n" if other in _CONJUNCTIONS else default
