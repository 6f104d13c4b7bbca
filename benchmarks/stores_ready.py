"""An encoder and a chunker that cost nothing, so that an index can be measured without them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from stores_corpus import Source

from latechunk import Document
from latechunk.types import FloatArray, IntArray, PoolingTask, Span, Tokens


class ReadyEncoder:
    """An encoder that costs nothing: each chunk is one token, whose vector is at hand."""

    def __init__(self, dims: int) -> None:
        self.chunker = ReadyChunker()
        self._dims = dims
        self._tokens: dict[str, Tokens] = {}
        self._vectors: list[FloatArray] = []

    @property
    def settings(self) -> dict[str, object]:
        """What an index records."""
        return {"kind": "ready", "model": "ready", "dims": self._dims}

    def learn(self, source: Source) -> Document:
        """Make the document whose chunks and vectors will be these."""
        ends = np.cumsum([len(text) + 1 for text in source.texts]) - 1
        places = np.stack([ends - [len(text) for text in source.texts], ends], axis=1)
        document = Document(source.id, " ".join(source.texts), source.metadata)
        numbers = np.full(len(places), len(self._vectors), dtype=np.int64)
        self._tokens[document.text] = Tokens((), numbers, places)
        self.chunker.spans[document.text] = [Span(start, end) for start, end in places.tolist()]
        self._vectors.append(source.vectors)
        return document

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        """The chunks of a text that was learnt."""
        return [self._tokens[text] for text in texts]

    def encode_spans(
        self, tasks: Sequence[PoolingTask], on_progress: Callable[[int, int], None] | None = None
    ) -> list[FloatArray]:
        """The vectors that were learnt."""
        return [self._vectors[task.tokens.ids[0]] for task in tasks]

    def encode_query(self, text: str) -> FloatArray:
        """Not needed."""
        raise NotImplementedError("queries come as vectors")


class ReadyChunker:
    """Knows the spans of each text."""

    def __init__(self) -> None:
        self.spans: dict[str, list[Span]] = {}

    @property
    def settings(self) -> dict[str, object]:
        """What an index records."""
        return {"kind": "ready"}

    def split(self, text: str, offsets: IntArray) -> list[Span]:
        """The spans that were learnt."""
        return self.spans[text]
