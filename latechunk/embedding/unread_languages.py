"""Which documents are in a language that the model does not read: said once a call, since few would be found."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from latechunk.chunking.languages import identifier, is_english, sample_of
from latechunk.models.catalogue import DEFAULT_MODEL, find_known_model
from latechunk.printing import counted
from latechunk.protocols import SpanEncoder
from latechunk.types import Document

_LOG = logging.getLogger("latechunk")

_LETTERS = 50  # of a document; one that is shorter may be a name
# Of 487 files of code, configuration, logs and English licences one was below 0.01, and none below 0.001; of 861 texts
# in 13 languages none in another language than English was above, nor of 2,100 English questions any below.
_LEAST = 0.001


@dataclass(slots=True)
class UnreadLanguages:
    """Counts the documents of one call whose language the model does not read, as far as that is sure."""

    counts: Counter[str] = field(default_factory=Counter)  # by ISO 639 code
    _model: str = ""

    def note(self, encoder: SpanEncoder, documents: Iterable[Document]) -> None:
        """Look at the language of documents that this encoder is about to read."""
        known = find_known_model(str(encoder.settings.get("model")))
        if known and known.languages:
            self._model = known.name
            found = (find_unread_language(one.text, known.languages, least_letters=_LETTERS) for one in documents)
            self.counts.update(code for code in found if code)

    def say(self) -> None:
        """Say in the log what was found."""
        if self.counts:
            by_language = ", ".join(f"{code} {number:,}" for code, number in self.counts.most_common())
            _LOG.warning(
                "%s does not read the language of %s (%s), and dense search will not find them well: make "
                "the index with a model that does, such as %s; `latechunk models` lists others",
                self._model,
                counted(self.counts.total(), "document"),
                by_language,
                DEFAULT_MODEL,
            )


def find_unread_language(text: str, languages: Collection[str], *, least_letters: int = 1) -> str | None:
    """The ISO 639 code of a text's language if it is surely none of these, else None.

    Examples:
        >>> find_unread_language("Der größte Fluss, der durch diese Stadt fließt, ist sehr lang und breit.", ["en"])
        'de'
    """
    sample = sample_of(text)
    if sum(map(str.isalpha, sample)) < least_letters or ("en" in languages and is_english(sample)):
        return None
    ranked = identifier().rank(sample)
    is_read = sum(probability for code, probability in ranked if code in languages) >= _LEAST
    return None if is_read else str(ranked[0][0])
