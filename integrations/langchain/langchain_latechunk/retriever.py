"""A LangChain retriever over an index: passages that know their place."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import run_in_executor
from pydantic import ConfigDict, Field, SkipValidation, field_validator, model_validator

from langchain_latechunk.arguments import diversity, require_none
from langchain_latechunk.embeddings import LateChunkEmbeddings, require_encoder
from langchain_latechunk.intake import Failures, OnError, closed_on_error, new_index, only_unambiguous, to_latechunk
from langchain_latechunk.passages import SCORE, Passages, from_database
from latechunk import DatabaseSearcher, Index, SearchOptions
from latechunk.errors import InputError
from latechunk.protocols import Chunker, Reranker


class LateChunkRetriever(BaseRetriever):
    """Finds passages of an index, or of a vector database that ``latechunk push`` filled.

    Each comes as a document whose metadata are those of the document that it is from, and beside them
    ``latechunk_document_id``, ``latechunk_chunk`` (its number there, from 0), ``latechunk_granularity``,
    ``start_index`` and ``end_index``: ``index.get(document_id).text[start:end]`` is its text, to the character. The
    headings above it are ``Header 1``, ``Header 2`` and so on, outermost first, as LangChain's splitters have them; for
    the pages of a PDF see ``join_pages``. Threads may share one; the index is the caller's to close.

    ``k`` and ``filter`` may also be passed to ``invoke`` and ``ainvoke``, in place of the retriever's.

    Attributes:
        index: What is searched: a ``latechunk.Index``, or a ``latechunk.DatabaseSearcher``, which has no ``within`` and
            ``expand``, and fuses by rank.
        k: How many passages.
        search_type: ``"similarity"``, or ``"mmr"`` for passages that also differ from each other.
        fetch_k: With ``"mmr"`` alone, of how many passages the ``k`` are chosen, at least ``k``; None for 20.
        lambda_mult: With ``"mmr"`` alone, 1 for relevance alone, 0 for difference alone; None for 0.5.
        add_score: Put ``latechunk_score`` into the metadata. It depends on the question, so passages that several
            questions find are then not equal, and ``MultiQueryRetriever`` gives them several times.
        mode: This and what follows are the fields of ``latechunk.SearchOptions``, which documents them. ``fusion`` is
            None for the way of the index, or of the database.

    Examples:
        >>> LateChunkRetriever(index=index, k=1).invoke("people in Berlin")[0].metadata["latechunk_document_id"]
        'berlin'
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    index: Index | DatabaseSearcher = Field(repr=False)
    search_type: Literal["similarity", "mmr"] = "similarity"
    add_score: bool = False
    # All others are checked by SearchOptions, which takes no "2" for 2.
    k: Annotated[int, SkipValidation] = 4
    fetch_k: Annotated[int | None, SkipValidation] = None
    lambda_mult: Annotated[float | None, SkipValidation] = None
    mode: Annotated[Literal["dense", "lexical", "hybrid"] | None, SkipValidation] = None
    fusion: Annotated[Literal["calibrated", "rrf"] | None, SkipValidation] = None
    dense_weight: Annotated[float | None, SkipValidation] = None
    filter: Annotated[Mapping[str, Any] | None, SkipValidation] = None
    document_ids: Annotated[Sequence[str] | None, SkipValidation] = None
    granularity: Annotated[str | None, SkipValidation] = None
    score_threshold: Annotated[float | None, SkipValidation] = None
    rerank: Annotated[Reranker | None, SkipValidation] = None
    candidates: Annotated[int | None, SkipValidation] = None
    per_document: Annotated[bool, SkipValidation] = False
    within: Annotated[str | None, SkipValidation] = None
    expand: Annotated[int, SkipValidation] = 0

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
            IndexExistsError: If there is something at ``path`` already. An error before anything is stored leaves
                nothing there, unless ``exist_ok``.
        """
        failures = Failures(on_error)
        converted = to_latechunk(documents, ids, failures)
        encoder = None if embedding is None else require_encoder(embedding)
        with new_index(path, encoder, chunker=chunker, exist_ok=exist_ok) as index:
            retriever = cls(index=index, **settings)
            index.add(
                only_unambiguous(index, converted, failures), on_error=failures.for_index, show_progress=show_progress
            )
            return retriever

    @field_validator("index", mode="before")
    @classmethod
    def _require_index(cls, value: object) -> object:
        if not isinstance(value, Index | DatabaseSearcher):
            raise InputError(
                f"index must be a latechunk.Index or a latechunk.DatabaseSearcher, got {type(value).__name__}; for an "
                f"index at a path use LateChunkRetriever.open(path), of documents LateChunkRetriever.from_documents"
            )
        return value

    @model_validator(mode="after")
    def _check(self) -> Self:
        self.index.check_options(self._options(self.k, self.filter))
        return self

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun | None = None,  # noqa: ARG002  LangChain passes it by name
        k: int | None = None,
        filter: Mapping[str, Any] | None = None,  # noqa: A002
        **unknown: Any,
    ) -> list[Document]:
        require_none(unknown, "invoke", "a query, k, filter")
        options = self._options(self.k if k is None else k, self.filter if filter is None else filter)
        index = self.index  # which may be replaced at any time
        convert = Passages(index, with_provenance=True).from_hit if isinstance(index, Index) else from_database
        found = [(hit, convert(hit)) for hit in index.search_with(query, options)]
        if self.add_score:
            for hit, passage in found:
                passage.metadata[SCORE] = hit.score
        return [passage for _, passage in found]

    async def _aget_relevant_documents(self, query: str, *, run_manager: object, **settings: Any) -> list[Document]:  # noqa: ARG002
        # LangChain's own passes on no settings of one call.
        return await run_in_executor(None, self._get_relevant_documents, query, **settings)

    def _options(self, k: int, filter: Mapping[str, Any] | None) -> SearchOptions:  # noqa: A002
        chosen = {name: getattr(self, name) for name in SearchOptions.model_fields if name in type(self).model_fields}
        if self.fusion is None:
            del chosen["fusion"]
        return SearchOptions(**chosen | self._diversity(k) | {"k": k, "filter": filter})

    def _diversity(self, k: int) -> dict[str, Any]:
        """The options of maximal marginal relevance, none for another type of search."""
        given = {name: getattr(self, name) for name in ("fetch_k", "lambda_mult") if getattr(self, name) is not None}
        if self.search_type != "mmr":
            if given:
                raise InputError(f'{" and ".join(given)} would have no effect: pass search_type="mmr", or leave it out')
            return {}
        if self.candidates is None:
            return diversity(k, **given)
        if "fetch_k" in given:
            raise InputError("fetch_k and candidates both say of how many passages to choose; pass one of them")
        return {**diversity(k, **given), "candidates": self.candidates}
