import asyncio
import pickle

import numpy as np
import pytest
from llama_index.core import Document, VectorStoreIndex
from llama_index.core.schema import TextNode
from llama_index.retrievers.latechunk import LateChunkEmbedding
from pydantic import ValidationError

from latechunk import Encoder
from latechunk.errors import InputError, QueryError


def test_queries_are_encoded_as_the_encoder_does(encoder):
    embedding = LateChunkEmbedding(encoder=encoder)
    expected = encoder.encode_query("Which river?").tolist()

    assert embedding.get_query_embedding("Which river?") == expected
    assert asyncio.run(embedding.aget_query_embedding("Which river?")) == expected
    assert embedding.model_name == "words"


def test_the_query_prompt_counts():
    plain = LateChunkEmbedding(dtype="float32")
    prompted = LateChunkEmbedding(dtype="float32", query_prompt="Represent the question: ")
    expected = Encoder.load(dtype="float32", query_prompt="Represent the question: ").encode_query("Which river?")

    np.testing.assert_allclose(prompted.get_query_embedding("Which river?"), expected, atol=1e-6)
    assert np.dot(plain.get_query_embedding("Which river?"), expected) < 0.99


def test_texts_are_refused_with_the_reason(encoder):
    embedding = LateChunkEmbedding(encoder=encoder)
    message = "encodes queries only, and was asked to embed the text .a.*LateChunkTransform.*a selector, needs another"

    with pytest.raises(InputError, match=message):
        embedding.get_text_embedding("a")
    with pytest.raises(InputError, match=message):
        embedding.get_text_embedding_batch(["a", "b"])
    with pytest.raises(InputError, match=message):
        asyncio.run(embedding.aget_text_embedding("a"))
    with pytest.raises(InputError, match=message):
        asyncio.run(embedding.aget_text_embedding_batch(["a"]))
    with pytest.raises(InputError, match=message):
        VectorStoreIndex([TextNode(text="a")], embed_model=embedding)
    with pytest.raises(InputError, match="encodes queries only"):
        VectorStoreIndex.from_documents([Document(text="a")], embed_model=embedding)
    assert embedding.get_text_embedding_batch([]) == []


def test_blank_queries_are_refused(encoder):
    with pytest.raises(QueryError):
        LateChunkEmbedding(encoder=encoder).get_query_embedding(" ")


def test_the_models_name_goes_into_model(encoder):
    assert LateChunkEmbedding(model="some-model").model_name == "some-model"
    with pytest.raises(ValidationError, match="the model's name goes into model="):
        LateChunkEmbedding(model_name="some-model")
    with pytest.raises(ValidationError, match="chunker"):
        LateChunkEmbedding(chunker=None)


def test_it_comes_back_from_pickle_and_its_serialised_form(encoder):
    own = LateChunkEmbedding(encoder=encoder)
    named = LateChunkEmbedding(model="some-model", dims=64, query_prompt="q: ")

    assert pickle.loads(pickle.dumps(own)).get_query_embedding("a") == own.get_query_embedding("a")
    assert pickle.loads(pickle.dumps(named)).to_dict() == named.to_dict()
    assert LateChunkEmbedding.from_dict(named.to_dict()).to_dict() == named.to_dict()
    again = LateChunkEmbedding.from_dict(own.to_dict(), encoder=encoder)
    assert again.get_query_embedding("a") == own.get_query_embedding("a")
    for data in (own.to_dict(), {**own.to_dict(), "model_name": "unknown"}):
        with pytest.raises(InputError, match=r"made with an encoder of your own, .*'words'.*pass it"):
            LateChunkEmbedding.from_dict(data)
