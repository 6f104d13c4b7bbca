"""Ask an index the questions of a set, by the search that its users get."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import pairwise
from typing import Any

import numpy as np

from latechunk.chunking.structure import StructureChunker
from latechunk.embedding import Embedding
from latechunk.errors import QueryError
from latechunk.evaluation.dataset import EvaluationSet, Question
from latechunk.evaluation.ranking import NOTHING, ChunkTable, Ranking, Rankings
from latechunk.index import Index
from latechunk.protocols import SpanEncoder
from latechunk.storage.directory import STORE
from latechunk.storage.store import Store, StoredDocument
from latechunk.types import Chunk, FloatArray, IntArray, PoolingTask, Settings, Tokens


class KnownQuestions:
    """An encoder that has encoded some questions already, all at once, and makes the same vectors of all else."""

    def __init__(self, encoder: SpanEncoder, questions: Mapping[str, FloatArray]) -> None:
        """``questions`` gives the unit vectors of texts, shape ``(dims,)``."""
        self._encoder = encoder
        self._questions = questions

    @property
    def settings(self) -> Settings:
        """Those of the encoder."""
        return self._encoder.settings

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        """As the encoder does."""
        return self._encoder.tokenize(texts)

    def encode_spans(
        self, tasks: Sequence[PoolingTask], on_progress: Callable[[int, int], None] | None = None
    ) -> list[FloatArray]:
        """As the encoder does."""
        return self._encoder.encode_spans(tasks, on_progress)

    def encode_query(self, text: str) -> FloatArray:
        """The vector that is known, or else what the encoder makes."""
        known = self._questions.get(text)
        return self._encoder.encode_query(text) if known is None else known


@contextmanager
def filled_index(
    encoder: SpanEncoder,
    embedding: Embedding,
    evaluation_set: EvaluationSet,
    table: ChunkTable,
    vectors: FloatArray | None,
    max_tokens: int,
) -> Iterator[Index]:
    """A temporary index of a set as a user makes it, with the chunks of ``table``.

    Nothing is encoded again: ``vectors`` are those of the chunks by ``embedding``, shape ``(n_chunks, dims)``, or None
    for an index whose words alone are searched.
    """
    if vectors is None:
        vectors = np.eye(1, int(encoder.settings["dims"]), dtype=np.float32).repeat(len(table), axis=0)
    stored = [
        StoredDocument(document, 0, [table.spans[begin:end]], vectors[begin:end])  # how many tokens decides nothing
        for document, (begin, end) in zip(evaluation_set.documents, pairwise(table.first.tolist()), strict=True)
    ]
    chunker = StructureChunker(max_tokens=max_tokens)
    with Index.temporary(encoder=encoder, chunker=chunker, **embedding.settings) as index:
        with closing(Store.open(index.path / STORE, read_only=False)) as store:
            store.put(stored)
        yield index


def rank_by_search(
    index: Index, evaluation_set: EvaluationSet, table: ChunkTable, depth: int, options: Mapping[str, Any]
) -> Rankings:
    """What ``Index.search`` with these options finds for each question: chunks, documents, chunks within documents.

    A question that cannot be searched for, such as one without a word in lexical search, finds nothing.
    """
    places = evaluation_set.places

    def find(question: Question, **limits: Any) -> list[Chunk]:
        try:
            return [hit.chunk for hit in index.search(question.text, depth, **{**options, **limits})]
        except QueryError:
            return []

    def number(found: Sequence[Chunk]) -> list[int]:
        return [int(table.first[places[one.document_id]]) + one.number for one in found]

    questions = evaluation_set.questions
    chunks = [number(find(one)) for one in questions]
    documents = [[places[chunk.document_id] for chunk in find(one, per_document=True)] for one in questions]
    within = [number(find(one, document_ids=[gold.document_id for gold in one.gold])) for one in questions]
    return {
        "corpus": Ranking(_to_rows(chunks, depth), _to_rows(documents, depth)),
        "document": Ranking(_to_rows(within, depth), _to_rows([[]] * len(questions), 0)),
    }


def _to_rows(found: Sequence[Sequence[int]], width: int) -> IntArray:
    rows = np.full((len(found), width), NOTHING, dtype=np.int64)
    for row, numbers in zip(rows, found, strict=True):
        row[: len(numbers)] = numbers
    return rows
