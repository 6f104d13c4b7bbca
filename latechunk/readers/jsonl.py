"""JSON Lines files: a document for each line, with ``text``, metadata, and ``id`` if it has one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from latechunk.errors import DocumentError
from latechunk.readers.decoding import explain_decoding, marked_encoding
from latechunk.readers.limits import count_lines, read_lines
from latechunk.readers.reader import Problem, Reader, Reading, SourceFile
from latechunk.readers.rows import line_document
from latechunk.types import Document


def _read(file: SourceFile, reading: Reading) -> Iterator[Document]:
    with file.path.open("rb") as start:
        marked = marked_encoding(start.read(4))
    for number, line in enumerate(_lines(file.path, marked), start=1):
        place = f"{file.path}:{number}"
        if not line.strip():
            continue
        try:
            text = line if isinstance(line, str) else _decode_line(line, reading.encoding)
            yield line_document(_parse_line(text), partial(reading.on_note, place), file, number)
        except UnicodeDecodeError as error:
            reading.on_problem(Problem(place, explain_decoding(error)))
        except (ValueError, RecursionError) as error:
            reading.on_problem(Problem(place, str(error)))


def _lines(path: Path, marked: str | None) -> Iterator[bytes | str]:
    """Lines as bytes, or as text where no byte ends a line, in UTF-16 and UTF-32."""
    if marked in (None, "utf-8-sig"):
        with path.open("rb") as raw:
            yield from read_lines(raw)
    else:
        with path.open(encoding=marked, newline="\n") as text:
            yield from read_lines(text)


def _decode_line(line: bytes, encoding: str | None) -> str:
    try:
        return line.decode("utf-8-sig")
    except UnicodeDecodeError:
        if encoding is None:
            raise
        return line.decode(encoding)


def _parse_line(line: str) -> dict[str, Any]:
    try:
        fields = json.loads(line)
    except json.JSONDecodeError as error:
        raise DocumentError(f"not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise DocumentError(
            f'a line must be an object with "text", and "id" if it has one, got {type(fields).__name__}'
        )
    return fields


JSONL = Reader(suffixes=(".jsonl", ".ndjson"), read=_read, count=lambda path, rows: count_lines(path))  # noqa: ARG005
