"""An index as JSON Lines: a header, then a document a line with its chunks and vectors.

The header has ``kind``, ``version``, ``n_documents``, ``n_chunks``, ``n_tokens``, ``settings`` and their checksum. Each
document has ``id``, ``text``, ``metadata``, ``n_tokens``; ``chunks``, which for each granularity by name lists
``[start, end]`` in characters; ``vectors``, base64 of all its vectors as float32, little-endian, row by row in the
order of the chunks, granularity by granularity: ``numpy.frombuffer(base64.b64decode(vectors), "<f4").reshape(-1,
dims)``; and ``text_sha256``, ``vectors_sha256`` and ``sha256``, checksums of the text, of chunks and vectors, and of
everything.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

import numpy as np

from latechunk.errors import StoreError, TransferError
from latechunk.maintenance.records import LARGEST_DOCUMENT, Header, Record, build_record, parse_header, parse_json
from latechunk.types import FloatArray

_FIELDS = {"id", "text", "metadata", "n_tokens", "text_sha256", "vectors_sha256", "sha256", "chunks", "vectors"}


def write_lines(file: BinaryIO, header: Header, records: Iterable[Record]) -> None:
    """Write an export.

    Raises:
        StoreError: If a document takes more than a line may.
    """
    file.write(header.to_json().encode("utf-8") + b"\n")
    for record in records:
        line = json.dumps(_to_fields(record, header.granularities), ensure_ascii=False).encode("utf-8") + b"\n"
        if len(line) > LARGEST_DOCUMENT:
            raise StoreError(
                f"document {record.stored.document.id!r:.80} takes {len(line):,} bytes as a line, and an export may "
                f"have lines of up to {LARGEST_DOCUMENT:,}"
            )
        file.write(line)


class LinesReader:
    """Reads what :func:`write_lines` wrote, a line at a time."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.header = parse_header(_read_line(file, 1), "line 1")

    def records(self) -> Iterator[tuple[str, Record]]:
        """Line and document, one by one."""
        number = 1
        while line := _read_line(self._file, number := number + 1):
            where = f"line {number}"
            yield where, _parse(parse_json(line, where), self.header, where)


def _read_line(file: BinaryIO, number: int) -> bytes:
    line = file.readline(LARGEST_DOCUMENT + 1)
    if len(line) > LARGEST_DOCUMENT:
        raise TransferError(f"line {number} is longer than {LARGEST_DOCUMENT:,} bytes, the most a document may take")
    return line


def _to_fields(record: Record, granularities: list[str]) -> dict[str, Any]:
    stored = record.stored
    chunks = {
        name: [[span.start, span.end] for span in spans]
        for name, spans in zip(granularities, stored.chunkings, strict=True)
    }
    vectors = base64.b64encode(np.ascontiguousarray(stored.vectors, dtype="<f4").tobytes()).decode("ascii")
    return {
        "id": stored.document.id,
        "text": stored.document.text,
        "metadata": dict(stored.document.metadata),
        "n_tokens": stored.n_tokens,
        **record.checksums(),
        "chunks": chunks,
        "vectors": vectors,
    }


def _parse(fields: dict[str, Any], header: Header, where: str) -> Record:
    if fields.keys() != _FIELDS:
        differing = ", ".join(sorted(fields.keys() ^ _FIELDS))
        raise TransferError(f"{where} must have {', '.join(sorted(_FIELDS))}; missing or unknown: {differing:.200}")
    chunkings = _parse_chunks(fields["chunks"], header, where)
    n_chunks = sum(len(one) for one in chunkings)
    return build_record(
        header,
        where,
        document_id=fields["id"],
        text=fields["text"],
        metadata=fields["metadata"],
        n_tokens=fields["n_tokens"],
        checksums=fields,
        chunkings=chunkings,
        vectors=_parse_vectors(fields["vectors"], n_chunks, header.dims, where),
    )


def _parse_chunks(chunks: Any, header: Header, where: str) -> list[list[tuple[Any, Any]]]:
    if not isinstance(chunks, dict) or list(chunks) != header.granularities:
        named = ", ".join(header.granularities)
        raise TransferError(f"{where}: chunks must be an object of {named:.200}, in this order, got {chunks!r:.80}")
    for name, pairs in chunks.items():
        if not isinstance(pairs, list) or not all(isinstance(one, list) and len(one) == 2 for one in pairs):
            raise TransferError(f"{where}: chunks of {name!r:.40} must be a list of [start, end], got {pairs!r:.80}")
    return list(chunks.values())


def _parse_vectors(encoded: Any, n_chunks: int, dims: int, where: str) -> FloatArray:
    try:
        raw = binascii.a2b_base64(encoded, strict_mode=True) if isinstance(encoded, str) else b""
    except (binascii.Error, ValueError) as error:
        raise TransferError(f"{where}: vectors are not base64: {error}") from error
    if len(raw) != 4 * n_chunks * dims:
        raise TransferError(
            f"{where}: vectors must be {n_chunks} of {dims} numbers, {4 * n_chunks * dims} bytes in base64, got "
            f"{len(raw)} bytes"
        )
    return np.frombuffer(raw, dtype="<f4").reshape(n_chunks, dims)
