"""Prepare training data: cut documents into chunks, and find the tokens that answer each question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from latechunk.embedding.chunks import token_ranges
from latechunk.encoding.encoder import Encoder
from latechunk.errors import InputError, SpanError
from latechunk.evaluation.dataset import EvaluationSet, Question
from latechunk.evaluation.passes import chunker_for
from latechunk.types import Document, IntArray, Span, Tokens

_NO_CHARACTERS = "it names a document and no characters; training needs the passage that answers"
_SHOWN = 5  # problems named in an error


@dataclass(frozen=True, slots=True)
class TrainingDocument:
    """A document as training reads it.

    Attributes:
        cuts: Token ranges of its chunks, shape ``(n_chunks, 2)``, by the chunks' size.
        spans: Their characters, likewise.
        asked: Numbers of the questions that it answers.
    """

    set_name: str
    id: str
    tokens: Tokens
    text: str
    cuts: Mapping[int, IntArray]
    spans: Mapping[int, Sequence[Span]]
    asked: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TrainingQuestion:
    """A question and the tokens that answer it.

    Attributes:
        document: Number of the document that answers.
        answers: Token ranges in it, shape ``(n_answers, 2)``.
        is_shared: Whether other documents answer it too, so that their chunks are not wrong answers to it.
    """

    text: str
    document: int
    answers: IntArray
    is_shared: bool = False


@dataclass(frozen=True, slots=True)
class TrainingData:
    """What a run learns from; ``unusable`` names the questions that were left out, and why."""

    documents: tuple[TrainingDocument, ...]
    questions: tuple[TrainingQuestion, ...]
    unusable: tuple[str, ...] = ()

    @property
    def n_tokens(self) -> int:
        """Content tokens of all documents."""
        return sum(len(document.tokens) for document in self.documents)

    def counts(self) -> dict[str, dict[str, int]]:
        """Documents, questions and tokens of each set."""
        found: dict[str, dict[str, int]] = {}
        for document in self.documents:
            row = found.setdefault(document.set_name, {"documents": 0, "questions": 0, "tokens": 0})
            row["documents"] += 1
            row["questions"] += len(document.asked)
            row["tokens"] += len(document.tokens)
        return found


def prepare(
    encoder: Encoder, sets: Sequence[EvaluationSet], chunk_tokens: Sequence[int], *, skip_unusable: bool = False
) -> TrainingData:
    """Tokenise and cut the documents that are asked about, and find the tokens that answer each question.

    Raises:
        InputError: If a question has no characters that answer it, or they hold no token; or none is left.
    """
    documents: list[TrainingDocument] = []
    questions: list[TrainingQuestion] = []
    unusable: list[str] = []
    sizes = sorted(set(chunk_tokens))
    for one in sets:
        asked_of: dict[str, list[Question]] = {}
        for question in one.questions:
            for name in {gold.document_id for gold in question.gold}:
                asked_of.setdefault(name, []).append(question)
        used = [document for document in one.documents if document.id in asked_of]
        for document, tokens in zip(used, encoder.tokenize([each.text for each in used]), strict=True):
            number, asked = len(documents), []
            for question in asked_of[document.id]:
                answers = _find_answers(one.name, question, document, tokens)
                if isinstance(answers, str):
                    unusable.append(answers)
                else:
                    asked.append(len(questions))
                    is_shared = len({gold.document_id for gold in question.gold}) > 1
                    questions.append(TrainingQuestion(question.text, number, answers, is_shared))
            if asked:
                documents.append(_cut(one.name, document, tokens, sizes, tuple(asked)))
    if not skip_unusable:
        require_usable(unusable)
    if not questions:
        raise InputError(
            "there is no question left to train on: needed are questions with the characters that answer"
            + (f"; the first that was left out: {unusable[0]}" if unusable else "")
        )
    return TrainingData(tuple(documents), tuple(questions), tuple(unusable))


def require_usable(unusable: Sequence[str]) -> None:
    """Raise InputError, with the first of them, if there are questions that cannot be trained on."""
    if unusable:
        shown = "\n".join(f"  {problem}" for problem in unusable[:_SHOWN])
        raise InputError(
            f"questions that cannot be trained on: {len(unusable)}\n{shown}\n"
            f"mend them, or leave them out with skip_unusable=True (--skip-unusable)"
        )


def word_unusable(set_name: str, question: Question, reason: str = _NO_CHARACTERS) -> str:
    """Name a question that cannot be trained on, and why."""
    return f"{set_name}, question {question.id!r}: {reason}"


def _find_answers(set_name: str, question: Question, document: Document, tokens: Tokens) -> IntArray | str:
    """The token ranges of its answers, or why it cannot be trained on."""
    if not question.has_spans:
        return word_unusable(set_name, question)
    spans = [span for gold in question.gold if gold.document_id == document.id for span in gold.spans]
    try:
        return token_ranges(tokens.offsets, spans)
    except SpanError as error:
        return word_unusable(set_name, question, f"its answer in {document.id!r} is in no chunk: {error}")


def _cut(
    set_name: str, document: Document, tokens: Tokens, sizes: Sequence[int], asked: tuple[int, ...]
) -> TrainingDocument:
    spans = {size: chunker_for(size, document).split_document(document, tokens.offsets) for size in sizes}
    return TrainingDocument(
        set_name=set_name,
        id=document.id,
        tokens=tokens,
        text=document.text,
        cuts={size: token_ranges(tokens.offsets, found) for size, found in spans.items()},
        spans=spans,
        asked=asked,
    )
