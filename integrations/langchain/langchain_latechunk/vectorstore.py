"""Whole documents in, chunks out: an index as LangChain's VectorStore."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore

import latechunk
from langchain_latechunk.embeddings import LateChunkEmbeddings, require_encoder
from langchain_latechunk.intake import closed_on_error, make_index, require_unambiguous, to_latechunk
from langchain_latechunk.keywords import diversity, require_cosines, require_none, to_relevance
from langchain_latechunk.passages import Passages, split_chunk_id
from latechunk import Hit, Index
from latechunk.errors import InputError
from latechunk.protocols import Chunker


class LateChunkVectorStore(VectorStore):
    """A vector store that takes whole documents and gives back chunks.

    A document goes in under its id and is encoded whole, so that each chunk's vector knows the document. A chunk comes
    back with the document's metadata and, as its id, the document's where the chunk is the whole text, else
    ``"{document}#{number}"``; ``get_by_ids`` takes either. Documents are replaced and deleted whole. Threads may share
    a store.

    All searches take the fields of ``latechunk.SearchOptions`` as keywords; ``score_threshold`` has the unit of
    the scores, a cosine in dense search. A search by vector is dense and takes no ``rerank``.

    Examples:
        >>> LateChunkVectorStore(index).similarity_search("people in Berlin", k=1)[0].id
        'berlin'
    """

    def __init__(self, index: Index, *, add_chunk_metadata: bool = False) -> None:
        """A store on an index, which may be one that was made without LangChain.

        Args:
            index: What it writes to and searches.
            add_chunk_metadata: Add to the metadata of each chunk where it comes from, under
                ``latechunk_document_id``, ``latechunk_chunk``, ``latechunk_granularity``, ``latechunk_start``,
                ``latechunk_end`` and ``latechunk_score``.
        """
        if not isinstance(index, Index):
            raise InputError(
                f"index must be a latechunk.Index, got {type(index).__name__}; for one at a path use "
                f"LateChunkVectorStore.open(path), to make one LateChunkVectorStore.create(path)"
            )
        self.index = index
        self._add_chunk_metadata = add_chunk_metadata
        self._passages = Passages(index)
        self._embeddings = LateChunkEmbeddings.of_index(index)

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        *,
        embedding: LateChunkEmbeddings | None = None,
        chunker: Chunker | None = None,
        add_chunk_metadata: bool = False,
    ) -> Self:
        """A store on a new index; for its further settings pass ``latechunk.Index.create(...)`` to the class.

        Args:
            path: The folder to make.
            embedding: None for the default model.
            chunker: What cuts the documents; None for ``latechunk.SentenceChunker()``.
            add_chunk_metadata: See the class.

        Raises:
            IndexExistsError: If there is something at ``path`` already.
        """
        encoder = None if embedding is None else require_encoder(embedding)
        return cls(Index.create(path, encoder=encoder, chunker=chunker), add_chunk_metadata=add_chunk_metadata)

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        embedding: LateChunkEmbeddings | None = None,
        chunker: Chunker | None = None,
        read_only: bool = False,
        add_chunk_metadata: bool = False,
    ) -> Self:
        """A store on an index on disk.

        Args:
            path: The index's folder.
            embedding: What made the index, if it is loaded already; None to load what it records, at first use.
            chunker: Likewise, if it is one of your own.
            read_only: Refuse changes.
            add_chunk_metadata: See the class.

        Raises:
            IndexMissingError: If there is nothing at ``path``.
            IndexMismatchError: If ``embedding`` or ``chunker`` is not what made the index.
        """
        encoder = None if embedding is None else require_encoder(embedding)
        index = Index.open(path, encoder=encoder, chunker=chunker, read_only=read_only)
        return cls(index, add_chunk_metadata=add_chunk_metadata)

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        path: str | os.PathLike[str] | None = None,
        chunker: Chunker | None = None,
        add_chunk_metadata: bool = False,
        **kwargs: Any,
    ) -> Self:
        """A store on a new index of these texts, each a whole document.

        Args:
            texts: The documents.
            embedding: A ``LateChunkEmbeddings``.
            metadatas: Of each text.
            ids: Of each text.
            path: Where to make the index; None for a temporary one that goes with the store.
            chunker: See ``create``.
            add_chunk_metadata: See the class.
            kwargs: None are known.

        Raises:
            NotLateChunkError: If ``embedding`` is of another kind.
        """
        require_none(kwargs, "from_texts")
        encoder = require_encoder(embedding)
        converted = to_latechunk(_to_documents(texts, metadatas, ids), ids)
        index = make_index(path, encoder, chunker)
        with closed_on_error(index):
            store = cls(index, add_chunk_metadata=add_chunk_metadata)
            store._add(converted)
            return store

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the index."""
        self.index.close()

    @property
    def embeddings(self) -> LateChunkEmbeddings:
        """What made the index; its encoder is loaded at first use."""
        return self._embeddings

    def add_documents(
        self,
        documents: Sequence[Document],
        *,
        ids: Sequence[str | None] | None = None,
        **kwargs: Any,  # noqa: ARG002  LangChain's index() passes batch_size to every store
    ) -> list[str]:
        """Add whole documents, each in the place of the one with the same id.

        One whose text is stored already is not encoded again. Nothing is stored if one of them is refused before the
        encoding; ``latechunk.Index.add`` says what is if an error comes later.

        Args:
            documents: Not pieces of documents.
            ids: Before the documents' own; where neither says one, it is a new random one.
            kwargs: Without effect.

        Returns:
            The documents' ids, in order.

        Raises:
            PreSplitError: If they are known to be pieces.
            DocumentError: If one cannot be indexed, or ids collide.
            IndexBusyError: If another process or thread is writing and does not finish in time.
        """
        return self._add(to_latechunk(documents, ids))

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Add texts, each a whole document; see ``add_documents``.

        Raises:
            InputError: If there are not as many ``metadatas`` or ``ids`` as texts.
        """
        return self.add_documents(_to_documents(texts, metadatas, ids), ids=ids, **kwargs)

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool:
        """Delete documents, in one transaction.

        Args:
            ids: Of documents; unknown ones are passed over. None for all documents.
            kwargs: None are known: a store that ignored ``filter`` would delete everything.

        Returns:
            True.

        Raises:
            InputError: If a keyword is unknown, or one of ``ids`` is the id of a chunk of a larger document; nothing is
                deleted then.
        """
        require_none(kwargs, "delete")
        for name in ids or ():
            self._require_no_chunk(name)
        self.index.delete(self.index.ids() if ids is None else ids)
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Documents, whole, and chunks by their ids; unknown ids are passed over."""
        found = (self._passages.find(name, with_provenance=self._add_chunk_metadata) for name in ids)
        return [one for one in found if one is not None]

    def similarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        """The ``k`` chunks nearest to a query, best first; for the keywords see the class."""
        return [document for document, _ in self.similarity_search_with_score(query, k, **kwargs)]

    def similarity_search_with_score(self, query: str, k: int = 4, **kwargs: Any) -> list[tuple[Document, float]]:
        """The same with their scores, more being better: cosines in [-1, 1] in dense search."""
        return self._to_pairs(self.index.search(query, k, **kwargs))

    def similarity_search_by_vector(self, embedding: list[float], k: int = 4, **kwargs: Any) -> list[Document]:
        """The ``k`` chunks nearest to a vector of the model's length, such as ``embeddings.embed_query`` gives."""
        hits = self.index.search_by_vector(np.asarray(embedding, dtype=np.float32), k, **kwargs)
        return [document for document, _ in self._to_pairs(hits)]

    def max_marginal_relevance_search(
        self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **kwargs: Any
    ) -> list[Document]:
        """Of the ``fetch_k`` nearest chunks ``k`` that also differ from each other.

        Args:
            query: A question or a description.
            k: How many.
            fetch_k: Of how many they are chosen.
            lambda_mult: 1 for relevance alone, 0 for difference alone.
            kwargs: See the class.
        """
        return self.similarity_search(query, k, **kwargs, **diversity(k, fetch_k, lambda_mult))

    def max_marginal_relevance_search_by_vector(
        self, embedding: list[float], k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **kwargs: Any
    ) -> list[Document]:
        """The same with a vector; see ``max_marginal_relevance_search``."""
        return self.similarity_search_by_vector(embedding, k, **kwargs, **diversity(k, fetch_k, lambda_mult))

    def _similarity_search_with_relevance_scores(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        require_cosines(kwargs)
        return super()._similarity_search_with_relevance_scores(query, k, **kwargs)

    async def _asimilarity_search_with_relevance_scores(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        require_cosines(kwargs)
        return await super()._asimilarity_search_with_relevance_scores(query, k, **kwargs)

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        return to_relevance

    def _add(self, documents: Sequence[latechunk.Document]) -> list[str]:
        names = [one.id for one in documents]
        require_unambiguous(self.index, names)
        self.index.add(documents)
        return names

    def _to_pairs(self, hits: Sequence[Hit]) -> list[tuple[Document, float]]:
        return [(self._passages.from_hit(hit, with_provenance=self._add_chunk_metadata), hit.score) for hit in hits]

    def _require_no_chunk(self, name: object) -> None:
        parts = split_chunk_id(name) if isinstance(name, str) and name not in self.index else None
        if parts is None or parts[0] not in self.index:
            return
        n_chunks = len(self.index.chunks(parts[0]))
        if parts[1] < n_chunks:
            raise InputError(
                f"{name!r} is one of {n_chunks} chunks of document {parts[0]!r}, and documents are deleted whole, "
                f"since each chunk's vector was made from all of the text: delete {parts[0]!r}, or add the document "
                f"again without that passage"
            )


def _to_documents(
    texts: Iterable[str], metadatas: list[dict[str, Any]] | None, ids: Sequence[str] | None
) -> list[Document]:
    """Texts as documents, without ids, of which there must be as many if there are some."""
    listed = list(texts)
    for name, values in (("metadatas", metadatas), ("ids", ids)):
        if values is not None and len(values) != len(listed):
            raise InputError(f"{name} must be as many as the texts, {len(listed)}, got {len(values)}")
    given = [{} for _ in listed] if metadatas is None else metadatas
    return [Document(page_content=text, metadata=one) for text, one in zip(listed, given, strict=True)]
