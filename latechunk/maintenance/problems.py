"""What is wrong with an index: each problem with its place and what mends it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Part: TypeAlias = Literal[
    "database", "settings", "history", "document", "structure", "chunk", "vector", "fields", "words", "cache"
]
Mending: TypeAlias = Literal["dump", "references", "fields", "words", "cache", "rewrite", "encode", "drop", "none"]

_REMEDIES: dict[Mending, str] = {
    "dump": (
        "restore the index from a backup; `latechunk repair` writes the documents that can still be read to a file, of "
        "which `latechunk index` makes a new index"
    ),
    "references": "`latechunk repair` mends it; nothing of a document is lost",
    "fields": "`latechunk repair` makes the rows by which filters find documents again from the metadata",
    "words": "`latechunk repair` rebuilds the lexical index from the texts",
    "cache": "`latechunk repair` deletes the file, which is rebuilt from the stored vectors",
    "rewrite": "`latechunk repair` writes the same metadata again",
    "encode": "`latechunk repair` encodes the document again from its text, which is intact",
    "drop": "index the document again from its source; `latechunk repair --drop` removes it and saves what is left",
    "none": "restore the index from a backup or an export, or index the documents again",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with an index.

    Attributes:
        part: Of what.
        what: What is wrong.
        mending: How it can be mended.
        document: The id of the document, where it is about one; its number where it has no id that can be read.
        number: The number of the document in the store, where it is about one.
    """

    part: Part
    what: str
    mending: Mending
    document: str | None = None
    number: int | None = field(default=None, compare=False)

    @property
    def remedy(self) -> str:
        """What mends it, in words."""
        return _REMEDIES[self.mending]

    def __str__(self) -> str:
        """Where, what, and what to do, in a line."""
        place = self.part if self.document is None else f"document {self.document!r:.200}"
        return f"{place}: {self.what}. {self.remedy}"
