"""Documents in, their chunks' spans and vectors out: late, naive or blended, on the same spans."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from latechunk.encoding.pooling_plan import token_ranges
from latechunk.errors import DocumentError, InputError, ModelError, SpanError
from latechunk.models.catalogue import Mode
from latechunk.protocols import Chunker, SpanEncoder
from latechunk.types import Document, FloatArray, IntArray, PoolingTask, Settings, Span, Tokens

_UNIT_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class Embedding:
    """How chunk vectors are made.

    Attributes:
        mode: ``"late"`` pools the chunk from the document's token embeddings, ``"naive"`` encodes the chunk's text
            alone, ``"blend"`` is the unit vector along ``late_weight * late + (1 - late_weight) * naive``.
        late_weight: Share of the late vector in a blend, strictly between 0 and 1; without effect on other modes.

    Raises:
        InputError: If a setting is out of range.
    """

    mode: Mode = "late"
    late_weight: float = 0.5

    def __post_init__(self) -> None:
        if self.mode not in ("late", "naive", "blend"):
            raise InputError(f'mode must be "late", "naive" or "blend", got {self.mode!r}')
        if not isinstance(self.late_weight, float) or not 0 < self.late_weight < 1:
            raise InputError(f"late_weight must be a float strictly between 0 and 1, got {self.late_weight!r}")

    @property
    def settings(self) -> Settings:
        """What decides the vectors, as JSON."""
        return {"mode": self.mode} | ({"late_weight": self.late_weight} if self.mode == "blend" else {})


@dataclass(frozen=True, slots=True)
class ChunkedDocument:
    """A document with its tokens and chunks, ready to be encoded.

    Attributes:
        document: What was cut.
        tokens: Of the whole text.
        chunkings: Its chunks, by each chunker.
        ranges: Token ranges of all spans, chunker by chunker, shape ``(n_spans, 2)``.
        alone: Tokens of each chunk's text read alone; empty where only late vectors are wanted.
    """

    document: Document
    tokens: Tokens
    chunkings: Sequence[Sequence[Span]]
    ranges: IntArray
    alone: Sequence[Tokens]

    @property
    def spans(self) -> list[Span]:
        """All chunks, chunker by chunker."""
        return [span for spans in self.chunkings for span in spans]


@dataclass(frozen=True, slots=True)
class FixedSpans:
    """A chunker that cuts where one has cut before, to encode the same spans of a document anew."""

    spans: Sequence[Span]

    @property
    def settings(self) -> Settings:
        """Of no chunker that an index records."""
        return {"kind": "stored", "n_spans": len(self.spans)}

    def split(self, text: str, offsets: IntArray) -> list[Span]:  # noqa: ARG002  the protocol's
        """The spans as they are."""
        return list(self.spans)


def chunk_documents(
    encoder: SpanEncoder,
    chunkers: Sequence[Chunker],
    embedding: Embedding,
    documents: Sequence[Document],
    on_error: Callable[[Document, DocumentError], None],
) -> list[ChunkedDocument]:
    """Tokenise documents and cut them into chunks.

    Args:
        encoder: Its tokenizer is used.
        chunkers: Say where to cut; each document is tokenised, and later encoded, once for all of them.
        embedding: How chunk vectors are to be made.
        documents: What to cut.
        on_error: Called for each document that cannot be indexed, which is then left out; may raise.

    Returns:
        The others, in order.
    """
    cuts = []
    tokenised = encoder.tokenize([one.text for one in documents])
    if not isinstance(tokenised, list | tuple) or not all(isinstance(one, Tokens) for one in tokenised):
        raise ModelError(f"tokenize must return a list of latechunk.types.Tokens, got {tokenised!r:.80}")
    if len(tokenised) != len(documents):
        raise ModelError(f"tokenize must return as many results as texts, {len(documents)}, got {len(tokenised)}")
    for document, tokens in zip(documents, tokenised, strict=True):
        try:
            cuts.append(_cut(encoder, chunkers, embedding, document, tokens))
        except DocumentError as error:
            on_error(document, error)
    return cuts


def embed_chunks(
    encoder: SpanEncoder,
    embedding: Embedding,
    cuts: Sequence[ChunkedDocument],
    on_progress: Callable[[int, int], None] | None = None,
) -> list[FloatArray]:
    """Encode documents, and pool their chunks.

    Args:
        encoder: Reads the documents.
        embedding: How chunk vectors are made.
        cuts: The documents.
        on_progress: Called with (number of the document, content tokens of it done since the last call). A blend
            reads each document twice and counts it once.

    Returns:
        For each document its chunks' unit vectors in span order, shape ``(n_spans, dims)``.

    Raises:
        ModelError: If the model gives unusable vectors.
    """
    if embedding.mode == "naive":
        return _embed_naive(encoder, cuts, on_progress)
    tasks = [PoolingTask(cut.tokens, cut.ranges) for cut in cuts]
    late = check_vectors(encoder, encoder.encode_spans(tasks, on_progress), [len(cut.spans) for cut in cuts])
    if embedding.mode == "late":
        return late
    naive = _embed_naive(encoder, cuts, None)
    return [blend(one, other, embedding.late_weight) for one, other in zip(late, naive, strict=True)]


def blend(late: FloatArray, naive: FloatArray, late_weight: float) -> FloatArray:
    """Unit vectors along ``late_weight * late + (1 - late_weight) * naive``, row by row, shape ``(n, dims)``.

    Raises:
        ModelError: If two vectors cancel each other.
    """
    mixed = np.float32(late_weight) * late + np.float32(1 - late_weight) * naive
    norms = np.linalg.norm(mixed, axis=1, keepdims=True)
    if not norms.all():
        raise ModelError("the late and the naive vector of a chunk cancel each other; choose another late_weight")
    return np.asarray(mixed / norms, dtype=np.float32)


def context_shifts(late: FloatArray, naive: FloatArray) -> FloatArray:
    """How far its context moves each chunk: 1 less the cosine of two unit vectors, row by row, shape ``(n_chunks,)``.

    What rounding puts below 0 is 0.
    """
    cosines = (late.astype(np.float64) * naive).sum(axis=1)
    return np.asarray(np.maximum(0, 1 - cosines), dtype=np.float32)


def check_vectors(encoder: SpanEncoder, results: Sequence[FloatArray], counts: Sequence[int]) -> list[FloatArray]:
    """Let only what an index can hold pass.

    Args:
        encoder: Says how long its vectors are.
        results: A matrix for each task.
        counts: How many vectors each task wanted.

    Returns:
        The same as float32.

    Raises:
        ModelError: If there are more or fewer, of another shape, not finite or not of unit length.
    """
    dims = encoder.settings["dims"]
    if not isinstance(results, list | tuple) or len(results) != len(counts):
        raise ModelError(f"encode_spans must return a list of {len(counts)} matrices, got {results!r:.80}")
    checked = []
    for result, count in zip(results, counts, strict=True):
        if not isinstance(result, np.ndarray) or result.shape != (count, dims):
            got = f"shape {result.shape}" if isinstance(result, np.ndarray) else type(result).__name__
            raise ModelError(f"an encoder of {dims} dims must give vectors of shape ({count}, {dims}), got {got}")
        vectors = result.astype(np.float32)
        norms = np.linalg.norm(vectors, axis=1)
        if not (np.abs(norms - 1) < _UNIT_TOLERANCE).all():  # also where a norm is not a number
            raise ModelError(f"an encoder must give finite vectors of unit length, got norms such as {norms.max()}")
        checked.append(vectors)
    return checked


def _cut(
    encoder: SpanEncoder, chunkers: Sequence[Chunker], embedding: Embedding, document: Document, tokens: Tokens
) -> ChunkedDocument:
    if not len(tokens) or not document.text.strip():
        raise DocumentError(
            f"document {document.id!r} holds no token ({len(document.text)} characters): a document needs text that "
            f"is not blank"
        )
    chunkings, ranges = [], []
    for chunker in chunkers:
        try:
            spans = chunker.split(document.text, tokens.offsets)
            _check_spans(spans, len(document.text))
            ranges.append(token_ranges(tokens.offsets, spans))
        except SpanError as error:
            raise DocumentError(f"document {document.id!r} is cut wrongly by {chunker.settings}: {error}") from error
        chunkings.append(spans)
    cut = ChunkedDocument(document, tokens, chunkings, np.concatenate(ranges), [])
    return cut if embedding.mode == "late" else replace(cut, alone=_read_alone(encoder, document, cut.spans))


def _read_alone(encoder: SpanEncoder, document: Document, spans: Sequence[Span]) -> list[Tokens]:
    texts = [document.text[span.start : span.end] for span in spans]
    alone = encoder.tokenize(texts)
    for text, tokens in zip(texts, alone, strict=True):
        if not len(tokens):
            raise DocumentError(
                f"a chunk of document {document.id!r} holds no token when read alone: {text!r:.80}; "
                f"choose larger chunks, or late vectors"
            )
    return alone


def _check_spans(spans: Sequence[Span], n_characters: int) -> None:
    if not isinstance(spans, list | tuple) or not all(isinstance(span, Span) for span in spans):
        raise SpanError(f"split must return a list of latechunk.Span, got {spans!r:.80}")
    if not spans:
        raise SpanError("there is no span at all")
    for previous, span in zip([None, *spans], spans, strict=False):
        if span.end > n_characters:
            raise SpanError(f"span [{span.start}, {span.end}) ends beyond the text's {n_characters} characters")
        if previous and span.start < previous.start:
            raise SpanError(
                f"span [{span.start}, {span.end}) comes behind [{previous.start}, {previous.end}); "
                f"spans must be in order of their starts"
            )


def _embed_naive(
    encoder: SpanEncoder, cuts: Sequence[ChunkedDocument], on_progress: Callable[[int, int], None] | None
) -> list[FloatArray]:
    """Encode each chunk's text as a document of its own that is one span."""
    owners = [number for number, cut in enumerate(cuts) for _ in cut.spans]
    tasks = [PoolingTask(tokens, np.array([[0, len(tokens)]], dtype=np.int64)) for cut in cuts for tokens in cut.alone]

    def report(number: int, n_tokens: int) -> None:
        if on_progress:
            on_progress(owners[number], n_tokens)

    vectors = check_vectors(encoder, encoder.encode_spans(tasks, report), [1] * len(tasks))
    bounds = np.cumsum([0, *(len(cut.spans) for cut in cuts)])
    stacked = np.concatenate(vectors) if vectors else np.zeros((0, 0), dtype=np.float32)
    return [stacked[begin:end] for begin, end in pairwise(bounds)]
