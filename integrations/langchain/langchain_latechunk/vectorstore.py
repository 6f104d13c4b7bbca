"""An index as LangChain's VectorStore: it takes whole documents and returns chunks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self, Unpack

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.runnables import run_in_executor
from langchain_core.vectorstores import VectorStore, VectorStoreRetriever

import latechunk
from langchain_latechunk.arguments import diversity, list_texts, require_beside, require_list, require_none, to_vector
from langchain_latechunk.embeddings import LateChunkEmbeddings, require_encoder
from langchain_latechunk.intake import Failures, OnError, new_index, only_documents, only_unambiguous, to_latechunk
from langchain_latechunk.passages import Passages, split_chunk_id
from latechunk import AddReport, Hit, Index, IndexKeywords, SearchOptions
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

    Attributes:
        last_report: The ``latechunk.AddReport`` of the last call that added documents: how many are new, changed or
            unchanged, and what was left out.

    Examples:
        >>> LateChunkVectorStore(index).similarity_search("people in Berlin", k=1)[0].id
        'berlin'
    """

    def __init__(self, index: Index, *, add_chunk_metadata: bool = True) -> None:
        """A store on an index, which may be one that was made without LangChain.

        The metadata of each chunk say where it comes from, under the keys that ``LateChunkRetriever`` documents;
        without ``add_chunk_metadata`` they are the document's, with the pages and headings of the chunk.
        """
        if not isinstance(index, Index):
            raise InputError(
                f"index must be a latechunk.Index, got {type(index).__name__}; for one at a path use "
                f"LateChunkVectorStore.open(path), to make one LateChunkVectorStore.create(path)"
            )
        self.index = index
        self._passages = Passages(index, with_provenance=add_chunk_metadata)
        self._embeddings = LateChunkEmbeddings.of_index(index)
        self.last_report = AddReport()

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        *,
        embedding: LateChunkEmbeddings | None = None,
        add_chunk_metadata: bool = True,
        **settings: Unpack[IndexKeywords],
    ) -> Self:
        """A store on a new index, with the settings of ``latechunk.Index.create``.

        The folder ``path`` is made, IndexExistsError if there is something. Without ``embedding`` it is the default
        model's.
        """
        encoder = None if embedding is None else require_encoder(embedding)
        return cls(Index.create(path, encoder=encoder, **settings), add_chunk_metadata=add_chunk_metadata)

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        embedding: LateChunkEmbeddings | None = None,
        chunker: Chunker | str | None = None,
        read_only: bool = False,
        lock_timeout: float = 10.0,
        add_chunk_metadata: bool = True,
    ) -> Self:
        """A store on an index on disk.

        ``embedding`` and ``chunker`` are what made the index, if the first is loaded already, or the second is one of
        your own; None for what it records, loaded at first use. ``lock_timeout`` is how many seconds a change waits
        for another writer, tasks and threads of this process included.

        Raises:
            IndexMissingError: If there is nothing at ``path``.
            IndexMismatchError: If ``embedding`` or ``chunker`` is not what made the index.
        """
        encoder = None if embedding is None else require_encoder(embedding)
        index = Index.open(path, encoder=encoder, chunker=chunker, read_only=read_only, lock_timeout=lock_timeout)
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
        add_chunk_metadata: bool = True,
        on_error: OnError = "raise",
        show_progress: bool = False,
        **kwargs: Any,
    ) -> Self:
        """A store on a new index of these texts, each a whole document or a page; see ``add_documents``.

        The index is made at ``path``; without one it is a temporary one that goes with the store. ``kwargs`` are the
        settings of ``latechunk.Index.create``; others are refused. An error before anything is stored leaves nothing
        at ``path``, unless ``exist_ok``.

        Raises:
            NotLateChunkError: If ``embedding`` is no ``LateChunkEmbeddings``.
        """
        known = (
            "texts, embedding, metadatas, ids, path, add_chunk_metadata, on_error, show_progress, an index's settings"
        )
        require_none(kwargs.keys() - IndexKeywords.__annotations__.keys(), "from_texts", known)
        encoder = require_encoder(embedding)
        failures = Failures(on_error)
        converted = to_latechunk(_to_documents(texts, metadatas, ids), ids, failures)
        with new_index(path, encoder, **kwargs) as index:
            store = cls(index, add_chunk_metadata=add_chunk_metadata)
            store._add(converted, failures, show_progress)
            return store

    @classmethod
    def from_documents(cls, documents: list[Document], embedding: Embeddings, **kwargs: Any) -> Self:
        """A store on a new index of these documents, each whole or a page; see ``from_texts``."""
        return super().from_documents(list(only_documents(documents)), embedding, **kwargs)

    @classmethod
    async def afrom_documents(cls, documents: list[Document], embedding: Embeddings, **kwargs: Any) -> Self:
        """The same in a thread of its own."""
        return await super().afrom_documents(list(only_documents(documents)), embedding, **kwargs)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
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
        batch_size: int | None = None,
        on_error: OnError = "raise",
        show_progress: bool = False,
        **kwargs: Any,
    ) -> list[str]:
        """Add whole documents, each in the place of the one with the same id; gives their ids, in order.

        The pages of a file, which loaders give one by one, become one document under their ``source``; see
        ``join_pages``. One whose text is stored already is not encoded again. Nothing is stored if one is refused
        before the encoding; ``latechunk.Index.add`` says what is if an error comes later. ``last_report`` says what
        was done.

        ``on_error`` is what to do with a document that cannot be indexed: ``"raise"`` the error, ``"skip"`` it with a
        line in the log, or a function that takes both. ``show_progress`` shows a bar on stderr, or a line now and then
        where that is no terminal.

        ``ids`` come before the documents' own; where neither says one, it is the ``source`` in the metadata where that
        is a file or an address, else a hash of the text, so that adding twice changes nothing. At most ``batch_size``
        documents are committed together; None for what takes half a minute. ``kwargs`` are refused.

        Raises:
            InputError: If a keyword is unknown.
            DocumentError: If one cannot be indexed, ids collide, or they are known to be pieces.
            IndexBusyError: If another process or thread is writing and does not finish in time.
        """
        require_none(kwargs, "add_documents", "documents, ids, batch_size, on_error and show_progress")
        if batch_size is not None and (type(batch_size) is not int or batch_size < 1):
            raise InputError(f"batch_size must be a whole number of at least 1, got {batch_size!r:.80}")
        failures = Failures(on_error)
        return self._add(to_latechunk(documents, ids, failures), failures, show_progress, batch_size)

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Add texts, each a whole document, with as many ``metadatas`` and ``ids``; see ``add_documents``."""
        return self.add_documents(_to_documents(texts, metadatas, ids), ids=ids, **kwargs)

    def delete(
        self,
        ids: Sequence[str] | None = None,
        *,
        filter: Mapping[str, Any] | None = None,  # noqa: A002
        document_ids: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> bool:
        """Delete the documents that meet all that is given, in one transaction. Gives True.

        ``filter`` and ``document_ids`` mean what they mean in a search; ``ids`` are ids of documents, too. Unknown ids
        are passed over, unknown keywords are refused.

        Raises:
            InputError: If nothing is given, a keyword is unknown, or an id is that of a chunk of a larger document;
                nothing is deleted then. ``delete(store.index.ids())`` empties the store.
        """
        require_none(kwargs, "delete", "ids, filter and document_ids")
        if ids is None and document_ids is None and not filter:
            raise InputError(
                "delete needs ids, document_ids, or a filter that not every document meets; to empty the store say so: "
                "delete(store.index.ids())"
            )
        for name, given in (("ids", ids), ("document_ids", document_ids)):
            if given is not None:
                require_list(name, given, "ids")
                self._require_no_chunks(given)
        if ids is not None and document_ids is not None:
            among = set(document_ids)
            ids = [one for one in ids if one in among]
        self.index.delete(document_ids if ids is None else ids, filter=filter)
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Documents, whole, and chunks by their ids; unknown ids are passed over."""
        require_list("ids", ids, "ids")
        return self._passages.find(ids)

    def similarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        """The ``k`` chunks nearest to a query, best first; for the keywords see the class."""
        return [document for document, _ in self.similarity_search_with_score(query, k, **kwargs)]

    def similarity_search_with_score(self, query: str, k: int = 4, **kwargs: Any) -> list[tuple[Document, float]]:
        """The same with their scores, more being better; see ``latechunk.Hit``."""
        return self._to_pairs(self.index.search(query, k, **kwargs))

    def similarity_search_by_vector(self, embedding: list[float], k: int = 4, **kwargs: Any) -> list[Document]:
        """The ``k`` chunks nearest to a vector of the model's length, such as ``embeddings.embed_query`` gives."""
        hits = self.index.search_by_vector(to_vector(embedding), k, **kwargs)
        return [document for document, _ in self._to_pairs(hits)]

    def max_marginal_relevance_search(
        self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **kwargs: Any
    ) -> list[Document]:
        """Of the ``fetch_k`` nearest chunks ``k`` that also differ from each other.

        With ``lambda_mult`` of 1 only relevance counts, with 0 only difference; for ``kwargs`` see the class.
        """
        return self.similarity_search(query, k, **_without_mmr(kwargs), **diversity(k, fetch_k, lambda_mult))

    def max_marginal_relevance_search_by_vector(
        self, embedding: list[float], k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **kwargs: Any
    ) -> list[Document]:
        """The same with a vector; see ``max_marginal_relevance_search``."""
        options = {**_without_mmr(kwargs), **diversity(k, fetch_k, lambda_mult)}
        return self.similarity_search_by_vector(embedding, k, **options)

    def as_retriever(self, **kwargs: Any) -> VectorStoreRetriever:
        """LangChain's retriever; what a search is to be told goes into ``search_kwargs``.

        Raises:
            InputError: If a keyword is none of LangChain's, is for ``search_type="mmr"`` alone, and so would have no
                effect, or does not fit the index; FilterError if the filter is not one.
        """
        unknown = sorted(kwargs.keys() - VectorStoreRetriever.model_fields.keys())
        if unknown:
            raise InputError(
                f"as_retriever has no {', '.join(unknown)}; what a search takes goes into search_kwargs, such as "
                f'as_retriever(search_kwargs={{"{unknown[0]}": ...}})'
            )
        given = {"k": 4, **(kwargs.get("search_kwargs") or {})}
        options = {name: value for name, value in given.items() if name not in ("fetch_k", "lambda_mult")}
        idle = sorted(given.keys() - options.keys())
        if idle and kwargs.get("search_type") != "mmr":
            raise InputError(f'{" and ".join(idle)} would have no effect: pass search_type="mmr", or leave it out')
        self.index.check_options(SearchOptions(**options))
        return super().as_retriever(**kwargs)

    def _similarity_search_with_relevance_scores(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        if kwargs.get("rerank") is not None:
            raise InputError(
                "relevance is from 0 to 1, and what a reranker gives may be any number: use "
                "similarity_search_with_score, or leave rerank out"
            )
        hits = self.index.search(query, k, **kwargs)
        by_rank = kwargs.get("fusion") == "rrf"
        return [(self._passages.from_hit(hit), _to_relevance(hit, by_rank=by_rank)) for hit in hits]

    async def _asimilarity_search_with_relevance_scores(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        return await run_in_executor(None, self._similarity_search_with_relevance_scores, query, k, **kwargs)

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        has_words = self.index.info().search["words"]
        return _relevance_of_deviations if has_words else _relevance_of_cosine

    def _add(
        self,
        documents: Sequence[latechunk.Document],
        failures: Failures,
        show_progress: bool,
        batch_size: int | None = None,
    ) -> list[str]:
        accepted = only_unambiguous(self.index, documents, failures)
        size = batch_size or max(1, len(accepted))
        reports = [
            self.index.add(accepted[begin : begin + size], on_error=failures.for_index, show_progress=show_progress)
            for begin in range(0, len(accepted), size)
        ]
        left_out = tuple(failures.left_out)
        self.last_report = replace(sum(reports, AddReport()), n_failed=len(left_out), left_out=left_out)
        refused = {name for report in reports for name, _ in report.left_out}
        return [one.id for one in accepted if one.id not in refused]

    def _to_pairs(self, hits: Sequence[Hit]) -> list[tuple[Document, float]]:
        return [(self._passages.from_hit(hit), hit.score) for hit in hits]

    def _require_no_chunks(self, names: Sequence[str]) -> None:
        for name in names:
            if not isinstance(name, str):
                raise InputError(f"an id must be a string, got {type(name).__name__}: {name!r:.80}; nothing is deleted")
            parts = split_chunk_id(name) if name not in self.index else None
            if parts and self.index.chunks(parts[0], number=parts[1]):
                raise InputError(
                    f"{name!r} is one of the chunks of document {parts[0]!r}, and documents are deleted whole, "
                    f"since each chunk's vector was made from all of the text: delete {parts[0]!r}, or add the "
                    f"document again without that passage"
                )


def _to_relevance(hit: Hit, *, by_rank: bool) -> float:
    """A number from 0 to 1 that grows with the score; LangChain cuts by it."""
    if hit.lexical is None:
        return _relevance_of_cosine(hit.score)
    if hit.dense is None:
        return hit.score / (1 + hit.score)
    return 61 * hit.score if by_rank else _relevance_of_deviations(hit.score)


def _relevance_of_cosine(cosine: float) -> float:
    return min(1.0, max(0.0, (cosine + 1) / 2))


def _relevance_of_deviations(score: float) -> float:
    """0.5 for an average chunk, 0.75 for one deviation above it, 0.9 for four."""
    return 0.5 + 0.5 * score / (1 + abs(score))


def _without_mmr(kwargs: dict[str, Any]) -> dict[str, Any]:
    """The same; InputError if they have latechunk's names of what LangChain's methods have their own for."""
    for name, own in (("mmr", "lambda_mult"), ("candidates", "fetch_k")):
        if name in kwargs:
            raise InputError(f"max_marginal_relevance_search has {own} for {name}; pass {own}={kwargs[name]!r:.80}")
    return kwargs


def _to_documents(
    texts: Iterable[str], metadatas: list[dict[str, Any]] | None, ids: Sequence[str] | None
) -> list[Document]:
    """Texts as documents, without ids, of which there must be as many if there are some."""
    listed = list_texts(texts)
    require_beside(len(listed), metadatas, ids)
    return [Document(text, metadata=one) for text, one in zip(listed, metadatas or [{} for _ in listed], strict=True)]
