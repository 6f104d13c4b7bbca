"""Files to documents, and folders of them; one module a format, found by ``registry.find_reader``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

from latechunk.errors import DocumentError, LateChunkError
from latechunk.readers.decoding import explain_decoding, require_encoding
from latechunk.readers.files import find_files
from latechunk.readers.parser_process import ParserProcess
from latechunk.readers.reader import Problem, Reader, Reading, SourceFile
from latechunk.readers.registry import READERS, find_reader
from latechunk.types import Document

__all__ = ["READERS", "Problem", "Reader", "SourceFile", "count_documents", "find_files", "read_documents"]


def read_documents(
    files: Sequence[SourceFile],
    on_problem: Callable[[Problem], None],
    on_note: Callable[[str, str], None] = lambda place, what: None,  # noqa: ARG005
    *,
    encoding: str | None = None,
    rows: bool = False,
    password: str | None = None,
) -> Iterator[Document]:
    """Read documents from files.

    A file is one document; its id is the file's name in ``SourceFile``, and its metadata hold the absolute path as
    ``source`` and what the file says of itself. Each line of a JSON Lines file is one document, an object with
    ``text``, ``id`` and any other fields, which become its metadata; an object under ``metadata`` is joined with them.
    See ``name_documents`` for one without ``id``; BEIR's ``_id`` is one. Text files are UTF-8, or UTF-16 or UTF-32 with
    a mark; the mark is no part of the text, and line ends stay as they are. Others are decoded where it is sure how.

    Args:
        files: From ``find_files``.
        on_problem: Called for each file or part of it that cannot be read, which is then left out.
        on_note: Called with a place and what was done with it, such as the encoding that was guessed.
        encoding: Of what has no mark and is not UTF-8; None to guess.
        rows: Make a document of each row of a CSV or TSV file or workbook and of each element of a JSON array.
        password: Of encrypted files.
    """
    require_encoding(encoding)
    with closing(ParserProcess()) as process:
        reading = Reading(_uncaught(on_problem), _uncaught(on_note), encoding, rows, password, process)
        for file in files:
            try:
                yield from _read(file, reading)
            except _CallerError as error:
                raise error.cause from error.cause.__cause__
            except UnicodeError as error:
                explained = explain_decoding(error) if isinstance(error, UnicodeDecodeError) else str(error)
                on_problem(Problem(str(file.path), explained))
            except (OSError, LateChunkError) as error:
                on_problem(Problem(str(file.path), str(error)))
            except Exception as error:  # noqa: BLE001 (whatever a reader raises, it costs this file only)
                on_problem(Problem(str(file.path), f"its reader failed: {type(error).__name__}: {error}"[:500]))


def count_documents(files: Sequence[SourceFile], *, rows: bool = False) -> int:
    """How many documents the files hold, at most, for a progress bar."""
    return sum(_count(file.path, rows) for file in files)


class _CallerError(BaseException):
    """What a function of the caller raised, which is no fault of a file, so that no reader catches it."""

    def __init__(self, cause: Exception) -> None:
        """Hold what was raised."""
        self.cause = cause


def _uncaught(function: Callable[..., None]) -> Callable[..., None]:
    """The function, whose errors no reader catches."""

    def call(*arguments: object) -> None:
        try:
            function(*arguments)
        except Exception as error:  # noqa: BLE001 (it is raised again)
            raise _CallerError(error) from None

    return call


def _read(file: SourceFile, reading: Reading) -> Iterator[Document]:
    reader = find_reader(file.path)
    if reader is None:
        raise DocumentError("it holds no text, and is of no format that is read")
    before = _state(file.path)
    for number, document in enumerate(reader.read(file, reading)):
        if not number and _state(file.path) != before:
            raise DocumentError("it changed while it was read; run this again")
        yield document


def _state(path: Path) -> tuple[int, int]:
    now = path.stat()
    return now.st_mtime_ns, now.st_size


def _count(path: Path, rows: bool) -> int:
    try:
        reader = find_reader(path)
    except OSError:
        return 0  # read_documents says why
    return reader.count(path, rows) if reader else 0
