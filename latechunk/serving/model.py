"""A model that a server offers: it embeds the texts of one request, within the limits of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import regex

from latechunk.chunking.fixed import FixedSpans
from latechunk.embedding import Embedding, chunk_documents, embed_chunks, error_handler
from latechunk.errors import InputError
from latechunk.protocols import Chunker, SpanEncoder
from latechunk.serving.encoding import SharedEncoder, ShortEncoder
from latechunk.serving.errors import RequestError
from latechunk.serving.limits import Limits
from latechunk.types import Document, FloatArray, Span, require_text

# Between these no space is missing where two chunks meet.
_UNSPACED = regex.compile(
    r"[\s\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\u3000-\u303f\uff00-\uffef]"
)
CHARACTERS_OF_A_TOKEN = 8  # at most; of English text it is four to five


@dataclass(frozen=True, slots=True)
class Embedded:
    """Chunks of a document with their vectors, shape ``(n_chunks, dims)``."""

    texts: Sequence[str]
    vectors: FloatArray


class ServedModel:
    """A model that embeds what requests bring, within the limits of one request. Threads share it."""

    def __init__(self, encoder: SharedEncoder, embedding: Embedding, limits: Limits) -> None:
        """Serve an encoder, whose chunk vectors are made as ``embedding`` says."""
        self.encoder = encoder
        self.embedding = embedding
        self._limits = limits

    def embed_queries(self, texts: Sequence[str], dims: int | None = None) -> tuple[FloatArray, int]:
        """Vectors of queries, shape ``(len(texts), dims)``, and their tokens."""
        n_tokens = self._require_texts(texts)
        return self.encoder.shorten(self.encoder.encode_queries(texts), dims), n_tokens

    def embed_texts(self, texts: Sequence[str], task: str, dims: int | None = None) -> tuple[FloatArray, int]:
        """Vectors of whole texts for a task of the model, shape ``(len(texts), dims)``, and their tokens."""
        n_tokens = self._require_texts(texts)
        return self.encoder.shorten(self.encoder.encode_texts(texts, task), dims), n_tokens

    def embed_alone(self, texts: Sequence[str], dims: int | None = None) -> tuple[FloatArray, int]:
        """Vectors of texts, each a document of one chunk, shape ``(len(texts), dims)``, and their tokens."""
        self._require_number(len(texts))
        for number, text in enumerate(texts):
            require_nonblank(text, f"input[{number}]")
        documents = [Document(str(number), text, outline=()) for number, text in enumerate(texts)]
        whole = FixedSpans({one.id: [Span(0, len(one.text))] for one in documents})
        # Of one chunk the late and the naive vector are the same, so that it is not read twice.
        embedded, n_tokens = self._embed(documents, whole, dims, Embedding("late"))
        return np.concatenate([one.vectors for one in embedded]), n_tokens

    def embed_chunks(self, documents: Sequence[Sequence[str]], dims: int | None = None) -> tuple[list[Embedded], int]:
        """Vectors of chunks, each in the context of its document, which is its chunks one after the other.

        Where two chunks meet, and neither has white space there, a space is put between them, unless their script has
        none.
        """
        self._require_number(sum(map(len, documents)))
        made: list[Document] = []
        spans: dict[str, list[Span]] = {}
        for number, chunks in enumerate(documents):
            for place, chunk in enumerate(chunks):
                require_nonblank(chunk, f"input[{number}]" if len(chunks) == 1 else f"input[{number}][{place}]")
            text, spans[str(number)] = join_chunks(chunks)
            made.append(Document(str(number), text, outline=()))
        return self._embed(made, FixedSpans(spans), dims, self.embedding)

    def embed_documents(
        self, texts: Sequence[str], chunker: Chunker, dims: int | None = None
    ) -> tuple[list[Embedded], int]:
        """Cut documents into chunks, and embed these in context."""
        self._require_number(len(texts))
        for number, text in enumerate(texts):
            require_nonblank(text, f"inputs[{number}]")
        return self._embed(
            [Document(str(number), text) for number, text in enumerate(texts)], chunker, dims, self.embedding
        )

    def _embed(
        self, documents: Sequence[Document], chunker: Chunker, dims: int | None, embedding: Embedding
    ) -> tuple[list[Embedded], int]:
        self._require_together(sum(len(one.text) for one in documents), "characters")
        encoder: SpanEncoder = self.encoder if dims is None else ShortEncoder(self.encoder, dims)
        chunked = chunk_documents(encoder, [chunker], embedding, documents, error_handler("raise"))
        n_tokens = sum(len(one.tokens) for one in chunked)
        self._require_together(n_tokens, "tokens")
        matrices = embed_chunks(encoder, embedding, chunked)
        return [
            Embedded([one.document.text[span.start : span.end] for span in one.spans], matrix)
            for one, matrix in zip(chunked, matrices, strict=True)
        ], n_tokens

    def _require_texts(self, texts: Sequence[str]) -> int:
        self._require_number(len(texts))
        for number, text in enumerate(texts):
            require_nonblank(text, f"input[{number}]")
        self._require_together(sum(map(len, texts)), "characters")
        n_tokens = sum(len(tokens) for tokens in self.encoder.tokenize(texts))
        self._require_together(n_tokens, "tokens")
        return n_tokens

    def _require_number(self, n_inputs: int) -> None:
        if not 0 < n_inputs <= self._limits.inputs:
            raise RequestError(
                400, f"a request takes 1 to {self._limits.inputs:,} texts, got {n_inputs:,}", field="input"
            )

    def _require_together(self, n: int, unit: str) -> None:
        """Refuse texts of too many tokens, or, before they are tokenised, of characters that can be expected to be."""
        most = self._limits.tokens * (CHARACTERS_OF_A_TOKEN if unit == "characters" else 1)
        if n > most:
            said = f"a request takes texts of at most {most:,} {unit} together, and these have {n:,}"
            raise RequestError(400, f"{said}; send fewer at a time", field="input")


def join_chunks(chunks: Sequence[str]) -> tuple[str, list[Span]]:
    """The text of a document that came as its chunks, and where each of them stands in it.

    Examples:
        >>> join_chunks(["Berlin is big.", "It lies on the Spree."])
        ('Berlin is big. It lies on the Spree.', [Span(start=0, end=14), Span(start=15, end=36)])
    """
    parts: list[str] = []
    spans: list[Span] = []
    end = 0
    for number, chunk in enumerate(chunks):
        if number and not (_UNSPACED.match(chunks[number - 1][-1]) or _UNSPACED.match(chunk[0])):
            parts.append(" ")
            end += 1
        parts.append(chunk)
        spans.append(Span(end, end + len(chunk)))
        end += len(chunk)
    return "".join(parts), spans


def require_nonblank(text: str, name: str) -> None:
    """Raise a RequestError that names the text unless it holds more than white space."""
    require_text(text, name, InputError)
    if not text.strip():
        raise RequestError(400, f"{name} must not be blank, got {text!r:.40}; leave it out", field="input")
