"""The terms of a text, in any script, as lexical search indexes them and as it looks for them.

A term is a word without regard to case, diacritics, ligatures, width, the script of its digits, and letters that people
write for one another. In scripts that put no spaces between words, the terms are the single characters and the pairs of
neighbours of a whole run of word characters, digits and letters of other scripts in it too: cutting the run where the
script changes found 7 to 12 points of nDCG@10 less in Japanese and Chinese, pairs alone 0.5 to 2 less. Latin words and
numbers in a run are terms as well, so that "iPhone" and "2024" alone find it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence, Set
from itertools import groupby, pairwise
from operator import add, itemgetter

import numpy as np
import regex

from latechunk.types import IntArray, Span

_ASCII_WORD = re.compile(r"[a-z0-9]+")
# Marks are parts of words: without them a Hindi word falls apart at its vowel signs.
_WORD = regex.compile(r"[\p{L}\p{M}\p{N}\p{Co}]+")
_UNSPACED = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]")
_UNSPACED_RUN = regex.compile(f"(?:{_UNSPACED.pattern}|ー)+")  # the sign of long vowels is of no script
_PIECE = regex.compile(rf"{_UNSPACED_RUN.pattern}|\s+|(?:(?!{_UNSPACED_RUN.pattern})\S)+")
_INVISIBLE = regex.compile(r"[\p{Default_Ignorable_Code_Point}]+")  # soft hyphens, joiners, marks of direction
_LATIN = re.compile(r"[a-z0-9]{3,}")  # within a run of a script without spaces; two are a pair anyway
# What would become letters or digits of the word before: signs of trade marks and numbers, and the numbers of notes,
# which powers of units are not (Berlin¹ and 10⁶, but m²). In Persian an invisible sign parts endings from words.
_APART = regex.compile(
    r"[™℠№]|(?=[⁰¹²³⁴-⁹¼½¾])(?<=[\p{L}\p{M}\p{N}])(?<!(?:^|[^\p{L}\p{M}\p{N}])[A-Za-z]{1,3})[⁰¹²³⁴-⁹¼½¾]+"
    r"|\u200c(?<=[\u0600-\u06ff]\u200c)(?=[\u0600-\u06ff])"
)
# Letters with strokes and ligatures, which Unicode does not take apart, letters of Arabic, Persian and Urdu that look
# alike, tatweel, the apostrophe of Ukrainian, the nukta and the two nasal signs of Hindi, and digits.
_ALIKE = str.maketrans(
    dict(zip("ıłđøħŧىیکةہٱʼʻँ", "ildohtييكهها''ं", strict=True))
    | {"œ": "oe", "æ": "ae", "़": None, "\u0640": None}
    | {chr(ord(zero) + n): str(n) for zero in "٠۰०০੦૦୦௦౦೦൦๐໐༠၀០᠐" for n in range(10)}
)
_HAS_ALIKE = re.compile(f"[{''.join(map(chr, _ALIKE))}]")  # to look is ten times as fast as to translate
# Of several letters, each with one that it holds: nasals of Hindi before consonants, the Armenian word for "and" in
# capitals, and the signs of a Thai vowel in the order in which some programs write them.
_SPELLINGS = [
    ("\u094d", re.compile("[ङञणन]\u094d(?=[क-ह])|म\u094d(?=[पफबभ])"), "ं"),
    ("\u0582", re.compile("\u0565\u0582"), "\u0565\u057e"),
    ("\u0e4d", re.compile("\u0e4d([\u0e48-\u0e4b]+)"), "\\1\u0e4d"),
    ("เเ", re.compile("เเ"), "แ"),
]
# Marks, less those of the commonest classes that stay.
_MARK = regex.compile(r"[\p{Mn}--[\p{ccc=0}\p{ccc=9}\p{ccc=103}\p{ccc=107}]]", regex.V1)
# Words that signs join: versions, dates, codes, addresses, paths, paragraphs; and numbers whose thousands spaces part.
# Possessive, and from the beginning of a word alone, so that a word of 100,000 letters is read once and not from each
# of its letters.
_COMPOUND = regex.compile(
    r"(?<![\p{L}\p{M}\p{N}\p{Co}])"
    r"(?:[\p{L}\p{M}\p{N}\p{Co}]++(?:[^\s\p{L}\p{M}\p{N}\p{Co}]++[\p{L}\p{M}\p{N}\p{Co}]++)++"
    r"|[0-9]{1,3}+(?: [0-9]{3})++(?![\p{L}\p{M}\p{N}\p{Co}]))"
)
_HUMP = regex.compile(r"(?<=\p{Ll})(?=\p{Lu})")  # of names such as getName
_NUMBER = regex.compile(r"\p{L}{0,2}\p{Nd}++")  # 5, Q3, DE89
# Combining classes of what may be left out of a word: Hebrew points, Arabic vowels, and accents above and below. The
# others are letters in all but name, such as viramas, nuktas, and the vowels and tones of Thai.
_LEAST_ACCENT = 200
_POINTS = range(10, 37)
# Signs at which a text may be cut: neither part of a word nor of another sign, as < is that becomes one with U+0338.
_SIGNS = re.compile(r"[ \t\n\r.,;:!?()。、！？，；：（）「」]")
_NEAR = 64  # characters about an end of a span in which such a sign is looked for
# Of a phrase. One of 2,000 times the same common word, in an index of 28,000 chunks, took 15 s.
_MOST_JOINED = 64
_MOST_TERMS = 1_000  # of a question; a whole document asked as a question is cut here, for lexical search alone


def to_terms(text: str) -> list[str]:
    """All terms of a text, in order.

    Examples:
        >>> to_terms("Die Größe der Résumés")
        ['die', 'grosse', 'der', 'resumes']
        >>> to_terms("東京都")
        ['東', '東京', '京', '京都', '都']
        >>> to_terms("新iOS")
        ['新', '新i', 'i', 'io', 'o', 'os', 's', 'ios']
    """
    folded = fold(text)
    words = to_words(folded)
    if folded.isascii() or not has_unspaced(folded):
        return words
    return [term for word in words for term in _terms_of(word)]


def to_words(folded: str) -> list[str]:
    """The words of a text that is folded."""
    return _ASCII_WORD.findall(folded) if folded.isascii() else _WORD.findall(folded)


def has_unspaced(folded: str) -> bool:
    """Whether there is a character of a script that puts no spaces between words."""
    return not folded.isascii() and _UNSPACED.search(folded) is not None


def cut_at_signs(text: str, spans: Sequence[Span]) -> tuple[list[str], IntArray]:
    """Parts of a text, of which most is in one part alone, however many spans share it.

    A text that is cut before or after a sign of ``_SIGNS`` has the terms of its parts: such a sign is in no word, and
    joins with no other. So the text is cut at the signs nearest to the ends of spans, which may come in any order.

    Returns:
        The parts, and for each span the ranges of parts that have its terms, one after the other, shape
        ``(n_spans, 3, 2)``: what stands before the first cut, between cuts, and after the last.
    """
    ends = sorted({0, len(text), *(place for span in spans for place in (span.start, span.end))})
    near = {place: _cuts_near(text, place) for place in ends}
    cuts = sorted({place for both in near.values() for place in both if place is not None})
    rank = {place: n for n, place in enumerate(cuts)}
    parts = [text[begin:end] for begin, end in pairwise(cuts)]

    def apart(begin: int, end: int) -> tuple[int, int]:
        if begin < end:
            parts.append(text[begin:end])
        return len(parts) - (begin < end), len(parts)

    def ranges_of(span: Span) -> list[tuple[int, int]]:
        begin, end = near[span.start][1], near[span.end][0]
        if begin is None or end is None or begin > end:
            return [apart(span.start, span.end), (0, 0), (0, 0)]
        return [apart(span.start, begin), (rank[begin], rank[end]), apart(end, span.end)]

    ranges = np.array([ranges_of(span) for span in spans], dtype=np.int64)
    return parts, ranges.reshape(-1, 3, 2)


def _cuts_near(text: str, place: int) -> tuple[int | None, int | None]:
    """The nearest places where a text may be cut, at a place or before it, and at it or after; None if none is near."""
    if place in (0, len(text)) or _SIGNS.match(text, place) or _SIGNS.match(text, place - 1):
        return place, place
    before = _SIGNS.search(text[max(0, place - _NEAR) : place][::-1])
    after = _SIGNS.search(text, place, place + _NEAR)
    return place - before.end() if before else None, after.start() if after else None


def question_terms(question: str) -> list[str]:
    """What to look for: the different terms of a question, the first 1,000, and phrases, which hold spaces.

    What signs join, such as ``1.12.3`` or ``AB-114/7``, is a phrase beside its words, since they alone do not tell
    1.12.3 from 3.12.1; so are the parts of a name such as ``getName``. Next to a script without spaces it ends where
    that begins. What is longer than 64 terms is looked for by them alone.

    Examples:
        >>> question_terms("Is 1.12.3 out?")
        ['is', '1', '12', '3', 'out', '1 12 3']
    """
    humped = [_HUMP.sub(" ", word) for word in question.split() if _HUMP.search(word)]
    joined = map(to_terms, [*_COMPOUND.findall(_UNSPACED_RUN.sub(" ", fold(question))), *humped])
    phrases = [" ".join(terms) for terms in joined if 0 < len(terms) <= _MOST_JOINED]
    return list(dict.fromkeys([*to_terms(question), *phrases]))[:_MOST_TERMS]


def number_phrases(question: str, common: Set[str]) -> list[str]:
    """Phrases of a question's numbers with the numbers and words next to them, 64 at the most.

    Words alone do not tell § 2 Abs. 3 from § 3 Abs. 2, nor 5 mm and 8 kg from 8 mm and 5 kg. With the words ``common``,
    such as function words, there is none.

    Examples:
        >>> number_phrases("Is § 2 Abs. 3 new?", {"is"})
        ['abs 3', '2 abs', '3 new', '2 abs 3']
        >>> number_phrases("030 910 98 01", set())
        ['030 910 98 01']
    """
    words = to_words(_UNSPACED_RUN.sub(" ", fold(question)))
    is_number = [_NUMBER.fullmatch(word) is not None for word in words]
    runs = groupby(zip(is_number, words, strict=True), itemgetter(0))
    found = [[word for _, word in run] for are_numbers, run in runs if are_numbers]
    for kinds in ((False, True), (True, False), (True, False, True)):
        n = len(kinds)
        found += [words[at : at + n] for at in range(len(words)) if (*is_number[at : at + n],) == kinds]
    phrases = [" ".join(one) for one in found if 1 < len(one) <= _MOST_JOINED and common.isdisjoint(one)]
    return phrases[:_MOST_JOINED]


def _terms_of(word: str) -> list[str]:
    if not has_unspaced(word):
        return [word]
    terms = [""] * (2 * len(word) - 1)
    terms[::2] = word
    terms[1::2] = map(add, word, word[1:])
    return terms + latin_words(word)


def latin_words(word: str) -> list[str]:
    """Latin words and numbers of three or more characters in a word of a script without spaces."""
    return _LATIN.findall(word)


def split_scripts(text: str) -> list[str]:
    """A text cut into runs of a script without spaces, words between these and white space, and white space.

    Examples:
        >>> split_scripts("新型CX-2 の価格")
        ['新型', 'CX-2', ' ', 'の価格']
    """
    pieces: list[str] = _PIECE.findall(text)
    return pieces


def fold(text: str) -> str:
    """Text without regard to case, width, ligatures, diacritics, scripts of digits and letters for one another."""
    if text.isascii():
        return text.lower()
    visible = _INVISIBLE.sub("", _APART.sub(_set_apart, text))
    plain = unicodedata.normalize("NFKC", visible).casefold()
    decomposed = unicodedata.normalize("NFKD", plain)
    bare = _MARK.sub(_fold_mark, decomposed)
    folded = unicodedata.normalize("NFC", bare.translate(_ALIKE) if _HAS_ALIKE.search(bare) else bare)
    for sign, letters, spelling in _SPELLINGS:
        if sign in folded:
            folded = letters.sub(spelling, folded)
    return folded


def fold_each(texts: Sequence[str]) -> list[str]:
    """``fold`` of each text; those that are not ASCII are folded together, since each call takes its time."""
    further = [text.replace("\0", " ") for text in texts if not text.isascii()]
    folded = iter(fold("\0".join(further)).split("\0"))  # NUL is in no word, and joins with no character
    return [text.lower() if text.isascii() else next(folded) for text in texts]


def _set_apart(found: regex.Match[str]) -> str:
    sign = found.group()
    return " no " if sign == "№" else " " if sign in "™℠\u200c" else f" {sign}"


def _fold_mark(found: regex.Match[str]) -> str:
    place = unicodedata.combining(found.group())
    return "" if place >= _LEAST_ACCENT or place in _POINTS else found.group()
