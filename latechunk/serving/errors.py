"""Errors as the clients of all dialects read them: ``error.message`` for OpenAI's, ``detail`` for the others."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from pydantic_core import to_json

from latechunk.errors import InputError, LateChunkError

LOG = logging.getLogger("latechunk.serving")

_KINDS = {401: "authentication_error", 404: "not_found_error", 413: "invalid_request_error", 429: "rate_limit_error"}


class RequestError(LateChunkError):
    """A request that is answered with an error: its status, what it says, and which field it is about."""

    def __init__(self, status: int, message: str, *, field: str | None = None, code: str | None = None) -> None:
        """Take what the client is told."""
        super().__init__(message)
        self.status = status
        self.field = field
        self.code = code


class ClientLeftError(LateChunkError):
    """The client has gone; nobody reads the answer, which is counted by the status that nginx gives these."""

    STATUS = 499


class BusyError(LateChunkError):
    """There is more to do than may wait; come back after ``retry_after`` seconds."""

    def __init__(self, message: str, retry_after: int) -> None:
        """Take what the client is told."""
        super().__init__(message)
        self.retry_after = retry_after


def error_body(status: int, message: str, *, field: str | None = None, code: str | None = None) -> bytes:
    """JSON of an error that the clients of all dialects understand."""
    kind = _KINDS.get(status, "invalid_request_error" if status < 500 else "server_error")
    said = message.encode("utf-8", "backslashreplace").decode("utf-8")
    error: dict[str, Any] = {"message": said, "type": kind, "param": field, "code": code}
    return to_json({"error": error, "detail": said})


def describe(error: Exception, private: Mapping[str, str]) -> tuple[int, str, dict[str, str]]:
    """Status, message and headers of an answer to a request that failed.

    ``private`` are paths of this machine with what stands for them. An error that is not the client's is logged, and
    the client is told no more than that.
    """
    if isinstance(error, ClientLeftError):
        return ClientLeftError.STATUS, str(error), {}
    if isinstance(error, BusyError):
        return HTTPStatus.SERVICE_UNAVAILABLE, str(error), {"Retry-After": str(error.retry_after)}
    if isinstance(error, RequestError):
        return error.status, _cleaned(str(error), private), {}
    if isinstance(error, InputError):
        return HTTPStatus.BAD_REQUEST, _cleaned(str(error), private), {}
    LOG.error("a request failed", exc_info=error)
    return HTTPStatus.INTERNAL_SERVER_ERROR, "the server failed at this request; its log says why", {}


def _cleaned(message: str, private: Mapping[str, str]) -> str:
    for path, name in private.items():
        message = message.replace(path, name)
    return message
