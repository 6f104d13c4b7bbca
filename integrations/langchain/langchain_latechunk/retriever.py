"""A LangChain retriever over an index: passages that know their place."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Self

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import run_in_executor
from pydantic import ConfigDict, Field, PrivateAttr, model_validator

from langchain_latechunk.embeddings import LateChunkEmbeddings, require_encoder
from langchain_latechunk.intake import Failures, OnError, closed_on_error, make_index, only_unambiguous, to_latechunk
from langchain_latechunk.passages import Passages, from_database
from latechunk import DatabaseSearcher, Hit, Index, SearchOptions
from latechunk.errors import InputError
from latechunk.protocols import Chunker, Reranker


class LateChunkRetriever(BaseRetriever):
    """Finds passages of an index, or of a vector database that ``latechunk push`` filled.

    Each comes as a document whose metadata are those of the document that it is from, and beside them
    ``latechunk_document_id``, ``latechunk_chunk`` (its number there, from 0), ``latechunk_granularity``,
    ``start_index``, ``end_index`` and ``latechunk_score``: ``index.get(document_id).text[start:end]`` is its
    text, to the character. The headings above it are ``Header 1``, ``Header 2`` and so on, outermost first, as
    LangChain's splitters have them; for the pages of a PDF see ``join_pages``. Threads may share one; the index is the
    caller's to close.

    ``k`` and ``filter`` may also be passed to ``invoke`` and ``ainvoke``.

    Attributes:
        index: What is searched: a ``latechunk.Index``, or a ``latechunk.DatabaseSearcher``, which has no ``within`` and
            ``expand``, and fuses by rank.
        k: How many passages.
        search_type: ``"similarity"``, or ``"mmr"`` for passages that also differ from each other.
        fetch_k: With ``"mmr"``, of how many passages the ``k`` are chosen.
        lambda_mult: With ``"mmr"``, 1 for relevance alone, 0 for difference alone.
        mode: This and what follows are the fields of ``latechunk.SearchOptions``, which documents them.

    Examples:
        >>> LateChunkRetriever(index=index, k=1).invoke("people in Berlin")[0].metadata["latechunk_document_id"]
        'berlin'
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    index: Index | DatabaseSearcher = Field(repr=False)
    k: int = 4
    search_type: Literal["similarity", "mmr"] = "similarity"
    fetch_k: int = 20
    lambda_mult: float = 0.5
    mode: Literal["dense", "lexical", "hybrid"] | None = None
    fusion: Literal["calibrated", "rrf"] = "calibrated"
    dense_weight: float | None = None
    filter: Mapping[str, Any] | None = None
    document_ids: Sequence[str] | None = None
    granularity: str | None = None
    score_threshold: float | None = None
    rerank: Reranker | None = None
    candidates: int | None = None
    per_document: bool = False
    within: str | None = None
    expand: int = 0

    _to_document: Callable[[Hit], Document] = PrivateAttr()

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], *, embedding: LateChunkEmbeddings | None = None, **settings: Any
    ) -> Self:
        """A retriever on an index on disk, with the attributes of this class.

        ``embedding`` is what made the index, if it is loaded already; None to load what it records, at first use.

        Raises:
            IndexMissingError: If there is nothing at ``path``.
            IndexMismatchError: If ``embedding`` is not what made the index.
        """
        index = Index.open(path, encoder=None if embedding is None else require_encoder(embedding))
        with closed_on_error(index):
            return cls(index=index, **settings)

    @classmethod
    def from_documents(
        cls,
        documents: Sequence[Document],
        *,
        embedding: LateChunkEmbeddings | None = None,
        ids: Sequence[str] | None = None,
        path: str | os.PathLike[str] | None = None,
        chunker: Chunker | str | None = None,
        exist_ok: bool = False,
        on_error: OnError = "raise",
        show_progress: bool = False,
        **settings: Any,
    ) -> Self:
        """Make an index of documents, and a retriever on it.

        Documents are whole, or pages, which are joined, and ``ids`` come before their own. ``on_error`` and
        ``show_progress`` are those of ``latechunk.Index.add``. Without ``embedding``, ``path`` or ``chunker`` it is
        the default model, a temporary index that goes with the retriever, and ``latechunk.StructureChunker()``.
        With ``exist_ok`` they are added to an index that is there and was made so; documents of the same ids are
        replaced. ``settings`` are the attributes of this class.

        Raises:
            DocumentError: If a document cannot be indexed, or is a piece.
            IndexExistsError: If there is something at ``path`` already.
        """
        failures = Failures(on_error)
        converted = to_latechunk(documents, ids, failures)
        encoder = None if embedding is None else require_encoder(embedding)
        index = make_index(path, encoder, chunker=chunker, exist_ok=exist_ok)
        with closed_on_error(index):
            retriever = cls(index=index, **settings)
            index.add(
                only_unambiguous(index, converted, failures), on_error=failures.for_index, show_progress=show_progress
            )
            return retriever

    @model_validator(mode="after")
    def _check(self) -> Self:
        options = self._options(self.k, self.filter).require_filter()
        known = list(self.index.manifest.chunkers)
        for name, value in (("granularity", self.granularity), ("within", self.within)):
            if value is not None and value not in known and (name, value) != ("within", "section"):
                raise InputError(f"{name} must be one of the index's granularities, {known}, got {value!r:.80}")
        if isinstance(self.index, Index):
            self._to_document = Passages(self.index, with_provenance=True).from_hit
        else:
            self.index.check_options(options)
            self._to_document = from_database
        return self

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun | None = None,  # noqa: ARG002  LangChain passes it by name
        k: int | None = None,
        filter: Mapping[str, Any] | None = None,  # noqa: A002
    ) -> list[Document]:
        options = self._options(self.k if k is None else k, self.filter if filter is None else filter)
        return [self._to_document(hit) for hit in self.index.search_with(query, options)]

    async def _aget_relevant_documents(self, query: str, *, run_manager: object, **settings: Any) -> list[Document]:  # noqa: ARG002
        # LangChain's own passes on no settings of one call.
        return await run_in_executor(None, self._get_relevant_documents, query, **settings)

    def _options(self, k: int, filter: Mapping[str, Any] | None) -> SearchOptions:  # noqa: A002
        chosen = {name: getattr(self, name) for name in SearchOptions.model_fields if name in type(self).model_fields}
        if "fusion" not in self.model_fields_set and self.fusion == "calibrated":
            del chosen["fusion"]  # the default, for which a database has its own
        if self.search_type == "mmr":
            chosen |= {"mmr": self.lambda_mult, "candidates": self.candidates or max(k, self.fetch_k)}
        return SearchOptions(**chosen | {"k": k, "filter": filter})
