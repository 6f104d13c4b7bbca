"""JSON files: a document as it is, or a document for each element of an array."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial

from latechunk.errors import DocumentError
from latechunk.readers.reader import Problem, Reader, Reading, SourceFile, read_text
from latechunk.readers.rows import row_document
from latechunk.types import Block, Document


def _read(file: SourceFile, reading: Reading) -> Iterator[Document]:
    text = read_text(file, reading)
    if reading.rows:
        yield from _row_documents(text, file, reading)
    else:
        yield Document(file.name, text, file.metadata, outline=(Block("code", 0, len(text)),) if text else ())


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
