"""What a user can replace, as protocols: chunkers, encoders, rerankers, and what an encoder may offer besides."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias, runtime_checkable

from latechunk.errors import InputError
from latechunk.types import Document, FloatArray, IntArray, PoolingTask, Settings, Span, Tokens, WindowPlan

__all__ = [
    "BatchQueryEncoder",
    "Chunker",
    "ExposesWindows",
    "FloatArray",
    "IntArray",
    "PoolingTask",
    "RecommendsEmbedding",
    "ReportsRuntime",
    "Reranker",
    "Settings",
    "Span",
    "SpanEncoder",
    "SplitsDocuments",
    "Tokens",
    "WindowPlan",
    "require_json",
]


class Chunker(Protocol):
    r"""Cuts a text into chunks. It is given the places of the tokens, and never the model.

    Examples:
        >>> class Lines:
        ...     settings = {"kind": "my-lines"}
        ...
        ...     def split(self, text, offsets):
        ...         lines = re.finditer(r".*\S.*\n?", text)
        ...         return [Span(line.start(), line.end()) for line in lines]
        >>> Index.create("poems.latechunk", chunker=Lines())
    """

    @property
    def settings(self) -> Settings:
        """What this chunker is, as JSON; equal settings mean equal spans."""
        ...

    def split(self, text: str, offsets: IntArray) -> list[Span]:
        """Cut ``text``.

        Args:
            text: The whole document.
            offsets: Character range of each token, as in ``Tokens``, shape ``(n_tokens, 2)``; at least one.

        Returns:
            The spans in order of their starts, each holding at least one token.
        """
        ...


@runtime_checkable
class SplitsDocuments(Protocol):
    r"""A chunker that looks at more of a document than its text: its outline, its metadata. It has ``split``, too.

    Examples:
        >>> class Sections:
        ...     settings = {"kind": "my-sections"}
        ...
        ...     def split(self, text, offsets):
        ...         return [Span(0, len(text))]
        ...
        ...     def split_document(self, document, offsets):
        ...         starts = [block.start for block in document.outline or () if block.kind == "heading"]
        ...         cuts = [0, *(start for start in starts if start), len(document.text)]
        ...         return [Span(start, end) for start, end in zip(cuts, cuts[1:])]
        >>> Index.create("manuals.latechunk", chunker=Sections())
    """

    def split_document(self, document: Document, offsets: IntArray) -> list[Span]:
        """Cut a document; called in the place of ``Chunker.split``, and otherwise like it.

        Args:
            document: The whole document. In an index, and in ``embed_documents``, its outline is always there.
            offsets: Character range of each token, as in ``Tokens``, shape ``(n_tokens, 2)``; at least one.
        """
        ...


class SpanEncoder(Protocol):
    """Turns texts into contextual vectors of spans. ``latechunk.Encoder`` is the one for real models.

    An index calls ``tokenize`` in a thread of its own, while ``encode_spans`` runs on the documents before.

    Examples:
        >>> class MyEncoder:
        ...     settings = {"kind": "mine", "dims": 256}
        ...
        ...     def tokenize(self, texts): ...
        ...     def encode_spans(self, tasks, on_progress=None): ...
        ...     def encode_query(self, text): ...
        >>> Index.create("mine.latechunk", encoder=MyEncoder())
    """

    @property
    def settings(self) -> Settings:
        """What decides the vectors, as JSON; ``dims`` is their length, ``model`` and ``revision`` are labels.

        So is ``adapters`` where there is a fingerprint of them, ``adapters_sha256``.
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
    """An encoder that says how it computes here; an index records it for people to read.

    Examples:
        >>> class MyEncoder:
        ...     runtime = {"device": "cpu", "dtype": "float32"}
    """

    @property
    def runtime(self) -> Settings:
        """Device, dtype, attention and the like, as JSON."""
        ...


@runtime_checkable
class RecommendsEmbedding(Protocol):
    """An encoder that says how chunk vectors are best made with it, where the user of an index does not.

    Examples:
        >>> class MyEncoder:
        ...     recommended_embedding = {"mode": "blend", "late_weight": 0.6}
    """

    @property
    def recommended_embedding(self) -> Settings:
        """Arguments of ``latechunk.Embedding``, as JSON: ``mode`` and ``late_weight``."""
        ...


@runtime_checkable
class BatchQueryEncoder(Protocol):
    """An encoder that encodes many queries faster together than one by one.

    Examples:
        >>> class MyEncoder:
        ...     def encode_queries(self, texts):
        ...         return self.model.encode(texts, normalize_embeddings=True)
    """

    def encode_queries(self, texts: Sequence[str]) -> FloatArray:
        """Encode queries to unit vectors in order, shape ``(len(texts), dims)``."""
        ...


@runtime_checkable
class ExposesWindows(Protocol):
    """An encoder that says in which windows it reads a document.

    Examples:
        >>> encoder = Encoder.load()
        >>> (tokens,) = encoder.tokenize([text])
        >>> encoder.windows(tokens).starts
    """

    def windows(self, tokens: Tokens) -> WindowPlan:
        """The windows in which a document of these tokens is read."""
        ...


Reranker: TypeAlias = Callable[[str, Sequence[str]], Sequence[float]]
"""Scores texts by how well they answer a question, more being better, one score for each.

Examples:
    >>> def by_shared_words(question, texts):
    ...     asked = set(question.lower().split())
    ...     return [len(asked & set(text.lower().split())) for text in texts]
    >>> index.search("which river?", rerank=by_shared_words)
"""


def require_json(what: str, settings: Settings) -> Settings:
    """Refuse settings that JSON does not give back as they are, and those of an encoder without ``dims``."""
    try:
        same = json.loads(json.dumps(settings, allow_nan=False)) == settings
        json.dumps(settings, ensure_ascii=False).encode("utf-8")
    except (TypeError, ValueError) as error:
        raise InputError(f"the settings of the {what} must be a mapping that JSON can hold: {error}") from error
    if not same or not isinstance(settings, dict):
        raise InputError(
            f"the settings of the {what} must be a dict that JSON gives back as it is, got {settings!r:.200}"
        )
    dims = settings.get("dims")
    if what == "encoder" and (not isinstance(dims, int) or isinstance(dims, bool) or dims < 1):
        raise InputError(f"the settings of the encoder must have dims, a whole number of at least 1, got {dims!r}")
    return settings
