"""Files to documents: text, Markdown and JSON Lines, and folders of them; one module a format."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from latechunk.errors import DocumentError
from latechunk.readers.files import READERS, find_files
from latechunk.readers.reader import Problem, Reader, explain_decoding
from latechunk.types import Document

__all__ = ["READERS", "Problem", "Reader", "count_documents", "find_files", "read_documents"]


def read_documents(files: Sequence[Path], on_problem: Callable[[Problem], None]) -> Iterator[Document]:
    """Read documents from files.

    A text or Markdown file is one document; its id is its path as given, with forward slashes, and its metadata is
    ``{"source": path}``. Each line of a JSON Lines file is one document, an object with ``id``, ``text`` and any other
    fields, which become its metadata; an object under ``metadata`` is joined with them. Files are UTF-8; a byte order
    mark at the start is no part of the text, and line ends stay as they are.

    Args:
        files: From ``find_files``.
        on_problem: Called for each file or line that cannot be read, which is then left out.
    """
    for path in files:
        try:
            yield from READERS[path.suffix.lower()].read(path, on_problem)
        except UnicodeDecodeError as error:
            on_problem(Problem(str(path), explain_decoding(error)))
        except (OSError, DocumentError) as error:
            on_problem(Problem(str(path), str(error)))


def count_documents(files: Sequence[Path]) -> int:
    """How many documents the files hold, at most, for a progress bar."""
    return sum(READERS[path.suffix.lower()].count(path) for path in files)
