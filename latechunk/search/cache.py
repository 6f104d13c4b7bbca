"""A cache of values read from a store, emptied when the store changes."""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar, cast

import numpy as np

from latechunk.threads import make_lock

_Value = TypeVar("_Value")

_MOST_BYTES = 128 * 2**20
_ENTRY_BYTES = 256  # of a value beside its key and its arrays


class StoreCache:
    """What every search needs, and up to 128 MiB of what else was read last.

    Threads may share it, and none waits while another reads.
    """

    def __init__(self, most_bytes: int = _MOST_BYTES) -> None:
        """Remember nothing yet."""
        self._most_bytes = most_bytes
        self._lock = make_lock()  # only around what is remembered, since a lookup there also reorders it
        self._token = ""
        self._values: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()  # with their bytes
        self._n_bytes = 0
        self._renewed: dict[Hashable, tuple[Hashable, Any]] = {}

    def get(self, token: str, key: Hashable, read: Callable[[], _Value]) -> _Value:
        """What ``read`` gives for this key in the state of the store that has this token."""
        with self._lock:
            if token == self._token and key in self._values:
                self._values.move_to_end(key)
                return cast("_Value", self._values[key][0])
        value = read()  # outside the lock: two threads that ask the same at once both read
        with self._lock:
            if token != self._token:
                self._values.clear()
                self._token, self._n_bytes = token, 0
            if key not in self._values:
                # A filter that lists thousands of ids is a larger key than its value.
                n_bytes = _ENTRY_BYTES + _bytes_of(key) + _bytes_of(value)
                self._values[key] = value, n_bytes
                self._n_bytes += n_bytes
            while self._n_bytes > self._most_bytes and len(self._values) > 1:
                self._n_bytes -= self._values.popitem(last=False)[1][1]
        return value

    def renew(self, token: Hashable, key: Hashable, read: Callable[[_Value | None], _Value]) -> _Value:
        """What ``read`` makes in this state of what it made in the one before, at first of None.

        It is kept whatever its size: what every search needs is not to be read again because an index is large.
        """
        known_token, known = self._renewed.get(key, (None, None))
        if known_token == token:
            return cast("_Value", known)
        value = read(known)
        self._renewed[key] = token, value
        return value


def _bytes_of(value: object) -> int:
    """The bytes of a value, and of what it holds if it is a tuple or has slots."""
    if isinstance(value, np.ndarray):
        return value.nbytes
    parts = (
        value if isinstance(value, tuple) else (getattr(value, one) for one in getattr(type(value), "__slots__", ()))
    )
    return sys.getsizeof(value) + sum(map(_bytes_of, parts))
