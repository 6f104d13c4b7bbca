"""The routes that ask indexes: /search, /documents and /indexes."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field
from starlette.convertors import StringConvertor, register_url_convertor

from latechunk.search.options import Fusion, SearchMode, SearchOptions
from latechunk.serving import passages
from latechunk.serving.errors import RequestError
from latechunk.serving.passages import DocumentPage, ReadPassage, SearchResult
from latechunk.serving.requests import Request, Texts
from latechunk.serving.served import Served, model_name
from latechunk.validation import parse_object

MOST_QUESTION = 8_192  # characters
_MOST_PASSAGES = 100
_MOST_CANDIDATES = 1_000
_MOST_NEIGHBOURS = 20
_MOST_READ = 100_000
_MOST_CHARACTERS = 20_000  # of one passage; a section may be a whole book
_PER_PAGE = 50
_Number = Annotated[float, Field(allow_inf_nan=False)]


class _AnyText(StringConvertor):
    """The rest of a path; Starlette's own ends before a line break, so that ``paris`` was read for ``paris%0A``."""

    regex = "(?s:.*)"


register_url_convertor("any_text", _AnyText())


class SearchRequest(Request):
    """A request of ``POST /search``; the fields are those of ``latechunk.SearchOptions``."""

    query: str = Field(min_length=1, max_length=MOST_QUESTION, description="A question or a description.")
    k: int = Field(10, ge=1, le=_MOST_PASSAGES, description="How many passages.")
    index: str | None = Field(None, description="Name of an index; all are searched in turn where none is named.")
    mode: SearchMode | None = Field(None, description="By vectors, by words, or by both, which is the default.")
    fusion: Fusion = "calibrated"
    dense_weight: _Number | None = Field(None, ge=0, le=1, description="Share of the vectors in hybrid search.")
    filter: dict[str, Any] | None = Field(None, description="Only documents with such metadata.")
    document_ids: Texts | None = Field(None, description="Only these documents.")
    granularity: str | None = Field(None, description="Which chunks to search, where an index has several.")
    score_threshold: _Number | None = Field(None, description="Leave out what scores less.")
    rerank: bool = Field(False, description="Order by the server's reranker.")
    mmr: _Number | None = Field(None, ge=0, le=1, description="1: the best, 0: what differs most from better ones.")
    candidates: int | None = Field(None, ge=1, le=_MOST_CANDIDATES, description="Chunks to fuse, re-rank or thin.")
    per_document: bool = Field(False, description="Only the best passage of each document.")
    within: str | None = Field(None, description='The granularity to give back; "section" up to the next heading.')
    expand: int = Field(0, ge=0, le=_MOST_NEIGHBOURS, description="Neighbours on either side that belong to a passage.")
    neighbours: bool = Field(False, description="Give the text before and after each passage, too.")


class IndexDescription(BaseModel):
    """An index by its name, what it holds and what made it."""

    name: str
    n_documents: int
    n_chunks: int
    model: str
    mode: str


class Indexes(BaseModel):
    """All indexes of a server."""

    indexes: list[IndexDescription]
    has_reranker: bool


def search_routes(served: Served) -> APIRouter:
    """Make the routes."""
    routes = APIRouter(tags=["search"])

    @routes.post("/search")
    def search(request: SearchRequest) -> SearchResult:
        """Find the passages that answer a question best, with citations."""
        options = _options_of(request, served)
        return passages.search(
            served,
            request.query,
            options,
            index=request.index,
            most_characters=_MOST_CHARACTERS,
            neighbours=request.neighbours,
        )

    @routes.get("/documents")
    def documents(
        index: str | None = None,
        filter: Annotated[str | None, Query(description="JSON: only documents with such metadata.")] = None,  # noqa: A002
        page: Annotated[int, Query(ge=1, le=10_000_000)] = 1,
        per_page: Annotated[int, Query(ge=1, le=1_000)] = _PER_PAGE,
    ) -> DocumentPage:
        """List documents with their metadata."""
        metadata = None if filter is None else parse_object("filter", filter)
        return passages.list_documents(served, index=index, metadata=metadata, page=page, per_page=per_page)

    @routes.get("/documents/{document_id:any_text}")
    def document(
        document_id: Annotated[str, Path(min_length=1)],
        index: str | None = None,
        start: Annotated[int, Query(ge=0)] = 0,
        end: Annotated[int | None, Query(description=f"{_MOST_READ:,} characters at most come at a time.")] = None,
    ) -> ReadPassage:
        """Read characters of a document, with its citation and where to read on."""
        return passages.read(served, document_id, index=index, start=start, end=end, most_characters=_MOST_READ)

    @routes.get("/indexes")
    def indexes() -> Indexes:
        """Name the indexes, and say what they hold."""
        described = []
        for name, index in served.indexes.items():
            info = index.info()
            model = model_name(info.encoder)
            described.append(
                IndexDescription(
                    name=name,
                    n_documents=info.n_documents,
                    n_chunks=info.n_chunks,
                    model=model,
                    mode=index.manifest.embedding.mode,
                )
            )
        return Indexes(indexes=described, has_reranker=served.reranker is not None)

    return routes


def _options_of(request: SearchRequest, served: Served) -> SearchOptions:
    if request.rerank and served.reranker is None:
        raise RequestError(400, "rerank needs a reranker, and this server was started without --rerank", field="rerank")
    chosen = {name: getattr(request, name) for name in SearchOptions.model_fields if name != "rerank"}
    return SearchOptions(**chosen, rerank=served.reranker if request.rerank else None)
