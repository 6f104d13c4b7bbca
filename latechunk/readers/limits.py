"""How much of a file is read: what is beyond it is refused with an error, never cut off."""

from __future__ import annotations

from pathlib import Path

from latechunk.errors import DocumentError

MAX_BYTES = 100_000_000
"""Of a file that is read whole, such as text, Markdown, HTML or JSON."""


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
