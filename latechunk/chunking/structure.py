"""Chunks of whole sections, paragraphs and lines."""

from __future__ import annotations

from bisect import bisect_right
from typing import ClassVar, Self

from pydantic import Field, model_validator

from latechunk.chunking.boundaries import sentence_ends
from latechunk.chunking.languages import choose_language, require_language
from latechunk.chunking.layout import Unit
from latechunk.chunking.pieces import Pieces, find_pieces
from latechunk.types import Document, IntArray, Settings, Span
from latechunk.validation import Validated

# What a cut is worth, in chunks: a chunk ends before a paragraph if that leaves a fifth of it empty, and no more;
# before a function rather than inside it if that leaves three fifths.
_GAINS = {"heading": 0.75, "part": 0.7, "block": 0.2, "line": 0.1, "row": -0.5}
_INSIDE_SENTENCE = -0.3
_LEAST_SECTION = 0.25  # of a chunk; a heading ends the chunk before it where that is as full


class StructureChunker(Validated):
    """Cuts a document where it wants to be cut, into chunks of at most so many tokens.

    A heading begins a chunk, except that a section of less than a quarter of a chunk may share it with the next.
    Sections are cut between paragraphs, lists, tables and code, then between lines, items and rows, then between
    sentences; a little of the size is given up for a better place. These stay whole wherever they fit a chunk: a
    heading, code, the row of a table, and a line of a text whose lines are units, such as a transcript, a log or CSV.
    Headings, clause numbers, speakers, times, "Q." and "A.", questions alone on their line, captions and what ends with
    a colon stay with what follows them. Where there is no structure, sentences are packed.

    The headings, tables and code are those of ``Document.outline``, or else what the text shows by the conventions of
    Markdown. The chunks cover the text without gaps: white space between two chunks belongs to the first of them.

    Attributes:
        max_tokens: The most tokens of a chunk, counted in the tokenised document. Only a single character that takes
            more tokens than this makes a chunk larger.
        language: ISO 639 code of the texts' language, which decides where sentences end; None for each document's own:
            its metadata's ``lang`` or ``language``, or what its text shows.

    Raises:
        InputError: If a setting is out of range.

    Examples:
        >>> index = Index.create("manuals", chunker=StructureChunker(max_tokens=256))  # doctest: +SKIP
    """

    kind: ClassVar[str] = "structure"

    max_tokens: int = Field(default=128, ge=1)
    language: str | None = None

    @model_validator(mode="after")
    def _is_language(self) -> Self:
        require_language(self.language)
        return self

    @property
    def settings(self) -> Settings:
        """What this chunker is, as JSON."""
        return {"kind": self.kind, **self.model_dump()}

    def split(self, text: str, offsets: IntArray) -> list[Span]:
        """Cut ``text`` into chunks; see ``latechunk.protocols.Chunker``."""
        return self.split_document(Document("text", text), offsets)

    def split_document(self, document: Document, offsets: IntArray) -> list[Span]:
        """Cut a document into chunks; see ``latechunk.protocols.SplitsDocuments``."""
        text = document.text
        if len(offsets) <= self.max_tokens:
            return [Span(0, len(text))]
        ends = sentence_ends("sentencex", choose_language(self.language, text, document.metadata))(text)
        return self._pack(find_pieces(text, document.outline, ends, offsets, self.max_tokens, keep_lines=True))

    def _pack(self, pieces: Pieces) -> list[Span]:
        """Fill chunks up to the place that is worth most: how full the chunk is, and what is cut there."""
        cuts, last, n_pieces = pieces.cuts, pieces.last, len(pieces.cuts) - 1
        gains = [_gain(*one) for one in zip(pieces.units, [True, *pieces.ends_sentence[:-1]], strict=True)]
        spans: list[Span] = []
        begin = 0
        while begin < n_pieces:
            start = pieces.first[begin]
            end = limit = bisect_right(last, start + self.max_tokens, begin + 2) - 1
            if limit < n_pieces:
                end = max(
                    (last[place] / self.max_tokens + gains[place], place) for place in range(begin + 1, limit + 1)
                )[1]
            sections = (place for place in range(begin + 1, end) if gains[place] == _GAINS["heading"])
            least = start + self.max_tokens * _LEAST_SECTION
            end = next((place for place in sections if last[place] >= least), end)
            spans.append(Span(cuts[begin], cuts[end]))
            begin = end
        return spans


def _gain(unit: Unit | None, ends_sentence: bool) -> float:
    if unit is None:
        return 0.0 if ends_sentence else _INSIDE_SENTENCE
    return _GAINS[unit.kind]
