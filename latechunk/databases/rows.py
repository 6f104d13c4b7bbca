"""Documents with their vectors to the rows of a vector database, one a chunk, and back to chunks."""

from __future__ import annotations

import contextlib
import hashlib
import json
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from latechunk.chunking.places import make_chunks
from latechunk.storage.filter_sql import Scalar
from latechunk.storage.store import StoredDocument
from latechunk.types import Chunk, FloatArray, PageNumber

_NAMESPACE = uuid.UUID("5c1f6f0a-3d0e-5b8e-9b53-2d7a4c9f1e60")
_LONGEST_FACET = 200  # PostgreSQL's indexes take keys of up to 2,700 bytes


@dataclass(frozen=True, slots=True)
class ChunkRow:
    """A chunk as a database holds it.

    Attributes:
        id: A UUID, of its document's id and its number: the same at every push.
        n_chunks: How many its document has.
        digest: Of its document's id, text, metadata, pages and outline, as hexadecimal digits.
        chunk: The chunk itself.
        vector: Unit vector, shape ``(dims,)``; None where it was not read.
    """

    id: str
    n_chunks: int
    digest: str
    chunk: Chunk
    vector: FloatArray | None = None


def chunk_id(document_id: str, number: int) -> str:
    """The id of a document's chunk of this number, from 0.

    Examples:
        >>> chunk_id("berlin", 0)
        'a4ac9ff5-11b4-5a0c-a75e-a0e43f1ef6a9'
    """
    return str(uuid.uuid5(_NAMESPACE, json.dumps([document_id, number])))


def to_rows(stored: StoredDocument, digest: str) -> list[ChunkRow]:
    """The rows of a document, in the order of its chunks."""
    chunks = make_chunks(stored.document, stored.chunkings[0])
    return [
        ChunkRow(chunk_id(chunk.document_id, chunk.number), len(chunks), digest, chunk, vector)
        for chunk, vector in zip(chunks, stored.vectors, strict=True)
    ]


def to_digest(document_id: str, digest: bytes) -> str:
    """The digest that the rows of a document have, from that of its content."""
    return hashlib.sha256(digest + document_id.encode()).hexdigest()[:32]


def whole_documents(chunks: Iterable[tuple[str, str, int]]) -> dict[str, str | None]:
    """The digest of each document, None if not all of its chunks are there, or they are of several versions.

    Args:
        chunks: For each chunk its document's id, its digest and its ``n_chunks``.

    Examples:
        >>> whole_documents([("a", "f0", 2), ("b", "f1", 1), ("a", "f0", 2), ("c", "f2", 2)])
        {'a': 'f0', 'b': 'f1', 'c': None}
    """
    seen: dict[str, tuple[str | None, int]] = {}
    for document_id, digest, n_chunks in chunks:
        known, missing = seen.get(document_id, (digest, n_chunks))
        seen[document_id] = (known if known == digest else None, missing - 1)
    return {one: None if missing else digest for one, (digest, missing) in seen.items()}


def list_facets(metadata: Mapping[str, Any]) -> list[str]:
    """What filters compare with ``$eq`` and ``$in``: a string for each value, or element of an array, by its path.

    Examples:
        >>> list_facets({"year": 1999.0, "author": {"name": "x"}, "tags": ["a", True]})
        ['["year", 1999]', '["author.name", "x"]', '["tags", "a"]', '["tags", true]']
    """
    return list(dict.fromkeys(to_facet(path, value) for path, value in _candidates(metadata, "")))


def to_facet(path: str, value: Scalar) -> str:
    """What ``list_facets`` gives for this value at this path; equal for 1 and 1.0, and another for true."""
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**63:
        with contextlib.suppress(OverflowError):  # a number that no filter can name
            value = float(value)
    if isinstance(value, float) and value.is_integer() and -(2**63) <= value < 2**63:
        value = int(value)
    facet = json.dumps([path, value])
    return facet if len(facet) <= _LONGEST_FACET else f"sha256 {hashlib.sha256(facet.encode()).hexdigest()}"


def _candidates(metadata: Mapping[str, Any], within: str) -> Iterator[tuple[str, Scalar]]:
    for key, value in metadata.items():
        if within and "." in key:  # no path names it
            continue
        path = f"{within}{key}"
        if isinstance(value, dict):
            if "." not in key:
                yield from _candidates(value, f"{path}.")
            continue
        for one in value if isinstance(value, list) else [value]:
            if not isinstance(one, dict | list):
                yield path, one


def read_chunk(fields: Mapping[str, Any]) -> Chunk:
    """A chunk from fields of its own names, of which ``pages`` and maybe ``metadata`` are JSON."""
    pages, metadata = (
        json.loads(one) if isinstance(one, str) else one for one in (fields["pages"], fields["metadata"])
    )
    return Chunk(
        fields["document_id"],
        int(fields["number"]),
        int(fields["start"]),
        int(fields["end"]),
        fields["text"],
        metadata,
        headings=tuple(fields["headings"]),
        sections=tuple(fields["sections"]),
        pages=tuple(PageNumber(number, label) for number, label in pages),
        line=fields["line"],
    )
