"""JSON files: a document as it is, with its letters for their escapes, or a document for each element of an array."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import partial

from latechunk.errors import DocumentError
from latechunk.readers.reader import Problem, Reader, Reading, SourceFile, read_text
from latechunk.readers.rows import row_document
from latechunk.types import Block, Document

_ESCAPES = re.compile(r"((?:\\u[0-9A-Fa-f]{4})+)|\\.")
_STAY = re.compile("[\0-\x9f\u2028\u2029\ud800-\udfff]")  # signs of JSON, ends of lines, and halves of letters


def _read(file: SourceFile, reading: Reading) -> Iterator[Document]:
    text = read_text(file, reading)
    if reading.rows:
        yield from _row_documents(text, file, reading)
    else:
        text = _ESCAPES.sub(_unescape, text)
        yield Document(file.name, text, file.metadata, outline=(Block("code", 0, len(text)),) if text else ())


def _unescape(escapes: re.Match[str]) -> str:
    r"""The letters of escapes such as ``\u00fc``, without which no word is found; it stays the same JSON."""
    if not escapes[1]:
        return escapes[0]
    return _STAY.sub(lambda sign: f"\\u{ord(sign[0]):04x}", json.loads(f'"{escapes[1]}"'))


def _row_documents(text: str, file: SourceFile, reading: Reading) -> Iterator[Document]:
    try:
        elements = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DocumentError(f"not JSON: {error}") from error
    if not isinstance(elements, list):
        raise DocumentError(f"rows (--rows) are the elements of an array, got {type(elements).__name__}")
    for number, element in enumerate(elements, start=1):
        place = f"{file.path}, element {number}"
        try:
            fields = {"text": element} if isinstance(element, str) else element
            if not isinstance(fields, dict):
                raise DocumentError(f"an element must be an object or a string, got {type(element).__name__}")
            yield row_document(fields, file, number, partial(reading.on_note, place))
        except DocumentError as error:
            reading.on_problem(Problem(place, str(error)))


JSON = Reader(suffixes=(".json",), read=_read)
