"""A LlamaIndex retriever over a latechunk index or a vector database."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Unpack

import numpy as np
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.callbacks import CallbackManager
from llama_index.core.schema import NodeWithScore, QueryBundle
from llama_index.core.vector_stores import MetadataFilters
from llama_index.retrievers.latechunk.embedding import LateChunkEmbedding
from llama_index.retrievers.latechunk.filters import to_filter
from llama_index.retrievers.latechunk.nodes import require_citation_key, to_scored_node

from latechunk import Chunk, DatabaseSearcher, Hit, Index, SearchKeywords, SearchOptions
from latechunk.errors import IndexMismatchError, InputError


class LateChunkRetriever(BaseRetriever):
    """Finds passages in a ``latechunk.Index``, or in a vector database that ``latechunk push`` filled.

    Threads and asyncio tasks may share one, also while documents are added. The index stays the caller's to close.
    A vector in the ``QueryBundle`` is passed over: retrievers that were asked before leave their own model's there.

    Examples:
        >>> LateChunkRetriever(index, similarity_top_k=1).retrieve("people in Berlin")[0].node.ref_doc_id
        'berlin'
    """

    def __init__(
        self,
        index: Index | DatabaseSearcher,
        *,
        similarity_top_k: int = 10,
        filters: MetadataFilters | None = None,
        embed_model: LateChunkEmbedding | None = None,
        link_neighbours: bool = True,
        citation_key: str | None = None,
        excluded_metadata_keys: Sequence[str] = (),
        callback_manager: CallbackManager | None = None,
        **options: Unpack[SearchKeywords],
    ) -> None:
        """Search an index.

        Args:
            index: What to search, open: a ``latechunk.Index``, or a ``latechunk.DatabaseSearcher``, which has no
                ``within`` and ``expand``, and fuses by rank.
            similarity_top_k: How many nodes.
            filters: LlamaIndex's; see ``to_filter``. In latechunk's own words they go into ``filter``.
            embed_model: Encodes the queries in place of the index's own encoder, for another query task or prompt. The
                search is then dense.
            link_neighbours: Name the chunks before and behind as PREVIOUS and NEXT.
            citation_key: Put ``document:start-end`` under this metadata key, for an LLM to cite. No document may have
                that key already: what ``latechunk index`` and ``latechunk embed`` read has ``source``.
            excluded_metadata_keys: Metadata that no LLM and no reranker is shown. An index keeps a document's metadata,
                and not what LlamaIndex excludes: ``file_size``, dates and so on of ``SimpleDirectoryReader``.
            callback_manager: LlamaIndex's own.
            options: The fields of ``latechunk.SearchOptions``, which documents them.

        Raises:
            InputError: If an argument is of the wrong type, out of range, or contradicts another.
            FilterError: If a filter cannot be used.
            IndexMismatchError: If ``embed_model`` is of another model than the index.
        """
        if not isinstance(index, Index | DatabaseSearcher):
            raise InputError(
                f"LateChunkRetriever takes an open latechunk.Index, got {type(index).__name__}: open a folder with "
                f"Index.open(path), or a vector database with DatabaseSearcher.open(url). A VectorStoreIndex has its "
                f"own, as_retriever(), with LateChunkEmbedding for queries"
            )
        for name in ("k", "top_k"):
            if name in options:
                raise InputError(f"how many nodes to give is similarity_top_k here; got {name}")
        require_citation_key(citation_key)
        if isinstance(excluded_metadata_keys, str) or not all(isinstance(one, str) for one in excluded_metadata_keys):
            raise InputError(f"excluded_metadata_keys must be a list of strings, got {excluded_metadata_keys!r:.80}")
        if filters is not None:
            if options.get("filter") is not None:
                raise InputError("filters and filter both say what to search; pass one of them")
            options["filter"] = to_filter(filters)
        self._options = SearchOptions(k=similarity_top_k, **options)
        index.check_options(self._options)
        if embed_model is not None:
            _require_dense(self._options, "embed_model")
            _require_same_model(index, embed_model)
        self._index = index
        self._embed_model = embed_model
        self._link_neighbours = link_neighbours
        self._citation_key = citation_key
        self._hidden = tuple(excluded_metadata_keys)
        super().__init__(callback_manager=callback_manager)

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        hits = self._search(query_bundle)
        neighbours: list[tuple[Chunk | None, Chunk | None]] = [(None, None)] * len(hits)
        if self._link_neighbours:
            neighbours = self._index.neighbours([hit.chunk for hit in hits])
        return [
            to_scored_node(hit, previous, following, citation_key=self._citation_key, hidden=self._hidden)
            for hit, (previous, following) in zip(hits, neighbours, strict=True)
        ]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._retrieve, query_bundle)

    def _search(self, query: QueryBundle) -> list[Hit]:
        texts, model = query.custom_embedding_strs, self._embed_model
        if texts not in (None, [query.query_str]):  # as transforms of queries make of a string
            _require_dense(self._options, "a QueryBundle with custom_embedding_strs, as HyDE makes,")
        elif model is None:
            return self._index.search_with(query.query_str, self._options)
        encode = self._index.encoder.encode_query if model is None else model.get_query_embedding
        vectors = np.asarray([encode(text) for text in texts or [query.query_str]], dtype=np.float32)
        return self._index.search_with(vectors.mean(axis=0), self._options)


def _require_dense(options: SearchOptions, what: str) -> None:
    if options.mode not in (None, "dense") or options.rerank is not None:
        raise InputError(f'{what} is for mode="dense" without rerank, since then only vectors are compared')


def _require_same_model(index: Index | DatabaseSearcher, embed_model: LateChunkEmbedding) -> None:
    """Raise unless both make vectors that can be compared; the query's own prompt and task may differ."""
    if not isinstance(embed_model, LateChunkEmbedding):
        raise InputError(
            f"embed_model must be a LateChunkEmbedding, got {type(embed_model).__name__}: other models' vectors "
            f"cannot be compared with the index's. Leave it out to use the index's own encoder"
        )
    recorded, given = index.manifest.encoder, embed_model.load_encoder().settings
    # Labels decide no vector; an index that was made without adapters may not record their fingerprint.
    names = {*recorded, "adapters_sha256"} - {"model", "revision", "adapters"}
    differing = sorted(
        name for name in names if not name.startswith("query_") and recorded.get(name) != given.get(name)
    )
    if differing:
        was, got = ({name: side.get(name) for name in differing} for side in (recorded, given))
        where = f"the index at {index.path}" if isinstance(index, Index) else f"what is in {index.database.name}"
        raise IndexMismatchError(
            f"{where} was made with another model than the embed_model's: it has {was}, embed_model "
            f"has {got}. Leave embed_model out to use the index's own encoder, or give it the index's settings"
        )
