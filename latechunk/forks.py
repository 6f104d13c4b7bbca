"""What a forked process forgets: the locks, counts and waiting calls of threads that stay with its parent."""

from __future__ import annotations

import os
import threading
import weakref
from typing import Protocol


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
