"""Vectors and offsets come back whole from LlamaIndex's vector stores."""

import asyncio
import uuid
import warnings
from importlib.metadata import version

import numpy as np
import pytest
from llama_index.core import Document, StorageContext, VectorStoreIndex
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.vector_stores import MetadataFilter, MetadataFilters, SimpleVectorStore
from llama_index.retrievers.latechunk import LateChunkEmbedding, LateChunkRetriever, read_nodes, to_documents

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


def make_simple(folder):
    return SimpleVectorStore()


def make_chroma(folder):
    chromadb = pytest.importorskip("chromadb")
    module = pytest.importorskip("llama_index.vector_stores.chroma")
    client = chromadb.PersistentClient(str(folder), settings=chromadb.Settings(anonymized_telemetry=False))
    collection = client.create_collection("chunks", configuration={"hnsw": {"space": "cosine"}})
    return module.ChromaVectorStore(chroma_collection=collection)


def make_lancedb(folder):
    module = pytest.importorskip("llama_index.vector_stores.lancedb")
    return module.LanceDBVectorStore(uri=str(folder), table_name="chunks", mode="overwrite")


def make_qdrant(folder):
    qdrant = pytest.importorskip("qdrant_client")
    module = pytest.importorskip("llama_index.vector_stores.qdrant")
    return module.QdrantVectorStore("chunks", client=qdrant.QdrantClient(path=str(folder)))


@pytest.fixture(params=[make_simple, make_chroma, make_lancedb, make_qdrant], ids=lambda make: make.__name__[5:])
def store(request, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = request.param(tmp_path / "store")
    yield made
    close = getattr(made.client, "close", None)
    if close is not None:
        close()


@pytest.fixture
def flat_documents(documents):
    """Without lists, which Chroma does not take in metadata."""
    for document in documents:
        document.metadata.pop("tags", None)
    return documents


def stored_vectors(store, nodes):
    """Vectors by node id, as the store itself gives them back."""
    ids = [node.node_id for node in nodes]
    if isinstance(store, SimpleVectorStore):
        return {one: store.get(one) for one in ids}
    if type(store).__name__ == "ChromaVectorStore":
        got = store._collection.get(ids=ids, include=["embeddings"])
        return dict(zip(got["ids"], got["embeddings"], strict=True))
    if type(store).__name__ == "LanceDBVectorStore":
        return {row["id"]: row["vector"] for row in store.table.to_arrow().to_pylist()}
    points, _ = store.client.scroll("chunks", limit=1000, with_vectors=True)
    return {
        point.id: next(iter(point.vector.values())) if isinstance(point.vector, dict) else point.vector
        for point in points
    }


def is_too_new(found):
    return tuple(int(part) for part in found.split(".")[:2]) >= (0, 38)


def test_the_store_holds_the_vectors_of_the_index_and_answers_alike(store, transform, encoder, flat_documents, index):
    """Same vectors, same offsets, same order as latechunk's own index."""
    storage = StorageContext.from_defaults(vector_store=store)
    vectors = VectorStoreIndex.from_documents(
        flat_documents,
        transformations=[transform],
        embed_model=LateChunkEmbedding(encoder=encoder),
        storage_context=storage,
    )
    nodes = transform(flat_documents)

    held = stored_vectors(store, nodes)
    assert set(held) == {node.node_id for node in nodes}
    for node in nodes:
        np.testing.assert_allclose(held[node.node_id], node.embedding, atol=1e-6)

    question = "Which river runs through Paris?"
    expected = LateChunkRetriever(index, similarity_top_k=4, mode="dense").retrieve(question)
    found = vectors.as_retriever(similarity_top_k=4).retrieve(question)
    assert [one.node_id for one in found] == [one.node_id for one in expected]
    for one, other in zip(found, expected, strict=True):
        assert (one.node.start_char_idx, one.node.end_char_idx) == (other.node.start_char_idx, other.node.end_char_idx)
        text = next(document.text for document in flat_documents if document.id_ == one.node.ref_doc_id)
        assert text[one.node.start_char_idx : one.node.end_char_idx] == one.text
        assert one.node.prev_node == other.node.prev_node
        assert one.node.next_node == other.node.next_node
    assert all(str(uuid.UUID(one.node_id)) == one.node_id for one in found)


def test_upserts_in_the_store(store, transform, encoder, flat_documents):
    if type(store).__name__ == "LanceDBVectorStore" and is_too_new(version("lancedb")):
        pytest.skip("LanceDBVectorStore 0.6.0 cannot delete with lancedb 0.38 or newer, which reads its SQL otherwise")
    pipeline = IngestionPipeline(transformations=[transform], vector_store=store, docstore=SimpleDocumentStore())
    pipeline.run(documents=flat_documents)
    encoder.texts.clear()

    edited = Document(id_="berlin", text="Berlin has lakes.", metadata={"year": 1237})
    pipeline.run(documents=[edited, *flat_documents[1:]])

    assert len(encoder.texts) == 1
    nodes = transform([edited, *flat_documents[1:]])
    assert set(stored_vectors(store, nodes)) == {node.node_id for node in nodes}
    if isinstance(store, SimpleVectorStore):
        assert set(store.data.embedding_dict) == {node.node_id for node in nodes}
        return
    vectors = VectorStoreIndex.from_vector_store(store, embed_model=LateChunkEmbedding(encoder=encoder))
    found = vectors.as_retriever(similarity_top_k=50).retrieve("Berlin")
    assert {one.text for one in found} == {node.text for node in nodes}


def test_a_folder_of_embedded_documents_is_read_as_the_nodes_of_the_transform(
    store, transform, encoder, chunker, flat_documents, tmp_path
):
    distributed = pytest.importorskip("latechunk.distributed", exc_type=ImportError)
    if type(store).__name__ == "LanceDBVectorStore" and is_too_new(version("lancedb")):
        pytest.skip("LanceDBVectorStore 0.6.0 cannot delete with lancedb 0.38 or newer, which reads its SQL otherwise")
    folder = tmp_path / "embedded"
    distributed.embed_folder(list(to_documents(flat_documents)), folder, encoder=encoder, chunker=chunker)

    nodes = list(read_nodes(folder))
    made = {node.node_id: node for node in transform(flat_documents)}
    assert {node.node_id for node in nodes} == made.keys()
    for node in nodes:
        np.testing.assert_allclose(node.embedding, made[node.node_id].embedding, atol=1e-6)
        assert node.ref_doc_id == made[node.node_id].ref_doc_id
        assert (node.text, node.metadata) == (made[node.node_id].text, made[node.node_id].metadata)
        assert (node.prev_node, node.next_node) == (made[node.node_id].prev_node, made[node.node_id].next_node)

    store.add(nodes)
    edited = Document(id_="berlin", text="Berlin has lakes.", metadata={"year": 1237})
    distributed.embed_folder(list(to_documents([edited])), folder, encoder=encoder, chunker=chunker)
    store.delete("berlin")
    store.add([node for node in read_nodes(folder) if node.ref_doc_id == "berlin"])
    assert set(stored_vectors(store, list(read_nodes(folder)))) == {node.node_id for node in read_nodes(folder)}


def test_filters_and_async_queries(store, transform, encoder, flat_documents):
    vectors = VectorStoreIndex.from_documents(
        flat_documents,
        transformations=[transform],
        embed_model=LateChunkEmbedding(encoder=encoder),
        storage_context=StorageContext.from_defaults(vector_store=store),
    )
    filters = MetadataFilters(filters=[MetadataFilter(key="year", value=250)])
    retriever = vectors.as_retriever(similarity_top_k=50, filters=filters)
    expected = {node.node_id for node in transform(flat_documents) if node.ref_doc_id == "paris"}

    assert {one.node_id for one in retriever.retrieve("capital")} == expected
    if type(store).__name__ != "QdrantVectorStore":  # whose local client in a folder has no async side
        assert {one.node_id for one in asyncio.run(retriever.aretrieve("capital"))} == expected
