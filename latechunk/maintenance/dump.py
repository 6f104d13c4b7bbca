"""Writes every document of a database that can still be read to a file, of which a new index can be made."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from latechunk.errors import StoreError
from latechunk.maintenance.documents import parse_metadata, read_document
from latechunk.storage.connection import connect, reading_mode
from latechunk.storage.directory import STORE, sync
from latechunk.storage.schema import is_as_made


def dump_documents(folder: Path, numbers: Iterable[int] | None = None) -> tuple[Path | None, int]:
    """Write documents to a new file ``salvaged-<time>.jsonl`` in the folder, and sync it to the disk.

    Each line has ``id``, ``text`` and ``metadata``, which `latechunk index` reads. Bytes that are no UTF-8 have marks
    in their place; metadata that are no JSON object are left out.

    Args:
        folder: Of the index.
        numbers: Of the documents; None for all that can be found.

    Returns:
        The file, None where nothing could be read, and how many documents are in it.

    Raises:
        StoreError: If the disk does not take it.
    """
    path = _free_name(folder)
    n_saved = 0
    try:
        with (
            path.open("x", encoding="utf-8", newline="\n") as file,
            contextlib.suppress(sqlite3.DatabaseError),  # such as for a file that is no database at all
            _opened(folder / STORE) as connection,
        ):
            for number in _find_numbers(connection) if numbers is None else numbers:
                left = _read(connection, number)
                if left is not None:
                    file.write(json.dumps(left, ensure_ascii=False) + "\n")
                    n_saved += 1
        sync(path)
    except OSError as error:
        raise StoreError(f"the documents could not be written to {path}: {error}") from error
    finally:
        if not n_saved:
            path.unlink(missing_ok=True)
    return (path if n_saved else None), n_saved


def _free_name(folder: Path) -> Path:
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    names = (f"salvaged-{now}{'' if number == 1 else f'-{number}'}.jsonl" for number in range(1, 10_000))
    return next(folder / name for name in names if not (folder / name).exists())


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a database even where it is shorter than it should be, or a table of it is not as it should be."""
    with contextlib.closing(connect(path, reading_mode(path))) as connection:
        connection.execute("PRAGMA cell_size_check = ON")
        connection.execute("PRAGMA writable_schema = ON")  # lets SQLite open what it would refuse to
        connection.execute("PRAGMA query_only = ON")
        yield connection


def _find_numbers(connection: sqlite3.Connection) -> list[int]:
    """Numbers of documents: of their table from either end up to what is damaged, and of the chunks."""
    queries = {
        "SELECT number FROM documents NOT INDEXED ORDER BY number": "documents",
        "SELECT number FROM documents NOT INDEXED ORDER BY number DESC": "documents",
        "SELECT number FROM documents ORDER BY id": "documents",
        "SELECT DISTINCT document FROM chunks": "chunks",
    }
    numbers: set[int] = set()
    for query, table in queries.items():
        with contextlib.suppress(sqlite3.DatabaseError):
            rows = connection.execute(query) if is_as_made(connection, table) else []  # nothing foreign is run
            for (number,) in rows:
                numbers.add(number)
    return sorted(numbers)


def _read(connection: sqlite3.Connection, number: int) -> dict[str, Any] | None:
    row = None
    with contextlib.suppress(sqlite3.DatabaseError):
        row = read_document(connection, number)
    if row is None:
        return None
    text = row.text if isinstance(row.text, bytes) else str(row.text or "").encode()
    return {
        "id": row.name,
        "text": text.decode("utf-8", "replace"),
        "metadata": json.loads(parse_metadata(row.metadata) or "{}"),
    }
