"""Chunks of whole sentences."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import Field, model_validator

from latechunk.chunking.boundaries import Segmenter, sentence_ends
from latechunk.chunking.cuts import trimmed
from latechunk.chunking.languages import choose_language, require_language
from latechunk.chunking.pieces import Pieces, find_pieces
from latechunk.types import Document, IntArray, Settings, Span
from latechunk.validation import Validated


class SentenceChunker(Validated):
    """Packs whole sentences into chunks.

    The chunks cover the text without gaps: white space between two sentences belongs to the first of them, white
    space at the start of the text to the first chunk. A sentence longer than ``max_tokens`` is split where a token
    begins, at the start of a clause or else a word if one is near; one that holds no token stays with the chunk
    before it.

    Attributes:
        max_tokens: The most tokens of a chunk, counted in the tokenised document. Only a single character that takes
            more tokens than this makes a chunk larger.
        max_sentences: The most sentences of a chunk; None for as many as ``max_tokens`` allows.
        overlap: How many sentences at the end of a chunk the next one repeats, as far as ``max_tokens`` allows; a
            piece of a split sentence counts as one.
        trim: Leave white space at both ends out of every span. The gaps then hold nothing but white space.
        language: ISO 639 code of the texts' language; None for each document's own: its metadata's ``lang`` or
            ``language``, or what its text shows. With Punkt, None is English.
        segmenter: ``"sentencex"``, or ``"nltk"`` for Punkt, which needs the extra ``nltk`` and its data.

    Raises:
        InputError: If a setting is out of range.
        MissingDependencyError: If nltk or its data is wanted and not there.

    Examples:
        >>> index = Index.create("notes", chunker=SentenceChunker(max_tokens=64, overlap=1))  # doctest: +SKIP
    """

    kind: ClassVar[str] = "sentence"

    max_tokens: int = Field(default=128, ge=1)
    max_sentences: int | None = Field(default=None, ge=1)
    overlap: int = Field(default=0, ge=0)
    trim: bool = False
    language: str | None = None
    segmenter: Segmenter = "sentencex"

    @model_validator(mode="after")
    def _can_be_done(self) -> Self:
        if self.max_sentences is not None and self.overlap >= self.max_sentences:
            raise ValueError(f"overlap ({self.overlap}) must be below max_sentences ({self.max_sentences})")
        require_language(self.language)
        sentence_ends(self.segmenter, self.language or "en")  # missing data is an error now, not at the first document
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
        # Punkt has few languages, each with data to be installed, so it takes no language that nobody asked for.
        asked = self.language or ("en" if self.segmenter == "nltk" else None)
        language = choose_language(asked, text, document.metadata)
        ends = sentence_ends(self.segmenter, language)(text)
        spans = self._pack(find_pieces(text, document.outline, ends, offsets, self.max_tokens, keep_lines=False))
        return trimmed(text, spans, offsets) if self.trim else spans

    def _pack(self, pieces: Pieces) -> list[Span]:
        """Join neighbouring pieces greedily."""
        cuts, first, last, is_sentence_end = pieces.cuts, pieces.first, pieces.last, pieces.ends_sentence
        n_pieces = len(cuts) - 1
        spans: list[Span] = []
        begin = 0
        while True:
            end, n_sentences = begin + 1, int(is_sentence_end[begin])
            while (
                end < n_pieces
                and last[end + 1] - first[begin] <= self.max_tokens
                and (self.max_sentences is None or n_sentences < self.max_sentences)
            ):
                n_sentences += is_sentence_end[end]
                end += 1
            spans.append(Span(cuts[begin], cuts[end]))
            if end == n_pieces:
                return spans
            # Repeat sentences only as far as the next piece still fits after them.
            repeat = min(self.overlap, end - begin - 1)
            while repeat and last[end + 1] - first[end - repeat] > self.max_tokens:
                repeat -= 1
            begin = end - repeat
