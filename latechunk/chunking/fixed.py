"""A chunker of spans that are known already: of a stored document, or of chunks that came cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from latechunk.errors import SpanError
from latechunk.types import Document, IntArray, Settings, Span


@dataclass(frozen=True, slots=True)
class FixedSpans:
    """Gives each document the spans that it was made with, by the document's id."""

    spans: Mapping[str, Sequence[Span]]

    @property
    def settings(self) -> Settings:
        """No index is made with it, so they are in no manifest."""
        return {"kind": "fixed"}

    def split(self, text: str, offsets: IntArray) -> list[Span]:  # noqa: ARG002  the protocol's
        """A text without its document has no spans here; a ``SpanError``."""
        raise SpanError("fixed spans are of documents: call split_document")

    def split_document(self, document: Document, offsets: IntArray) -> list[Span]:  # noqa: ARG002  the protocol's
        """The spans of this document as they are."""
        return list(self.spans[document.id])
