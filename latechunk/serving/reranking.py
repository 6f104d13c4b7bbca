"""The route that orders texts by a question: /v1/rerank, in the forms of Jina, Cohere and Voyage."""

from __future__ import annotations

from typing import Any, Self

from fastapi import APIRouter, Response
from pydantic import Field, model_validator
from pydantic_core import to_json

from latechunk.serving.errors import RequestError
from latechunk.serving.model import CHARACTERS_OF_A_TOKEN, require_nonblank
from latechunk.serving.requests import Request, Texts
from latechunk.serving.searching import MOST_QUESTION
from latechunk.serving.served import Served


class RerankRequest(Request):
    """A request of ``POST /v1/rerank``."""

    query: str = Field(min_length=1, max_length=MOST_QUESTION, description="A question.")
    documents: Texts = Field(min_length=1, description="Texts to order by how well they answer it.")
    model: str | None = Field(None, description="The reranker; may be left out.")
    top_n: int | None = Field(None, ge=1, description="How many come back; Jina's and Cohere's. All unless said.")
    top_k: int | None = Field(None, ge=1, description="The same in Voyage's words.")
    return_documents: bool = Field(False, description="Whether the texts come back, too.")
    truncation: bool | None = Field(None, description="Accepted: a cross-encoder reads the first few hundred tokens.")

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if None not in (self.top_n, self.top_k) and self.top_n != self.top_k:
            raise ValueError("top_n and top_k are two words for one thing; choose one")
        return self


def rerank_routes(served: Served) -> APIRouter:
    """Make the route."""
    routes = APIRouter(tags=["reranking"])

    @routes.post("/v1/rerank")
    def rerank(request: RerankRequest) -> Response:
        """Order texts by how well they answer a question, the best first; `results` and `data` are the same list."""
        name = _require_reranker(request, served)
        scores = served.reranker(request.query, request.documents) if served.reranker else []
        order = sorted(range(len(scores)), key=lambda number: (-scores[number], number))
        results: list[dict[str, Any]] = []
        for number in order[: request.top_n or request.top_k]:
            result: dict[str, Any] = {"index": number, "relevance_score": float(scores[number])}
            results.append(
                result | ({"document": {"text": request.documents[number]}} if request.return_documents else {})
            )
        body = {"object": "list", "model": name, "results": results, "data": results, "usage": {"total_tokens": 0}}
        return Response(to_json(body), media_type="application/json")

    return routes


def _require_reranker(request: RerankRequest, served: Served) -> str:
    if served.reranker is None:
        raise RequestError(404, "this server has no reranker; start it with --rerank MODEL")
    name = served.reranker_name or "reranker"
    if request.model not in (None, name):
        raise RequestError(
            404,
            f"there is no reranker {request.model!r:.80}; this server has {name!r}",
            field="model",
            code="model_not_found",
        )
    limits = served.limits
    most = limits.tokens * CHARACTERS_OF_A_TOKEN
    if len(request.documents) > limits.inputs or sum(map(len, request.documents)) > most:
        raise RequestError(400, f"a request takes {limits.inputs:,} texts of {most:,} characters together; send fewer")
    for number, text in enumerate((request.query, *request.documents)):
        require_nonblank(text, f"documents[{number - 1}]" if number else "query")
    return name
