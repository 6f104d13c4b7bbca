"""Files in blocks, each with a SHA-256: read once, and no byte of a block is given out before it was compared."""

from __future__ import annotations

import hashlib
import io
import os
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, wait
from itertools import islice

from latechunk.errors import IndexDamagedError
from latechunk.threads import start

BLOCK = 2**24  # bytes; FAISS is to ask for as many at once: with a sixteenth, its own, reading takes 2.6 times as long
_AHEAD = 4  # blocks, each read and hashed by a thread of its own; one core hashes 1.6 GB a second
_NOT_WRITTEN = "it is not the file that was written"


def hash_blocks(file: io.BufferedReader) -> tuple[str, ...]:
    """SHA-256 of each 16 MB of a file, in order; of an empty one none."""
    return tuple(digest for _, digest in _read_ahead(file, _count_blocks(file)))


def require_blocks(file: io.BufferedReader, digests: Sequence[str]) -> None:
    """Raise IndexDamagedError unless the blocks of a file have the digests that ``hash_blocks`` gave."""
    if hash_blocks(file) != tuple(digests):
        raise IndexDamagedError(_NOT_WRITTEN)


class CheckedReader:
    """Reads a file from its beginning to its end, as far as its blocks have the digests that ``hash_blocks`` gave."""

    def __init__(self, file: io.BufferedReader, digests: Sequence[str]) -> None:
        """Nothing is read yet; IndexDamagedError if the file has more or fewer blocks."""
        if _count_blocks(file) != len(digests):
            raise IndexDamagedError(_NOT_WRITTEN)
        self._blocks = _checked(file, digests)
        self._block = memoryview(b"")

    def read(self, size: int = BLOCK, /) -> bytes:
        """Up to so many bytes, fewer where a block ends and none at the end; IndexDamagedError if the block differs."""
        if not self._block:
            self._block = memoryview(next(self._blocks, b""))
        part, self._block = self._block[:size], self._block[size:]
        return bytes(part)


def _checked(file: io.BufferedReader, digests: Sequence[str]) -> Iterator[bytes]:
    for expected, (block, digest) in zip(digests, _read_ahead(file, len(digests)), strict=True):
        if digest != expected:
            raise IndexDamagedError(_NOT_WRITTEN)
        yield block


def _read_ahead(file: io.BufferedReader, n_blocks: int) -> Iterator[tuple[bytes, str]]:
    """Blocks with their digests; while one is used, threads read and hash the next."""
    lock = threading.Lock()

    def read(number: int) -> tuple[bytes, str]:
        with lock:
            file.seek(number * BLOCK)
            block = file.read(BLOCK)  # whole, since the file is buffered: a network's may give less at once
        return block, hashlib.sha256(block).hexdigest()

    tasks = (start(read, number) for number in range(n_blocks))
    ahead: deque[Future[tuple[bytes, str]]] = deque()
    try:
        ahead.extend(islice(tasks, _AHEAD))
        while ahead:
            yield ahead[0].result()
            ahead.popleft()
            ahead.extend(islice(tasks, 1))
    finally:
        wait(ahead)  # the caller closes the file


def _count_blocks(file: io.BufferedReader) -> int:
    return -(-os.fstat(file.fileno()).st_size // BLOCK)
