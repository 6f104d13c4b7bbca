"""Ranks the answers of forty questions in four long articles, by vectors of each mode and by the default search."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files

from latechunk.chunking.sentence import SentenceChunker
from latechunk.embedding import choose_embedding
from latechunk.errors import InputError
from latechunk.index import Index
from latechunk.types import Document, Hit, Mode

_DATA = files(__name__) / "data"
MODES: tuple[Mode, ...] = ("naive", "late", "blend")
WAYS = (*MODES, "default")  # vectors of each mode alone, and what a search without options does


@dataclass(frozen=True, slots=True)
class Question:
    """A question, and the exact words of the one document that answer it."""

    text: str
    document_id: str
    quote: str


@dataclass(frozen=True, slots=True)
class Answer:
    """How a question fared: in each way the rank of the right chunk among all, from 1, and what came first."""

    question: Question
    ranks: dict[str, int]
    best: dict[str, Hit]


@dataclass(frozen=True, slots=True)
class Comparison:
    """All answers, and what was searched."""

    answers: list[Answer]
    n_documents: int
    n_chunks: int
    n_words: int
    late_weight: float
    model: str
    max_tokens: int


def read_documents() -> list[Document]:
    """The articles that come with the package."""
    names = ("danube", "humboldt", "marie-curie", "nokia")
    return [Document(name, (_DATA / f"{name}.md").read_text(encoding="utf-8")) for name in names]


def read_questions() -> list[Question]:
    """The questions that come with the package."""
    lines = (_DATA / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    return [Question(one["question"], one["document"], one["quote"]) for one in map(json.loads, lines)]


def run() -> Comparison:
    """Index the articles in each mode, with the default chunker and so on the same spans, and ask every question.

    The modes compare vectors alone; the default compares the blend's, and words.

    A chunk is right if it shares a character with the question's quote; the rank is that of the best right one. The
    default model reads in float32, so that every machine shows the same. For naive it reads without its trained
    adapters: that is what one has without latechunk.
    """
    from latechunk.encoding.encoder import Encoder

    encoder, published = (Encoder.load(dtype="float32", adapters=adapters) for adapters in ("auto", None))
    documents, questions, chunker = read_documents(), read_questions(), SentenceChunker()
    readers = {"naive": published, "late": encoder, "blend": encoder}
    hits: dict[str, list[list[Hit]]] = {}
    for mode in MODES:
        with Index.temporary(encoder=readers[mode], chunker=chunker, mode=mode) as index:
            n_chunks = index.add(documents).n_chunks
            hits[mode] = [index.search(question.text, k=n_chunks, mode="dense") for question in questions]
            if mode == "blend":  # as an index is made without options
                hits["default"] = [index.search(question.text, k=n_chunks) for question in questions]
    answers = [
        Answer(
            question=question,
            ranks={way: _rank(question, documents, hits[way][number]) for way in WAYS},
            best={way: hits[way][number][0] for way in WAYS},
        )
        for number, question in enumerate(questions)
    ]
    return Comparison(
        answers=answers,
        n_documents=len(documents),
        n_chunks=len(hits["late"][0]),
        late_weight=choose_embedding(encoder, "blend", None).late_weight,
        n_words=sum(len(document.text.split()) for document in documents),
        model=str(encoder.settings["model"]),
        max_tokens=chunker.max_tokens,
    )


def _rank(question: Question, documents: list[Document], hits: list[Hit]) -> int:
    text = next(one.text for one in documents if one.id == question.document_id)
    if text.count(question.quote) != 1:
        raise InputError(f"the quote of {question.text!r} must stand once in {question.document_id!r}")
    start = text.index(question.quote)
    end = start + len(question.quote)
    return 1 + next(
        place
        for place, hit in enumerate(hits)
        if hit.chunk.document_id == question.document_id and hit.chunk.start < end and start < hit.chunk.end
    )
