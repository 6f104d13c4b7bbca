"""Late-chunk vectors in other vector stores."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.vectorstores import InMemoryVectorStore, VectorStore
from langchain_latechunk import (
    LateChunkVectorStore,
    NotLateChunkError,
    PreSplitError,
    add_late_chunks,
)

from latechunk import SentenceChunker
from latechunk.errors import DocumentError, IndexMismatchError, InputError

CHUNKER = SentenceChunker(max_tokens=8)
IDS = ["berlin#0", "berlin#1", "berlin#2", "paris#0", "paris#1", "stub#0"]


class _Store(VectorStore):
    """As much of a store as writing takes; each kind below takes vectors in another way."""

    def __init__(self, embeddings=None):
        self._embeddings = embeddings
        self.rows = {}

    @property
    def embeddings(self):
        return self._embeddings

    def similarity_search(self, query, k=4, **kwargs):
        raise NotImplementedError

    @classmethod
    def from_texts(cls, texts, embedding, metadatas=None, *, ids=None, **kwargs):
        raise NotImplementedError


class _TakesPairs(_Store):
    """As FAISS and Elasticsearch."""

    def add_embeddings(self, text_embeddings, metadatas=None, ids=None, **kwargs):
        for (text, vector), metadata, name in zip(text_embeddings, metadatas, ids, strict=True):
            self.rows[name] = (text, vector, metadata)


class _TakesLists(_Store):
    """As PGVector and Milvus."""

    def add_embeddings(self, texts, embeddings, metadatas=None, ids=None, **kwargs):
        for text, vector, metadata, name in zip(texts, embeddings, metadatas, ids, strict=True):
            self.rows[name] = (text, vector, metadata)


class _AsksInBatches(_Store):
    """As Qdrant."""

    def add_texts(self, texts, metadatas=None, *, ids=None, **kwargs):
        vectors = [vector for place in range(len(texts)) for vector in self.embeddings.embed_documents([texts[place]])]
        self.rows |= dict(zip(ids, zip(texts, vectors, metadatas, strict=True), strict=True))


class _AsksElsewhere(_Store):
    def add_texts(self, texts, metadatas=None, *, ids=None, **kwargs):
        with ThreadPoolExecutor(1) as pool:
            pool.submit(self.embeddings.embed_documents, texts).result()


class _AsksForMore(_Store):
    def add_texts(self, texts, metadatas=None, *, ids=None, **kwargs):
        self.embeddings.embed_documents([f"passage: {text}" for text in texts])


@pytest.fixture
def expected(index, documents):
    """Vectors, texts and metadata of the same chunks in an index."""
    LateChunkVectorStore(index).add_documents(documents)
    hits = {f"{hit.chunk.document_id}#{hit.chunk.number}": hit.chunk for hit in index.search("it", 9)}
    with index._store.snapshot():
        rows = {name: index._store.rows_of_document(name[:-2], 0)[int(name[-1])] for name in IDS}
        return {name: (hits[name], index._store.vectors_of([rows[name].number], 16)[0]) for name in IDS}


def check(rows, expected):
    assert list(rows) == IDS
    for name, (text, vector, metadata) in rows.items():
        chunk, its_vector = expected[name]
        assert text == chunk.text
        np.testing.assert_array_equal(np.array(vector, dtype=np.float32), its_vector)
        assert metadata == {
            **chunk.metadata,
            "latechunk_document_id": chunk.document_id,
            "latechunk_chunk": chunk.number,
            "latechunk_granularity": "chunks",
            "start_index": chunk.start,
            "end_index": chunk.end,
        }


@pytest.mark.parametrize("kind", [_TakesPairs, _TakesLists, _AsksInBatches])
def test_stores_get_the_vectors_of_an_index(kind, embedding, documents, expected):
    store = kind(embedding)

    assert add_late_chunks(store, iter(documents), chunker=CHUNKER) == IDS

    check(store.rows, expected)


def test_a_store_that_tells_no_embeddings(fake, documents, expected):
    store = _TakesPairs()
    assert add_late_chunks(store, documents, encoder=fake, chunker=CHUNKER) == IDS
    check(store.rows, expected)


def test_the_store_of_langchain_itself(embedding, fake, documents, expected):
    store = InMemoryVectorStore(embedding)

    assert add_late_chunks(store, documents, encoder=fake, chunker=CHUNKER) == IDS

    check({name: (row["text"], row["vector"], row["metadata"]) for name, row in store.store.items()}, expected)
    ((found, score),) = store.similarity_search_with_score("many people", k=1)
    assert found.metadata["start_index"] == 34
    assert score < 0.9999
    assert store.embeddings.embed_documents(["Hello there."]) == [pytest.approx(store.store["stub#0"]["vector"])]


def test_naive_vectors_for_comparison(embedding, documents):
    late, naive = InMemoryVectorStore(embedding), InMemoryVectorStore(embedding)
    add_late_chunks(late, documents[:1], chunker=CHUNKER)
    add_late_chunks(naive, documents[:1], chunker=CHUNKER, mode="naive")

    (alone,) = embedding.embed_documents([naive.store["berlin#1"]["text"]])
    assert naive.store["berlin#1"]["vector"] == alone != late.store["berlin#1"]["vector"]


def test_ids_of_another_form(embedding, documents):
    store = InMemoryVectorStore(embedding)
    assert add_late_chunks(store, documents[2:], name=lambda document, number: f"{number}-{document}") == ["0-stub"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (lambda document, number: document, "gave chunk 1 of 'berlin' 'berlin', which another one has"),
        (lambda document, number: f"{number}", "gave chunk 0 of 'paris' '0', which another one has"),
        (lambda document, number: number, "gave chunk 0 of 'berlin' 0, which is no string"),
    ],
)
def test_ids_that_would_replace_each_other(embedding, documents, name, message):
    store = InMemoryVectorStore(embedding)

    with pytest.raises(InputError, match=message):
        add_late_chunks(store, documents, chunker=CHUNKER, name=name)

    assert {row["metadata"]["latechunk_document_id"] for row in store.store.values()} <= {"berlin"}


def test_chunks_share_no_metadata(embedding, documents):
    store = InMemoryVectorStore(embedding)
    add_late_chunks(store, [Document(documents[0].page_content, metadata={"seen": {"by": []}})], chunker=CHUNKER)

    first, second, _ = store.similarity_search("people", k=3)
    first.metadata["seen"]["by"].append("me")

    assert second.metadata["seen"] == {"by": []}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda ours, theirs, index: _Store(), "takes no ready vectors"),
        (lambda ours, theirs, index: InMemoryVectorStore(theirs), "reads queries with DeterministicFakeEmbedding"),
        (lambda ours, theirs, index: _TakesPairs(theirs), "reads queries with DeterministicFakeEmbedding"),
        (lambda ours, theirs, index: LateChunkVectorStore(index), "use its add_documents"),
        (lambda ours, theirs, index: _AsksForMore(ours), "asked its embeddings for other texts"),
        (lambda ours, theirs, index: _AsksElsewhere(ours), "for 0 of 3 chunks, so it got vectors elsewhere"),
    ],
)
def test_stores_that_cannot(embedding, fake, index, documents, make, message):
    store = make(embedding, DeterministicFakeEmbedding(size=16), index)
    with pytest.raises(NotLateChunkError, match=message):
        add_late_chunks(store, documents, encoder=fake, chunker=CHUNKER)
    assert len(index) == 0


def test_what_is_no_store(embedding, documents):
    with pytest.raises(InputError, match="got VectorStoreRetriever; of a retriever pass its vectorstore"):
        add_late_chunks(InMemoryVectorStore(embedding).as_retriever(), documents)


def test_a_store_of_another_model(embedding, other, documents):
    with pytest.raises(IndexMismatchError, match="they differ in model"):
        add_late_chunks(InMemoryVectorStore(embedding), documents, encoder=other)


def test_bad_documents(embedding):
    store = InMemoryVectorStore(embedding)
    with pytest.raises(DocumentError, match="comes twice"):
        add_late_chunks(store, [Document("a", id="1"), Document("b", id="1")])
    with pytest.raises(PreSplitError, match="start_index"):
        add_late_chunks(store, [Document("piece", metadata={"start_index": 0})])
    with pytest.raises(PreSplitError, match="begins with the end"):
        add_late_chunks(store, [Document("One. Two is here and shared."), Document("Two is here and shared. Three.")])
    with pytest.raises(DocumentError, match="holds no token"):
        add_late_chunks(store, [Document(" ", id="1")])
