"""An index as Parquet: a chunk a row, as pandas and polars like it, and complete.

Columns: ``document_id``, ``granularity``, ``chunk`` (its place among those of its document and granularity, from 0),
``start`` and ``end`` (characters, half-open), ``text`` (of the chunk), ``metadata`` (of the document, JSON) and
``vector`` (a fixed-size list of float32). Rows stand by document, then granularity, then place. What a document has
beside its chunks stands in its first row, and is null in the others: ``document_text`` (the whole text), ``n_tokens``,
``text_sha256``, ``vectors_sha256`` and ``sha256``, checksums of the text, of chunks and vectors, and of everything. So
in pandas ``frame.dropna(subset="document_text")`` has the documents, and ``frame[frame.granularity == name]`` the
chunks of one size. The settings stand in the file's metadata under ``latechunk``, as JSON.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from latechunk.errors import MissingDependencyError, StoreError, TransferError
from latechunk.maintenance.records import LARGEST_DOCUMENT, Header, Record, build_record, parse_header, parse_json
from latechunk.types import FloatArray

try:
    import pyarrow as arrow
    import pyarrow.parquet as files
except ImportError as error:
    raise MissingDependencyError(
        'Parquet needs pyarrow, which is not installed: pip install "latechunk[parquet]", or choose a .jsonl file'
    ) from error

_KEY = b"latechunk"
_ROWS = 4_096  # at most written together
_ROWS_READ = 512
_BYTES = 2**25  # of texts and vectors after which a group of rows is written
_PLAIN = ("document_id", "granularity", "chunk", "start", "end", "text", "metadata")  # filled in every row
_ONCE = ("document_text", "n_tokens", "text_sha256", "vectors_sha256", "sha256")


def write_parquet(path: Path, header: Header, records: Iterable[Record]) -> None:
    """Write an export.

    Raises:
        StoreError: If a document takes more than an export may hold of one.
    """
    schema = _schema(header.dims).with_metadata({_KEY: header.to_json().encode("utf-8")})
    dictionaries = ["document_id", "granularity", "metadata"]
    with files.ParquetWriter(path, schema, compression="zstd", use_dictionary=dictionaries) as writer:
        block = _Block(header.dims)
        for record in records:
            for row, vector in zip(_to_rows(header, record), record.stored.vectors, strict=True):
                block.add(row, vector)
                if block.is_full:
                    writer.write_batch(block.take(schema))
        if block.rows:
            writer.write_batch(block.take(schema))


class ParquetReader:
    """Reads what :func:`write_parquet` wrote, a block of rows at a time."""

    def __init__(self, file: files.ParquetFile) -> None:
        self._file = file
        schema = file.schema_arrow
        self.header = parse_header((schema.metadata or {}).get(_KEY, b""), "the metadata of the file")
        expected = _schema(self.header.dims)
        for column in expected:
            place = schema.get_field_index(column.name)
            if place < 0 or schema.field(place).type != column.type:
                got = "none" if place < 0 else str(schema.field(place).type)
                raise TransferError(f"column {column.name!r} must be of type {column.type}, got {got}")

    def records(self) -> Iterator[tuple[str, Record]]:
        """Row and document, one by one."""
        parts = _Parts(self.header)
        for row, values, vector in self._rows():
            if values["document_text"] is not None:
                if parts.n_rows:
                    yield parts.where, parts.build()
                parts = _Parts(self.header, first_row=row)
            parts.add(row, values, vector)
        if parts.n_rows:
            yield parts.where, parts.build()

    def _rows(self) -> Iterator[tuple[int, dict[str, Any], FloatArray]]:
        """Number of the row, from 1, its columns but the vector, and the vector."""
        row = 0
        for batch in self._batches():
            where = f"rows {row + 1} to {row + batch.num_rows}"
            columns, vectors = _unpack(batch, where)
            for number in range(batch.num_rows):
                row += 1
                yield row, {name: values[number] for name, values in columns.items()}, vectors[number]

    def _batches(self) -> Iterator[Any]:
        names = [*_PLAIN, "vector", *_ONCE]
        try:
            # Over all groups at once pyarrow 26 keeps everything it has read: 232 MB of a file of 191 MB, and so 19 MB.
            for group in range(self._file.num_row_groups):
                yield from self._file.iter_batches(
                    batch_size=_ROWS_READ, row_groups=[group], columns=names, use_threads=False
                )
        except (arrow.ArrowException, OSError) as error:
            raise TransferError(f"the rows cannot be read: {error}") from error


def open_parquet(path: Path) -> files.ParquetFile:
    """Open a file.

    Raises:
        TransferError: If it is not Parquet.
    """
    try:
        return files.ParquetFile(path)
    except (arrow.ArrowException, OSError) as error:
        raise TransferError(f"{path} cannot be read as Parquet: {error}") from error


def _schema(dims: int) -> Any:
    return arrow.schema(
        [
            ("document_id", arrow.string()),
            ("granularity", arrow.string()),
            ("chunk", arrow.int64()),
            ("start", arrow.int64()),
            ("end", arrow.int64()),
            ("text", arrow.string()),
            ("metadata", arrow.string()),
            ("vector", arrow.list_(arrow.float32(), dims)),
            ("document_text", arrow.string()),
            ("n_tokens", arrow.int64()),
            ("text_sha256", arrow.string()),
            ("vectors_sha256", arrow.string()),
            ("sha256", arrow.string()),
        ]
    )


def _to_rows(header: Header, record: Record) -> Iterator[dict[str, Any]]:
    """Rows of a document, without their vectors."""
    stored, document = record.stored, record.stored.document
    n_bytes = len(document.text.encode("utf-8")) + stored.vectors.nbytes
    if n_bytes > LARGEST_DOCUMENT:
        raise StoreError(
            f"document {document.id!r:.80} takes {n_bytes:,} bytes with its vectors, and an export may hold up to "
            f"{LARGEST_DOCUMENT:,} of one"
        )
    metadata = document.metadata_json
    once: dict[str, Any] = {
        "document_text": document.text,
        "n_tokens": stored.n_tokens,
        **record.checksums(),
    }
    for granularity, spans in zip(header.granularities, stored.chunkings, strict=True):
        for place, span in enumerate(spans):
            yield {
                "document_id": document.id,
                "granularity": granularity,
                "chunk": place,
                "start": span.start,
                "end": span.end,
                "text": document.text[span.start : span.end],
                "metadata": metadata,
                **once,
            }
            once = dict.fromkeys(_ONCE)


@dataclass(slots=True)
class _Block:
    """Rows on their way into a file."""

    dims: int
    rows: list[dict[str, Any]] = field(default_factory=list)
    vectors: list[FloatArray] = field(default_factory=list)
    n_bytes: int = 0

    @property
    def is_full(self) -> bool:
        return len(self.rows) == _ROWS or self.n_bytes >= _BYTES

    def add(self, row: dict[str, Any], vector: FloatArray) -> None:
        self.rows.append(row)
        self.vectors.append(vector)
        self.n_bytes += sum(len(value) for value in row.values() if isinstance(value, str)) + vector.nbytes

    def take(self, schema: Any) -> Any:
        """All rows as a record batch; then there are none."""
        flat = arrow.array(np.concatenate(self.vectors).astype(np.float32))
        vectors = arrow.FixedSizeListArray.from_arrays(flat, self.dims)
        columns = [
            vectors
            if column.name == "vector"
            else arrow.array([row[column.name] for row in self.rows], type=column.type)
            for column in schema
        ]
        self.rows, self.vectors, self.n_bytes = [], [], 0
        return arrow.record_batch(columns, schema=schema)


@dataclass(slots=True)
class _Parts:
    """Rows of one document, on their way to be put together."""

    header: Header
    first_row: int = 0
    n_rows: int = 0
    first: dict[str, Any] = field(default_factory=dict)
    chunkings: list[list[tuple[int, int]]] = field(default_factory=list)
    vectors: list[FloatArray] = field(default_factory=list)
    n_bytes: int = 0

    @property
    def where(self) -> str:
        return f"row {self.first_row}"

    def add(self, row: int, values: dict[str, Any], vector: FloatArray) -> None:
        if not self.first_row:
            raise TransferError(f"row {row}: document_text is null, and the first row of a document must have it")
        if not self.n_rows:
            self.first = values
        self._require_order(row, values)
        self._require_same(row, values)
        start, end = values["start"], values["end"]
        if values["text"] != self.first["document_text"][max(start, 0) : max(end, 0)]:
            raise TransferError(f"row {row}: text is not what document_text has from {start} to {end}")
        self.chunkings[-1].append((start, end))
        self.vectors.append(vector)
        self.n_rows += 1
        self.n_bytes += vector.nbytes
        if self.n_bytes > LARGEST_DOCUMENT:
            raise TransferError(f"row {row}: one document takes more than {LARGEST_DOCUMENT:,} bytes")

    def build(self) -> Record:
        if len(self.chunkings) != len(self.header.granularities):
            missing = ", ".join(self.header.granularities[len(self.chunkings) :])
            raise TransferError(f"{self.where}: the document has no rows of the granularity {missing:.200}")
        return build_record(
            self.header,
            self.where,
            document_id=self.first["document_id"],
            text=self.first["document_text"],
            metadata=parse_json(self.first["metadata"], f"{self.where}: metadata"),
            n_tokens=self.first["n_tokens"],
            checksums=self.first,
            chunkings=self.chunkings,
            vectors=np.stack(self.vectors),
        )

    def _require_order(self, row: int, values: dict[str, Any]) -> None:
        """Granularities in order, and chunks of each numbered from 0."""
        names = self.header.granularities
        place = len(self.chunkings)
        if values["chunk"] == 0 and place < len(names) and values["granularity"] == names[place]:
            self.chunkings.append([])
        elif not place or (values["granularity"], values["chunk"]) != (names[place - 1], len(self.chunkings[-1])):
            raise TransferError(
                f"row {row}: chunk {values['chunk']} of {values['granularity']!r:.80} is not the one that must follow; "
                f"rows must stand by document, granularity and chunk, as they were exported"
            )

    def _require_same(self, row: int, values: dict[str, Any]) -> None:
        for name in ("document_id", "metadata"):
            if values[name] != self.first[name]:
                raise TransferError(f"row {row}: {name} is not the same as in the first row of its document")
        if self.n_rows and any(values[name] is not None for name in _ONCE):
            raise TransferError(f"row {row}: {', '.join(_ONCE)} must be null but in the first row of a document")


def _unpack(batch: Any, where: str) -> tuple[dict[str, list[Any]], FloatArray]:
    try:
        batch.validate(full=True)
    except arrow.ArrowInvalid as error:
        raise TransferError(f"{where} cannot be read: {error}") from error
    for name in (*_PLAIN, "vector"):
        if batch.column(name).null_count:
            raise TransferError(f"{where}: column {name!r} must have no null")
    vectors = batch.column("vector")
    numbers = vectors.flatten()
    if numbers.null_count:
        raise TransferError(f"{where}: vectors must have no null")
    matrix = numbers.to_numpy(zero_copy_only=False).reshape(batch.num_rows, vectors.type.list_size)
    return {name: batch.column(name).to_pylist() for name in (*_PLAIN, *_ONCE)}, matrix
