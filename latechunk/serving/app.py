"""The ASGI application of a server, with what keeps requests within bounds."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

import anyio.to_thread
from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse

import latechunk
from latechunk.serving.embeddings import embedding_routes
from latechunk.serving.errors import RequestError, describe, error_body
from latechunk.serving.guard import Guard, path_within
from latechunk.serving.metrics import CONTENT_TYPE
from latechunk.serving.page import INSPECT, page_routes
from latechunk.serving.reranking import rerank_routes
from latechunk.serving.searching import search_routes
from latechunk.serving.served import Served
from latechunk.validation import explain_one, explain_unknown

_MOST_SAID = 5  # errors of one request that are told
_ERROR = {
    "description": "An error in the form of all dialects.",
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["error", "detail"],
                "properties": {
                    "error": {
                        "type": "object",
                        "required": ["message", "type"],
                        "properties": {
                            "message": {"type": "string"},
                            "type": {"type": "string"},
                            "param": {"type": ["string", "null"]},
                            "code": {"type": ["string", "null"]},
                        },
                    },
                    "detail": {"type": "string"},
                },
            }
        }
    },
}
_ERRORS: dict[int | str, dict[str, Any]] = dict.fromkeys(
    (400, 401, 403, 404, 408, 413, 415, 421, 429, 500, 503), _ERROR
)


def make_app(served: Served, *, keys: Sequence[str] = (), hosts: Collection[str] = ()) -> Guard:
    """Make an application of all routes.

    Args:
        served: What it serves; it stays open.
        keys: API keys, of which each request must have one; none for everybody.
        hosts: Names by which the server may be called; none for any.

    Returns:
        An ASGI application, for uvicorn or a test's client.

    Examples:
        >>> with open_served([Path("handbook.latechunk")]) as served:
        ...     uvicorn.run(make_app(served), port=8080)
    """
    app = FastAPI(
        title="latechunk",
        version=latechunk.__version__,
        summary="Late-chunk vectors, and search with citations, in the dialects that clients speak.",
        docs_url=None,  # its pages load scripts from elsewhere
        redoc_url=None,
        responses=_ERRORS,
        lifespan=_lifespan(served.limits.threads),
    )
    _answer_errors(app, served)
    for routes in (embedding_routes, rerank_routes, search_routes):
        app.include_router(routes(served), dependencies=[Depends(_refuse_unknown_parameters)])
    app.include_router(page_routes(served))  # whose parameters are for the page's own script

    @app.head("/health", include_in_schema=False)  # as wget --spider and many a watcher ask
    @app.get("/health", tags=["server"])
    async def health() -> dict[str, Any]:
        """Say that the server is there, and what it has."""
        return {"status": "ok", "version": latechunk.__version__}

    @app.get("/metrics", tags=["server"], response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Counts and times, for Prometheus."""
        return Response(served.metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    guard = Guard(
        app,
        served.limits,
        keys=keys,
        hosts=hosts,
        free_paths=("/metrics",),  # an overload is to be seen
        form_paths=(INSPECT,),
        retry_after=lambda: max((one.retry_after for one in served.dispatchers), default=1),
        on_answer=served.metrics.note_request,
    )
    served.metrics.watch(lambda: guard.n_requests, lambda: sum(one.waiting_tokens for one in served.dispatchers))
    return guard


def _lifespan(n_threads: int) -> Any:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = n_threads
        yield

    return lifespan


def _answer_errors(app: FastAPI, served: Served) -> None:
    async def failed(_: Request, error: Exception) -> Response:
        status, message, headers = describe(error, served.private)
        field, code = getattr(error, "field", None), getattr(error, "code", None)
        body = error_body(status, message, field=field, code=code)
        return Response(body, status, headers, media_type="application/json")

    async def invalid(request: Request, error: RequestValidationError) -> Response:
        said, field = explain_request(error, _fields_of(request.scope["route"]))
        return Response(error_body(400, said, field=field), 400, media_type="application/json")

    async def refused(request: Request, error: HTTPException) -> Response:
        said = _explain_unreadable(error.__cause__) or str(error.detail)
        if error.status_code == HTTPStatus.NOT_FOUND:
            said = _explain_no_route(path_within(request.scope), request.app.openapi()["paths"])
        body = error_body(error.status_code, said)
        return Response(body, error.status_code, error.headers, media_type="application/json")

    app.add_exception_handler(latechunk.LateChunkError, failed)
    app.add_exception_handler(Exception, failed)
    app.add_exception_handler(RequestValidationError, invalid)  # type: ignore[arg-type]
    app.add_exception_handler(HTTPException, refused)  # type: ignore[arg-type]


async def _refuse_unknown_parameters(request: Request) -> None:
    """Raise a RequestError for parameters after the question mark that a route does not take."""
    known = [one.alias for one in request.scope["route"].dependant.query_params]
    unknown = [one for one in request.query_params if one not in known]
    if unknown:
        said = "; ".join(explain_unknown(one, known) for one in unknown[:_MOST_SAID])
        raise RequestError(400, said, field=unknown[0])


def _explain_no_route(path: str, known: Iterable[str]) -> str:
    """Say that there is no such route, and which was meant where one ends like the other, as without ``/v1``."""
    meant = next((one for one in known if len(one) > 1 and (one.endswith(path) or path.endswith(one))), None)
    hint = f": did you mean {meant!r}?" if meant else "; GET /openapi.json has all that there are"
    return f"there is no route {path!r:.80}{hint}"


def _explain_unreadable(cause: BaseException | None) -> str | None:
    """Why a body cannot be read, if it is for that that FastAPI refuses it."""
    if isinstance(cause, UnicodeDecodeError):
        return f"the body is not UTF-8: {cause.reason} at byte {cause.start}; encode the JSON as UTF-8"
    if isinstance(cause, RecursionError):
        return "the body is nested too deeply; send a JSON object with the fields that /openapi.json names"
    if isinstance(cause, ValueError):  # of int(), which takes up to 4,300
        return "the body has a number of too many digits; send numbers that a float can hold"
    return None


def explain_request(error: RequestValidationError, known: Mapping[str, object]) -> tuple[str, str | None]:
    """What is wrong with a request, and the field that is wrong first; ``known`` are those that its route takes."""
    said, fields = [], []
    for one in error.errors()[:_MOST_SAID]:
        if one["type"] == "missing" and one["loc"] == ("body",):
            said.append("the body is empty; send a JSON object with the fields that /openapi.json names")
            continue
        if one["type"] == "json_invalid":
            said.append(f"the body is not JSON: {one['ctx']['error']} at character {one['loc'][-1]}")
            continue
        field, *rest = one["loc"][1:] or (["the body"] if one["type"] != "value_error" else [""])
        where = (field, *(part for part in rest if not str(part).startswith(("str", "list[")))) if field else ()
        if where and field != "the body":
            fields.append(str(where[0]))
        if one["type"] == "value_error" and where:
            said.append(f"{where[0]} {one['ctx']['error']}")
        else:
            said.append(explain_one({**one, "loc": where}, known))  # type: ignore[typeddict-item]
    return "; ".join(dict.fromkeys(said))[:2_000], fields[0] if fields else None


def _fields_of(route: APIRoute) -> Mapping[str, object]:
    """The fields of the requests that a route takes."""
    body = route.body_field.field_info.annotation if route.body_field else None
    return body.model_fields if isinstance(body, type) and issubclass(body, BaseModel) else {}
