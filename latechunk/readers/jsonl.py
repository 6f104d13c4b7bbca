"""JSON Lines files: a document for each line, with ``id``, ``text`` and metadata."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

from latechunk.errors import DocumentError
from latechunk.readers.reader import Problem, Reader, explain_decoding
from latechunk.types import Document


def _read(path: Path, on_problem: Callable[[Problem], None]) -> Iterator[Document]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                yield _parse_line(line.decode("utf-8-sig"))
            except UnicodeDecodeError as error:
                on_problem(Problem(f"{path}:{number}", explain_decoding(error)))
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
        raise DocumentError(f'fields stand both outside and inside "metadata": {", ".join(twice)}')
    return Document(id=document_id, text=text, metadata={**fields, **nested})


def _count(path: Path) -> int:
    try:
        with path.open("rb") as lines:
            return sum(bool(line.strip()) for line in lines)
    except OSError:
        return 0  # read_documents says why


JSONL = Reader(suffixes=(".jsonl",), read=_read, count=_count)
