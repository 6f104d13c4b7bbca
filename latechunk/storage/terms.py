"""The terms of a text, in any script, as lexical search indexes them and as it looks for them.

A term is a word without regard to case, diacritics, ligatures and width. In scripts that put no spaces between words,
the terms are the single characters and the pairs of neighbours of a whole run of word characters, digits and letters of
other scripts in it too: cutting the run where the script changes found 7 to 12 points of nDCG@10 less in Japanese and
Chinese, pairs alone 0.5 to 2 less.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

import regex

_ASCII_WORD = re.compile(r"[a-z0-9]+")
# Marks are parts of words: without them a Hindi word falls apart at its vowel signs.
_WORD = regex.compile(r"[\p{L}\p{M}\p{N}\p{Co}]+")
_UNSPACED = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]")
_INVISIBLE = regex.compile(r"[\p{Default_Ignorable_Code_Point}]+")  # soft hyphens, joiners, marks of direction
_MARK = regex.compile(r"\p{Mn}")
# Words that a sign joins: versions, dates, codes, addresses, numbers with a decimal point.
_COMPOUND = regex.compile(r"[\p{L}\p{M}\p{N}\p{Co}]+(?:[-‐‑./:,@_+#&'’]+[\p{L}\p{M}\p{N}\p{Co}]+)+")
# Combining classes of what may be left out of a word: Hebrew points, Arabic vowels, and accents above and below. The
# others are letters in all but name, such as viramas, nuktas, and the vowels and tones of Thai.
_LEAST_ACCENT = 200
_POINTS = range(10, 37)
_MOST_TERMS = 1_000  # of a question; a whole document asked as a question is cut here, for lexical search alone


def to_terms(text: str) -> list[str]:
    """All terms of a text, in order.

    Examples:
        >>> to_terms("Die Größe der Résumés")
        ['die', 'grosse', 'der', 'resumes']
        >>> to_terms("東京都")
        ['東', '東京', '京', '京都', '都']
    """
    folded = _fold(text)
    if folded.isascii():
        return _ASCII_WORD.findall(folded)
    words = _WORD.findall(folded)
    return [term for word in words for term in _terms_of(word)] if _UNSPACED.search(folded) else words


def question_terms(question: str) -> list[str]:
    """What to look for: the different terms of a question, the first 1,000, and phrases, which hold spaces.

    What signs join, such as ``1.12.3`` or ``AB-114/7``, is a phrase beside its words, since they alone do not tell
    1.12.3 from 3.12.1.

    Examples:
        >>> question_terms("Is 1.12.3 out?")
        ['is', '1', '12', '3', 'out', '1 12 3']
    """
    phrases = [" ".join(to_terms(one)) for one in _COMPOUND.findall(_fold(question))]
    return list(dict.fromkeys([*to_terms(question), *filter(None, phrases)]))[:_MOST_TERMS]


def _terms_of(word: str) -> list[str]:
    if not _UNSPACED.search(word):
        return [word]
    pairs = [first + second for first, second in pairwise(word)]
    return [term for both in zip(word, pairs, strict=False) for term in both] + [word[-1]]


def _fold(text: str) -> str:
    """Text without regard to case, width, ligatures and diacritics."""
    if text.isascii():
        return text.lower()
    plain = unicodedata.normalize("NFKC", _INVISIBLE.sub("", text)).casefold()
    decomposed = unicodedata.normalize("NFKD", plain)
    return unicodedata.normalize("NFC", _MARK.sub(_fold_mark, decomposed))


def _fold_mark(found: regex.Match[str]) -> str:
    place = unicodedata.combining(found.group())
    return "" if place >= _LEAST_ACCENT or place in _POINTS else found.group()
