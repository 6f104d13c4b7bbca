"""LangChain's standard suites, as they are, on a small encoder and on the default model."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_latechunk import LateChunkEmbeddings, LateChunkRetriever, LateChunkVectorStore
from langchain_tests.integration_tests import (
    EmbeddingsIntegrationTests,
    RetrieversIntegrationTests,
    VectorStoreIntegrationTests,
)
from langchain_tests.unit_tests import EmbeddingsUnitTests

from latechunk import Index

ENCODERS = ("fake", "minilm")


@pytest.fixture(params=ENCODERS)
def encoder(request):
    return request.getfixturevalue(request.param)


class TestVectorStore(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, tmp_path, encoder):
        with LateChunkVectorStore.create(
            tmp_path / "x", embedding=LateChunkEmbeddings(encoder), add_chunk_metadata=False
        ) as store:
            yield store


class TestTemporaryVectorStore(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, fake):
        with LateChunkVectorStore.from_texts([], LateChunkEmbeddings(fake), add_chunk_metadata=False) as store:
            yield store


class TestRetriever(RetrieversIntegrationTests):
    @pytest.fixture(autouse=True)
    def _index(self, tmp_path, encoder):
        texts = ("Berlin lies on the Spree.", "Paris lies on the Seine.", "Rome lies on the Tiber.", "Milk is white.")
        documents = [Document(text, metadata={"source": str(number)}) for number, text in enumerate(texts)]
        with Index.create(tmp_path / "x", encoder=encoder) as index:
            LateChunkVectorStore(index).add_documents(documents)
            self._params = {"index": index}
            yield

    @property
    def retriever_constructor(self) -> type[LateChunkRetriever]:
        return LateChunkRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return self._params

    @property
    def retriever_query_example(self) -> str:
        return "Which river is in Rome?"


class _WithEncoder:
    @pytest.fixture(autouse=True)
    def _encoder(self, encoder):
        self._params = {"encoder": encoder}

    @property
    def embeddings_class(self) -> type[LateChunkEmbeddings]:
        return LateChunkEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return self._params


class TestEmbeddings(_WithEncoder, EmbeddingsIntegrationTests):
    pass


class TestEmbeddingsUnit(_WithEncoder, EmbeddingsUnitTests):
    pass
