"""Calls in threads of their own, also when the interpreter is ending and waits for the threads that are left."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

Result = TypeVar("Result")


def start(function: Callable[..., Result], *arguments: object) -> Future[Result]:
    """Start a call in a thread of its own, or make it now where none can be started; the future gets result or error.

    ``ThreadPoolExecutor`` takes nothing more as soon as the main thread has ended, so a thread that adds documents or
    searches would fail then, although the interpreter waits for it.
    """
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(function(*arguments))
        except BaseException as error:  # noqa: BLE001  raised to whoever asks for the result
            future.set_exception(error)

    try:
        threading.Thread(target=run, name="latechunk-background").start()
    except RuntimeError:  # there are as many as there may be, or the interpreter is ending
        run()
    return future
