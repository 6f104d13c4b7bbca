"""Embedded documents as rows of Arrow tables, one a document with its chunks nested, and back.

Columns: ``id``, ``text``, ``text_sha256`` (of its UTF-8, hexadecimal), ``n_tokens``, ``metadata``, ``pages`` and
``outline`` (JSON, as in an export), ``chunks`` and ``fingerprint`` (of the settings that made the vectors, see
``latechunk.manifest``). A chunk is its ``start`` and ``end`` (characters, half-open), the ``headings`` above it, the
``pages`` on which it stands (labels, else numbers from 1) and its ``vector``, a fixed-size list of float32.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as arrow

from latechunk.chunking.places import find_places
from latechunk.errors import InputError, TransferError
from latechunk.maintenance.records import require_sound_chunks
from latechunk.storage.rows import Fingerprint
from latechunk.storage.store import StoredDocument
from latechunk.types import Document, PageNumber, Span
from latechunk.types.json_form import parse_blocks, parse_pages

LABELS = ["text_sha256", "metadata", "pages", "outline"]
"""The columns that make the ``Fingerprint`` of a document."""
REPEATED = ["fingerprint", *(f"chunks.list.element.{name}.list.element" for name in ("headings", "pages"))]
"""The columns, as Parquet calls them, of which many rows hold the same."""


def schema(dims: int) -> arrow.Schema:
    """The columns of documents with vectors of so many numbers."""
    vector = arrow.field("vector", arrow.list_(arrow.float32(), dims))
    texts = arrow.list_(arrow.string())
    chunk = arrow.struct(
        [("start", arrow.int64()), ("end", arrow.int64()), ("headings", texts), ("pages", texts), vector]
    )
    types = {
        "id": arrow.string(),
        "text": arrow.large_string(),  # a block of documents may hold more than 2 GB of text
        "text_sha256": arrow.string(),
        "n_tokens": arrow.int64(),
        "metadata": arrow.large_string(),
        "pages": arrow.large_string(),
        "outline": arrow.large_string(),
        "chunks": arrow.list_(chunk),
        "fingerprint": arrow.string(),
    }
    return arrow.schema(types.items())


def to_table(documents: Sequence[StoredDocument], dims: int, fingerprint: str) -> arrow.Table:
    """Rows of documents, each with one granularity, in order."""
    columns = schema(dims)
    compared = [Fingerprint.of(one.document) for one in documents]
    values = {
        "id": [one.document.id for one in documents],
        "text": [one.document.text for one in documents],
        "text_sha256": [one.text_sha256.hex() for one in compared],
        "n_tokens": [one.n_tokens for one in documents],
        **{name: [getattr(one, name) for one in compared] for name in LABELS[1:]},
        "chunks": _nest(documents, columns.field("chunks").type.value_type, dims),
        "fingerprint": [fingerprint] * len(documents),
    }
    return arrow.table(values, schema=columns)


def from_rows(rows: arrow.Table, dims: int) -> Iterator[StoredDocument]:
    """The documents of rows that ``to_table`` made; a TransferError names what is wrong."""
    if rows.schema.names != schema(dims).names or not rows.schema.equals(schema(dims)):
        raise TransferError(f"its columns must be\n{schema(dims)}\nand are\n{rows.schema.remove_metadata()}")
    rows.validate(full=True)
    chunks = rows.column("chunks").combine_chunks()
    bounds = np.cumsum([0, *chunks.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)])
    starts, ends, *_, vectors = chunks.flatten().flatten()
    if vectors.null_count:  # which would be passed over, so that later chunks had vectors of others
        raise TransferError(f"{vectors.null_count:,} of its chunks have no vector")
    matrix = vectors.flatten().to_numpy(zero_copy_only=False).reshape(-1, dims)
    places = list(zip(starts.to_pylist(), ends.to_pylist(), strict=True))
    for fields, (begin, end) in zip(rows.drop_columns("chunks").to_pylist(), pairwise(bounds), strict=True):
        try:
            yield _to_stored(fields, places[begin:end], matrix[begin:end])
        except (InputError, ValueError, TypeError) as error:
            raise TransferError(f"document {fields['id']!r:.80}: {error}") from error


def _nest(documents: Sequence[StoredDocument], chunk: arrow.StructType, dims: int) -> arrow.ListArray:
    """The chunks of documents as lists of structures; the vectors go through no Python objects."""
    places = [place for one in documents for place in find_places(one.document, one.chunkings[0])]
    spans = [span for one in documents for span in one.chunkings[0]]
    vectors = np.concatenate([np.zeros((0, dims), dtype=np.float32), *(one.vectors for one in documents)])
    parts = [
        arrow.array([span.start for span in spans], arrow.int64()),
        arrow.array([span.end for span in spans], arrow.int64()),
        arrow.array([list(place.headings) for place in places], chunk.field("headings").type),
        arrow.array([[_name(page) for page in place.pages] for place in places], chunk.field("pages").type),
        arrow.FixedSizeListArray.from_arrays(arrow.array(vectors.ravel()), dims),
    ]
    bounds = np.cumsum([0, *(len(one.chunkings[0]) for one in documents)], dtype=np.int32)
    return arrow.ListArray.from_arrays(bounds, arrow.StructArray.from_arrays(parts, fields=list(chunk)))


def _name(page: PageNumber) -> str:
    return str(page.number + 1) if page.label is None else page.label


def _to_stored(fields: dict[str, Any], places: Sequence[tuple[int, int]], vectors: Any) -> StoredDocument:
    metadata, pages, outline = (json.loads(fields[name]) for name in ("metadata", "pages", "outline"))
    document = Document(fields["id"], fields["text"], metadata, pages=parse_pages(pages), outline=parse_blocks(outline))
    if document.text_sha256.hex() != fields["text_sha256"]:
        raise InputError("it is not the text that was embedded: its SHA-256 differs")
    if not places:
        raise InputError("it has no chunk")
    if (fields["n_tokens"] or 0) < 1:
        raise InputError(f"n_tokens must be at least 1, got {fields['n_tokens']}")
    stored = StoredDocument(document, fields["n_tokens"], [[Span(start, end) for start, end in places]], vectors)
    require_sound_chunks(stored)
    return stored
