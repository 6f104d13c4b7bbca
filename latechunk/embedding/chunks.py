"""Documents, tokenised and cut into chunks, ready to be encoded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from latechunk.chunking.places import with_outline
from latechunk.embedding.settings import Embedding
from latechunk.errors import DocumentError, ModelError, SpanError
from latechunk.printing import counted
from latechunk.protocols import Chunker, SpanEncoder, SplitsDocuments
from latechunk.types import Document, IntArray, Span, Tokens

_ORIGIN = ("source", "file_path", "page", "page_label")  # what loaders write into the metadata


@dataclass(frozen=True, slots=True)
class ChunkedDocument:
    """A document with its tokens and chunks, ready to be encoded.

    Attributes:
        document: With its outline.
        chunkings: Its chunks, by each chunker.
        spans: The same in one list, chunker by chunker.
        ranges: Token ranges of all spans, in the same order, shape ``(n_spans, 2)``.
        alone: Tokens of each chunk's text read alone; empty where only late vectors are wanted.
    """

    document: Document
    tokens: Tokens
    chunkings: Sequence[Sequence[Span]]
    spans: Sequence[Span]
    ranges: IntArray
    alone: Sequence[Tokens]


def chunk_documents(
    encoder: SpanEncoder,
    chunkers: Sequence[Chunker],
    embedding: Embedding,
    documents: Sequence[Document],
    on_error: Callable[[Document, DocumentError], None],
) -> list[ChunkedDocument]:
    """Tokenise documents and cut them into chunks; each is tokenised, and later encoded, once for all chunkers.

    Those that cannot be indexed go to ``on_error``, which may raise; the others are returned in order.

    Raises:
        ModelError: If the encoder does not give tokens for each text, with places in it.
    """
    chunked = []
    tokenised = encoder.tokenize([one.text for one in documents]) if documents else []
    if not isinstance(tokenised, list | tuple) or not all(isinstance(one, Tokens) for one in tokenised):
        raise ModelError(f"tokenize must return a list of latechunk.types.Tokens, got {tokenised!r:.80}")
    if len(tokenised) != len(documents):
        raise ModelError(f"tokenize must return as many results as texts, {len(documents)}, got {len(tokenised)}")
    for document, tokens in zip(documents, tokenised, strict=True):
        try:
            chunked.append(_chunk(encoder, chunkers, embedding, document, tokens))
        except DocumentError as error:
            on_error(document, error)
    return chunked


def blank_error(document: Document) -> DocumentError:
    """The error of a document without text; it says where the text came from, and what may be wrong there."""
    metadata = document.metadata
    origin = [f"{key} {metadata[key]!r:.200}" for key in _ORIGIN if metadata.get(key, document.id) != document.id]
    named = f"document {document.id!r}" + (f" ({', '.join(origin)})" if origin else "")
    if document.pages:
        need = f"none of its {len(document.pages)} pages has text; if they are pictures, read them with OCR first"
    else:
        need = "a document needs text that is not blank"
    return DocumentError(f"{named} holds no token ({counted(len(document.text), 'character')}): {need}")


def _chunk(
    encoder: SpanEncoder, chunkers: Sequence[Chunker], embedding: Embedding, document: Document, tokens: Tokens
) -> ChunkedDocument:
    if not len(tokens) or not document.text.strip():
        raise blank_error(document)
    _require_offsets(tokens, document)
    document = with_outline(document)
    chunkings, ranges = [], []
    for chunker in chunkers:
        try:
            if isinstance(chunker, SplitsDocuments):
                spans = chunker.split_document(document, tokens.offsets)
            else:
                spans = chunker.split(document.text, tokens.offsets)
            _require_ordered(spans, len(document.text))
            ranges.append(token_ranges(tokens.offsets, spans))
        except SpanError as error:
            raise DocumentError(f"document {document.id!r} is cut wrongly by {chunker.settings}: {error}") from error
        chunkings.append(spans)
    spans = [span for one in chunkings for span in one]
    texts = [] if embedding.mode == "late" else [document.text[span.start : span.end] for span in spans]
    alone = encoder.tokenize(texts) if texts else []
    for text, own in zip(texts, alone, strict=True):
        if not len(own):
            raise DocumentError(
                f"a chunk of document {document.id!r} holds no token when read alone: {text!r:.80}; "
                f"choose larger chunks, or late vectors"
            )
    return ChunkedDocument(document, tokens, chunkings, spans, np.concatenate(ranges), alone)


def token_ranges(offsets: IntArray, spans: Sequence[Span]) -> IntArray:
    """Find the tokens of each span: all that share a character with it.

    Returns:
        Half-open token ranges in span order, shape ``(n_spans, 2)``.

    Raises:
        SpanError: If a span holds no token.
    """
    first = np.searchsorted(offsets[:, 1], [span.start for span in spans], side="right")
    last = np.searchsorted(offsets[:, 0], [span.end for span in spans], side="left")
    for span, has_token in zip(spans, first < last, strict=True):
        if not has_token:
            raise SpanError(f"span [{span.start}, {span.end}) holds no token; is it blank?")
    return np.stack([first, last], axis=1).astype(np.int64)


def _require_offsets(tokens: Tokens, document: Document) -> None:
    """Raise a ModelError unless the tokens say where they stand in the text, as ``Tokens`` has it."""
    offsets = tokens.offsets
    is_array = isinstance(offsets, np.ndarray) and offsets.dtype.kind in "iu" and offsets.shape == (len(tokens), 2)
    if is_array and offsets[0, 0] >= 0 and offsets[-1, 1] <= len(document.text):
        wrong = (offsets[:, 0] >= offsets[:, 1]) | np.append((offsets[1:] < offsets[:-1]).any(axis=1), False)
        if not wrong.any():
            return
        number = int(wrong.argmax())
        got = f"token {number} at {offsets[number].tolist()}, before {offsets[number + 1 :][:1].tolist()}"
    else:
        got = f"{offsets!r:.80}"
    raise ModelError(
        f"the offsets of {len(tokens)} tokens must be whole numbers of shape ({len(tokens)}, 2): ranges of characters "
        f"of the text, here of {len(document.text)}, none empty, in order of their starts and of their ends, and none "
        f"of special tokens; for document {document.id!r} came {got}"
    )


def _require_ordered(spans: Sequence[Span], n_characters: int) -> None:
    if not isinstance(spans, list | tuple) or not all(isinstance(span, Span) for span in spans):
        raise SpanError(f"split must return a list of latechunk.Span, got {spans!r:.80}")
    if not spans:
        raise SpanError("there is no span at all")
    for previous, span in zip([None, *spans], spans, strict=False):
        if span.end > n_characters:
            raise SpanError(f"span [{span.start}, {span.end}) ends beyond the text's {n_characters} characters")
        if previous and span.start < previous.start:
            raise SpanError(
                f"span [{span.start}, {span.end}) comes after [{previous.start}, {previous.end}); "
                f"spans must be in order of their starts"
            )
