"""The file that a document was read from, and its row or line there: recorded in metadata, and found again."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from os.path import realpath
from pathlib import Path
from typing import Any

from latechunk.readers.reader import SourceFile
from latechunk.types import RECORD_FILE, TABLE_ROW, Document


def with_origin(
    metadata: Mapping[str, Any], file: SourceFile, number: int, own_keys: Collection[str]
) -> dict[str, Any]:
    """Metadata of a record with its file as ``source`` and its number as ``table_row``.

    Where the record has one of ``own_keys`` that is not blank, it says itself what it is cited by; file and number are
    then recorded under ``RECORD_FILE`` alone. One that has this key, as documents that were salvaged do, keeps what it
    has, and nothing is recorded where that is None.
    """
    if RECORD_FILE in metadata:
        return {key: value for key, value in metadata.items() if (key, value) != (RECORD_FILE, None)}
    stated = {key: value for key, value in metadata.items() if key not in own_keys or not _is_blank(value)}
    if any(key in stated for key in own_keys):
        return {**metadata, RECORD_FILE: f"{file.metadata['source']}#{number}"}
    return {**file.metadata, TABLE_ROW: number, **stated}


def _is_blank(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def find_file(document_id: str, metadata: Mapping[str, Any]) -> str | None:
    """The path of the file that a document was read from, whether or not it is still there; None if that is unknown.

    A ``source`` may be anything that a record or program says. It is the file if it is an absolute path from which the
    id was made, or if the document is a row.
    """
    recorded, source = metadata.get(RECORD_FILE), metadata.get("source")
    if isinstance(recorded, str):
        return recorded.rpartition("#")[0]
    if not isinstance(source, str) or not Path(source).is_absolute():
        return None
    return source if find_row(metadata) or source.endswith(f"/{document_id}") else None


def find_row(metadata: Mapping[str, Any]) -> int | None:
    """The number of the row or line of its file that a document is, from 1; None if it is a whole file."""
    recorded = metadata.get(RECORD_FILE)
    number = recorded.rpartition("#")[2] if isinstance(recorded, str) else ""
    row = int(number) if number.isdecimal() else metadata.get(TABLE_ROW)
    return row if type(row) is int else None


def is_of_another_file(document: Document, stored: Document) -> bool:
    """Whether a document was read from another file than the stored one of its id, whose file is still there."""
    was, now = (find_file(one.id, one.metadata) for one in (stored, document))
    return bool(was and now and was != now and Path(was).is_file() and realpath(was) != realpath(now))
