"""The page at /, to search with, and the page of one document with its chunks shaded."""

from __future__ import annotations

from functools import cache
from urllib.parse import parse_qs

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from latechunk.inspection.html import fill_page
from latechunk.inspection.page import make_page
from latechunk.inspection.view import inspect
from latechunk.serving.errors import RequestError
from latechunk.serving.passages import find_document
from latechunk.serving.searching import MOST_QUESTION
from latechunk.serving.served import Served

INSPECT = "/inspect"  # takes a form of HTML, so that it opens in a tab of its own
_MOST_CHARACTERS = 2_000_000  # of a document that a browser shows in one page
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def page_routes(served: Served) -> APIRouter:
    """Make the routes."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/")
    async def search_page() -> Response:
        page, policy = search_page_source()
        return Response(page, media_type="text/html", headers={**_HEADERS, "Content-Security-Policy": policy})

    @routes.post(INSPECT)
    async def inspect_page(request: Request) -> Response:
        body = (await request.body()).decode("utf-8", "replace")
        try:
            fields = {name: values[-1] for name, values in parse_qs(body, max_num_fields=10).items()}
        except ValueError as error:
            raise RequestError(400, f"a form with question and document_id is needed: {error}") from error
        page = await run_in_threadpool(_inspect, served, fields)
        return Response(page, media_type="text/html", headers=_HEADERS)

    return routes


@cache
def search_page_source() -> tuple[str, str]:
    """The page, and the policy that lets it run its one script and ask this server alone."""
    policy = "connect-src 'self'; img-src data:; form-action 'self'; frame-ancestors 'none'"
    return fill_page(__package__, "search.css", "search.js", "search.html", policy=policy)


def _inspect(served: Served, fields: dict[str, str]) -> str:
    question, document_id = fields.get("question", ""), fields.get("document_id", "")
    if not 0 < len(question) <= MOST_QUESTION:
        raise RequestError(400, f"question must have 1 to {MOST_QUESTION:,} characters", field="question")
    name, document = find_document(served, document_id, fields.get("index") or None)
    if len(document.text) > _MOST_CHARACTERS:
        raise RequestError(400, f"a document of {len(document.text):,} characters is too long for a page")
    return make_page(inspect(served.index(name), question, document_id=document_id))
