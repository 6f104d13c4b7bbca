"""Other ways to write what a question asks for."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from difflib import SequenceMatcher, get_close_matches
from itertools import compress

import numpy as np

_SMALL = re.compile(r"[0-9]{1,2}")
_NUMBER = re.compile(r"[1-9][0-9]{3,14}")
_GROUPS = re.compile(r"[1-9][0-9]{0,2}(?: [0-9]{3})+|[1-9][0-9]?(?: [0-9]{2})+ [0-9]{3}")
_LAKHS = re.compile(r"(?<=[0-9])(?=(?:[0-9]{2})*[0-9]{3}$)")  # 12,34,567, as in India
_DATE = re.compile(r"[0-9]{1,2} [0-9]{1,2} [0-9]{4}|[0-9]{4} [0-9]{1,2} [0-9]{1,2}")
_VERSION = re.compile(r"v?[0-9]+(?: [0-9]+)+")
_COMPACT_DATE = re.compile(r"(?:19|20)[0-9]{2}[01][0-9][0-3][0-9]")
_ORDINAL = re.compile(r"[0-9]+(?:st|nd|rd|th)")
_CODE = re.compile(r"[^\W\d_]+[0-9]+|[0-9]+[^\W\d_]+")
_PARTS = re.compile(r"[0-9]+|[^0-9]+")
_ACCOUNT = re.compile(r"[a-z]{2}[0-9]{2}[0-9a-z]{11,30}")  # an IBAN, which is written in fours
_CONTRACTION = re.compile(r"[^ ]+ (?:s|t|d|m|ll|re|ve)")
_TWO_NUMBERS = re.compile(r"[0-9] [0-9]")
_LEAST_JOINED = 7  # digits of a number that is long enough to be no other
_LEAST_LETTERS, _MOST_LETTERS = 4, 64
# As difflib counts it: twice the letters that both have in order, as a share of all. Less is enough where the first
# four letters are the same, as in inflected words; else fails would be falls, and main making.
_LEAST_ALIKE, _LEAST_OF_OTHERS, _SAME = 0.8, 0.85, 4
_MOST_ALIKE = 8  # of which one at least is held, unless all were deleted


def other_forms(term: str) -> list[str]:
    """The same number, date, code or compound as it may be written otherwise, as a term or a phrase.

    Examples:
        >>> other_forms("1000"), other_forms("1 000")
        (['1 000'], ['1000', 'v1 000'])
        >>> other_forms("5 3 2024"), other_forms("v1 2")
        (['05 03 2024', '05032024', 'v5 3 2024'], ['1 2'])
        >>> other_forms("5mm"), other_forms("ab 114"), other_forms("e mail")
        (['5 mm'], ['ab114'], ['email'])
    """
    found = []
    if _SMALL.fullmatch(term):
        found += [f"{int(term)}", f"{int(term):02}"]
    if _NUMBER.fullmatch(term):
        found += [f"{int(term):,}".replace(",", " "), _LAKHS.sub(" ", term)]
    if _GROUPS.fullmatch(term):
        found.append(term.replace(" ", ""))
    if _DATE.fullmatch(term):
        parts = term.split(" ")
        found += [" ".join(part.lstrip("0") for part in parts), " ".join(part.zfill(2) for part in parts)]
    if _COMPACT_DATE.fullmatch(term):
        found.append(f"{term[:4]} {term[4:6]} {term[6:]}")
    if _ORDINAL.fullmatch(term):
        found.append(term[:-2])
    if _CODE.fullmatch(term):
        found.append(" ".join(_PARTS.findall(term)))
    if _ACCOUNT.fullmatch(term):
        found.append(" ".join(term[place : place + 4] for place in range(0, len(term), 4)))
    found += [one.replace(" ", "") for one in (term, *found) if _may_join(one)]
    if _VERSION.fullmatch(term):
        found.append(term.removeprefix("v") if term.startswith("v") else f"v{term}")
    return [one for one in dict.fromkeys(found) if one != term]


def _may_join(phrase: str) -> bool:
    """Whether a phrase is the same without spaces: 1.12 is not 112, and it's not its, but a long number is no other."""
    is_long = len(phrase.replace(" ", "")) >= _LEAST_JOINED
    return " " in phrase and not _CONTRACTION.fullmatch(phrase) and (is_long or not _TWO_NUMBERS.search(phrase))


def beginnings(word: str) -> set[str]:
    """How words begin that may be meant by a word that no text holds; none for numbers, codes and short words.

    They are two of its first three letters: all may be right, two in the wrong order, or one too many, which in Arabic,
    Hebrew and Amharic may be a preposition.

    Examples:
        >>> sorted(beginnings("invocie")), beginnings("x1000"), beginnings("the")
        (['in', 'iv', 'ni', 'nv'], set(), set())
    """
    is_word = _LEAST_LETTERS <= len(word) <= _MOST_LETTERS and not any(one.isdigit() or one == " " for one in word)
    return {word[:2], word[1::-1], word[:3:2], word[1:3]} if is_word else set()


def most_alike(word: str, words: Iterable[str]) -> list[str]:
    """Those of some words that are very much like a word, best first: those that share most letters in any order.

    Examples:
        >>> most_alike("farnan", ["farnwan", "farnna", "farndale"])
        ['farnna', 'farnwan']
    """
    close = get_close_matches(word, _with_its_letters(word, words), _MOST_ALIKE, _LEAST_ALIKE)
    matchers = {one: SequenceMatcher(None, one, word) for one in close}
    kept = [one for one in close if one[:_SAME] == word[:_SAME] or matchers[one].ratio() >= _LEAST_OF_OTHERS]
    return sorted(kept, key=lambda one: -matchers[one].quick_ratio())


def _with_its_letters(word: str, words: Iterable[str]) -> list[str]:
    """Those that share enough letters with a word, in any order, to be as much like it as they must.

    Of 100,000 words, as may begin alike in an index of a million chunks, this takes 0.03 s, and difflib alone 0.2 s.
    """
    known = list(words)
    if not known:
        return []
    letters = np.frombuffer("\n".join([*known, ""]).encode("utf-32-le"), dtype="<u4")
    ends = np.flatnonzero(letters == ord("\n"))
    starts = np.append(0, ends[:-1] + 1)
    n_shared = np.zeros(len(known), dtype=np.int64)
    for letter, n in Counter(word).items():
        n_shared += np.minimum(np.add.reduceat(letters == ord(letter), starts, dtype=np.int64), n)
    return list(compress(known, 2 * n_shared / (len(word) + ends - starts) >= _LEAST_ALIKE))
