"""How much of a file is read: what is beyond it is refused with an error, never cut off."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO, AnyStr

from latechunk.errors import DocumentError

MAX_BYTES = 100_000_000
"""Of a file that is read whole, such as text, Markdown, HTML or JSON, and of a line of one that is not."""

_BLOCK = 65_536


def read_whole(path: Path) -> bytes:
    """Read a file; DocumentError if it holds more than ``MAX_BYTES``."""
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise DocumentError(
            f"it holds {path.stat().st_size / 1e6:,.0f} MB, and at most {MAX_BYTES / 1e6:,.0f} MB are read as one "
            f"document; split it into several files"
        )
    return data


def require_length(n_characters: int) -> None:
    """Raise a DocumentError for a text of more characters than ``MAX_BYTES``."""
    if n_characters > MAX_BYTES:
        raise DocumentError(f"it holds more than {MAX_BYTES:,} characters; split it into several files")


def read_lines(file: IO[AnyStr]) -> Iterator[AnyStr]:
    """The lines of a file; DocumentError at one that holds more than ``MAX_BYTES``, or as many characters."""
    number = 0
    while line := file.readline(MAX_BYTES + 1):
        number += 1
        if len(line) > MAX_BYTES:
            raise DocumentError(f"line {number} holds more than {MAX_BYTES / 1e6:,.0f} MB; are its line ends lost?")
        yield line


def count_lines(path: Path) -> int:
    """How many lines of a file are not blank; 0 if it cannot be opened, which reading it will tell."""
    n_lines, has_text = 0, False
    try:
        with path.open("rb") as file:
            while piece := file.readline(_BLOCK):
                has_text = has_text or bool(piece.strip())
                if piece.endswith(b"\n"):
                    n_lines, has_text = n_lines + has_text, False
    except OSError:
        return 0
    return n_lines + has_text
