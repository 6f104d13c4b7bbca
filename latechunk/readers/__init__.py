"""Files to documents: text, Markdown and JSON Lines, and folders of them; one module a format."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from latechunk.errors import DocumentError
from latechunk.readers.decoding import require_encoding
from latechunk.readers.files import READERS, find_files
from latechunk.readers.reader import Problem, Reader, Reading, SourceFile, explain_decoding
from latechunk.types import Document

__all__ = ["READERS", "Problem", "Reader", "SourceFile", "count_documents", "find_files", "read_documents"]


def read_documents(
    files: Sequence[SourceFile],
    on_problem: Callable[[Problem], None],
    on_note: Callable[[str, str], None] = lambda place, what: None,  # noqa: ARG005
    *,
    encoding: str | None = None,
) -> Iterator[Document]:
    """Read documents from files.

    A text or Markdown file is one document; its id is the file's name in ``SourceFile``, and its metadata is
    ``{"source": absolute path}``. Each line of a JSON Lines file is one document, an object with ``text``, ``id`` and
    any other fields, which become its metadata; an object under ``metadata`` is joined with them. See
    ``name_documents`` for one without ``id``; BEIR's ``_id`` is one. Files are UTF-8, or UTF-16 or UTF-32 with a mark;
    the mark is no part of the text, and line ends stay as they are. Other text files are decoded where it is sure how.

    Args:
        files: From ``find_files``.
        on_problem: Called for each file or line that cannot be read, which is then left out.
        on_note: Called with a place and what was done with it, such as the encoding that was guessed.
        encoding: Of what has no mark and is not UTF-8; None to guess.
    """
    require_encoding(encoding)
    reading = Reading(on_problem, on_note, encoding)
    for file in files:
        try:
            yield from READERS[file.path.suffix.lower()].read(file, reading)
        except UnicodeError as error:
            explained = explain_decoding(error) if isinstance(error, UnicodeDecodeError) else str(error)
            on_problem(Problem(str(file.path), explained))
        except (OSError, DocumentError) as error:
            on_problem(Problem(str(file.path), str(error)))


def count_documents(files: Sequence[SourceFile]) -> int:
    """How many documents the files hold, at most, for a progress bar."""
    return sum(READERS[file.path.suffix.lower()].count(file.path) for file in files)
