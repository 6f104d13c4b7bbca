"""Make documents of records: rows of a table, elements of a JSON array, lines of JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from latechunk.errors import DocumentError
from latechunk.readers.naming import name_documents
from latechunk.readers.origin import with_origin
from latechunk.readers.pages import unpack_document
from latechunk.readers.reader import SourceFile
from latechunk.types import TABLE_ROW, TABLE_SHEET, Document, require_text

_CITED_BY = ("source", "file_path", "file_name")


def line_document(
    fields: Mapping[str, Any], note: Callable[[str], None], file: SourceFile | None = None, number: int = 0
) -> Document:
    """Make a document of an object with ``text``, and ``id`` if it has one; the rest and ``metadata`` are metadata.

    The ``messages`` of a chat are its text if it has none. ``number`` is that of its line, if it is one of a file.
    """
    fields = _read_chat(fields)
    if "text" not in fields:
        raise DocumentError('a line must be an object with "text", and "id" if it has one; it lacks text')
    text, chosen, metadata = _split(fields, note)
    require_text(text, "the text of a line", DocumentError)
    ((name, _),) = name_documents([text], lambda text: (chosen, text, metadata))
    return unpack_document(name, text, with_origin(metadata, file, number, _CITED_BY) if file else metadata)


def row_document(
    fields: Mapping[str, Any],
    file: SourceFile,
    number: int,
    note: Callable[[str], None],
    *,
    numbers: Mapping[str, float | None] | None = None,
    sheet: str | None = None,
) -> Document:
    """Make a document of a row; without ``text`` its text is its fields, one a line; all but the id are metadata.

    Its id is its own, or the name of the file with the row's number, from 1: ``people.csv#7``, in a workbook with its
    sheet: ``book.xlsx#Sales#7``. ``numbers`` stand in the metadata for fields that are written as they are; None: the
    metadata lack the field.
    """
    fields = _read_chat(fields)
    text, chosen, metadata = _split(fields, note)
    if text is None:
        shown = {**{name: value for name, value in fields.items() if name != "metadata"}, **metadata}
        text = "\n".join(f"{name}: {_show(value)}" for name, value in shown.items() if value not in (None, ""))
    require_text(text, "the text of a row", DocumentError)
    place = "#".join(map(str, [file.name, *([sheet] if sheet is not None else []), number]))
    name = place if chosen in (None, "") else chosen
    known = {key: value for key, value in (numbers or {}).items() if key in metadata}
    stated = {key: known.get(key, value) for key, value in metadata.items() if known.get(key, "") is not None}
    origin = {TABLE_ROW: number, **({TABLE_SHEET: sheet} if sheet is not None else {})}
    described = {**origin, **with_origin(stated, file, number, ("source",))}
    return Document(name, text, described, outline=None if "text" in fields else ())


def _read_chat(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """A record with what is said in its ``messages``, each of a ``role`` and its ``content``, as its text."""
    messages = fields.get("messages")
    if "text" in fields or not isinstance(messages, list):
        return fields
    turns = []
    for message in messages:
        if not isinstance(message, dict) or "role" not in message:
            return fields
        content = message.get("content")
        parts = (
            [one.get("text") for one in content if isinstance(one, dict)] if isinstance(content, list) else [content]
        )
        said = "\n".join(part for part in parts if isinstance(part, str)).strip()
        turns += [f"{message['role']}: {said}"] if said else []
    if not turns:
        return fields
    return {**{name: value for name, value in fields.items() if name != "messages"}, "text": "\n\n".join(turns)}


def _split(fields: Mapping[str, Any], note: Callable[[str], None]) -> tuple[Any, Any, dict[str, Any]]:
    """The text, the id and the metadata of a record."""
    rest = dict(fields)
    nested = rest.pop("metadata", None)
    if isinstance(nested, str):  # a column of this name, as tables have it
        rest["metadata"] = nested
    if nested is None or isinstance(nested, str):
        nested = {}
    if not isinstance(nested, dict):
        raise DocumentError(f'"metadata" must be an object, got {type(nested).__name__}')
    text = rest.pop("text", None)
    chosen = rest.pop("id" if "id" in rest else "_id", None)  # as BEIR has it
    if isinstance(chosen, int | float) and not isinstance(chosen, bool):
        note("ids that are numbers are taken as strings")
        chosen = str(chosen)
    twice = sorted(rest.keys() & nested.keys())
    if twice:
        raise DocumentError(f'fields stand both outside and inside "metadata": {", ".join(twice)}')
    return text, chosen, {**rest, **nested}


def _show(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
