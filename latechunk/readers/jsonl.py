"""JSON Lines files: a document for each line, with ``text``, metadata, and ``id`` if it has one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from latechunk.errors import DocumentError
from latechunk.readers.decoding import marked_encoding
from latechunk.readers.naming import name_documents
from latechunk.readers.reader import Problem, Reader, Reading, SourceFile, explain_decoding
from latechunk.types import Document, require_text


def _read(file: SourceFile, reading: Reading) -> Iterator[Document]:
    with file.path.open("rb") as start:
        marked = marked_encoding(start.read(4))
    for number, line in enumerate(_lines(file.path, marked), start=1):
        place = f"{file.path}:{number}"
        if not line.strip():
            continue
        try:
            text = line if isinstance(line, str) else _decode_line(line, reading.encoding)
            yield _parse_line(text, partial(reading.on_note, place))
        except UnicodeDecodeError as error:
            reading.on_problem(Problem(place, explain_decoding(error)))
        except (ValueError, RecursionError) as error:
            reading.on_problem(Problem(place, str(error)))


def _lines(path: Path, marked: str | None) -> Iterator[bytes | str]:
    """Lines as bytes, or as text where no byte ends a line, in UTF-16 and UTF-32."""
    if marked in (None, "utf-8-sig"):
        with path.open("rb") as raw:
            yield from raw
    else:
        with path.open(encoding=marked, newline="\n") as text:
            yield from text


def _decode_line(line: bytes, encoding: str | None) -> str:
    try:
        return line.decode("utf-8-sig")
    except UnicodeDecodeError:
        if encoding is None:
            raise
        return line.decode(encoding)


def _parse_line(line: str, note: Callable[[str], None]) -> Document:
    try:
        fields = json.loads(line)
    except json.JSONDecodeError as error:
        raise DocumentError(f"not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise DocumentError(
            f'a line must be an object with "text", and "id" if it has one, got {type(fields).__name__}'
        )
    if "text" not in fields:
        raise DocumentError('a line must be an object with "text", and "id" if it has one; it lacks text')
    nested = fields.pop("metadata", {})
    if not isinstance(nested, dict):
        raise DocumentError(f'"metadata" must be an object, got {type(nested).__name__}')
    text = fields.pop("text")
    document_id = fields.pop("id" if "id" in fields else "_id", None)  # as BEIR has it
    if isinstance(document_id, int | float) and not isinstance(document_id, bool):
        note("ids that are numbers are taken as strings")
        document_id = str(document_id)
    twice = sorted(fields.keys() & nested.keys())
    if twice:
        raise DocumentError(f'fields stand both outside and inside "metadata": {", ".join(twice)}')
    metadata = {**fields, **nested}
    require_text(text, "the text of a line", DocumentError)
    ((name, _),) = name_documents([text], lambda text: (document_id, text, metadata))
    return Document(id=name, text=text, metadata=metadata)


def _count(path: Path) -> int:
    try:
        with path.open("rb") as lines:
            return sum(bool(line.strip()) for line in lines)
    except OSError:
        return 0  # read_documents says why


JSONL = Reader(suffixes=(".jsonl",), read=_read, count=_count)
