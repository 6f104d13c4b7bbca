"""A latechunk encoder as LangChain's Embeddings: for queries, and for texts that are documents of their own."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from itertools import islice
from typing import ClassVar, NoReturn, Self, TypeAlias

import numpy as np
from langchain_core.embeddings import Embeddings

import latechunk
from langchain_latechunk.arguments import list_texts
from latechunk import Document, Index, Span, embed_documents
from latechunk.errors import DocumentError, InputError, LateChunkError
from latechunk.protocols import FloatArray, IntArray, Settings, SpanEncoder


class NotLateChunkError(LateChunkError, TypeError):
    """An embeddings object or a vector store cannot carry late-chunk vectors."""


class LateChunkEmbeddings(Embeddings):
    """Embeds queries, and texts whole; pickled, it is its model's name or its encoder.

    LangChain's interface knows texts and no documents, so late chunking cannot happen behind it: a chunk handed to
    ``embed_documents`` is embedded without its context. Chunks get theirs from
    ``langchain_latechunk.LateChunkVectorStore``, ``langchain_latechunk.LateChunkRetriever`` and
    ``langchain_latechunk.add_late_chunks``.

    Examples:
        >>> len(LateChunkEmbeddings(encoder).embed_query("people in Berlin"))
        384
    """

    def __init__(self, encoder: SpanEncoder | str | None = None) -> None:
        """Wrap an encoder; the name of a model, or None for the default one, is loaded at first use."""
        name = latechunk.DEFAULT_MODEL if encoder is None else encoder
        if not isinstance(name, str) and not hasattr(encoder, "encode_spans"):
            raise NotLateChunkError(
                f"encoder must be a latechunk encoder, such as latechunk.Encoder.load(...), which gives vectors of "
                f"spans in their context, or the name of a model; got {type(encoder).__name__}"
            )
        self._name = name if isinstance(name, str) else None
        self._load: Callable[[], SpanEncoder] = lambda: latechunk.Encoder.load(str(name))
        self._encoder = None if isinstance(encoder, str) else encoder
        self._lock = threading.Lock()

    @classmethod
    def of_index(cls, index: Index) -> Self:
        """The embeddings that made an index; its encoder is loaded at first use."""
        embeddings = cls()
        embeddings._name, embeddings._load = None, lambda: index.encoder
        return embeddings

    def __reduce__(self) -> tuple[type[Self], tuple[SpanEncoder | str]]:
        return type(self), (self._name or self.encoder,)

    def __deepcopy__(self, _: object) -> Self:
        return self  # nothing changes it, and another one would load the model again

    def __copy__(self) -> Self:
        return self

    @property
    def encoder(self) -> SpanEncoder:
        """What makes the vectors; loaded now if it was not yet, which raises ModelError without the model's files."""
        with self._lock:
            if self._encoder is None:
                self._encoder = self._load()
            return self._encoder

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed each text as a document that is one chunk, to a unit vector; InputError if one holds no token."""
        texts = list_texts(texts)
        owner, ready = _READY.get()
        if owner is self:
            return _take(ready, texts)
        documents = (Document(str(number), text) for number, text in enumerate(texts))
        embedded = embed_documents(
            documents, encoder=self.encoder, chunker=_WholeText(), mode="late", on_error=_explain
        )
        return [one.vectors[0].tolist() for one in embedded]

    def embed_query(self, text: str) -> list[float]:
        """Embed a query, as the model wants queries; QueryError if it holds no token."""
        vector: list[float] = np.asarray(self.encoder.encode_query(text), dtype=np.float32).tolist()
        return vector

    @contextlib.contextmanager
    def handing_over(self, texts: Sequence[str], vectors: FloatArray) -> Iterator[None]:
        """Within this, in this thread, ``embed_documents`` gives ready vectors for these texts and no others.

        A store asks for them in this order, in one call or several; NotLateChunkError if not for all. The vectors have
        shape ``(len(texts), dims)``.
        """
        ready = deque(zip(texts, vectors.tolist(), strict=True))
        token = _READY.set((self, ready))
        try:
            yield
        finally:
            _READY.reset(token)
        if ready:
            raise NotLateChunkError(
                f"the vector store asked its embeddings for {len(texts) - len(ready)} of {len(texts)} chunks, so it "
                f"got vectors elsewhere and what it holds now is wrong: delete these chunks, and use a store that "
                f"embeds in the calling thread or has add_embeddings"
            )


class _WholeText:
    """A chunker that makes one chunk of each text."""

    settings: ClassVar[Settings] = {"kind": "langchain-whole-text"}

    def split(self, text: str, offsets: IntArray) -> list[Span]:  # noqa: ARG002  the protocol's
        return [Span(0, len(text))]


_Ready: TypeAlias = deque[tuple[str, list[float]]]
_READY: ContextVar[tuple[LateChunkEmbeddings | None, _Ready]] = ContextVar(
    "latechunk_ready_vectors", default=(None, deque())
)


def _take(ready: _Ready, texts: Sequence[str]) -> list[list[float]]:
    if [text for text, _ in islice(ready, len(texts))] != list(texts):
        raise NotLateChunkError(
            "the vector store asked its embeddings for other texts than the chunks that it was given, so their "
            "vectors cannot be handed over; use a store that embeds texts as they are, or has add_embeddings"
        )
    return [ready.popleft()[1] for _ in texts]


def require_encoder(embedding: object) -> SpanEncoder:
    """The encoder in an embeddings object, which must be ours."""
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
