"""Late and naive vectors of a set's chunks for several chunk sizes; each document is read in context once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from latechunk.chunking.languages import said_language
from latechunk.chunking.structure import StructureChunker
from latechunk.embedding import ChunkedDocument, Embedding, blend, chunk_documents, embed_chunks
from latechunk.errors import DocumentError, InputError
from latechunk.evaluation.dataset import EvaluationSet
from latechunk.evaluation.ranking import ChunkTable
from latechunk.protocols import Chunker, SpanEncoder
from latechunk.types import Document, FloatArray, PoolingTask, Span
from latechunk.types.batches import in_batches

_BATCH_CHARACTERS = 300_000


@dataclass(frozen=True, slots=True)
class Vectors:
    """What one chunker's chunks became.

    Attributes:
        table: The chunks.
        late: Their late vectors, shape ``(n_chunks, dims)``; None if not wanted.
        naive: Their naive vectors; None if not wanted.
        whole: Vectors of whole documents, shape ``(n_documents, dims)``; empty where there are no late ones.
    """

    table: ChunkTable
    late: FloatArray | None
    naive: FloatArray | None
    whole: FloatArray

    def of(self, embedding: Embedding) -> FloatArray:
        """The vectors that an index with this embedding would hold, shape ``(n_chunks, dims)``."""
        if embedding.mode == "blend" and self.late is not None and self.naive is not None:
            return blend(self.late, self.naive, embedding.late_weight)
        chosen = {"late": self.late, "naive": self.naive}.get(embedding.mode)
        if chosen is None:
            raise RuntimeError(f"the vectors of {embedding} were not computed")
        return chosen


def chunker_for(max_tokens: int, document: Document) -> StructureChunker:
    """As an index cuts by default, in the document's language."""
    return StructureChunker(max_tokens=max_tokens, language=said_language(document.metadata))


def encode(
    encoder: SpanEncoder,
    evaluation_set: EvaluationSet,
    max_tokens: Sequence[int],
    *,
    late: bool,
    naive: Mapping[int, bool],
    on_progress: Callable[[int], None],
    chunker_of: Callable[[int, Document], Chunker] = chunker_for,
) -> dict[int, Vectors]:
    """Encode a set for several chunk sizes, by which the vectors come back; InputError if a document cannot be cut.

    ``late`` reads documents in context: once for all chunk sizes, and for vectors of whole documents. ``naive`` says of
    each chunk size whether its chunks are read alone. ``on_progress`` is called with the characters done since the last
    call.
    """
    spans: dict[int, list[Sequence[Span]]] = {size: [] for size in max_tokens}
    pooled: dict[int, list[FloatArray]] = {size: [] for size in max_tokens}
    alone: dict[int, list[FloatArray]] = {size: [] for size in max_tokens}
    whole: list[FloatArray] = [np.zeros((0, int(encoder.settings["dims"])), dtype=np.float32)]
    for documents in in_batches(evaluation_set.documents, lambda one: len(one.text), _BATCH_CHARACTERS):
        cuts = {size: _cut(encoder, size, documents, chunker_of, Embedding("blend")) for size in max_tokens}
        if late:
            for *by_size, document in _pool_once(encoder, cuts):
                whole.append(document)
                for size, vectors in zip(max_tokens, by_size, strict=True):
                    pooled[size].append(vectors)
        for size, cut in cuts.items():
            spans[size] += [one.spans for one in cut]
            if naive[size]:
                alone[size] += embed_chunks(encoder, Embedding("naive"), cut)
        on_progress(sum(len(document.text) for document in documents))
    return {
        size: Vectors(
            table=ChunkTable.of(spans[size]),
            late=np.concatenate(pooled[size]) if late else None,
            naive=np.concatenate(alone[size]) if naive[size] else None,
            whole=np.concatenate(whole),
        )
        for size in max_tokens
    }


def cut_only(
    encoder: SpanEncoder,
    evaluation_set: EvaluationSet,
    max_tokens: int,
    chunker_of: Callable[[int, Document], Chunker] = chunker_for,
) -> ChunkTable:
    """The chunks alone, for arms that need no vectors."""
    cuts = _cut(encoder, max_tokens, evaluation_set.documents, chunker_of, Embedding("late"))
    return ChunkTable.of([cut.spans for cut in cuts])


def _cut(
    encoder: SpanEncoder,
    max_tokens: int,
    documents: Sequence[Document],
    chunker_of: Callable[[int, Document], Chunker],
    embedding: Embedding,
) -> list[ChunkedDocument]:
    cuts = []
    for document in documents:  # one by one, since the language may differ
        cuts += chunk_documents(encoder, [chunker_of(max_tokens, document)], embedding, [document], _stop)
    return cuts


def _pool_once(encoder: SpanEncoder, cuts: Mapping[int, Sequence[ChunkedDocument]]) -> Iterator[Sequence[FloatArray]]:
    """Of each document the vectors of each size's chunks, then of the whole, from one reading.

    A document that is one chunk has no context, and is read by itself, as for an index; twice where another size cuts
    it.
    """
    documents = [[PoolingTask(cut.tokens, cut.ranges) for cut in same] for same in zip(*cuts.values(), strict=True)]
    tasks = []
    for same in documents:
        if parted := [task.ranges for task in same if not task.is_whole]:
            tasks.append(PoolingTask(same[0].tokens, np.concatenate([*parted, [[0, len(same[0].tokens)]]])))
        if len(parted) < len(same):
            tasks.append(PoolingTask.whole(same[0].tokens))
    vectors = iter(encoder.encode_spans(tasks))
    for same in documents:
        bounds = np.cumsum([len(task.ranges) for task in same if not task.is_whole])
        pooled = np.split(next(vectors), bounds) if len(bounds) else []
        alone = [next(vectors)] if len(bounds) < len(same) else []
        whole = (pooled or alone)[-1]
        chunks = iter(pooled)
        yield [*(alone[0] if task.is_whole else next(chunks) for task in same), whole]


def _stop(document: Document, error: DocumentError) -> None:
    raise InputError(f"document {document.id!r} cannot be evaluated: {error}") from error
