"""Find where the sentences of a text end, with a segmentation library."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from heapq import merge
from typing import TYPE_CHECKING, Literal, TypeAlias

import sentencex

from latechunk.errors import InputError, MissingDependencyError
from latechunk.extras import how_to_install

if TYPE_CHECKING:
    from nltk.tokenize.punkt import PunktTokenizer

SentenceEnds: TypeAlias = Callable[[str], Iterator[int]]
Segmenter: TypeAlias = Literal["sentencex", "nltk"]

# sentencex looks for quotation pairs in time quadratic in their number: 500,000 unmatched ones took 48 s in one call,
# and 20,000 take under 0.1 s. A longer text is given to it in parts, each beginning at a sentence it found.
_PART = 20_000

# sentencex 1.0.32 panics where an abbreviation is followed by white space of more than one byte, such as U+00A0 or
# U+2028. For the search of boundaries such a character is as good as a space, and a control character is no letter.
_EXOTIC = re.compile(r"[^\S\n\r\t ]|[\x00-\x08\x0e-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\ufeff]")

# What ends a sentence in Khmer, Tibetan and, where it is typed as two signs, Amharic, and sentencex does not know.
_MARKS = re.compile(r"[។៕៚།༎፡]++(?<!(?<!፡)፡)(?:\s++[།༎]+)*+[”’»\"')\]]*+\s*+")
# After these sentencex ends sentences in some languages: titles and the like before names, and words before numbers.
_TITLES = (
    " M MM Mme Mlle Dr Dra Pr Prof Mgr Dña Sta Sto Exma Exmo Sn Av TS ThS PGS GS TP BS dr dhr mevr ul św им ул вул ім "
    "проф акад Проф Акад κα डॉ डा श्री सुश्री प्रो पं कु ড ডা মো திரு டாக்டர் د أ م ดร นพ พญ รศ ผศ "
)
_REFERENCES = (
    " no nos nr n vol vols eq eqs fig figs p pp pág págs pag sec secs ch chap approx art arts al núm ref refs čl ust"
    " pkt kap kl godz hlm rp ст гл рис табл см стр п αρ σελ रु ص ج "
)
# In German nouns are large, and a number before one may be its ordinal. Of French laws articles have letters, too.
_ORDINAL = re.compile(r"\b(?:[Ii]m|[Aa]m|[Dd](?:er|em|en|es|as|ie)|[Vv]om|[Zz]u[mr]|[Bb]eim|[Ii]ns)\s+\d{1,2}\.\s*\Z")
_CENTURY = re.compile(r"(?:Jahrhundert|Jahrtausend|Jh\b)")
_ARTICLE_OF_LAW = re.compile(r"\b(?:[Aa]rt\.|[Aa]rticles?|et|ou|à)\s+[LRDA]\.\s*\Z")
_BEFORE_WORD = re.compile(r"[\s.'’(\[{«“\"]")
_MOST_SHORT = 4  # letters of an abbreviation that is not known, or digits of a number
_NEAR = 40  # characters before a sentence's end that say whether it is one

_PUNKT_LANGUAGES = {
    "cs": "czech",
    "da": "danish",
    "de": "german",
    "el": "greek",
    "en": "english",
    "es": "spanish",
    "et": "estonian",
    "fi": "finnish",
    "fr": "french",
    "it": "italian",
    "ml": "malayalam",
    "nl": "dutch",
    "no": "norwegian",
    "pl": "polish",
    "pt": "portuguese",
    "ru": "russian",
    "sl": "slovene",
    "sv": "swedish",
    "tr": "turkish",
}


@cache
def sentence_ends(segmenter: Segmenter, language: str) -> SentenceEnds:
    """Choose a segmenter: a function from a text to the ends of its sentences, exclusive and ascending.

    The last end is the text's length; white space between sentences belongs to the one before.

    Raises:
        InputError: If Punkt has no model of the language.
        MissingDependencyError: If nltk or its data is not installed. Nothing is ever downloaded here.
    """
    return _punkt_ends(language) if segmenter == "nltk" else _sentencex_ends(language)


def _sentencex_ends(language: str) -> SentenceEnds:
    def ends(text: str) -> Iterator[int]:
        plain = _EXOTIC.sub(" ", text)
        start = 0
        for end in merge(found_ends(plain), (mark.end() for mark in _MARKS.finditer(plain))):
            if end > start and (end == len(plain) or not _goes_on(plain, start, end, language)):
                yield end
            start = end

    def found_ends(plain: str) -> Iterator[int]:
        start = 0
        while start < len(plain):
            part = plain[start : start + _PART]
            found = [boundary["end_index"] for boundary in sentencex.get_sentence_boundaries(language, part)]
            seam = found[-1]
            if start + len(part) < len(plain):
                found.pop()  # a part ends anywhere, and no sentence with it
                seam = found[-1] if found else _find_seam(part)
            yield from (start + end for end in found)
            start += seam

    return ends


def _goes_on(text: str, start: int, end: int, language: str) -> bool:
    """Whether a sentence goes on after what sentencex takes for its end, on the same or the next line."""
    near = text[max(0, end - _NEAR) : end]
    left, following = near.rstrip(), text[end]
    if not left or near.count("\n", len(left)) > 1:
        return False
    is_inside_word = len(left) == len(near)
    if (
        left[-1] in "၊၏"
        or (left[-1] in "」』" and following in "とっ、")
        or (is_inside_word and following in "」』”’»)]")
    ):
        return True
    if left[-1] != ".":
        return False
    word = _BEFORE_WORD.split(left[:-1])[-1]
    is_initials = len(word) == 1 and not word.isdigit() and left[-3:-2] == "."  # ค.ศ. 1606, 345 U.S. 12
    if following.isdigit():
        is_decimal = is_inside_word and word[-1:].isdigit()  # ٣.٥
        is_of_law = language == "fr" and _ARTICLE_OF_LAW.search(near) is not None
        return is_initials or is_decimal or is_of_law or f" {word.lower()} " in _REFERENCES
    if following.islower():  # but where sentences begin with small letters, this may be one
        return len(word) <= _MOST_SHORT and not text[start].islower()
    if language == "de" and word.isdigit() and following.isupper():
        return _ORDINAL.search(near) is not None or (len(word) < 3 and _CENTURY.match(text, end) is not None)
    is_in_name = is_inside_word and (len(word) == 1 or "." in left.split()[-1][:-1])  # org.example.Pump
    return following.isalpha() and (is_in_name or f" {word} " in _TITLES)


def _find_seam(part: str) -> int:
    """Where a part without a sentence's end can be left: before its last word, or at its end where it is one word."""
    words = part.split()
    return (part.rindex(words[-1]) if words else 0) or len(part)


def _punkt_ends(language: str) -> SentenceEnds:
    if language not in _PUNKT_LANGUAGES:
        raise InputError(
            f"NLTK's Punkt has no model for language {language!r}; it has {', '.join(_PUNKT_LANGUAGES)}. "
            f'The default, segmenter="sentencex", knows about 300 languages'
        )
    punkt = _load_punkt(_PUNKT_LANGUAGES[language])

    def ends(text: str) -> Iterator[int]:
        starts = (start for start, _ in punkt.span_tokenize(text))
        next(starts, None)
        yield from starts
        if text:
            yield len(text)

    return ends


def _load_punkt(name: str) -> PunktTokenizer:
    try:
        from nltk.tokenize.punkt import PunktTokenizer
    except ImportError as error:
        raise MissingDependencyError(
            f'segmenter="nltk" needs the package nltk, which is not installed; {how_to_install("nltk")}'
        ) from error
    try:
        return PunktTokenizer(name)
    except LookupError as error:
        raise MissingDependencyError(
            f'segmenter="nltk" needs the data package punkt_tab, and nltk found none for {name}; '
            f"run: python -m nltk.downloader punkt_tab, or unpack it under a folder of nltk.data.path"
        ) from error
