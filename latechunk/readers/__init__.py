"""Paths in, documents out: text, Markdown and JSON Lines files, and folders of them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from latechunk.errors import DocumentError
from latechunk.types import Document

TEXT_SUFFIXES = (".txt", ".md")
JSONL_SUFFIX = ".jsonl"


@dataclass(frozen=True, slots=True)
class Problem:
    """What could not be read: a path, with a line number for JSON Lines, and why."""

    place: str
    reason: str


def find_files(
    paths: Sequence[Path],
    on_problem: Callable[[Problem], None],
    on_other: Callable[[Path], None] | None = None,
) -> list[Path]:
    """List the files to read: those given, and those of a known kind in folders given, recursively and in order.

    Args:
        paths: Files and folders. Links inside a folder are not followed.
        on_problem: Called for each path given that is missing or of an unknown kind.
        on_other: Called for each file in a folder that is of an unknown kind.

    Returns:
        Regular files, in the order given, none twice.
    """
    found: dict[str, Path] = {}
    for path in paths:
        if path.is_dir():
            found.update({_normal(file): file for file in _files_below(path, on_problem, on_other)})
        elif not path.exists():
            on_problem(Problem(str(path), "there is no such file or folder"))
        elif not path.is_file():
            on_problem(Problem(str(path), "this is not a regular file"))
        elif not _is_known(path):
            on_problem(Problem(str(path), f"only {', '.join((*TEXT_SUFFIXES, JSONL_SUFFIX))} files are read"))
        else:
            found[_normal(path)] = path
    return list(found.values())


def read_documents(files: Sequence[Path], on_problem: Callable[[Problem], None]) -> Iterator[Document]:
    """Read documents from files.

    A text or Markdown file is one document; its id is its path as given, with forward slashes, and its metadata is
    ``{"source": path}``. Each line of a JSON Lines file is one document, an object with ``id``, ``text`` and any other
    fields, which become its metadata; an object under ``metadata`` is joined with them. Files are UTF-8; a byte order
    mark at the start is no part of the text, and line ends stay as they are.

    Args:
        files: From :func:`find_files`.
        on_problem: Called for each file or line that cannot be read, which is then left out.
    """
    for path in files:
        try:
            if path.suffix.lower() == JSONL_SUFFIX:
                yield from _read_lines(path, on_problem)
            else:
                yield _read_text(path)
        except UnicodeDecodeError as error:
            on_problem(Problem(str(path), _explain_decoding(error)))
        except (OSError, DocumentError) as error:
            on_problem(Problem(str(path), str(error)))


def count_documents(files: Sequence[Path]) -> int:
    """How many documents the files hold, at most, for a progress bar."""
    return sum(_count_lines(path) if path.suffix.lower() == JSONL_SUFFIX else 1 for path in files)


def _normal(path: Path) -> str:
    """A path as given, without detours, with forward slashes."""
    return Path(os.path.normpath(path)).as_posix()


def _is_known(path: Path) -> bool:
    return path.suffix.lower() in (*TEXT_SUFFIXES, JSONL_SUFFIX)


def _files_below(
    folder: Path, on_problem: Callable[[Problem], None], on_other: Callable[[Path], None] | None
) -> Iterator[Path]:
    def report(error: OSError) -> None:
        on_problem(Problem(str(error.filename), str(error)))

    for parent, folders, names in os.walk(folder, onerror=report, followlinks=False):
        folders.sort()
        for name in sorted(names):
            path = Path(parent, name)
            if path.is_symlink() or not path.is_file():
                continue
            if _is_known(path):
                yield path
            elif on_other:
                on_other(path)


def _read_text(path: Path) -> Document:
    source = _normal(path)
    text = path.read_bytes().decode("utf-8-sig")
    return Document(id=source, text=text, metadata={"source": source})


def _read_lines(path: Path, on_problem: Callable[[Problem], None]) -> Iterator[Document]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                yield _parse_line(line.decode("utf-8-sig"))
            except UnicodeDecodeError as error:
                on_problem(Problem(f"{path}:{number}", _explain_decoding(error)))
            except (ValueError, RecursionError) as error:
                on_problem(Problem(f"{path}:{number}", str(error)))


def _parse_line(line: str) -> Document:
    try:
        fields = json.loads(line)
    except json.JSONDecodeError as error:
        raise DocumentError(f"not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise DocumentError(f'a line must be an object with "id" and "text", got {type(fields).__name__}')
    missing = [name for name in ("id", "text") if name not in fields]
    if missing:
        raise DocumentError(f'a line must be an object with "id" and "text"; it lacks {" and ".join(missing)}')
    nested = fields.pop("metadata", {})
    if not isinstance(nested, dict):
        raise DocumentError(f'"metadata" must be an object, got {type(nested).__name__}')
    document_id, text = fields.pop("id"), fields.pop("text")
    twice = sorted(fields.keys() & nested.keys())
    if twice:
        raise DocumentError(f'fields stand both beside and in "metadata": {", ".join(twice)}')
    return Document(id=document_id, text=text, metadata={**fields, **nested})


def _count_lines(path: Path) -> int:
    try:
        with path.open("rb") as lines:
            return sum(bool(line.strip()) for line in lines)
    except OSError:
        return 0  # read_documents says why


def _explain_decoding(error: UnicodeDecodeError) -> str:
    return f"not UTF-8: {error.reason} at byte {error.start}; convert it first, with iconv for instance"
