"""Find the language of a text: as its document says, or as its words show."""

from __future__ import annotations

import functools
import re
import tempfile
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from latechunk.errors import StoreError

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

_CODE = re.compile(r"[a-z]{2,3}(?:-[A-Za-z0-9]+)*")  # with a script or a region, perhaps
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
    if language is not None and not _CODE.fullmatch(language):
        raise ValueError(f'language must be an ISO 639 code such as "en" or "ja", or None, got {language!r}')


def choose_language(asked: str | None, text: str, metadata: Mapping[str, Any] | None = None) -> str:
    """The language that is asked for, or else what the metadata says, or else what the text shows; no region."""
    return (asked or said_language(metadata or {}) or find_language(text)).partition("-")[0]


def said_language(metadata: Mapping[str, Any]) -> str | None:
    """What metadata gives as ``lang`` or ``language``, if that is an ISO 639 code, perhaps with a region.

    Examples:
        >>> said_language({"lang": "pt_BR"}), said_language({"language": "Portuguese"})
        ('pt-BR', None)
    """
    values = (metadata.get(key) for key in _KEYS)
    codes = (value.replace("_", "-") for value in values if isinstance(value, str))
    return next((code for code in codes if _CODE.fullmatch(code)), None)


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
