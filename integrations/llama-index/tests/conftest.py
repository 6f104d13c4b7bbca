"""What the tests share: an encoder without a model, documents of LlamaIndex, a way to run a coroutine."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from llama_index.core import Document, MockEmbedding, Settings
from llama_index.core.llms import MockLLM
from llama_index.retrievers.latechunk import LateChunkTransform, to_documents

from latechunk import Index, SentenceChunker
from latechunk.errors import QueryError
from latechunk.types import FloatArray, PoolingTask, Tokens

DIMS = 16


class WordEncoder:
    """Words are tokens; a token's vector comes from its letters and a little of its neighbours'."""

    def __init__(self, name: str = "words", dims: int = DIMS) -> None:
        self.name = name
        self.dims = dims
        self.texts: list[int] = []  # tokens of each text that was encoded

    @property
    def settings(self) -> dict[str, object]:
        return {"kind": "words", "model": self.name, "seed": self.name, "dims": self.dims}

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        return [self._tokenize(text) for text in texts]

    def encode_spans(
        self, tasks: Sequence[PoolingTask], on_progress: Callable[[int, int], None] | None = None
    ) -> list[FloatArray]:
        return [self._encode(task) for task in tasks]

    def encode_query(self, text: str) -> FloatArray:
        tokens = self._tokenize(text)
        if not len(tokens):
            raise QueryError("the query holds no token")
        vector = self._encode(PoolingTask.whole(tokens))[0]
        self.texts.pop()
        return vector

    def _encode(self, task: PoolingTask) -> FloatArray:
        self.texts.append(len(task.tokens))
        own = np.stack([np.random.default_rng(int(one)).normal(size=self.dims) for one in task.tokens.ids])
        padded = np.pad(own, ((1, 1), (0, 0)))
        contextual = own + 0.25 * (padded[:-2] + padded[2:])
        means = np.stack([contextual[start:end].mean(axis=0) for start, end in task.ranges])
        return (means / np.linalg.norm(means, axis=1, keepdims=True)).astype(np.float32)

    def _tokenize(self, text: str) -> Tokens:
        words = list(re.finditer(r"\w+|[^\w\s]", text))
        keys = [f"{self.name} {word.group().lower()}".encode() for word in words]
        ids = [int.from_bytes(hashlib.sha256(key).digest()[:6], "big") for key in keys]
        offsets = np.array([word.span() for word in words], dtype=np.int64).reshape(-1, 2)
        return Tokens(prompt_ids=(), ids=np.array(ids, dtype=np.int64), offsets=offsets)


TEXTS = {
    "berlin": "Berlin is the capital of Germany. It has many people. The Spree runs through it. Total: 10. 10. 0. 10.",
    "paris": "Paris is the capital of France. The Seine runs through it. Crème brûlée is eaten there.",
    "stub": "Hello there.",
}


@pytest.fixture
def encoder() -> WordEncoder:
    return WordEncoder()


@pytest.fixture
def other_encoder() -> WordEncoder:
    return WordEncoder("other words")


@pytest.fixture
def chunker() -> SentenceChunker:
    return SentenceChunker(max_tokens=8)


@pytest.fixture
def documents() -> list[Document]:
    return [
        Document(id_="berlin", text=TEXTS["berlin"], metadata={"year": 1237, "tags": ["river", "wall"]}),
        Document(id_="paris", text=TEXTS["paris"], metadata={"year": 250, "tags": ["river"]}),
        Document(id_="stub", text=TEXTS["stub"]),
    ]


@pytest.fixture
def transform(encoder: WordEncoder, chunker: SentenceChunker) -> LateChunkTransform:
    return LateChunkTransform(encoder=encoder, chunker=chunker)


@pytest.fixture
def index(tmp_path: Path, encoder: WordEncoder, chunker: SentenceChunker, documents: list[Document]) -> Iterator[Index]:
    with Index.create(tmp_path / "test.latechunk", encoder=encoder, chunker=chunker) as index:
        index.add(to_documents(documents))
        encoder.texts.clear()
        yield index


@pytest.fixture(autouse=True)
def _no_openai() -> Iterator[None]:
    """LlamaIndex's defaults are models of a service; none of these tests may ask one."""
    Settings.llm = MockLLM()
    Settings.embed_model = MockEmbedding(embed_dim=DIMS)
    yield
    Settings._llm = None
    Settings._embed_model = None
