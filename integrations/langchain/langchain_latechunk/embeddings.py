"""A latechunk encoder as LangChain's Embeddings: for queries, and for texts that are documents of their own."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import ClassVar, NoReturn, Self

import numpy as np
from langchain_core.embeddings import Embeddings

from langchain_latechunk.errors import NotLateChunkError
from latechunk import Document, Index, Span, embed_documents
from latechunk.errors import DocumentError, InputError
from latechunk.protocols import FloatArray, IntArray, Settings, SpanEncoder


class LateChunkEmbeddings(Embeddings):
    """Embeds queries, and texts whole.

    LangChain's interface knows texts and no documents, so late chunking cannot happen behind it: a chunk handed to
    ``embed_documents`` is embedded without its context. Chunks get theirs from
    ``langchain_latechunk.LateChunkVectorStore``, ``langchain_latechunk.LateChunkRetriever`` and
    ``langchain_latechunk.add_late_chunks``.

    Examples:
        >>> len(LateChunkEmbeddings(encoder).embed_query("people in Berlin"))
        384
    """

    def __init__(self, encoder: SpanEncoder | None = None) -> None:
        """Wrap an encoder.

        Args:
            encoder: ``latechunk.Encoder.load(...)`` or one of your own; None for the default model, loaded at first
                use.
        """
        if encoder is not None and not hasattr(encoder, "encode_spans"):
            raise NotLateChunkError(
                f"encoder must be a latechunk encoder, such as latechunk.Encoder.load(...), which gives vectors of "
                f"spans in their context; got {type(encoder).__name__}"
            )
        self._load: Callable[[], SpanEncoder] = load_default_encoder
        self._encoder = encoder
        self._lock = threading.Lock()

    @classmethod
    def of_index(cls, index: Index) -> Self:
        """The embeddings that made an index; its encoder is loaded at first use."""
        embeddings = cls()
        embeddings._load = lambda: index.encoder
        return embeddings

    @property
    def encoder(self) -> SpanEncoder:
        """What makes the vectors; loaded now if it was not yet.

        Raises:
            ModelError: If the model is not on this machine.
        """
        with self._lock:
            if self._encoder is None:
                self._encoder = self._load()
            return self._encoder

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed each text as a document that is one chunk.

        Returns:
            Unit vectors in order.

        Raises:
            InputError: If a text holds no token.
        """
        ready = _READY.get()
        if ready is not None and ready.owner is self:
            return ready.take(texts)
        documents = (Document(str(number), text) for number, text in enumerate(texts))
        embedded = embed_documents(
            documents, encoder=self.encoder, chunker=_WholeText(), mode="late", on_error=_explain
        )
        return [one.vectors[0].tolist() for one in embedded]

    def embed_query(self, text: str) -> list[float]:
        """Embed a query, as the model wants queries.

        Raises:
            QueryError: If the text holds no token.
        """
        vector: list[float] = np.asarray(self.encoder.encode_query(text), dtype=np.float32).tolist()
        return vector

    @contextlib.contextmanager
    def handing_over(self, texts: Sequence[str], vectors: FloatArray) -> Iterator[None]:
        """Within this, in this thread, ``embed_documents`` gives ready vectors for these texts and no others.

        Args:
            texts: In the order in which a store will ask for them, in one call or several.
            vectors: Of these texts, shape ``(len(texts), dims)``.

        Raises:
            NotLateChunkError: If it was asked for others, or not for all of these.
        """
        ready = _Ready(self, texts, vectors)
        token = _READY.set(ready)
        try:
            yield
        finally:
            _READY.reset(token)
        if ready.n_taken < len(texts):
            raise NotLateChunkError(
                f"the vector store asked its embeddings for {ready.n_taken} of {len(texts)} chunks, so it got vectors "
                f"elsewhere and what it holds now is wrong: delete these chunks, and use a store that embeds in the "
                f"calling thread or has add_embeddings"
            )


class _WholeText:
    """A chunker that makes one chunk of each text."""

    settings: ClassVar[Settings] = {"kind": "langchain-whole-text"}

    def split(self, text: str, offsets: IntArray) -> list[Span]:  # noqa: ARG002  the protocol's
        return [Span(0, len(text))]


class _Ready:
    """Vectors waiting for a store to ask for them."""

    def __init__(self, owner: LateChunkEmbeddings, texts: Sequence[str], vectors: FloatArray) -> None:
        self.owner = owner
        self.n_taken = 0
        self._texts = list(texts)
        self._vectors = vectors

    def take(self, texts: Sequence[str]) -> list[list[float]]:
        end = self.n_taken + len(texts)
        if list(texts) != self._texts[self.n_taken : end]:
            raise NotLateChunkError(
                "the vector store asked its embeddings for other texts than the chunks that it was given, so their "
                "vectors cannot be handed over; use a store that embeds texts as they are, or has add_embeddings"
            )
        begin, self.n_taken = self.n_taken, end
        rows: list[list[float]] = self._vectors[begin:end].tolist()
        return rows


_READY: ContextVar[_Ready | None] = ContextVar("latechunk_ready_vectors", default=None)


def load_default_encoder() -> SpanEncoder:
    """The default model; until here, nothing has loaded torch."""
    from latechunk import Encoder

    return Encoder.load()


def require_encoder(embedding: object) -> SpanEncoder:
    """The encoder in an embeddings object.

    Raises:
        NotLateChunkError: If the object is not ours.
    """
    if isinstance(embedding, LateChunkEmbeddings):
        return embedding.encoder
    if hasattr(embedding, "encode_spans"):
        raise NotLateChunkError("embedding must be a LateChunkEmbeddings, got an encoder: LateChunkEmbeddings(encoder)")
    raise NotLateChunkError(
        f"embedding must be a LateChunkEmbeddings, got {type(embedding).__name__}: late chunking pools a chunk's "
        f"vector from the token embeddings of its whole document, and other embeddings objects give one vector for "
        f"one text. Pass LateChunkEmbeddings() for the default model, or LateChunkEmbeddings(Encoder.load(name))"
    )


def _explain(document: Document, error: DocumentError) -> NoReturn:
    raise InputError(
        f"text number {document.id} holds no token, so it has no vector; leave it out: {document.text!r:.80}"
    ) from error
