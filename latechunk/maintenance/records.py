"""What an export is made of: a header, and documents with their chunks and vectors. Both check themselves when read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import ConfigDict, Field

from latechunk.embedding import have_unit_length
from latechunk.errors import IndexDamagedError, InputError, LateChunkError, TransferError
from latechunk.manifest import IndexManifest
from latechunk.storage.schema import LAST_NUMBER
from latechunk.storage.store import Counts, Store, StoredDocument
from latechunk.types import Document, Span
from latechunk.types.json_form import list_blocks, list_pages, parse_blocks, parse_pages
from latechunk.validation import Sealed


class ExportHeader(Sealed):
    """What stands before the documents: the index's settings, and how much is to come."""

    error: ClassVar[type[LateChunkError]] = TransferError
    subject: ClassVar[str] = "it is no header of an export of latechunk"

    kind: Literal["latechunk-export"]
    version: Literal[3]
    settings: dict[str, dict[str, Any]]
    n_documents: int = Field(ge=0, lt=LAST_NUMBER)
    n_chunks: int = Field(ge=0, lt=LAST_NUMBER)
    n_tokens: int = Field(ge=0, lt=LAST_NUMBER)

    @property
    def dims(self) -> int:
        """Length of the vectors."""
        return int(self.settings["encoder"]["dims"])

    @property
    def counts(self) -> Counts:
        """How much is to come."""
        return Counts(self.n_documents, self.n_chunks, self.n_tokens)

    @classmethod
    def of(cls, store: Store) -> ExportHeader:
        """Describe what a store holds, within one snapshot of it."""
        settings = {name: dict(one) for name, one in IndexManifest.read(store.settings()).settings().items()}
        return cls(kind="latechunk-export", version=3, settings=settings, **asdict(store.counts())).sealed()

    def require_sound(self) -> None:
        """Raise a TransferError unless these are the settings that were exported, and an index can be made of them."""
        try:
            IndexManifest.read(self.settings)
        except IndexDamagedError as error:
            raise TransferError(str(error)) from error
        if self.sha256 != self.checksum():
            raise TransferError("the settings are not those that were exported: their SHA-256 differs")


class ExportedDocument(Sealed):
    """A document with all that is stored of it.

    Attributes:
        pages: Of each page its start, its end and its label, None if it has none.
        outline: Of each block its kind, its start, its end and its level; see ``latechunk.Block``.
        chunks: Start and end in characters of each chunk, for each granularity by name.
        vectors: Of all chunks, granularity by granularity: float32, little-endian, row by row; base64 in JSON.
    """

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")
    error: ClassVar[type[LateChunkError]] = TransferError

    id: str
    text: str
    metadata: dict[str, Any]
    pages: list[list[Any]]
    outline: list[list[Any]]
    n_tokens: int = Field(ge=1, lt=LAST_NUMBER)
    chunks: dict[str, list[tuple[int, int]]]
    vectors: bytes

    @classmethod
    def of(cls, stored: StoredDocument, granularities: Sequence[str]) -> ExportedDocument:
        """Take what a store gives."""
        spans = [[(span.start, span.end) for span in spans] for spans in stored.chunkings]
        return cls(
            id=stored.document.id,
            text=stored.document.text,
            metadata=dict(stored.document.metadata),
            pages=list_pages(stored.document.pages),
            outline=list_blocks(stored.document.outline or ()),
            n_tokens=stored.n_tokens,
            chunks=dict(zip(granularities, spans, strict=True)),
            vectors=np.ascontiguousarray(stored.vectors, dtype="<f4").tobytes(),
        ).sealed()

    def to_stored(self, header: ExportHeader) -> StoredDocument:
        """Give what a store takes; InputError if it is not what was exported, or not what an index can hold."""
        pages, outline = parse_pages(self.pages), parse_blocks(self.outline)
        document = Document(self.id, self.text, self.metadata, pages=pages, outline=outline)
        chunkings = [[Span(start, end) for start, end in pairs] for pairs in self.chunks.values()]
        n_bytes = 4 * header.dims * sum(map(len, chunkings))
        if list(self.chunks) != list(header.settings["chunkers"]) or not all(chunkings):
            raise InputError(f"it must have chunks of {', '.join(header.settings['chunkers'])}, in this order")
        if len(self.vectors) != n_bytes:
            raise InputError(f"its vectors must take {n_bytes} bytes, got {len(self.vectors)}")
        if self.sha256 != self.checksum():
            raise InputError("it is not the document that was exported: its SHA-256 differs")
        vectors = np.frombuffer(self.vectors, dtype="<f4").reshape(-1, header.dims)
        stored = StoredDocument(document, self.n_tokens, chunkings, vectors)
        require_sound_chunks(stored)
        return stored


def require_sound_chunks(stored: StoredDocument) -> None:
    """Raise an InputError unless a document's chunks stand in order within its text, with vectors of unit length."""
    n_characters = len(stored.document.text)
    for spans in stored.chunkings:
        starts = [span.start for span in spans]
        if starts != sorted(starts) or max(span.end for span in spans) > n_characters:
            raise InputError(f"its chunks must stand in order, within its {n_characters} characters")
    if not have_unit_length(stored.vectors):
        raise InputError("its vectors must be of unit length")
