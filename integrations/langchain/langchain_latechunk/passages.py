"""Convert hits of an index to LangChain documents, and find them again by their ids."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.documents import Document

import latechunk
from latechunk import Chunk, Hit, Index, page_metadata

# Flat keys, since prompt templates reach no nested ones and many stores take none. `latechunk_` is ours.
DOCUMENT_ID = "latechunk_document_id"
CHUNK = "latechunk_chunk"
GRANULARITY = "latechunk_granularity"
START = "start_index"  # as text splitters write it
END = "end_index"
SCORE = "latechunk_score"
KEYS = (DOCUMENT_ID, CHUNK, GRANULARITY, START, END, SCORE)

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


def owner_of(name: str) -> str | None:
    """The id of the document of which this may be the id of a passage, or None."""
    match = _CHUNK_ID.fullmatch(name)
    return None if match is None else match["document"]


def from_latechunk(document: latechunk.Document) -> Document:
    """A whole document, with a table of its pages in its metadata if it has some, so that it may be added again."""
    metadata = {key: value for key, value in latechunk.pack_metadata(document).items() if key != latechunk.OUTLINE}
    return Document(document.text, id=document.id, metadata=metadata)


def describe(chunk: Chunk) -> dict[str, Any]:
    """A passage's metadata: its document's, its pages and its headings, all under keys that LangChain has for them."""
    headings = {f"Header {level}": title for level, title in enumerate(chunk.headings, start=1)}
    return {**page_metadata(chunk), **headings}


def provenance(chunk: Chunk) -> dict[str, Any]:
    """Where a passage comes from, as metadata."""
    return {
        DOCUMENT_ID: chunk.document_id,
        CHUNK: chunk.number,
        GRANULARITY: chunk.granularity,
        START: chunk.start,
        END: chunk.end,
    }


def from_database(hit: Hit) -> Document:
    """A chunk that was found in a vector database, which does not tell whether it is a whole document."""
    chunk = hit.chunk
    metadata = {**describe(chunk), **provenance(chunk)}
    return Document(chunk.text, id=name_chunk(chunk.document_id, chunk.number), metadata=metadata)


class Passages:
    """What an index holds, as LangChain documents.

    The id of a passage is its document's where it is the whole text; else ``"{document}#{number}"`` for a chunk of the
    first granularity and ``"{document}#{start}:{end}"``, in characters, for anything else.
    """

    def __init__(self, index: Index, *, with_provenance: bool) -> None:
        self._index = index
        self._with_provenance = with_provenance
        self._first = next(iter(index.manifest.chunkers))

    def from_hit(self, hit: Hit) -> Document:
        """A passage that was found."""
        chunk = hit.chunk
        name = self._name(chunk, is_chunk=not hit.found)
        return self._to_document(name, chunk.text, describe(chunk), provenance(chunk))

    def find(self, names: Sequence[str]) -> list[Document]:
        """The documents of these ids, whole, and the passages of these ids, in order; unknown ids are passed over."""
        return [found for name in names if (found := self._find(name)) is not None]

    def _find(self, name: str) -> Document | None:
        document = self._index.get(name)
        if document is not None:
            return from_latechunk(document)
        match = _CHUNK_ID.fullmatch(name)
        if match is None:
            return None
        if match["number"] is not None:
            for chunk in self._index.chunks(match["document"], number=int(match["number"])):
                return self._to_document(name, chunk.text, describe(chunk), provenance(chunk))
            return None
        start, end = int(match["start"]), int(match["end"])
        passage = self._index.passage(match["document"], start, end) if start < end else None
        if passage is None:
            return None
        places = {DOCUMENT_ID: passage.document_id, START: start, END: end}
        return self._to_document(name, passage.text, describe(passage), places)

    def _to_document(self, name: str, text: str, metadata: Mapping[str, Any], places: Mapping[str, Any]) -> Document:
        return Document(text, id=name, metadata={**metadata, **(places if self._with_provenance else {})})

    def _name(self, chunk: Chunk, *, is_chunk: bool) -> str:
        if self._is_whole(chunk):
            return chunk.document_id
        name = name_chunk(chunk.document_id, chunk.number)
        # An index that was filled without LangChain may hold a document of that id.
        if is_chunk and chunk.granularity == self._first and name not in self._index:
            return name
        return f"{chunk.document_id}#{chunk.start}:{chunk.end}"

    def _is_whole(self, chunk: Chunk) -> bool:
        """Whether it is all of its document's text, which is read only where no later chunk shows that it is not."""
        if chunk.start:
            return False
        ((_, following),) = self._index.neighbours([chunk])
        if following is not None and following.end > chunk.end:
            return False
        document = self._index.get(chunk.document_id)
        return document is not None and len(document.text) == chunk.end
