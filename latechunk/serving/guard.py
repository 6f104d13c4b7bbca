"""What stands before all routes: who may ask, how much, and for how long a slow client is waited for."""

from __future__ import annotations

import asyncio
import hmac
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from http import HTTPStatus
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from latechunk.serving.batching import CLIENT_LEFT
from latechunk.serving.errors import ClientLeftError, error_body
from latechunk.serving.limits import Limits

_PIECE = 65_536  # bytes of an answer that are sent at a time, so that a slow client holds no more than that


class _TooSlowError(Exception):
    """The client did not send, or take, in time."""


class Guard:
    """An ASGI application around another: keys, hosts, sizes, counts and times.

    A request is counted from its head until its answer is taken, so that what is accepted at once is bounded, and a
    body is read whole before anything looks at it. What is beyond a limit is answered with what the limit is.
    """

    def __init__(
        self,
        app: ASGIApp,
        limits: Limits,
        *,
        keys: Sequence[str] = (),
        hosts: Collection[str] = (),
        open_paths: Collection[str] = ("/", "/health"),
        free_paths: Collection[str] = (),
        form_paths: Collection[str] = (),
        methods: Collection[str] = (),
        retry_after: Callable[[], int] = lambda: 1,
        on_answer: Callable[[str, int, float], None] = lambda _route, _status, _seconds: None,
    ) -> None:
        """Guard an application.

        Args:
            app: What answers.
            limits: What one request may take, and all together.
            keys: Of which a request must have one, as ``Authorization: Bearer KEY``; none for everybody.
            hosts: Names by which the server may be called, so that no page of another name can reach it through a
                browser (DNS rebinding); none for any.
            open_paths: What needs no key.
            free_paths: What is answered, as these are, however many requests wait.
            form_paths: What is sent as forms of HTML, and not as JSON; they have the key in a field ``key``.
            methods: Of HTTP that are taken; none for any.
            retry_after: Seconds after which a client that was sent away may come back.
            on_answer: Called with the route, the status and the seconds of each answer.
        """
        self._app = app
        self._limits = limits
        self._keys = [key.encode("utf-8") for key in keys]
        self._hosts = frozenset(hosts)
        self._open_paths = frozenset(open_paths)
        self._free_paths = self._open_paths.union(free_paths)
        self._form_paths = frozenset(form_paths)
        self._methods = tuple(methods)
        self._retry_after = retry_after
        self._on_answer = on_answer
        self.n_requests = 0
        self.n_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        if scope["type"] != "http":
            return None
        begin, status = time.monotonic(), ClientLeftError.STATUS  # where nothing is answered

        async def noted(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._answer(scope, receive, noted)
        finally:
            # Not the path, of which there are as many as clients can think of.
            route = getattr(scope.get("route"), "path", "other")
            self._on_answer(route, status, time.monotonic() - begin)
        return None

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        path = path_within(scope)
        refusal = self._refuse(scope, path, headers)
        if refusal is None and path in self._free_paths:
            return await self._app(scope, receive, send)
        if refusal is None and self.n_requests >= self._limits.requests:
            refusal = self._busy(f"{self._limits.requests} requests are waiting")
        if refusal is not None:
            return await refusal(scope, receive, send)
        self.n_requests += 1
        try:
            await self._pass_on(scope, path, receive, send)
        except _TooSlowError:
            pass  # the connection is closed by the server, since the answer is not complete
        finally:
            self.n_requests -= 1
        return None

    def _refuse(self, scope: Scope, path: str, headers: Headers) -> Response | None:
        host = headers.get("host", "")
        if self._hosts and _name_of(host) not in self._hosts:
            return _refusal(HTTPStatus.MISDIRECTED_REQUEST, f"this server is not called {host!r:.80}")
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2] != host:
            return _refusal(HTTPStatus.FORBIDDEN, f"pages of {origin!r:.80} may not use this server")
        if path not in self._open_paths | self._form_paths:
            kind, _, given = headers.get("authorization", "").partition(" ")
            if not self._is_known(given.strip() if kind.lower() == "bearer" else ""):
                return _keyless()
        if self._methods and scope["method"] not in self._methods:
            return _refuse_method(self._methods)
        form = "application/x-www-form-urlencoded" if path in self._form_paths else "application/json"
        if scope["method"] == "POST" and headers.get("content-type", "").partition(";")[0].strip().lower() != form:
            return _refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"a request has Content-Type: {form}")
        if headers.get("content-encoding", "identity").lower() != "identity":
            return _refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "a body is sent as it is, without Content-Encoding")
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length[:20]) > self._limits.body_bytes:
            return self._too_large()
        return None

    async def _pass_on(self, scope: Scope, path: str, receive: Receive, send: Send) -> None:
        body = bytearray()
        try:
            patient = _patient(send, self._limits.write_seconds)
            refusal = await self._read(receive, body)
            if refusal is not None:
                return await refusal(scope, receive, patient)
            if path in self._form_paths and not self._is_known(_key_in(body)):
                return await _keyless()(scope, receive, patient)
            messages: deque[Message] = deque([{"type": "http.request", "body": bytes(body), "more_body": False}])

            async def replay() -> Message:
                return messages.popleft() if messages else await receive()

            left = threading.Event()
            CLIENT_LEFT.set(left)
            watching = asyncio.create_task(_note_end(receive, left))
            try:
                await self._app(scope, replay, patient)
            finally:
                watching.cancel()
        finally:
            self.n_bytes -= len(body)
        return None

    async def _read(self, receive: Receive, body: bytearray) -> Response | None:
        """Read a body to its end, counted as it comes; what to answer if that is not to be."""
        try:
            async with asyncio.timeout(self._limits.read_seconds):
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _TooSlowError
                    part, more = message.get("body", b""), message.get("more_body", False)
                    if len(body) + len(part) > self._limits.body_bytes:
                        return self._too_large()
                    if self.n_bytes + len(part) > self._limits.pending_bytes:
                        return self._busy("too much text is waiting")
                    self.n_bytes += len(part)
                    body += part
        except TimeoutError:
            seconds = self._limits.read_seconds
            refusal = _refusal(HTTPStatus.REQUEST_TIMEOUT, f"the request did not arrive within {seconds:g} seconds")
            refusal.headers["Connection"] = "close"
            return refusal
        return None

    def _is_known(self, given: str) -> bool:
        """Whether it is one of the keys, all of which are compared; any is where there are none."""
        sent = given.encode("utf-8", "surrogateescape")
        matches = [hmac.compare_digest(sent, key) for key in self._keys]
        return not self._keys or any(matches)

    def _too_large(self) -> Response:
        size = self._limits.body_bytes
        return _refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body may have {size:,} bytes; send less at a time")

    def _busy(self, why: str) -> Response:
        seconds = self._retry_after()
        refusal = _refusal(HTTPStatus.TOO_MANY_REQUESTS, f"{why}; come back in {seconds} s")
        refusal.headers["Retry-After"] = str(seconds)
        return refusal


def path_within(scope: Scope) -> str:
    """The path of a request within this application, which may be mounted in another one or be served under a path."""
    path: str = scope["path"]
    root = scope.get("root_path", "")
    return path[len(root) :] if path.startswith(f"{root}/") else path


async def _note_end(receive: Receive, left: threading.Event) -> None:
    """Wait until the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
    left.set()


def _patient(send: Send, seconds: float) -> Send:
    """Send in small pieces, each within some seconds; a client that takes none in that time has gone."""

    async def limited(message: Message) -> None:
        try:
            async with asyncio.timeout(seconds):
                await send(message)
        except TimeoutError:
            raise _TooSlowError from None

    async def in_pieces(message: Message) -> None:
        body = message.get("body", b"")
        for begin in range(0, max(len(body) - _PIECE, 0), _PIECE):
            await limited({"type": message["type"], "body": body[begin : begin + _PIECE], "more_body": True})
        rest = len(body) - 1 - (len(body) - 1) % _PIECE if len(body) > _PIECE else 0
        await limited({**message, "body": body[rest:]} if body else message)

    return in_pieces


def _keyless() -> Response:
    refusal = _refusal(HTTPStatus.UNAUTHORIZED, "an API key is needed: Authorization: Bearer KEY")
    refusal.headers["WWW-Authenticate"] = "Bearer"
    return refusal


def _refuse_method(taken: Sequence[str]) -> Response:
    refusal = _refusal(HTTPStatus.METHOD_NOT_ALLOWED, f"only {' and '.join(taken)} requests are taken here")
    refusal.headers["Allow"] = ", ".join(taken)
    return refusal


def _key_in(body: bytearray) -> str:
    """The field ``key`` of a form."""
    try:
        return parse_qs(body.decode("utf-8", "replace"), max_num_fields=10).get("key", [""])[-1]
    except ValueError:  # more fields
        return ""


def _name_of(host: str) -> str:
    """The host without its port; brackets of an IPv6 address stay."""
    name, colon, port = host.rpartition(":")
    return name.lower() if colon and port.isdecimal() and not host.endswith("]") else host.lower()


def _refusal(status: HTTPStatus, message: str) -> Response:
    return Response(error_body(status, message), status, media_type="application/json")
