"""What a reader of one file format is, and what readers share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from latechunk.types import Document


@dataclass(frozen=True, slots=True)
class Problem:
    """What could not be read: a path, with a line number for JSON Lines, and why."""

    place: str
    reason: str


@dataclass(frozen=True, slots=True)
class Reader:
    """How files of one format are read.

    Attributes:
        suffixes: Of the files, in lower case, with the dot.
        read: Yields the documents of a file. It passes a part that cannot be read to the callback and goes on; what it
            raises (``OSError``, ``UnicodeDecodeError``, ``DocumentError``) ends the file.
        count: How many documents a file holds at most, for a progress bar.
    """

    suffixes: tuple[str, ...]
    read: Callable[[Path, Callable[[Problem], None]], Iterator[Document]]
    count: Callable[[Path], int]


def normal(path: Path) -> str:
    """A path as given, without detours, with forward slashes."""
    return Path(os.path.normpath(path)).as_posix()


def explain_decoding(error: UnicodeDecodeError) -> str:
    """Say what is not UTF-8, and what to do."""
    return f"not UTF-8: {error.reason} at byte {error.start}; convert it first, with iconv for instance"
