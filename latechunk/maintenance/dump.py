"""Writes every document of a database that can still be read to a file, of which a new index can be made."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path

from latechunk.chunking.outline import find_outline
from latechunk.errors import StoreError
from latechunk.maintenance.documents import parse_metadata, parse_structure, read_document
from latechunk.readers.pages import OUTLINE, PAGES
from latechunk.storage.connection import connect, reading_mode
from latechunk.storage.directory import STORE, sync
from latechunk.storage.schema import is_as_made
from latechunk.types import RECORD_FILE
from latechunk.types.json_form import list_blocks, list_pages


def dump_documents(folder: Path, numbers: Iterable[int] | None = None) -> tuple[Path | None, int]:
    """Write documents to a new file ``salvaged-<time>.jsonl`` in the folder of an index, and sync it to the disk.

    Each line has ``id``, ``text`` and ``metadata``, with pages and outline among them, which `latechunk index` reads,
    and where the metadata have none ``latechunk_file``, null, so that this file is not taken for the document's.
    Bytes that are no UTF-8 have marks in their place; metadata that are no JSON object are left out, and so are pages
    and an outline that are not those that were stored, or whose text is not.

    ``numbers`` are those of the documents, None for all that can be found. Returns the file, None where nothing could
    be read, and how many documents are in it; StoreError if the disk does not take it.
    """
    store = folder / STORE
    path = folder / f"salvaged-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}.jsonl"
    n_saved = 0
    try:
        with (
            path.open("x", encoding="utf-8", newline="\n") as file,
            suppress(sqlite3.DatabaseError, UnicodeDecodeError),  # such as for a file that is no database at all
            closing(connect(store, reading_mode(store))) as connection,
        ):
            connection.execute("PRAGMA cell_size_check = ON")
            connection.execute("PRAGMA writable_schema = ON")  # lets SQLite open what it would refuse to
            connection.execute("PRAGMA query_only = ON")
            for number in _find_numbers(connection) if numbers is None else numbers:
                with suppress(sqlite3.DatabaseError):
                    n_saved += file.write(_read(connection, number)) > 0
        sync(path)
    except OSError as error:
        raise StoreError(f"the documents could not be written to {path}: {error}") from error
    finally:
        if not n_saved:
            path.unlink(missing_ok=True)
    return (path if n_saved else None), n_saved


def _find_numbers(connection: sqlite3.Connection) -> list[int]:
    """Numbers of documents: of their table from either end up to what is damaged, and of the chunks."""
    numbers: set[int] = set()
    for table, query in (
        ("documents", "SELECT number FROM documents NOT INDEXED ORDER BY number"),
        ("documents", "SELECT number FROM documents NOT INDEXED ORDER BY number DESC"),
        ("documents", "SELECT number FROM documents ORDER BY id"),
        ("chunks", "SELECT DISTINCT document FROM chunks"),
    ):
        with suppress(sqlite3.DatabaseError):
            if is_as_made(connection, table):  # nothing foreign is run
                numbers.update(number for (number,) in connection.execute(query) if isinstance(number, int))
    return sorted(numbers)


def _read(connection: sqlite3.Connection, number: int) -> str:
    """A document as a line of JSON; empty if it is not there."""
    row = read_document(connection, number)
    if row is None:
        return ""
    text = row.text if isinstance(row.text, bytes) else str(row.text or "").encode()
    metadata = json.loads(parse_metadata(row.metadata) or "{}")
    structure = parse_structure(row)
    if structure is not None and hashlib.sha256(text).digest() == row.text_sha256:
        pages, outline = structure
        metadata |= {PAGES: list_pages(pages)} if pages else {}
        # What the text shows by itself, whoever indexes it finds again.
        metadata |= {OUTLINE: list_blocks(outline)} if outline != find_outline(text.decode("utf-8")) else {}
    left = {"id": row.name, "text": text.decode("utf-8", "replace"), "metadata": metadata}
    if RECORD_FILE not in metadata:
        left[RECORD_FILE] = None  # so that whoever indexes it does not take this file for the document's
    return json.dumps(left, ensure_ascii=False) + "\n"
