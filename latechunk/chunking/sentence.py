"""Chunks of whole sentences."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import ClassVar, Self

import numpy as np
from pydantic import Field, model_validator

from latechunk.chunking.boundaries import Segmenter, sentence_ends
from latechunk.chunking.cuts import cut_places, next_cut, trimmed
from latechunk.types import IntArray, Settings, Span
from latechunk.validation import Validated


class SentenceChunker(Validated):
    """Packs whole sentences into chunks.

    The chunks cover the text without gaps: white space between two sentences belongs to the first of them, white
    space at the start of the text to the first chunk. A sentence longer than ``max_tokens`` is split where a token
    begins, at a word's start if one is near; one that holds no token stays with the chunk before it.

    Attributes:
        max_tokens: The most tokens of a chunk, counted in the tokenised document. Only a single character that takes
            more tokens than this makes a chunk larger.
        max_sentences: The most sentences of a chunk; None for as many as ``max_tokens`` allows.
        overlap: How many sentences at the end of a chunk the next one repeats, as far as ``max_tokens`` allows; a
            piece of a split sentence counts as one.
        trim: Leave white space at both ends out of every span. The gaps then hold nothing but white space.
        language: ISO 639 code of the texts' language.
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
    language: str = "en"
    segmenter: Segmenter = "sentencex"

    @model_validator(mode="after")
    def _can_be_done(self) -> Self:
        if self.max_sentences is not None and self.overlap >= self.max_sentences:
            raise ValueError(f"overlap ({self.overlap}) must be below max_sentences ({self.max_sentences})")
        if not re.fullmatch(r"[a-z]{2,3}(-[A-Za-z0-9]+)*", self.language):
            raise ValueError(f'language must be an ISO 639 code such as "en" or "ja", got {self.language!r}')
        sentence_ends(self.segmenter, self.language)  # missing data is an error now, not at the first document
        return self

    @property
    def settings(self) -> Settings:
        """What this chunker is, as JSON."""
        return {"kind": self.kind, **self.model_dump()}

    def split(self, text: str, offsets: IntArray) -> list[Span]:
        """Cut ``text`` into chunks; see ``latechunk.protocols.Chunker``."""
        ends = sentence_ends(self.segmenter, self.language)(text)
        cuts = _with_tokens(ends, len(text), offsets)
        first, last = _token_bounds(cuts, offsets)
        is_sentence_end = [True] * (len(cuts) - 1)
        if (last[1:] - first[:-1]).max() > self.max_tokens:
            cuts, is_sentence_end = _split_long(cuts, first, last, text, offsets, self.max_tokens)
            first, last = _token_bounds(cuts, offsets)
        spans = self._pack(cuts.tolist(), first, last, is_sentence_end)
        return trimmed(text, spans) if self.trim else spans

    def _pack(self, cuts: list[int], first: IntArray, last: IntArray, is_sentence_end: list[bool]) -> list[Span]:
        """Join neighbouring pieces ``cuts[i]:cuts[i + 1]`` greedily."""
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


def _token_bounds(cuts: IntArray, offsets: IntArray) -> tuple[IntArray, IntArray]:
    """The first token that ends after each cut, and one past the last token that starts before it."""
    first = np.searchsorted(offsets[:, 1], cuts, side="right")
    last = np.searchsorted(offsets[:, 0], cuts, side="left")
    return first.astype(np.int64), last.astype(np.int64)


def _with_tokens(ends: Iterable[int], n_characters: int, offsets: IntArray) -> IntArray:
    """Cuts from 0 to the end of the text such that a token begins in every piece between two of them."""
    inner = np.fromiter(ends, dtype=np.int64)
    inner = inner[inner < n_characters]
    n_before = np.searchsorted(offsets[:, 0], inner, side="left")
    # Of cuts with the same tokens before them the last one is kept, so that what holds no token joins the piece before.
    is_last = np.append(n_before[1:] != n_before[:-1], True) if len(inner) else np.zeros(0, dtype=bool)
    kept = inner[is_last & (n_before > 0) & (n_before < len(offsets))]
    return np.concatenate(([0], kept, [n_characters])).astype(np.int64)


def _split_long(
    sentences: IntArray, first: IntArray, last: IntArray, text: str, offsets: IntArray, max_tokens: int
) -> tuple[IntArray, list[bool]]:
    """Add cuts inside sentences of more than ``max_tokens``; say of each piece whether a sentence ends with it."""
    too_long = last[1:] - first[:-1] > max_tokens
    begins_character, begins_word = cut_places(text, offsets)
    cuts, is_sentence_end = [0], []
    for number, end in enumerate(sentences[1:]):
        if too_long[number]:
            begin, stop = int(first[number]), int(last[number + 1])
            while (begin := next_cut(begin, begin, stop, max_tokens, begins_character, begins_word)) < stop:
                cuts.append(int(offsets[begin, 0]))
                is_sentence_end.append(False)
        cuts.append(int(end))
        is_sentence_end.append(True)
    return np.array(cuts, dtype=np.int64), is_sentence_end
