"""What a vector database must offer to hold embedded documents and to be searched, as a protocol."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from latechunk.databases.filters import Where
from latechunk.databases.rows import ChunkRow
from latechunk.types import FloatArray, Settings


@dataclass(frozen=True, slots=True)
class FoundRow:
    """A row that was found, without its vector, and its cosine or its BM25."""

    row: ChunkRow
    score: float


class ChunkDatabase(Protocol):
    """A table or collection of one row a chunk, with the settings that made its vectors; yours may be another one.

    All methods raise StoreError where the database cannot be reached or refuses.
    """

    @property
    def name(self) -> str:
        """What messages call it."""

    @property
    def operators(self) -> Collection[str]:
        """Operators of filters, such as ``$in``, that a search may ask it for."""

    def settings(self) -> Settings | None:
        """What ``prepare`` was given; None if there is no such table yet, IndexFormatError if it is another's."""

    def prepare(self, settings: Settings, dims: int) -> None:
        """Make the table for vectors of so many numbers; leave one as it is that another push has just made."""

    def documents(self) -> Mapping[str, str | None]:
        """The digest of each document, None for one of which not all chunks are there in one version.

        ``latechunk.databases.rows.whole_documents`` makes it of all chunks.
        """

    def write(self, rows: Sequence[ChunkRow], replaced: Sequence[str]) -> None:
        """Write all rows of some documents, and remove what else is there of those of them that are ``replaced``.

        If it is killed, ``documents`` must not give the digest of one that is not there whole.
        """

    def delete(self, ids: Sequence[str]) -> None:
        """Remove documents."""

    def finish(self) -> None:
        """Do what is due at the end of a push, such as indexing; called after each, whether anything was written."""

    def nearest(self, vector: FloatArray, n: int, where: Where | None, *, exact: bool) -> list[FoundRow]:
        """The rows whose vectors have the largest inner products with a vector, best first."""

    def by_words(self, terms: Sequence[str], n: int, where: Where | None) -> list[FoundRow]:
        """Of the rows that hold one of these terms the best by BM25, best first."""

    def read(self, ids: Sequence[str]) -> list[ChunkRow]:
        """Those of these rows that are there, with their vectors, in any order."""

    def close(self) -> None:
        """Close what is open; once or more."""
