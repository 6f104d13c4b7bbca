"""Find the language of a text: as its document says, or as its words show."""

from __future__ import annotations

import functools
import re
import tempfile
from collections.abc import Mapping
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from latechunk.errors import StoreError

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

_CODE = re.compile(r"[a-z]{2,3}(?:-[A-Za-z0-9]+)*")  # with a script or a region, perhaps
_CODES = (  # of ISO 639: two letters, and those of three for the same language
    "aa:aar ab:abk ae:ave af:afr ak:aka am:amh an:arg ar:ara as:asm av:ava ay:aym az:aze ba:bak be:bel bg:bul"
    " bh:bih bi:bis bm:bam bn:ben bo:bod:tib br:bre bs:bos ca:cat ce:che ch:cha co:cos cr:cre cs:ces:cze cu:chu"
    " cv:chv cy:cym:wel da:dan de:deu:ger dv:div dz:dzo ee:ewe el:ell:gre en:eng eo:epo es:spa et:est eu:eus:baq"
    " fa:fas:per ff:ful fi:fin fj:fij fo:fao fr:fra:fre fy:fry ga:gle gd:gla gl:glg gn:grn gu:guj gv:glv ha:hau"
    " he:heb hi:hin ho:hmo hr:hrv ht:hat hu:hun hy:hye:arm hz:her ia:ina id:ind ie:ile ig:ibo ii:iii ik:ipk io:ido"
    " is:isl:ice it:ita iu:iku ja:jpn jv:jav ka:kat:geo kg:kon ki:kik kj:kua kk:kaz kl:kal km:khm kn:kan ko:kor"
    " kr:kau ks:kas ku:kur kv:kom kw:cor ky:kir la:lat lb:ltz lg:lug li:lim ln:lin lo:lao lt:lit lu:lub lv:lav"
    " mg:mlg mh:mah mi:mri:mao mk:mkd:mac ml:mal mn:mon mr:mar ms:msa:may mt:mlt my:mya:bur na:nau nb:nob nd:nde"
    " ne:nep ng:ndo nl:nld:dut nn:nno no:nor nr:nbl nv:nav ny:nya oc:oci oj:oji om:orm or:ori os:oss pa:pan pi:pli"
    " pl:pol ps:pus pt:por qu:que rm:roh rn:run ro:ron:rum ru:rus rw:kin sa:san sc:srd sd:snd se:sme sg:sag sh:hbs"
    " si:sin sk:slk:slo sl:slv sm:smo sn:sna so:som sq:sqi:alb sr:srp ss:ssw st:sot su:sun sv:swe sw:swa ta:tam"
    " te:tel tg:tgk th:tha ti:tir tk:tuk tl:tgl tn:tsn to:ton tr:tur ts:tso tt:tat tw:twi ty:tah ug:uig uk:ukr ur:urd"
    " uz:uzb ve:ven vi:vie vo:vol wa:wln wo:wol xh:xho yi:yid yo:yor za:zha zh:zho:chi:cmn zu:zul"
)
_SHORTEST = {code: codes[0] for codes in (one.split(":") for one in _CODES.split()) for code in codes}
_KEYS = ("lang", "language")  # of the metadata
_CHARACTERS = 500  # from the middle, which is no title page and no licence
_LEAST_LETTERS = 50  # of a text in Latin letters; one that is shorter may be a name. Other scripts tell by themselves
_FIRST_OF_OTHERS = "\u0370"  # Greek; Latin letters stand before it
_LEAST = 0.9  # probability of a language that is used
# Where one word in 16 is one of these, the text is English, and the identifier, which takes a second and 75 MB to load,
# is not asked: so for 313 of 336 English documents and 6,029 of 6,307 questions, and by mistake for 1 of 555 and 3 of
# 12,879 in other languages. Words of other languages, such as "of" and "was", are not among them.
_ENGLISH = frozenset(("the", "and", "this", "that", "with", "what", "how", "which", "who", "does"))


def require_language(language: str | None) -> None:
    """Raise a ValueError for what is no ISO 639 code; None is one that is not known."""
    if language is not None and not _is_code(language):
        raise ValueError(f'language must be an ISO 639 code such as "en" or "ja", or None, got {language!r}')


def choose_language(asked: str | None, text: str, metadata: Mapping[str, Any]) -> str:
    """The language that is asked for, or else what the metadata says, or else what the text shows; no region."""
    code = (asked or said_language(metadata) or find_language(text)).partition("-")[0]
    return _SHORTEST.get(code, code)  # the identifier and sentencex know no others


def said_language(metadata: Mapping[str, Any]) -> str | None:
    """What metadata gives as ``lang`` or ``language``, if that is an ISO 639 code, perhaps with a region.

    Examples:
        >>> said_language({"lang": "pt_BR"}), said_language({"language": "Portuguese"})
        ('pt-BR', None)
    """
    values = (metadata.get(key) for key in _KEYS)
    codes = (value.replace("_", "-") for value in values if isinstance(value, str))
    return next((code for code in codes if _is_code(code)), None)


def _is_code(code: str) -> bool:
    """Whether this is the ISO 639 code of a language; ``und`` and the like, of none or several, are not."""
    language = code.partition("-")[0]
    return _CODE.fullmatch(code) is not None and (language in _SHORTEST or language in _three_letter_codes())


@functools.cache
def _three_letter_codes() -> frozenset[str]:
    """Those of ISO 639-2, -3 and -5, as iso639.txt has them: the first two letters, then each third one."""
    groups = files("latechunk.chunking").joinpath("iso639.txt").read_text("ascii").split()
    return frozenset(group[:2] + last for group in groups for last in group[2:])


def find_language(text: str) -> str:
    """The ISO 639 code of a text's language if it is surely found, else ``"en"``.

    Examples:
        >>> find_language("Der größte Fluss, der durch diese Stadt fließt, ist sehr lang und breit.")
        'de'
    """
    sample = sample_of(text)
    letters = [one for one in sample if one.isalpha()]
    is_latin = 2 * sum(one < _FIRST_OF_OTHERS for one in letters) >= len(letters)
    if is_english(sample) or (is_latin and len(letters) < _LEAST_LETTERS):
        return "en"
    code, probability = identifier().classify(sample)
    return str(code) if probability >= _LEAST else "en"


def sample_of(text: str) -> str:
    """What of a text is looked at to find its language."""
    middle = max(0, (len(text) - _CHARACTERS) // 2)
    return text[middle : middle + _CHARACTERS]


def is_english(sample: str) -> bool:
    """Whether the words show it, without the identifier."""
    words = sample.lower().split()
    return 16 * sum(one in _ENGLISH for one in words) >= len(words)


@functools.cache
def identifier() -> LanguageIdentifier:
    """What tells languages apart; it takes a second to load. StoreError where there is no room to unpack its model."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    try:
        return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    except OSError as error:
        raise StoreError(
            f"what tells languages apart needs some space for temporary files, in {tempfile.gettempdir()}: {error}; "
            f"free some, set TMPDIR to another folder, or say the language of the texts"
        ) from error
