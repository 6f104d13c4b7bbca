"""Documents of a damaged database in, a JSON Lines file of whatever can still be read of them out."""

from __future__ import annotations

import base64
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from latechunk.maintenance.tables import DocumentRow, VectorRow, read_chunks, read_document, text_of

_PIECE = 1_048_576


def free_name(folder: Path, stem: str, suffix: str = "") -> Path:
    """A path in ``folder`` that is not taken, with the time in its name."""
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    names = (f"{stem}{now}{'' if number == 1 else f'-{number}'}{suffix}" for number in range(1, 10_000))
    return next(folder / name for name in names if not (folder / name).exists())


def save_leftovers(
    connection: sqlite3.Connection, folder: Path, numbers: Iterable[int], dims: int | None
) -> tuple[Path | None, int]:
    """Write what is left of documents to a new file ``salvaged-<time>.jsonl``, and see it through to the disk.

    Each line has ``id``, ``text`` and ``metadata``, so that `latechunk index` takes it, but for those whose text is no
    UTF-8 and has marks in the place of what cannot be read. Under ``salvaged`` stands what else there is: the text's
    exact bytes where it is not UTF-8 (``text_base64``), metadata that are no JSON object (``metadata_raw``), and each
    chunk with its vector (float32, little-endian, base64).

    Args:
        connection: Where to read.
        folder: Where to write.
        numbers: Of the documents.
        dims: Length of their vectors; None to leave chunks and vectors out.

    Returns:
        The file, None where nothing was written, and how many documents are in it.
    """
    path = free_name(folder, "salvaged-", ".jsonl")
    n_saved = 0
    with path.open("x", encoding="utf-8", newline="\n") as file:
        for number in numbers:
            left = _read_leftover(connection, number, dims)
            if left is not None:
                file.write(json.dumps(left, ensure_ascii=False) + "\n")
                n_saved += 1
        file.flush()
        os.fsync(file.fileno())
    if not n_saved:
        path.unlink()
    return (path if n_saved else None), n_saved


def read_text(connection: sqlite3.Connection, number: int) -> bytes:
    """A document's text as far as it can be read."""
    pieces: list[bytes] = []
    with suppress(sqlite3.Error), text_of(connection, number) as blob:
        while piece := blob.read(_PIECE):
            pieces.append(piece)
    return b"".join(pieces)


def _read_leftover(connection: sqlite3.Connection, number: int, dims: int | None) -> dict[str, Any] | None:
    try:
        row = read_document(connection, number)
    except sqlite3.DatabaseError:
        return None
    if row is None:
        return None
    text = read_text(connection, number)
    others = {**_describe_text(text), **_describe_metadata(row)}
    if dims is not None:
        others["chunks"] = list(_describe_chunks(connection, number, dims))
    left = {"id": row.name, "text": text.decode("utf-8", "replace"), "metadata": _parse(row.metadata) or {}}
    return left | ({"salvaged": others} if others else {})


def _describe_text(text: bytes) -> dict[str, Any]:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return {"text_base64": base64.b64encode(text).decode("ascii")}
    return {}


def _describe_metadata(row: DocumentRow) -> dict[str, Any]:
    if _parse(row.metadata) is not None:
        return {}
    return {"metadata_raw": (row.metadata or b"").decode("utf-8", "backslashreplace")}


def _parse(metadata: bytes | None) -> dict[str, Any] | None:
    """An object that can be written again, or None."""
    try:
        value = json.loads(metadata or b"")
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _describe_chunks(connection: sqlite3.Connection, number: int, dims: int) -> Iterator[dict[str, Any]]:
    with suppress(sqlite3.DatabaseError):
        for row in read_chunks(connection, number, dims):
            yield _describe_chunk(row)


def _describe_chunk(row: VectorRow) -> dict[str, Any]:
    vector = None if row.vector is None else base64.b64encode(row.vector).decode("ascii")
    return {
        "granularity": row.granularity,
        "chunk": row.place,
        "start": row.start,
        "end": row.end,
        "byte_start": row.byte_start,
        "byte_end": row.byte_end,
        "vector": vector,
    }
