"""What is found: spans, chunks and hits."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from latechunk.errors import SpanError
from latechunk.types.citation import PageNumber, cite


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A half-open range of characters (Unicode code points) of one document's text.

    Raises:
        SpanError: If it is empty or starts before 0.

    Examples:
        >>> Span(0, 6)
        Span(start=0, end=6)
    """

    start: int
    end: int

    def __post_init__(self) -> None:
        try:
            start, end = operator.index(self.start), operator.index(self.end)
        except TypeError as error:
            raise SpanError(f"a span needs whole numbers, got [{self.start!r:.40}, {self.end!r:.40})") from error
        if not 0 <= start < end:
            raise SpanError(f"a span needs 0 <= start < end, got [{start}, {end})")
        object.__setattr__(self, "start", start)  # plain int, whatever kind of whole number came
        object.__setattr__(self, "end", end)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage of a document: ``document.text[start:end]``, to the character.

    Attributes:
        document_id: The document it is from.
        number: Its place among the document's chunks, from 0.
        start: First character, in Unicode code points.
        end: One past the last character.
        text: The characters themselves.
        metadata: The document's metadata.
        granularity: The name of the chunking that it belongs to.
        headings: The headings under which it begins, outermost first.
        sections: Titles of the sections that begin in it, in order, without that of the whole document; of more than 16
            the first, ``"…"`` and the last.
        pages: The pages on which it stands, the first to the last. White space at its ends does not count.
        line: The line on which it begins, from 1: of the file where that is read as it is, else of the document's text.
            None if that is not known.

    Examples:
        >>> chunk = index.chunks("berlin")[0]
        >>> documents[0].text[chunk.start : chunk.end] == chunk.text
        True
        >>> chunk.citation
        'berlin:1'
    """

    document_id: str
    number: int
    start: int
    end: int
    text: str
    metadata: Mapping[str, Any] = field(hash=False)  # which has none
    granularity: str = "chunks"
    headings: tuple[str, ...] = ()
    sections: tuple[str, ...] = ()
    pages: tuple[PageNumber, ...] = ()
    line: int | None = None

    @property
    def citation(self) -> str:
        """Its place as people cite it: ``guide.pdf, p. iii, Refunds > Shipping``.

        Where further sections begin in it, they are named, too, ``Refunds > Shipping; Returns``; of more than three
        the first and the last.

        The first is its source, as the metadata of files have it, else the document's id; a page without a label has
        its number from 1. A row of a table is cited by its number, ``people.csv, row 7``, and any other passage
        without pages and headings by its line, ``notes.txt:12``. A row that names a source of its own has neither.
        """
        return cite(self.document_id, self.metadata, self.pages, self.headings, self.sections, self.line)


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage that was found.

    Attributes:
        score: How well it answers the query, more being better. In dense search it is ``dense``, in lexical search
            ``lexical``. In hybrid search it is the weighted sum of both in standard deviations above their means over
            all chunks of the index: 0 is an average chunk, and all are 0 where no chunk differs. With
            ``fusion="rrf"`` it is a sum of ``weight / (60 + rank)``, at most 1 / 61. With a reranker it is what that
            gave.
        chunk: The passage. Where chunks were joined or replaced by a larger one, its ``number`` and ``granularity``
            are those of its first part or of the larger one.
        found: The chunks that were found in the passage, best first, where it is not one of them itself.
        dense: The cosine of its vector with the query's, in [-1, 1]; in hybrid search, where the query names a
            document, a mean of two scores, see docs/search.md; None in lexical search. Of a passage of several chunks,
            this and the next are of the best one.
        lexical: Its BM25 score with what its document and its headings add, from 0, without an upper bound; None in
            dense search.

    Examples:
        >>> index.search("people in Berlin", k=1)[0].chunk.document_id
        'berlin'
    """

    score: float
    chunk: Chunk
    found: tuple[Chunk, ...] = ()
    dense: float | None = None
    lexical: float | None = None

    @property
    def citation(self) -> str:
        """The place of its passage, as people cite it; see ``Chunk.citation``."""
        return self.chunk.citation
