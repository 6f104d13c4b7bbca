"""Text and Markdown files: one document each, whose id is the path as given."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from latechunk.readers.reader import Problem, Reader, normal
from latechunk.types import Document


def _read(path: Path, on_problem: Callable[[Problem], None]) -> Iterator[Document]:  # noqa: ARG001  a reader's
    source = normal(path)
    yield Document(id=source, text=path.read_bytes().decode("utf-8-sig"), metadata={"source": source})


TEXT = Reader(suffixes=(".txt", ".md"), read=_read, count=lambda path: 1)  # noqa: ARG005
