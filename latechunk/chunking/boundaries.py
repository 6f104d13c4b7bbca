"""Find where the sentences of a text end, with a segmentation library."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from heapq import merge
from typing import TYPE_CHECKING, Literal, TypeAlias

import sentencex

from latechunk.chunking.cuts import is_caseless, is_small
from latechunk.errors import InputError, MissingDependencyError
from latechunk.printing import how_to_install

if TYPE_CHECKING:
    from nltk.tokenize.punkt import PunktTokenizer

SentenceEnds: TypeAlias = Callable[[str], Iterator[int]]
Segmenter: TypeAlias = Literal["sentencex", "nltk"]

# sentencex looks for quotation pairs in time quadratic in their number: 500,000 unmatched ones took 48 s in one call,
# and 20,000 take under 0.1 s. A longer text is given to it in parts, each beginning at a sentence it found.
_PART = 20_000
_PART_OF_DENSE, _DENSE = 5_000, ("ja", "zh")  # where as many characters are three times as many sentences

# sentencex 1.0.32 panics where an abbreviation is followed by white space of more than one byte, such as U+00A0 or
# U+2028. For the search of boundaries such a character is as good as a space, and a control character is no letter.
_EXOTIC = re.compile(r"[^\S\n\r\t ]|[\x00-\x08\x0e-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\ufeff]")
# In Hebrew quotation marks stand in words (ד"ר, ש"ח), and sentencex took what lay between two words for a quotation.
_IN_HEBREW_WORD = re.compile("(?<=[א-ת])[\"'](?=[א-ת])")

# What ends a sentence in Khmer, Tibetan and, where it is typed as two signs, Amharic, and sentencex does not know.
_MARKS = re.compile(r"[។៕៚།༎፡]++(?<!(?<!፡)፡)(?:\s++[།༎]+)*+[”’»\"')\]]*+\s*+")
# After these sentencex ends sentences in some languages: titles and the like before names, and words before numbers.
_TITLES = (
    " M MM Mme Mlle Dr Dra Pr Prof Mgr Dña Sta Sto St Ste Exma Exmo Sn Av TS ThS PGS GS TP BS dr dhr mevr ul św inż mgr"
    " inkl exkl zzgl abzgl Örn Bkz Doç им ул вул ім проф акад Проф Акад κα डॉ डा श्री सुश्री प्रो पं कु ড ডা মো"
    " திரு டாக்டர் د أ م ดร นพ พญ รศ ผศ იხ "
)
_REFERENCES = (
    " no nos nr n vol vols eq eqs fig figs p pp pág págs pag sec secs séc ch chap approx aprox art arts al núm"
    " ref refs str rys obr odst ods alin gbr pav joon şek čl ust pkt dn kap kl godz hlm rp yakl md janv févr avr juil"
    " déc ст гл рис табл см стр чл фиг сл п с ок бл άρθ άρθρ εικ αρ παρ περ σελ ν रु पृ খ্রি ரூ გვ სურ ص ج "
)
# After these it ends sentences before names; as words or names of other languages they may end some there.
_OWN_TITLES = {
    "en": " Ms Ft approx ",
    "de": " Ing geb ehem einschl gem Hrsg insb insbes ",
    "fr": " bd trad ",
    "es": " cf Mons ",
    "pt": " Pe Cel cf ",
    "nl": " o.a d.w.z ds jhr ",
    "pl": " tzw tj m.in ks al pl gen woj ob por red wg pw gm pow hr bł płk hab ",
    "cs": " mj vč zejm srov kpt ",
    "ru": " напр е т.е св пл обл оз ср ген пос доц бул наб ред ",
    "uk": " ген смт просп ",
    "bg": " т.е т.нар обл ср ",
    "el": " δηλ κος κα καθ βλ πρβλ αγ οδ λεωφ πλ επιμ μτφρ εκδ ",
    "tr": " örn bkz krş Hz Yrd Uzm Alb Mah Müh Öğr haz çev Cad ",
    "sv": " t.ex ex dvs jfr resp enl ",
    "da": " bl.a iht ift Sct ",
    "fi": " ns ts hra rva tri ks vrt synt ",
    "hu": " ún özv ifj Szt Sz kb vö ld ford szerk gr br ",
    "ro": " ex dl dna av sf str bd jud com mun acad conf ",
    "id": " Hj Jl Ir PT CV Kab Kec Bpk Sdr Tn Ny Yth ",
    "vi": " tp KS LS TX ",
    **dict.fromkeys(("no", "nb", "nn"), " f.eks dvs pga jf evt vedr iht ift mht hhv såk "),
    **dict.fromkeys(("hr", "bs", "sr"), " npr tj tzv sv usp gosp odn dipl doc akad "),
}
# In English these end sentences: a cap, a BS, a street. It is sentencex that knows English saints.
_OWN_REFERENCES = {"cs": " s ", "hu": " kb ", "pl": " ok s ", "tr": " s "} | dict.fromkeys(
    ("ca", "es", "it", "pt", "ro"), " cap "
)
_ENGLISH = " St BS TS GS TP "
# A day and its month before a year: 1 янв. 2024. Hungarian and Turkish write Roman numbers so, and laws § after one.
_DAY = re.compile(r"\d\S{0,2}\s+[^\W\d_]{3,5}\.\s*\Z")
_YEAR = re.compile(r"(?:1[5-9]|20)\d\d\b")
_ORDINALS = ("hu", "tr")
# In German nouns are large, and a number before one may be its ordinal. Of French laws articles have letters, too.
_ORDINAL = re.compile(r"\b(?:[Ii]m|[Aa]m|[Dd](?:er|em|en|es|as|ie)|[Vv]om|[Zz]u[mr]|[Bb]eim|[Ii]ns)\s+\d{1,2}\.\s*\Z")
_CENTURY = re.compile(r"(?:Jahrhundert|Jahrtausend|Jh\b)")
_ARTICLE_OF_LAW = re.compile(r"\b(?:[Aa]rt\.|[Aa]rticles?|et|ou|à)\s+[LRDA]\.\s*\Z")
_NUMBER_OF_LAW = re.compile(r"[LRDA]\. ?\d")
_ROMAN = re.compile(r"(?:[IVXLC]{2,}|[VX])\b")  # I is a word of English
_CLOSING_SIGNS = "”’»\"'"  # which open quotations in Swedish and Finnish, and words: ’t, 'tis
# Initials of names: A. S. Puškin, J.-P. Sartre; where letters are neither large nor small, short words one after the
# other, too: ე. წ., ه.ش., พ.ร.บ. What is av. J.-C. may end one.
_INITIALS = re.compile(r"(?:\A|[\s(])(?!J\.-C\.)(\w\w?)\.[ -](\w)\.\Z")
_SHORT_WORDS = re.compile(r"(?:\A|[\s(«\"“])(?:[^\W\d_]\S?\.\s?){2,}\Z")
_IN_WIDE = re.compile(r"[A-Za-z0-9０-９Ａ-Ｚａ-ｚ]．[A-Za-z0-9０-９Ａ-Ｚａ-ｚ]")
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
        if language == "he":
            plain = _IN_HEBREW_WORD.sub("x", plain)
        start = 0
        marks = _MARKS.finditer(plain) if any(mark in plain for mark in "។៕៚།༎፡") else ()
        for place in merge(found_ends(plain), (mark.end() for mark in marks)):
            end = place - _opens_quotation(plain, place - 1)  # a sign that sentencex leaves to the sentence before
            if end > start and (end == len(plain) or not _goes_on(plain, start, end, language)):
                yield end
                start = end

    def found_ends(plain: str) -> Iterator[int]:
        start, size = 0, _PART_OF_DENSE if language in _DENSE else _PART
        while start < len(plain):
            part = plain[start : start + size]
            found = [boundary["end_index"] for boundary in sentencex.get_sentence_boundaries(language, part)]
            seam = found[-1]
            if start + len(part) < len(plain):
                found.pop()  # a part ends anywhere, and no sentence with it
                seam = found[-1] if found else _find_seam(part)
            yield from (start + end for end in found)
            start += seam

    return ends


def _opens_quotation(text: str, place: int) -> bool:
    """Whether a sign that closes quotations elsewhere stands here between white space and a word."""
    return (
        0 < place < len(text) - 1
        and text[place] in _CLOSING_SIGNS
        and text[place - 1].isspace()
        and text[place + 1].isalnum()
    )


def _goes_on(text: str, start: int, end: int, language: str) -> bool:
    """Whether a sentence goes on after what sentencex takes for its end, on the same or the next line."""
    near = text[max(0, end - _NEAR) : end]
    left, following = near.rstrip(), text[end]
    if not left or near.count("\n", len(left)) > 1:
        return False
    is_inside_word = len(left) == len(near)
    if language == "ko" and left[-1] == "." and left[-2:-1].isdigit():  # 2010. 3. 5. 시행
        return True
    if (
        left[-1] in "၊၏"
        or (following in ",;،؛" and "\n" not in near[len(left) :])
        or (left[-1] in "」』" and following in "とっ、")
        or (is_inside_word and following in "」』”’»)]-")  # J.-P.
        or (is_inside_word and left[-1] in "”’\"'" and "가" <= following <= "힣")  # “네.”라고
    ):
        return True
    if left[-1] != ".":
        if left[-1] in '”“»"' or following in "–—":  # "Quoi ?" – demanda-t-il
            return is_small(text[end : end + 4].lstrip("–— ")[:1]) and not _begins_small(text, start)
        return left[-1] == "．" and _IN_WIDE.match(text, end - 2) is not None  # ３．５
    word = _BEFORE_WORD.split(left[:-1])[-1]
    is_initials = len(word) == 1 and not word.isdigit() and left[-3:-2] == "."  # ค.ศ. 1606, 345 U.S. 12
    if following.isdigit() or (following in "IVXLC" and len(word) > 1 and _ROMAN.match(text, end)):
        is_decimal = is_inside_word and word[-1:].isdigit()  # ٣.٥
        is_of_law = language == "fr" and _ARTICLE_OF_LAW.search(near) is not None
        is_era = not left[-2:-1].isascii() and _SHORT_WORDS.search(left) is not None  # ई.पू. 300
        is_date = _YEAR.match(text, end) is not None and _DAY.search(near) is not None
        return is_initials or is_decimal or is_of_law or is_era or is_date or _refers(word, language)
    if following.islower() and is_small(following):  # but where sentences begin with small letters, this may be one
        is_short = len(word) <= _MOST_SHORT or _refers(word, language)
        return is_short and not _begins_small(text, start)
    if language == "de" and word.isdigit() and following.isupper():
        return _ORDINAL.search(near) is not None or (len(word) < 3 and _CENTURY.match(text, end) is not None)
    if (language == "fr" and _NUMBER_OF_LAW.match(text, end)) or (
        language in _ORDINALS and (_ROMAN.fullmatch(word) or word == "I" or (word.isdigit() and following == "§"))
    ):
        return True
    is_in_name = is_inside_word and (len(word) == 1 or "." in left.split()[-1][:-1] or text[end + 1 : end + 2] == ".")
    is_title = f" {word} " in _TITLES and (language != "en" or f" {word} " not in _ENGLISH)
    names = (word, word[:1].lower() + word[1:], left.split()[-1][:-1])
    is_title = is_title or any(f" {one} " in _OWN_TITLES.get(language, "") for one in names)
    return following.isalpha() and (
        is_in_name or is_title or (len(word) < 4 and _are_initials(left, word, following, language))
    )


def _refers(word: str, language: str) -> bool:
    """Whether a number follows this abbreviation."""
    return f" {word.lower()} " in _REFERENCES + _OWN_REFERENCES.get(language, "")


def _are_initials(left: str, word: str, following: str, language: str) -> bool:
    """Whether initials or the like end here, and do not end a sentence."""
    if following.isupper():
        if len(word) == 1 and word.isupper() and word != "I":
            return language != "en"  # de J. Verne: in English sentencex knows what begins a sentence: vitamin C. Then
        found = _INITIALS.search(left) if len(word) < 3 else None
        return found is not None and found[1].istitle() and found[2].istitle()
    n_letters = sum(map(str.isalpha, word)) if language == "ta" else len(word)  # a letter of Tamil may have a sign
    return (n_letters == 1 and is_caseless(word[0])) or (len(word) < 3 and _SHORT_WORDS.search(left) is not None)


def _begins_small(text: str, start: int) -> bool:
    """Whether a sentence begins with a small letter."""
    return is_small(next(filter(str.isalnum, text[start : start + _NEAR]), ""))


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
