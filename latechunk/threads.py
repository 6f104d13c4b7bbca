"""Calls in threads of their own, and what a forked process forgets of the threads that it does not have."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol, TypeVar

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


class Forgetful(Protocol):
    """What threads share."""

    def forget(self) -> None:
        """Be as if no thread was at work or waiting."""


_SHARED: weakref.WeakSet[Forgetful] = weakref.WeakSet()
_LOCKS: weakref.WeakSet[threading.Lock] = weakref.WeakSet()


def forget_in_child(shared: Forgetful) -> None:
    """Have ``shared.forget`` called in each process that is forked; the first call is made here and now."""
    shared.forget()
    _SHARED.add(shared)


def make_lock() -> threading.Lock:
    """Make a lock that is free in a forked process, whoever held it."""
    lock = threading.Lock()
    _LOCKS.add(lock)
    return lock


def _forget_all() -> None:
    for lock in list(_LOCKS):
        if lock.locked():
            lock.release()
    for shared in list(_SHARED):
        shared.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
