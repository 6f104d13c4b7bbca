"""What a user can replace, as protocols: chunkers, encoders, rerankers, and what an encoder may offer besides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias, runtime_checkable

from latechunk.types import FloatArray, IntArray, PoolingTask, Settings, Span, Tokens, WindowPlan


class Chunker(Protocol):
    """Cuts a text into chunks. It knows the tokens' places, never the model."""

    @property
    def settings(self) -> Settings:
        """What this chunker is, as JSON; equal settings mean equal spans."""
        ...

    def split(self, text: str, offsets: IntArray) -> list[Span]:
        """Cut ``text``.

        Args:
            text: The whole document.
            offsets: Character range of each token, as in :class:`Tokens`, shape ``(n_tokens, 2)``; at least one.

        Returns:
            The spans in order of their starts, each holding at least one token.
        """
        ...


class SpanEncoder(Protocol):
    """Turns texts into contextual vectors of spans. :class:`latechunk.Encoder` is the one for real models.

    An index calls ``tokenize`` in a thread of its own, while ``encode_spans`` runs on the documents before.
    """

    @property
    def settings(self) -> Settings:
        """What decides the vectors, as JSON; ``dims`` is their length, ``model`` and ``revision`` are labels.

        So is ``adapters`` where their fingerprint, ``adapters_sha256``, stands beside it.
        """
        ...

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        """Tokenise documents, in order."""
        ...

    def encode_spans(
        self, tasks: Sequence[PoolingTask], on_progress: Callable[[int, int], None] | None = None
    ) -> list[FloatArray]:
        """Read each text in context and pool its spans.

        Args:
            tasks: Texts with the ranges wanted of each.
            on_progress: Called with (number of the task, content tokens of it done since the last call).

        Returns:
            For each task its spans' vectors in order, unit length, float32, shape ``(n_spans, dims)``.
        """
        ...

    def encode_query(self, text: str) -> FloatArray:
        """Encode a query to a unit vector, shape ``(dims,)``.

        Raises:
            QueryError: If the text holds no token.
        """
        ...


@runtime_checkable
class ReportsRuntime(Protocol):
    """An encoder that says how it computes here, for the index to record beside what decides the vectors."""

    @property
    def runtime(self) -> Settings:
        """Device, dtype, attention and the like, as JSON."""
        ...


@runtime_checkable
class RecommendsEmbedding(Protocol):
    """An encoder that says how chunk vectors are best made with it, where the user of an index does not."""

    @property
    def recommended_embedding(self) -> Settings:
        """Arguments of :class:`latechunk.embedding.Embedding`, as JSON: ``mode`` and ``late_weight``."""
        ...


@runtime_checkable
class BatchQueryEncoder(Protocol):
    """An encoder that encodes many queries faster together than one by one."""

    def encode_queries(self, texts: Sequence[str]) -> FloatArray:
        """Encode queries to unit vectors in order, shape ``(len(texts), dims)``."""
        ...


@runtime_checkable
class ExposesWindows(Protocol):
    """An encoder that says how it reads a document."""

    def windows(self, tokens: Tokens) -> WindowPlan:
        """The windows in which a document of these tokens is read."""
        ...


Reranker: TypeAlias = Callable[[str, Sequence[str]], Sequence[float]]
"""Scores texts by how well they answer a question, more being better, one score for each."""
