"""Calls in threads of their own, also when the interpreter is ending and waits for the threads that are left."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any, Self, TypeVar

Result = TypeVar("Result")


class Background:
    """Runs each call in a thread; the end of a ``with`` statement waits for those under way.

    ``ThreadPoolExecutor`` takes nothing more as soon as the main thread has ended, so a thread that adds documents or
    searches would fail then, although the interpreter waits for it.
    """

    def __init__(self) -> None:
        """Start nothing yet."""
        self._running: set[Future[Any]] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        wait(list(self._running))

    def start(self, function: Callable[..., Result], *arguments: object) -> Future[Result]:
        """Start a call, which gives the future its result or its error."""
        future: Future[Result] = Future()

        def run() -> None:
            try:
                result = function(*arguments)
            except BaseException as error:  # noqa: BLE001  raised to whoever asks for the result
                future.set_exception(error)
            else:
                future.set_result(result)

        threading.Thread(target=run, name="latechunk-background").start()
        self._running.add(future)
        future.add_done_callback(self._running.discard)
        return future
