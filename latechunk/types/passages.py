"""What is found: spans, chunks and hits, and how a passage is cited."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple

from latechunk.errors import SpanError
from latechunk.types.metadata import TABLE_ROW


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


class PageNumber(NamedTuple):
    """A page on which a passage stands: its place among the document's pages, from 0, and its label."""

    number: int
    label: str | None


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
        headings: The headings under which it stands, outermost first.
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
    metadata: Mapping[str, Any]
    granularity: str = "chunks"
    headings: tuple[str, ...] = ()
    pages: tuple[PageNumber, ...] = ()
    line: int | None = None

    @property
    def citation(self) -> str:
        """Its place as people cite it: ``guide.pdf, p. iii, Refunds > Shipping``.

        The first is its source, as the metadata of files have it, else the document's id; a page without a label has
        its number from 1. A row of a table is cited by its number, ``people.csv, row 7``, and any other passage
        without pages and headings by its line, ``notes.txt:12``.
        """
        source = _name_source(self.document_id, self.metadata)
        row = self.metadata.get(TABLE_ROW)
        parts = [_cite_pages(self.pages), f"row {row}" if type(row) is int else "", " > ".join(self.headings)]
        if not any(parts):
            return source if self.line is None else f"{source}:{self.line}"
        return ", ".join(part for part in (source, *parts) if part)


def _name_source(document_id: str, metadata: Mapping[str, Any]) -> str:
    """The file as it is named where it is, or its name alone where that is a place of one machine; else the id."""
    given = (metadata.get(key) for key in ("source", "file_path", "file_name"))
    source = next((one for one in given if isinstance(one, str) and one.strip()), document_id)
    name = without_row(document_id, metadata)
    if source.endswith(f"/{name}"):  # the id is the path from the folder that was indexed
        source = name
    for flavour in (PurePosixPath, PureWindowsPath):
        if flavour(source).is_absolute():
            return flavour(source).name or source
    return source


def without_row(document_id: str, metadata: Mapping[str, Any]) -> str:
    """The id that the file of a row has, ``people.csv`` for ``people.csv#7``; any other id as it is."""
    return document_id.removesuffix(f"#{metadata.get(TABLE_ROW)}")


def _cite_pages(pages: Sequence[PageNumber]) -> str:
    named = [str(page.number + 1) if page.label is None else page.label for page in pages]
    return "" if not named else f"p. {named[0]}" if named[0] == named[-1] else f"pp. {named[0]}-{named[-1]}"


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
        dense: The cosine of its vector with the query's, in [-1, 1]; None in lexical search. Of a passage of several
            chunks, this and the next are of the best one.
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
