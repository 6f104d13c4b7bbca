"""An ASGI application in, a server on an address that finishes what it took before it ends."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import signal
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from socket import AF_INET, AF_INET6, SO_REUSEADDR, SOL_SOCKET
from socket import socket as Socket  # noqa: N812  the class
from typing import Any, ClassVar

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from latechunk.errors import InputError
from latechunk.serving.limits import Limits

LOOPBACK = ("localhost", "127.0.0.1", "[::1]", "::1")
_SHORTEST_KEY = 16
_OTHER_FILES = 1_000  # that may be open besides connections
_Protocol: Any = AutoHTTPProtocol


def serve(app: ASGIApp, *, host: str, port: int, limits: Limits, on_ready: Callable[[int], None]) -> None:
    """Serve until SIGINT or SIGTERM; then take nothing new, finish what was taken, and return.

    ``on_ready`` is called with the port, once connections are taken; a ``port`` of 0 stands for any that is free.

    Raises:
        InputError: If the address cannot be used.
    """
    _raise_file_limit(limits.connections)
    config = make_config(app, host, port, limits)
    socket = _bind(host, port)
    for number in (signal.SIGINT, signal.SIGTERM):  # uvicorn raises again what it was ended by
        signal.signal(number, lambda *_: None)
    _Server(config, lambda: on_ready(socket.getsockname()[1])).run(sockets=[socket])


@contextlib.contextmanager
def ended_at_once(*signals: int) -> Iterator[None]:
    """Within this the process ends at these signals, as there is nothing to finish.

    The first process of a container passes over SIGTERM unless it says what to do, and one that waits for standard
    input cannot be interrupted.
    """
    before = {one: signal.signal(one, lambda number, _: os._exit(128 + number)) for one in signals}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _bind(host: str, port: int) -> Socket:
    """A socket of an address; uvicorn's own ends the process where there is none."""
    bound = Socket(family=AF_INET6 if ":" in host else AF_INET)
    try:
        bound.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise InputError(
            f"the server needs an address of this machine that is free, and {host}:{port} is not ({error.strerror}): "
            f"choose another --port"
        ) from error
    return bound


class _Server(uvicorn.Server):
    """uvicorn's, which says when it takes connections."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[Socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self._on_ready()


def make_config(app: ASGIApp, host: str, port: int, limits: Limits) -> uvicorn.Config:
    """What uvicorn is told, within these limits."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        http=type("Protocol", (TimedProtocol,), {"limits": limits}),
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=2_048,
        timeout_keep_alive=round(limits.idle_seconds),
        timeout_graceful_shutdown=max(1, round(limits.work_seconds)),
    )


class TimedProtocol(_Protocol):  # type: ignore[misc]  # which of two it is depends on what is installed
    """uvicorn's protocol, which closes what does not send a head in time, and what is more than it may hold.

    uvicorn waits for ever for the head of a request; a client that opens connections and sends a byte a minute would
    hold them all.
    """

    limits: ClassVar[Limits] = Limits()
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Take a connection, unless there are too many."""
        super().connection_made(transport)
        if len(self.connections) > self.limits.connections:
            transport.abort()
        else:
            self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read; the time begins with the first byte of a head, and stops with its end."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_timer()
        elif self._head_timer is None:
            self._expect_head()

    def _expect_head(self) -> None:
        self._head_timer = self.loop.call_later(self.limits.read_seconds, self.transport.abort)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


def read_keys(path: Path) -> list[str]:
    """The API keys in a file, one a line; blank lines and those that begin with # are passed over.

    Raises:
        InputError: If the file cannot be read, has no key, or a short one.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"--api-key-file must be a text file with a key in each line, and cannot be read: {error}"
        ) from error
    keys = [line for line in lines if line and not line.startswith("#")]
    if not keys or any(len(key) < _SHORTEST_KEY or not key.isascii() for key in keys):
        raise InputError(
            f"{path} must have at least one key, and each must have {_SHORTEST_KEY} ASCII characters or more; "
            f"`openssl rand -hex 32` makes one"
        )
    return keys


def allowed_hosts(host: str, keys: Sequence[str]) -> Collection[str]:
    """Names by which a server on ``host`` may be called: without keys it must be on loopback, and is called so.

    Raises:
        InputError: If others could reach it and there is no key.
    """
    if is_loopback(host):
        return () if keys else (*LOOPBACK, host)
    if not keys:
        raise InputError(
            f"on {host} others can reach the server: it needs --api-key-file, or --host 127.0.0.1 to be reached from "
            f"this machine alone"
        )
    return ()


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _raise_file_limit(n_connections: int) -> None:
    """Let the process have so many connections open, or as many as the system lets it."""
    try:
        import resource
    except ImportError:  # not on Windows
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = n_connections + _OTHER_FILES
    wanted = most if hard == resource.RLIM_INFINITY else min(most, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):  # macOS says that there is no limit, and has one
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
