"""An export as Parquet: a chunk a row, as pandas and Polars like it, and complete.

Columns: ``document_id``, ``granularity``, ``chunk`` (its place among those of its document and granularity, from 0),
``start`` and ``end`` (characters, half-open), ``text`` (of the chunk), ``metadata`` (of the document, JSON) and
``vector`` (a fixed-size list of float32). Rows stand by document, then granularity, then place. What a document has
besides its chunks stands in its first row, and is null in the others: ``document_text`` (the whole text), ``pages`` and
``outline`` (JSON, as in ``ExportedDocument``), ``n_tokens`` and ``sha256`` (of everything). So in pandas
``frame.dropna(subset="document_text")`` has the documents, and ``frame[frame.granularity == name]`` the chunks of one
size. The header stands in the file's metadata under ``latechunk``, as JSON.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from latechunk.errors import MissingDependencyError, TransferError
from latechunk.maintenance.records import ExportedDocument, ExportHeader
from latechunk.printing import how_to_install
from latechunk.types.json_form import to_json

try:
    import pyarrow as arrow
    import pyarrow.parquet as files
except ImportError as error:
    raise MissingDependencyError(
        f"Parquet needs pyarrow, which is not installed; {how_to_install('parquet')}, or choose a .jsonl file"
    ) from error

_KEY = b"latechunk"
_ROWS_READ = 512


def write_parquet(path: Path, header: ExportHeader, batches: Iterable[Sequence[ExportedDocument]]) -> None:
    """Write an export; each batch of documents becomes a group of rows."""
    schema = _schema(header.dims).with_metadata({_KEY: header.model_dump_json().encode("utf-8")})
    dictionaries = ["document_id", "granularity", "metadata"]
    with files.ParquetWriter(path, schema, compression="zstd", use_dictionary=dictionaries) as writer:
        for documents in batches:
            rows = [row for one in documents for row in _to_rows(one, header.dims)]
            writer.write_table(arrow.Table.from_pylist(rows, schema=schema))


def open_parquet(path: Path) -> tuple[bytes, Iterator[tuple[str, ExportedDocument]]]:
    """Read what ``write_parquet`` wrote.

    Returns:
        The header as JSON, and a stream of documents, each with the place where it stands.

    Raises:
        TransferError: If it is not Parquet, or has other columns.
    """
    try:
        file = files.ParquetFile(path)
    except (arrow.ArrowException, OSError) as error:
        raise TransferError(f"it cannot be read as Parquet: {error}") from error
    missing = {column.name for column in _schema(1)} - set(file.schema_arrow.names)
    if missing:
        raise TransferError(f"it lacks the columns {', '.join(sorted(missing))}")
    return (file.schema_arrow.metadata or {}).get(_KEY, b""), _documents(file)


def _documents(file: files.ParquetFile) -> Iterator[tuple[str, ExportedDocument]]:
    rows: list[dict[str, Any]] = []
    first = 1
    for row in itertools.chain(_rows(file), [None]):
        if rows and (row is None or row["document_text"] is not None):
            yield f"row {first}", _from_rows(rows)
            first += len(rows)
            rows = []
        if row is not None:
            rows.append(row)


def _rows(file: files.ParquetFile) -> Iterator[dict[str, Any]]:
    try:
        # Over all groups at once pyarrow 26 keeps everything it has read: 232 MB of a file of 191 MB, and so 19 MB.
        for group in range(file.num_row_groups):
            for batch in file.iter_batches(batch_size=_ROWS_READ, row_groups=[group], use_threads=False):
                batch.validate(full=True)
                yield from batch.to_pylist()
    except (arrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise TransferError(f"the rows cannot be read: {error}") from error


def _to_rows(document: ExportedDocument, dims: int) -> Iterator[dict[str, Any]]:
    vectors = iter(np.frombuffer(document.vectors, dtype="<f4").reshape(-1, dims))
    once = {
        "document_text": document.text,
        "pages": to_json(document.pages),
        "outline": to_json(document.outline),
        "n_tokens": document.n_tokens,
        "sha256": document.sha256,
    }
    metadata = json.dumps(document.metadata, sort_keys=True, ensure_ascii=False)
    for granularity, pairs in document.chunks.items():
        for place, (start, end) in enumerate(pairs):
            yield {
                "document_id": document.id,
                "granularity": granularity,
                "chunk": place,
                "start": start,
                "end": end,
                "text": document.text[start:end],
                "metadata": metadata,
                "vector": next(vectors),
                **once,
            }
            once = {}


def _from_rows(rows: Sequence[dict[str, Any]]) -> ExportedDocument:
    """Put a document together; that the rows are whole and in order is known by its checksum."""
    first = rows[0]
    chunks: dict[str, list[tuple[int, int]]] = {}
    for row in rows:
        chunks.setdefault(row["granularity"], []).append((row["start"], row["end"]))
    try:
        metadata, pages, outline = (json.loads(first[name] or "null") for name in ("metadata", "pages", "outline"))
    except ValueError as error:
        what = f"metadata, pages or outline of document {first['document_id']!r:.80}"
        raise TransferError(f"{what} are not JSON: {error}") from error
    return ExportedDocument(
        id=first["document_id"],
        text=first["document_text"],
        metadata=metadata,
        pages=pages,
        outline=outline,
        n_tokens=first["n_tokens"],
        chunks=chunks,
        vectors=b"".join(np.asarray(row["vector"], dtype="<f4").tobytes() for row in rows),
        sha256=first["sha256"],
    )


def _schema(dims: int) -> Any:
    once = ("document_text", "pages", "outline", "n_tokens", "sha256")
    texts = ("document_id", "granularity", "text", "metadata", "document_text", "pages", "outline", "sha256")
    types = {
        **dict.fromkeys(texts, arrow.string()),
        **dict.fromkeys(("chunk", "start", "end", "n_tokens"), arrow.int64()),
        "vector": arrow.list_(arrow.float32(), dims),
    }
    order = ("document_id", "granularity", "chunk", "start", "end", "text", "metadata", "vector")
    return arrow.schema([(name, types[name]) for name in (*order, *once)])
