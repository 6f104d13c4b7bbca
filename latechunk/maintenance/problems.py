"""What is wrong with an index: each problem with its place and what mends it, and what a repair has to do."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Part: TypeAlias = Literal["database", "settings", "history", "document", "chunk", "vector", "words", "cache"]
Mending: TypeAlias = Literal["salvage", "references", "words", "cache", "rewrite", "encode", "drop", "none"]

_REMEDIES: dict[Mending, str] = {
    "salvage": "`latechunk repair` copies what can still be read into a new database, and keeps the old one",
    "references": "`latechunk repair` mends it; nothing of a document is lost",
    "words": "`latechunk repair` makes the lexical index anew from the texts",
    "cache": "`latechunk repair` deletes the file, which is built anew from the stored vectors",
    "rewrite": "`latechunk repair` writes the same metadata anew",
    "encode": "`latechunk repair` encodes the document anew from its text, which is intact",
    "drop": "index the document anew from its source; `latechunk repair --drop` removes it and saves what is left",
    "none": "restore the index from a backup or an export, or index the documents anew",
}
_MOST_OF_A_KIND = 1_000


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with an index.

    Attributes:
        part: Of what.
        what: What is wrong.
        mending: How it can be mended.
        document: The id of the document, where it is about one; its number where it has no id that can be read.
        granularity: The name of the chunking, where it is about a chunk.
        chunk: The chunk's place among those of its document and granularity, as in :attr:`latechunk.Chunk.number`.
    """

    part: Part
    what: str
    mending: Mending
    document: str | None = None
    granularity: str | None = None
    chunk: int | None = None

    @property
    def remedy(self) -> str:
        """What mends it, in words."""
        return _REMEDIES[self.mending]

    def __str__(self) -> str:
        """Where, what, and what to do, in a line."""
        place: str = self.part if self.document is None else f"document {self.document!r:.200}"
        if self.chunk is not None:
            place += f", chunk {self.chunk} of {self.granularity!r}"
        return f"{place}: {self.what}. {self.remedy}"


@dataclass(slots=True)
class Findings:
    """Collects problems, and what to do about them.

    Attributes:
        encode: Documents with a sound text and damaged chunks or vectors, ids by numbers.
        drop: Documents that cannot be mended, ids by numbers.
        rewrite: Documents whose metadata are sound and not written as they should be, ids by numbers.
        needs: All ways of mending that something needs.
    """

    encode: dict[int, str] = field(default_factory=dict)
    drop: dict[int, str] = field(default_factory=dict)
    rewrite: dict[int, str] = field(default_factory=dict)
    needs: set[Mending] = field(default_factory=set)
    _problems: list[Problem] = field(default_factory=list)
    _counts: Counter[tuple[Part, Mending]] = field(default_factory=Counter)

    def add(self, problem: Problem) -> None:
        """Take a problem down; of very many of one kind only the first, and how many there were."""
        kind = problem.part, problem.mending
        self.needs.add(problem.mending)
        self._counts[kind] += 1
        if self._counts[kind] <= _MOST_OF_A_KIND:
            self._problems.append(problem)

    @property
    def problems(self) -> list[Problem]:
        """All of them, in the order in which they were found; what was too much to list is counted at the end."""
        further = (
            Problem(part, f"{count - _MOST_OF_A_KIND:,} more problems of this kind", mending)
            for (part, mending), count in self._counts.items()
            if count > _MOST_OF_A_KIND
        )
        return list(itertools.chain(self._problems, further))

    @property
    def damaged(self) -> set[int]:
        """Numbers of documents whose chunks cannot be trusted."""
        return {*self.encode, *self.drop}
