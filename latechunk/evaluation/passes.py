"""Late and naive vectors of a set's chunks for several chunk sizes; each document is read in context once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from latechunk.chunking.sentence import SentenceChunker
from latechunk.embedding import ChunkedDocument, Embedding, blend, chunk_documents, embed_chunks
from latechunk.errors import DocumentError, InputError
from latechunk.evaluation.dataset import EvaluationSet
from latechunk.evaluation.ranking import ChunkTable
from latechunk.protocols import Chunker, SpanEncoder
from latechunk.types import Document, FloatArray, PoolingTask, Span

_BATCH_CHARACTERS = 300_000


@dataclass(frozen=True, slots=True)
class Vectors:
    """What one chunker's chunks became.

    Attributes:
        table: The chunks.
        late: Their late vectors, shape ``(n_chunks, dims)``; None if not wanted.
        naive: Their naive vectors; None if not wanted.
        whole: Vectors of whole documents, shape ``(n_documents, dims)``.
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


def chunker_for(max_tokens: int, document: Document) -> Chunker:
    """Sentences, by the rules of the document's language."""
    language = document.metadata.get("lang")
    return SentenceChunker(max_tokens=max_tokens, language=language if isinstance(language, str) else "en")


def encode(
    encoder: SpanEncoder,
    evaluation_set: EvaluationSet,
    max_tokens: Sequence[int],
    *,
    late: bool,
    naive: Mapping[int, bool],
    on_progress: Callable[[int], None],
) -> dict[int, Vectors]:
    """Encode a set for several chunk sizes.

    Args:
        encoder: Reads the documents.
        evaluation_set: What to encode.
        max_tokens: Chunk sizes.
        late: Whether to read documents in context: once for all chunk sizes, and for vectors of whole documents.
        naive: Of each chunk size, whether to read its chunks alone.
        on_progress: Called with the number of characters done since the last call.

    Returns:
        By chunk size.

    Raises:
        InputError: If a document cannot be cut.
    """
    spans: dict[int, list[Sequence[Span]]] = {size: [] for size in max_tokens}
    found: dict[tuple[int, str], list[FloatArray]] = {}
    whole: list[FloatArray] = []
    for documents in _batches(evaluation_set.documents):
        cuts = {size: _cut(encoder, size, documents) for size in max_tokens}
        if late:
            for size, vectors in _pool_once(encoder, cuts, whole).items():
                found.setdefault((size, "late"), []).extend(vectors)
        for size in max_tokens:
            spans[size] += [cut.spans for cut in cuts[size]]
            if naive[size]:
                found.setdefault((size, "naive"), []).extend(embed_chunks(encoder, Embedding("naive"), cuts[size]))
        on_progress(sum(len(document.text) for document in documents))
    dims = int(encoder.settings["dims"])
    return {
        size: Vectors(
            table=ChunkTable.of(spans[size]),
            late=np.concatenate(found[size, "late"]) if late else None,
            naive=np.concatenate(found[size, "naive"]) if naive[size] else None,
            whole=np.concatenate(whole) if whole else np.zeros((0, dims), dtype=np.float32),
        )
        for size in max_tokens
    }


def cut_only(encoder: SpanEncoder, evaluation_set: EvaluationSet, max_tokens: int) -> ChunkTable:
    """The chunks alone, for arms that need no vectors."""
    return ChunkTable.of([list(cut.spans) for cut in _cut(encoder, max_tokens, evaluation_set.documents)])


def _cut(encoder: SpanEncoder, max_tokens: int, documents: Sequence[Document]) -> list[ChunkedDocument]:
    cuts = []
    for document in documents:  # one by one, since the language may differ
        chunker = chunker_for(max_tokens, document)
        cuts += chunk_documents(encoder, [chunker], Embedding("blend"), [document], _stop)
    return cuts


def _pool_once(
    encoder: SpanEncoder, cuts: dict[int, list[ChunkedDocument]], whole: list[FloatArray]
) -> dict[int, list[FloatArray]]:
    """Pool all chunkers' spans, and the whole document, from one reading of each document."""
    sizes = list(cuts)
    tasks, bounds = [], []
    for same in zip(*cuts.values(), strict=True):
        tokens = same[0].tokens
        ranges = [cut.ranges for cut in same] + [np.array([[0, len(tokens)]], dtype=np.int64)]
        tasks.append(PoolingTask(tokens, np.concatenate(ranges)))
        bounds.append(np.cumsum([len(one) for one in ranges])[:-1])
    pooled: dict[int, list[FloatArray]] = {size: [] for size in sizes}
    for vectors, cut_at in zip(encoder.encode_spans(tasks), bounds, strict=True):
        *by_size, document = np.split(vectors, cut_at)
        whole.append(document)
        for size, one in zip(sizes, by_size, strict=True):
            pooled[size].append(one)
    return pooled


def _batches(documents: Sequence[Document]) -> list[list[Document]]:
    batches: list[list[Document]] = [[]]
    n_characters = 0
    for document in documents:
        if n_characters >= _BATCH_CHARACTERS:
            batches.append([])
            n_characters = 0
        batches[-1].append(document)
        n_characters += len(document.text)
    return batches


def _stop(document: Document, error: DocumentError) -> None:
    raise InputError(f"document {document.id!r} cannot be evaluated: {error}") from error
