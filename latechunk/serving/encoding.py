"""An encoder whose passes all requests share, and what vectors of texts and chunks take."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from latechunk.embedding import choose_embedding, encode_queries
from latechunk.errors import InputError, QueryError
from latechunk.protocols import ExposesWindows, SpanEncoder
from latechunk.serving.batching import Dispatcher, Function
from latechunk.threads import forget_in_child
from latechunk.types import FloatArray, PoolingTask, Settings, Tokens

_TOKENIZING = 4  # requests that are tokenised at the same time


class SharedEncoder:
    """An encoder whose calls from several threads go through the model together; implements ``SpanEncoder``.

    The vectors are the encoder's own; where texts are read together they differ by rounding, some 1e-7.
    """

    def __init__(self, encoder: SpanEncoder, dispatcher: Dispatcher) -> None:
        """Share ``encoder``, which from now on only ``dispatcher`` may call."""
        self.encoder = encoder
        if isinstance(encoder, ExposesWindows):  # then this one does, too
            self.windows = encoder.windows
        self._dispatcher = dispatcher
        self._whole: dict[str, Function] = {}
        forget_in_child(self)

    def forget(self) -> None:
        """Have nothing tokenised, as in a process just forked."""
        # A tokenizer takes some 150 bytes for each token while it is at work, which is 80 MB for a large request.
        self._tokenizing = threading.Semaphore(_TOKENIZING)

    @property
    def settings(self) -> Settings:
        """The encoder's own."""
        return self.encoder.settings

    @property
    def recommended_embedding(self) -> Settings:
        """The encoder's own, or what is known to suit it."""
        return choose_embedding(self.encoder, None, None).settings

    @property
    def tasks(self) -> tuple[str, ...]:
        """What there are adapters for; empty without."""
        return tuple(getattr(self.encoder, "tasks", ()))

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        """Tokenise documents, in order, in the thread that calls."""
        with self._tokenizing:
            return self.encoder.tokenize(texts)

    def encode_spans(
        self,
        tasks: Sequence[PoolingTask],
        on_progress: Callable[[int, int], None] | None = None,  # noqa: ARG002  a request has no bar
    ) -> list[FloatArray]:
        """Read each text in context and pool its spans; see ``latechunk.protocols.SpanEncoder``."""
        return self._dispatcher.run(self.encoder.encode_spans, tasks, [len(task.tokens) for task in tasks])

    def encode_query(self, text: str) -> FloatArray:
        """Encode a query to a unit vector, shape ``(dims,)``."""
        vector: FloatArray = self.encode_queries([text])[0]
        return vector

    def encode_queries(self, texts: Sequence[str]) -> FloatArray:
        """Encode queries to unit vectors in order, shape ``(len(texts), dims)``."""
        sizes = [len(tokens) for tokens in self.tokenize(texts)]
        for text, size in zip(texts, sizes, strict=True):
            if not size or not text.strip():
                raise QueryError(f"a query must hold at least one token, and {text!r:.80} holds none")
        return np.stack(self._dispatcher.run(self._encode_queries, texts, sizes))

    def encode_texts(self, texts: Sequence[str], task: str) -> FloatArray:
        """Encode whole texts for a task, to unit vectors in order, shape ``(len(texts), dims)``.

        Raises:
            InputError: If the encoder has no such task.
        """
        if task not in self.tasks:
            known = f"has the tasks {', '.join(self.tasks)}" if self.tasks else "has no tasks of its own"
            raise InputError(f"task: this model {known}, got {task!r:.80}")
        encoder: Any = self.encoder
        if task not in self._whole:
            self._whole[task] = lambda texts: list(encoder.encode_texts(texts, task=task))
        sizes = [len(tokens) for tokens in self.tokenize(texts)]
        return np.stack(self._dispatcher.run(self._whole[task], texts, sizes))

    def shorten(self, vectors: FloatArray, dims: int | None) -> FloatArray:
        """Cut unit vectors to a length that the model was trained for, shape ``(n, dims)``; None leaves them whole.

        Raises:
            InputError: If it was not.
        """
        if dims is None or dims == self.settings["dims"]:
            return vectors
        shorten = getattr(self.encoder, "shorten", None)
        if shorten is None:
            raise InputError(f"dimensions: this model has vectors of {self.settings['dims']} dims, got {dims}")
        return np.asarray(shorten(vectors, dims))

    def _encode_queries(self, texts: list[str]) -> Sequence[FloatArray]:
        return list(encode_queries(self.encoder, texts))


class ShortEncoder:
    """An encoder whose vectors are cut before anything is made of them, as in a blend; implements ``SpanEncoder``."""

    def __init__(self, encoder: SharedEncoder, dims: int) -> None:
        """Cut the vectors of ``encoder`` to ``dims`` numbers."""
        self._encoder = encoder
        self._dims = dims

    @property
    def settings(self) -> Settings:
        """Those of the encoder with the shorter length."""
        return {**self._encoder.settings, "dims": self._dims}

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        """Tokenise documents, in order."""
        return self._encoder.tokenize(texts)

    def encode_spans(
        self, tasks: Sequence[PoolingTask], on_progress: Callable[[int, int], None] | None = None
    ) -> list[FloatArray]:
        """Read each text in context and pool its spans."""
        return [self._encoder.shorten(one, self._dims) for one in self._encoder.encode_spans(tasks, on_progress)]

    def encode_query(self, text: str) -> FloatArray:
        """Encode a query to a unit vector, shape ``(dims,)``."""
        vector: FloatArray = self._encoder.shorten(self._encoder.encode_queries([text]), self._dims)[0]
        return vector
