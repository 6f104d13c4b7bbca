"""A question in, LlamaIndex's scored nodes out, over a latechunk index."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.callbacks import CallbackManager
from llama_index.core.schema import NodeWithScore, QueryBundle
from llama_index.core.vector_stores import MetadataFilters
from llama_index.retrievers.latechunk.embedding import LateChunkEmbedding
from llama_index.retrievers.latechunk.filters import to_filter
from llama_index.retrievers.latechunk.nodes import to_scored_node

from latechunk.errors import IndexMismatchError, InputError
from latechunk.index import Index
from latechunk.protocols import Reranker
from latechunk.search.filters import compile_filter
from latechunk.search.options import Fusion, SearchMode, SearchOptions
from latechunk.types import Chunk, FloatArray, Hit

_LABELS = ("model", "revision", "adapters")
_TEXT_ONLY = ("mode", "fusion", "dense_weight", "rerank")  # options that a search by vector does not have


class LateChunkRetriever(BaseRetriever):
    """Finds passages in a :class:`latechunk.Index`.

    Threads and asyncio tasks may share one, also while documents are added. The index stays the caller's to close.
    A vector in the ``QueryBundle`` is passed over: retrievers that were asked before leave their own model's there.
    """

    def __init__(
        self,
        index: Index,
        *,
        similarity_top_k: int = 10,
        mode: SearchMode = "dense",
        filters: MetadataFilters | None = None,
        filter: Mapping[str, Any] | None = None,  # noqa: A002  the index's own word
        document_ids: Sequence[str] | None = None,
        granularity: str | None = None,
        fusion: Fusion = "rrf",
        dense_weight: float = 0.5,
        score_threshold: float | None = None,
        rerank: Reranker | None = None,
        mmr: float | None = None,
        candidates: int | None = None,
        per_document: bool = False,
        within: str | None = None,
        expand: int = 0,
        embed_model: LateChunkEmbedding | None = None,
        link_neighbours: bool = True,
        citation_key: str | None = None,
        callback_manager: CallbackManager | None = None,
    ) -> None:
        """Search an index; what is not said here is as in :meth:`latechunk.Index.search`.

        Args:
            index: What to search, open.
            similarity_top_k: How many nodes.
            mode: ``"dense"``, ``"lexical"`` or ``"hybrid"``.
            filters: Only documents whose metadata meet LlamaIndex's filters; see :func:`to_filter`.
            filter: Likewise in latechunk's words; one of both.
            document_ids: Only these documents.
            granularity: Which chunks to search.
            fusion: How hybrid search fuses.
            dense_weight: Share of the dense side in it.
            score_threshold: Leave out nodes with a lower score.
            rerank: Orders the candidates anew.
            mmr: Maximal marginal relevance: 1 for relevance alone, 0 for difference alone.
            candidates: How many chunks are fused, re-ranked or thinned.
            per_document: Only the best chunk of each document.
            within: Give the larger chunks of this granularity that the found ones lie in.
            expand: Give each chunk with so many neighbours on either side, joined where they touch.
            embed_model: Encodes the queries in place of the index's own encoder, for another query task or prompt;
                for dense search.
            link_neighbours: Name the chunks before and behind as PREVIOUS and NEXT.
            citation_key: Put ``document:start-end`` under this metadata key, for an LLM to cite.
            callback_manager: LlamaIndex's.

        Raises:
            InputError: If an argument is of the wrong type, out of range, or contradicts another.
            FilterError: If a filter cannot be used.
            IndexMismatchError: If ``embed_model`` is of another model than the index.
        """
        if not isinstance(index, Index):
            raise InputError(
                f"LateChunkRetriever takes an open latechunk.Index, got {type(index).__name__}: open a folder with "
                f"Index.open(path). A VectorStoreIndex has its own, as_retriever(), with LateChunkEmbedding for queries"
            )
        if filters is not None and filter is not None:
            raise InputError("filters and filter both say what to search; pass one of them")
        chosen = filter if filters is None else to_filter(filters)
        if chosen is not None:
            compile_filter(chosen)
        self._options = SearchOptions(
            k=similarity_top_k,
            mode=mode,
            filter=chosen,
            document_ids=document_ids,
            granularity=granularity,
            fusion=fusion,
            dense_weight=dense_weight,
            score_threshold=score_threshold,
            rerank=rerank,
            mmr=mmr,
            candidates=candidates,
            per_document=per_document,
            within=within,
            expand=expand,
        )
        if embed_model is not None:
            _require_dense(self._options, "embed_model")
            _require_same_model(index, embed_model)
        self._index = index
        self._embed_model = embed_model
        self._link_neighbours = link_neighbours
        self._citation_key = citation_key
        super().__init__(callback_manager=callback_manager)

    @property
    def similarity_top_k(self) -> int:
        """How many nodes come back at most."""
        return self._options.k

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        hits = self._search(query_bundle)
        neighbours: list[tuple[Chunk | None, Chunk | None]] = [(None, None)] * len(hits)
        if self._link_neighbours:
            neighbours = self._index.neighbours([hit.chunk for hit in hits])
        return [
            to_scored_node(hit, previous, following, citation_key=self._citation_key)
            for hit, (previous, following) in zip(hits, neighbours, strict=True)
        ]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._retrieve, query_bundle)

    def _search(self, query: QueryBundle) -> list[Hit]:
        options = {one.name: getattr(self._options, one.name) for one in fields(self._options)}
        texts = query.custom_embedding_strs
        if texts is None and self._embed_model is None:
            return self._index.search(query.query_str, **options)
        if texts is not None:
            _require_dense(self._options, "a QueryBundle with custom_embedding_strs, as HyDE makes,")
        vector = _mean([self._encode(text) for text in texts or [query.query_str]])
        return self._index.search_by_vector(
            vector, **{name: value for name, value in options.items() if name not in _TEXT_ONLY}
        )

    def _encode(self, text: str) -> FloatArray:
        if self._embed_model is None:
            return self._index.encoder.encode_query(text)
        return np.asarray(self._embed_model.get_query_embedding(text), dtype=np.float32)


def _mean(vectors: Sequence[FloatArray]) -> FloatArray:
    return np.asarray(np.mean(vectors, axis=0), dtype=np.float32)


def _require_dense(options: SearchOptions, what: str) -> None:
    if options.mode != "dense" or options.rerank is not None:
        raise InputError(f'{what} is for mode="dense" without rerank, since then only vectors are compared')


def _require_same_model(index: Index, embed_model: LateChunkEmbedding) -> None:
    """Raise unless both make vectors that can be compared; the query's own prompt and task may differ."""
    if not isinstance(embed_model, LateChunkEmbedding):
        raise InputError(
            f"embed_model must be a LateChunkEmbedding, got {type(embed_model).__name__}: other models' vectors "
            f"cannot be compared with the index's. Leave it out to use the index's own encoder"
        )
    recorded, given = index.info().encoder, embed_model.load_encoder().settings
    names = {*recorded, "adapters_sha256"} - set(_LABELS)  # which indexes made without adapters may not record
    differing = sorted(
        name for name in names if not name.startswith("query_") and recorded.get(name) != given.get(name)
    )
    if differing:
        was, got = ({name: side.get(name) for name in differing} for side in (recorded, given))
        raise IndexMismatchError(
            f"the index at {index.path} was made with another model than the embed_model's: it has {was}, embed_model "
            f"has {got}. Leave embed_model out to use the index's own encoder, or give it the index's settings"
        )
