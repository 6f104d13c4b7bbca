"""Chunks of so many tokens."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import Field, model_validator

from latechunk.chunking.cuts import cut_places, line_places, next_cut, trimmed
from latechunk.types import IntArray, Settings, Span
from latechunk.validation import Validated


class TokenChunker(Validated):
    """Cuts a text every so many tokens.

    Cuts lie where a token begins, at a line's start if there is one in the chunk's second half, or at a word's, and
    never inside a character. The chunks cover the text without gaps: white space before a cut belongs to the chunk
    before it.

    Attributes:
        max_tokens: The most tokens of a chunk. Only a single character of more tokens makes a chunk larger.
        overlap: How many tokens at the end of a chunk the next one repeats, below ``max_tokens``.
        trim: Leave white space at both ends out of every span.

    Raises:
        InputError: If a setting is out of range.

    Examples:
        >>> index = Index.create("notes", chunker=TokenChunker(max_tokens=200, overlap=20))  # doctest: +SKIP
    """

    kind: ClassVar[str] = "token"

    max_tokens: int = Field(default=256, ge=1)
    overlap: int = Field(default=0, ge=0)
    trim: bool = False

    @model_validator(mode="after")
    def _chunks_advance(self) -> Self:
        if self.overlap >= self.max_tokens:
            raise ValueError(f"overlap ({self.overlap}) must be below max_tokens ({self.max_tokens})")
        return self

    @property
    def settings(self) -> Settings:
        """What this chunker is, as JSON."""
        return {"kind": self.kind, **self.model_dump()}

    def split(self, text: str, offsets: IntArray) -> list[Span]:
        """Cut ``text`` into chunks; see ``latechunk.protocols.Chunker``."""
        places = (*cut_places(text, offsets), line_places(text, offsets))
        spans: list[Span] = []
        begin = end = 0
        while True:
            before, end = end, next_cut(begin, end, len(offsets), self.max_tokens, *places)
            if end - begin > self.max_tokens and before > begin:  # what is repeated leaves no room for a character
                begin = before
                end = next_cut(begin, begin, len(offsets), self.max_tokens, *places)
            start = int(offsets[begin, 0]) if begin else 0
            stop = int(offsets[end, 0]) if end < len(offsets) else len(text)
            spans.append(Span(start, stop))
            if end == len(offsets):
                return trimmed(text, spans, offsets) if self.trim else spans
            begin = _step_back(end, self.overlap, begin, *places[:2])


def _step_back(end: int, overlap: int, begin: int, begins_character: list[bool], begins_alone: list[bool]) -> int:
    """The token at which the next chunk begins: ``overlap`` before ``end``, at a character's start, after ``begin``."""
    tokens = range(max(end - overlap, begin + 1), end + 1)
    return next(token for places in (begins_alone, begins_character) for token in tokens if places[token])
