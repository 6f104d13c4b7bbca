"""The stores that stores.py compares, each used as its documentation says, behind one protocol."""

# ruff: noqa: D102  what the methods do is said once, in the protocol

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from stores_corpus import Found, K, Question, Source
from stores_ready import ReadyEncoder

from latechunk import Document, Index


class Kind(Protocol):
    """A store in a folder."""

    def open(self, folder: Path, dims: int, *, fresh: bool) -> None:
        """Make an empty store in the folder, or open the one that is there."""

    def prepare(self, sources: Sequence[Source]) -> Any:
        """Make the objects that ``add`` takes."""

    def add(self, prepared: Any) -> None:
        """Add documents; this and the other changes return when what they did survives a kill of the process."""

    def search(self, question: Question) -> Any:
        """Find chunks, and give back what users of this store get, texts and metadata included."""

    def read(self, answer: Any) -> list[Found]:
        """Take that apart for the judge."""

    def delete(self, sources: Sequence[Source]) -> None:
        """Delete documents."""

    def replace(self, old: Source, prepared: Any) -> None:
        """Put a document in the place of another one of its id."""

    def close(self) -> None:
        """Close the store, where that is a thing to do."""


class Latechunk:
    """Committed by ``add`` itself and on the disk (fsync): it survives a power cut, too."""

    def __init__(self, words: Literal["unicode61"] | None) -> None:
        self._words = words

    def open(self, folder: Path, dims: int, *, fresh: bool) -> None:
        self._ready = ReadyEncoder(dims)
        options: dict[str, Any] = {"encoder": self._ready, "chunker": self._ready.chunker}
        path = folder / "index"
        self._index = Index.create(path, words=self._words, **options) if fresh else Index.open(path, **options)

    def prepare(self, sources: Sequence[Source]) -> list[Document]:
        return [self._ready.learn(source) for source in sources]

    def add(self, prepared: list[Document]) -> None:
        self._index.add(prepared)

    def search(self, question: Question) -> Any:
        chosen = None if question.parts is None else _mongo("part", question.parts)
        return self._index.search_by_vector(question.vector, K, filter=chosen)

    def read(self, answer: Any) -> list[Found]:
        chunks = [hit.chunk for hit in answer]
        return [Found(f"{one.document_id}#{one.number}", one.text, one.metadata) for one in chunks]

    def delete(self, sources: Sequence[Source]) -> None:
        self._index.delete([source.id for source in sources])

    def replace(self, old: Source, prepared: list[Document]) -> None:
        self._index.add(prepared)

    def close(self) -> None:
        self._index.close()


class LangChainFaiss:
    """In memory; ``save_local`` writes all of it anew, without fsync.

    A filter is applied to the ``fetch_k`` nearest, so only ``fetch_k`` = all is exact; the default is 20.
    """

    def __init__(self, fetch_k: int | None) -> None:
        self._fetch_k = fetch_k

    def open(self, folder: Path, dims: int, *, fresh: bool) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            from langchain_community.vectorstores import FAISS
        from langchain_community.vectorstores.utils import DistanceStrategy
        from langchain_core.embeddings import DeterministicFakeEmbedding

        self._folder = str(folder / "faiss")
        self._embeddings = DeterministicFakeEmbedding(size=dims)
        self._options: dict[str, Any] = {"distance_strategy": DistanceStrategy.MAX_INNER_PRODUCT}
        self._class = FAISS
        self._store = None
        if not fresh:
            self._store = FAISS.load_local(
                self._folder, self._embeddings, allow_dangerous_deserialization=True, **self._options
            )

    def prepare(self, sources: Sequence[Source]) -> dict[str, Any]:
        return {
            "text_embeddings": [pair for one in sources for pair in zip(one.texts, one.vectors, strict=True)],
            "metadatas": _chunk_metadata(sources),
            "ids": _keys(sources),
        }

    def add(self, prepared: dict[str, Any]) -> None:
        self._put(prepared)
        self._store.save_local(self._folder)

    def search(self, question: Question) -> Any:
        if question.parts is None:
            return self._store.similarity_search_with_score_by_vector(question.vector, k=K)
        return self._store.similarity_search_with_score_by_vector(
            question.vector,
            k=K,
            filter=_mongo("part", question.parts),
            fetch_k=self._fetch_k or self._store.index.ntotal,
        )

    def read(self, answer: Any) -> list[Found]:
        return [Found(one.id, one.page_content, one.metadata) for one, _ in answer]

    def delete(self, sources: Sequence[Source]) -> None:
        self._store.delete(_keys(sources))
        self._store.save_local(self._folder)

    def replace(self, old: Source, prepared: dict[str, Any]) -> None:
        self._store.delete(old.keys)
        self.add(prepared)

    def close(self) -> None:
        pass

    def _put(self, prepared: dict[str, Any]) -> None:
        if self._store is None:
            self._store = self._class.from_embeddings(embedding=self._embeddings, **prepared, **self._options)
        else:
            self._store.add_embeddings(**prepared)


class LlamaIndex:
    """In memory; ``storage_context.persist`` writes all of it anew, without fsync."""

    def __init__(self, store: Literal["faiss", "faiss-map", "simple"]) -> None:
        self._kind = store

    def open(self, folder: Path, dims: int, *, fresh: bool) -> None:
        from llama_index.core import MockEmbedding, StorageContext, VectorStoreIndex, load_index_from_storage

        self._folder = str(folder / "storage")
        model = MockEmbedding(embed_dim=dims)
        self._retriever = None
        if fresh:
            context = StorageContext.from_defaults(vector_store=self._new_store(dims))
            self._index = VectorStoreIndex([], storage_context=context, embed_model=model)
        else:
            context = StorageContext.from_defaults(vector_store=self._load_store(), persist_dir=self._folder)
            self._index = load_index_from_storage(context, embed_model=model)

    def prepare(self, sources: Sequence[Source]) -> list[Any]:
        from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode

        return [
            TextNode(
                id_=key,
                text=text,
                metadata=dict(source.metadata),
                embedding=vector.tolist(),
                relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=source.id)},
            )
            for source in sources
            for key, text, vector in zip(source.keys, source.texts, source.vectors, strict=True)
        ]

    def add(self, prepared: list[Any]) -> None:
        self._index.insert_nodes(prepared)
        self._persist()

    def search(self, question: Question) -> Any:
        from llama_index.core import QueryBundle

        if question.parts is not None:
            retriever = self._index.as_retriever(similarity_top_k=K, filters=self._filters(question.parts))
        else:
            retriever = self._retriever or self._index.as_retriever(similarity_top_k=K)
            self._retriever = retriever
        return retriever.retrieve(QueryBundle("", embedding=question.vector.tolist()))

    def read(self, answer: Any) -> list[Found]:
        return [Found(one.node.node_id, one.node.text, one.node.metadata) for one in answer]

    def delete(self, sources: Sequence[Source]) -> None:
        self._index.delete_nodes(_keys(sources), delete_from_docstore=True)
        self._persist()

    def replace(self, old: Source, prepared: list[Any]) -> None:
        self._index.delete_nodes(old.keys, delete_from_docstore=True)
        self.add(prepared)

    def close(self) -> None:
        pass

    def _persist(self) -> None:
        self._retriever = None  # it would go on asking for the nodes that there were
        self._index.storage_context.persist(self._folder)

    def _filters(self, parts: Sequence[int]) -> Any:
        from llama_index.core.vector_stores import FilterOperator, MetadataFilter, MetadataFilters

        if len(parts) == 1:
            return MetadataFilters(filters=[MetadataFilter(key="part", value=parts[0])])
        return MetadataFilters(filters=[MetadataFilter(key="part", value=list(parts), operator=FilterOperator.IN)])

    def _new_store(self, dims: int) -> Any:
        import faiss
        from llama_index.core.vector_stores import SimpleVectorStore
        from llama_index.vector_stores.faiss import FaissMapVectorStore, FaissVectorStore

        if self._kind == "simple":
            return SimpleVectorStore()
        flat = faiss.IndexFlatIP(dims)
        return FaissVectorStore(flat) if self._kind == "faiss" else FaissMapVectorStore(faiss.IndexIDMap2(flat))

    def _load_store(self) -> Any:
        from llama_index.core.vector_stores import SimpleVectorStore
        from llama_index.vector_stores.faiss import FaissMapVectorStore, FaissVectorStore

        kinds: dict[str, Any] = {
            "faiss": FaissVectorStore,
            "faiss-map": FaissMapVectorStore,
            "simple": SimpleVectorStore,
        }
        return kinds[self._kind].from_persist_dir(self._folder)


class Chroma:
    """In SQLite, committed by ``add`` itself; HNSW with Chroma's defaults, since it has no exact search."""

    def open(self, folder: Path, dims: int, *, fresh: bool) -> None:
        import chromadb
        from chromadb.config import Settings

        self._client = chromadb.PersistentClient(str(folder / "chroma"), Settings(anonymized_telemetry=False))
        self._collection = (
            self._client.create_collection("chunks", embedding_function=None, configuration={"hnsw": {"space": "ip"}})
            if fresh
            else self._client.get_collection("chunks", embedding_function=None)
        )

    def prepare(self, sources: Sequence[Source]) -> list[dict[str, Any]]:
        whole: dict[str, Any] = {
            "ids": _keys(sources),
            "embeddings": np.concatenate([source.vectors for source in sources]),
            "documents": [text for source in sources for text in source.texts],
            "metadatas": _chunk_metadata(sources),
        }
        most = self._client.get_max_batch_size()
        return [
            {name: values[begin : begin + most] for name, values in whole.items()}
            for begin in range(0, len(whole["ids"]), most)
        ]

    def add(self, prepared: list[dict[str, Any]]) -> None:
        for batch in prepared:
            self._collection.add(**batch)

    def search(self, question: Question) -> Any:
        return self._collection.query(
            query_embeddings=[question.vector],
            n_results=K,
            where=None if question.parts is None else _mongo("part", question.parts),
            include=["documents", "metadatas", "distances"],
        )

    def read(self, answer: Any) -> list[Found]:
        columns = (answer[name][0] for name in ("ids", "documents", "metadatas"))
        return [Found(*one) for one in zip(*columns, strict=True)]

    def delete(self, sources: Sequence[Source]) -> None:
        self._collection.delete(ids=_keys(sources))

    def replace(self, old: Source, prepared: list[dict[str, Any]]) -> None:
        self._collection.delete(ids=old.keys)
        self.add(prepared)

    def close(self) -> None:
        pass


class Lance:
    """In files of its own, renamed into place by ``add`` itself, without fsync; without an index, so exact."""

    def open(self, folder: Path, dims: int, *, fresh: bool) -> None:
        import lancedb
        import pyarrow

        self._pyarrow = pyarrow
        database = lancedb.connect(folder / "lance")
        kinds = {"id": pyarrow.string(), "document": pyarrow.string(), "title": pyarrow.string()}
        kinds |= {"text": pyarrow.string(), "part": pyarrow.int32(), "vector": pyarrow.list_(pyarrow.float32(), dims)}
        self._schema = pyarrow.schema(kinds)
        self._table = database.create_table("chunks", schema=self._schema) if fresh else database.open_table("chunks")

    def prepare(self, sources: Sequence[Source]) -> Any:
        metadata = _chunk_metadata(sources)
        matrix = np.concatenate([source.vectors for source in sources])
        columns = {
            "id": _keys(sources),
            "document": [one["document"] for one in metadata],
            "title": [one["title"] for one in metadata],
            "text": [text for source in sources for text in source.texts],
            "part": [one["part"] for one in metadata],
            "vector": self._pyarrow.FixedSizeListArray.from_arrays(matrix.reshape(-1), matrix.shape[1]),
        }
        return self._pyarrow.table(columns, schema=self._schema)

    def add(self, prepared: Any) -> None:
        self._table.add(prepared)

    def search(self, question: Question) -> Any:
        query = self._table.search(question.vector).distance_type("dot").limit(K)
        if question.parts is not None:
            query = query.where(f"part IN ({', '.join(map(str, question.parts))})")
        return query.select(["id", "text", "title", "part", "_distance"]).to_list()

    def read(self, answer: Any) -> list[Found]:
        return [Found(one["id"], one["text"], one) for one in answer]

    def delete(self, sources: Sequence[Source]) -> None:
        listed = ", ".join(f"'{source.id}'" for source in sources)
        self._table.delete(f"document IN ({listed})")

    def replace(self, old: Source, prepared: Any) -> None:
        self._table.delete(f"document = '{old.id}'")
        self._table.add(prepared)

    def close(self) -> None:
        pass


KINDS: Mapping[str, Callable[[], Kind]] = {
    "latechunk": partial(Latechunk, "unicode61"),
    "latechunk, words=None": partial(Latechunk, None),
    "langchain FAISS": partial(LangChainFaiss, None),
    "langchain FAISS, fetch_k=20": partial(LangChainFaiss, 20),
    "llama-index Faiss": partial(LlamaIndex, "faiss"),
    "llama-index FaissMap": partial(LlamaIndex, "faiss-map"),
    "llama-index Simple": partial(LlamaIndex, "simple"),
    "chroma": Chroma,
    "lancedb": Lance,
}


def _mongo(field: str, values: Sequence[int]) -> dict[str, Any]:
    return {field: values[0] if len(values) == 1 else {"$in": list(values)}}


def _keys(sources: Sequence[Source]) -> list[str]:
    return [key for source in sources for key in source.keys]


def _chunk_metadata(sources: Sequence[Source]) -> list[dict[str, Any]]:
    return [{**source.metadata, "document": source.id} for source in sources for _ in source.texts]
