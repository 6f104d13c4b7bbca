"""Hits of an index in, LangChain documents out, and back from their ids."""

from __future__ import annotations

import re
from typing import Any

from langchain_core.documents import Document

from latechunk import Chunk, Hit, Index

# Flat keys, since prompt templates reach no nested ones and many stores take none. `latechunk_` is ours.
DOCUMENT_ID = "latechunk_document_id"
NUMBER = "latechunk_chunk"
GRANULARITY = "latechunk_granularity"
START = "latechunk_start"
END = "latechunk_end"
SCORE = "latechunk_score"

_CHUNK_ID = re.compile(
    r"(?P<document>.+)#(?:(?P<number>[0-9]{1,12})|(?P<start>[0-9]{1,12}):(?P<end>[0-9]{1,12}))", re.DOTALL
)


def name_chunk(document_id: str, number: int) -> str:
    """The id of a chunk: its document's with its number, from 0."""
    return f"{document_id}#{number}"


def split_chunk_id(chunk_id: str) -> tuple[str, int] | None:
    """The document's id and the number in what may be a chunk's id, or None."""
    match = _CHUNK_ID.fullmatch(chunk_id)
    return None if match is None or match["number"] is None else (match["document"], int(match["number"]))


def provenance(chunk: Chunk) -> dict[str, Any]:
    """Where a passage comes from, as metadata."""
    return {
        DOCUMENT_ID: chunk.document_id,
        NUMBER: chunk.number,
        GRANULARITY: chunk.granularity,
        START: chunk.start,
        END: chunk.end,
    }


class Passages:
    """What an index holds, as LangChain documents.

    The id of a passage is its document's where it is the whole text; else ``"{document}#{number}"`` for a chunk of the
    first granularity and ``"{document}#{start}:{end}"``, in characters, for anything else.
    """

    def __init__(self, index: Index) -> None:
        self._index = index
        self._first = next(iter(index.info().chunkers))

    def from_hit(self, hit: Hit, *, with_provenance: bool) -> Document:
        """A passage that was found."""
        return self._to_document(hit.chunk, {SCORE: hit.score}, with_provenance, is_chunk=not hit.found)

    def find(self, name: str, *, with_provenance: bool) -> Document | None:
        """The document of this id, whole, or the passage of this id, or None."""
        document = self._index.get(name)
        if document is not None:
            return Document(id=name, page_content=document.text, metadata=dict(document.metadata))
        match = _CHUNK_ID.fullmatch(name)
        if match is None:
            return None
        if match["number"] is not None:
            number = int(match["number"])
            for chunk in self._index.chunks(match["document"])[number : number + 1]:
                found = self._to_document(chunk, {}, with_provenance, is_chunk=True)
                return found.model_copy(update={"id": name})
            return None
        start, end = int(match["start"]), int(match["end"])
        document = self._index.get(match["document"])
        if document is None or not start < end <= len(document.text):
            return None
        places = {DOCUMENT_ID: document.id, START: start, END: end} if with_provenance else {}
        return Document(id=name, page_content=document.text[start:end], metadata={**document.metadata, **places})

    def _to_document(self, chunk: Chunk, more: dict[str, Any], with_provenance: bool, *, is_chunk: bool) -> Document:
        metadata = {**chunk.metadata, **provenance(chunk), **more} if with_provenance else dict(chunk.metadata)
        return Document(id=self._name(chunk, is_chunk), page_content=chunk.text, metadata=metadata)

    def _name(self, chunk: Chunk, is_chunk: bool) -> str:
        if chunk.start == 0 and self._is_whole(chunk):
            return chunk.document_id
        if is_chunk and chunk.granularity == self._first:
            return name_chunk(chunk.document_id, chunk.number)
        return f"{chunk.document_id}#{chunk.start}:{chunk.end}"

    def _is_whole(self, chunk: Chunk) -> bool:
        document = self._index.get(chunk.document_id)
        return document is not None and len(document.text) == chunk.end
