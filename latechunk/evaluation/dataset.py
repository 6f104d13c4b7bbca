"""What questions and the characters that answer them are, whatever layout they were read from."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass

from latechunk.chunking.languages import said_language
from latechunk.errors import InputError
from latechunk.types import Document, Span, require_text
from latechunk.types.json_form import list_blocks

_MOST_GRADE = 1_000  # trec_eval keeps a place for every grade up to the highest: 16 GB for 2^31


@dataclass(frozen=True, slots=True)
class Gold:
    """An answer to a question.

    Attributes:
        document_id: The document that holds it.
        spans: The characters that answer; empty where the document as a whole is the answer.
        grade: How relevant, from 1 to 1,000.
    """

    document_id: str
    spans: tuple[Span, ...] = ()
    grade: int = 1


@dataclass(frozen=True, slots=True)
class Question:
    """A question with its answers, at least one; all of them have spans, or none."""

    id: str
    text: str
    gold: tuple[Gold, ...]

    @property
    def has_spans(self) -> bool:
        """Whether characters answer, and not documents."""
        return bool(self.gold[0].spans)

    @property
    def cluster(self) -> str:
        """What it shares with other questions: the document of its first answer."""
        return self.gold[0].document_id


@dataclass(frozen=True, slots=True)
class EvaluationSet:
    """Documents with questions about them. Metadata ``lang`` or ``language``, an ISO 639 code, says one's language.

    Raises:
        InputError: If there is no question, an id comes twice, or an answer lies outside its document.
    """

    name: str
    documents: tuple[Document, ...]
    questions: tuple[Question, ...]

    def __post_init__(self) -> None:
        if not self.questions:
            raise InputError(f"{self.name}: there are no questions")
        for what, parts in (("document", self.documents), ("question", self.questions)):
            for one, count in Counter(part.id for part in parts).items():
                if count > 1:
                    raise InputError(f"{self.name}: the {what} id {one!r} comes twice; ids must differ")
        lengths = {document.id: len(document.text) for document in self.documents}
        for document in self.documents:
            if not document.text.strip():
                raise InputError(f"{self.name}: document {document.id!r} is blank; leave it out")
        for question in self.questions:
            _require_answerable(f"{self.name}: question {question.id!r}", question, lengths)

    @property
    def places(self) -> dict[str, int]:
        """The number of each document, by its id."""
        return {document.id: number for number, document in enumerate(self.documents)}

    @property
    def unnamed_twins(self) -> list[str]:
        """Ids of documents with the text of one that answers a question, and which that question does not name."""
        alike: dict[str, set[str]] = {}
        for document in self.documents:
            alike.setdefault(document.text, set()).add(document.id)
        twins_of = {name: names for names in alike.values() if len(names) > 1 for name in names}
        unnamed: set[str] = set()
        for question in self.questions:
            named = {gold.document_id for gold in question.gold}
            unnamed.update(*(twins_of[name] - named for name in named if name in twins_of))
        return sorted(unnamed)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over all that decides a measure."""
        digest = hashlib.sha256()
        for document in self.documents:
            outline = None if document.outline is None else list_blocks(document.outline)
            decisive = [document.id, document.text, said_language(document.metadata), outline]
            digest.update(json.dumps(decisive).encode())
        for question in self.questions:
            gold = [[one.document_id, one.grade, [(s.start, s.end) for s in one.spans]] for one in question.gold]
            digest.update(json.dumps([question.id, question.text, gold]).encode())
        return digest.hexdigest()


def _require_answerable(asked: str, question: Question, lengths: dict[str, int]) -> None:
    require_text(question.text, asked, InputError)
    if not any(character.isprintable() and not character.isspace() for character in question.text):
        raise InputError(f"{asked} is blank")
    if not question.gold:
        raise InputError(f"{asked} has no answer")
    if len({bool(gold.spans) for gold in question.gold}) > 1:
        raise InputError(f"{asked} has answers with and without spans; give all spans, or none")
    for gold in question.gold:
        if gold.document_id not in lengths:
            raise InputError(f"{asked} names the document {gold.document_id!r}, which is missing")
        if not 1 <= gold.grade <= _MOST_GRADE:
            raise InputError(f"{asked} has a grade of {gold.grade}; it must be from 1 to {_MOST_GRADE:,}")
        for span in gold.spans:
            if span.end > lengths[gold.document_id]:
                raise InputError(
                    f"{asked} is answered by [{span.start}, {span.end}), beyond the {lengths[gold.document_id]} "
                    f"characters of {gold.document_id!r}"
                )
