"""A text and its tokens' places in, character spans of its chunks out. No chunker knows a model."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

import numpy as np

from latechunk.chunking.boundaries import Segmenter, sentence_ends
from latechunk.errors import InputError
from latechunk.protocols import Chunker
from latechunk.types import IntArray, Settings, Span


@dataclass(frozen=True)
class SentenceChunker:
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
    """

    max_tokens: int = 128
    max_sentences: int | None = None
    overlap: int = 0
    trim: bool = False
    language: str = "en"
    segmenter: Segmenter = "sentencex"

    def __post_init__(self) -> None:
        _require_count("max_tokens", self.max_tokens, 1)
        if self.max_sentences is not None:
            _require_count("max_sentences", self.max_sentences, 1)
        _require_count("overlap", self.overlap, 0)
        if self.max_sentences is not None and self.overlap >= self.max_sentences:
            raise InputError(f"overlap ({self.overlap}) must be below max_sentences ({self.max_sentences})")
        if not isinstance(self.language, str) or not re.fullmatch(r"[a-z]{2,3}(-[A-Za-z0-9]+)*", self.language):
            raise InputError(f'language must be an ISO 639 code such as "en" or "ja", got {self.language!r}')
        if self.segmenter not in ("sentencex", "nltk"):
            raise InputError(f'segmenter must be "sentencex" or "nltk", got {self.segmenter!r}')
        sentence_ends(self.segmenter, self.language)  # missing data is an error now, not at the first document

    @property
    def settings(self) -> Settings:
        """What this chunker is, as JSON."""
        return {"kind": "sentence", **asdict(self)}

    def split(self, text: str, offsets: IntArray) -> list[Span]:
        """Cut ``text`` into chunks; see :class:`latechunk.protocols.Chunker`."""
        ends = sentence_ends(self.segmenter, self.language)(text)
        sentences = _with_tokens(ends, len(text), offsets)
        cuts, is_sentence_end = _split_long(sentences, text, offsets, self.max_tokens)
        chunks = self._pack(cuts, is_sentence_end, offsets)
        return _finish(text, chunks, self.trim)

    def _pack(self, cuts: IntArray, is_sentence_end: list[bool], offsets: IntArray) -> list[tuple[int, int]]:
        """Join neighbouring pieces ``cuts[i]:cuts[i + 1]`` greedily."""
        first, last = _token_bounds(cuts, offsets)
        n_pieces = len(cuts) - 1
        chunks: list[tuple[int, int]] = []
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
            chunks.append((int(cuts[begin]), int(cuts[end])))
            if end == n_pieces:
                return chunks
            # Repeat sentences only as far as the next piece still fits behind them.
            repeat = min(self.overlap, end - begin - 1)
            while repeat and last[end + 1] - first[end - repeat] > self.max_tokens:
                repeat -= 1
            begin = end - repeat


@dataclass(frozen=True)
class TokenChunker:
    """Cuts a text every so many tokens.

    Cuts lie where a token begins, at a word's start if there is one in the chunk's second half, and never inside a
    character. The chunks cover the text without gaps: white space before a cut belongs to the chunk before it.

    Attributes:
        max_tokens: The most tokens of a chunk. Only a single character of more tokens makes a chunk larger.
        overlap: How many tokens at the end of a chunk the next one repeats, below ``max_tokens``.
        trim: Leave white space at both ends out of every span.

    Raises:
        InputError: If a setting is out of range.
    """

    max_tokens: int = 256
    overlap: int = 0
    trim: bool = False

    def __post_init__(self) -> None:
        _require_count("max_tokens", self.max_tokens, 1)
        _require_count("overlap", self.overlap, 0)
        if self.overlap >= self.max_tokens:
            raise InputError(f"overlap ({self.overlap}) must be below max_tokens ({self.max_tokens})")

    @property
    def settings(self) -> Settings:
        """What this chunker is, as JSON."""
        return {"kind": "token", **asdict(self)}

    def split(self, text: str, offsets: IntArray) -> list[Span]:
        """Cut ``text`` into chunks; see :class:`latechunk.protocols.Chunker`."""
        begins_character, begins_word = _cut_places(text, offsets)
        chunks: list[tuple[int, int]] = []
        begin = end = 0
        while True:
            before, end = end, _next_cut(begin, end, len(offsets), self.max_tokens, begins_character, begins_word)
            if end - begin > self.max_tokens and before > begin:  # what is repeated leaves no room for a character
                begin = before
                end = _next_cut(begin, begin, len(offsets), self.max_tokens, begins_character, begins_word)
            start = int(offsets[begin, 0]) if begin else 0
            stop = int(offsets[end, 0]) if end < len(offsets) else len(text)
            chunks.append((start, stop))
            if end == len(offsets):
                return _finish(text, chunks, self.trim)
            begin = _step_back(end, self.overlap, begin, begins_character)


def chunker_from_settings(settings: Settings) -> Chunker | None:
    """Rebuild a chunker of this module from what an index recorded; None for somebody else's.

    Raises:
        InputError: If the settings are of one of these chunkers and out of range.
    """
    options = {name: value for name, value in settings.items() if name != "kind"}
    if settings.get("kind") == "sentence":
        return SentenceChunker(**options)
    if settings.get("kind") == "token":
        return TokenChunker(**options)
    return None


def _require_count(name: str, value: object, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InputError(f"{name} must be a whole number of at least {least}, got {value!r}")


def _token_bounds(cuts: IntArray, offsets: IntArray) -> tuple[IntArray, IntArray]:
    """The first token that ends behind each cut, and one past the last token that starts before it."""
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


def _split_long(sentences: IntArray, text: str, offsets: IntArray, max_tokens: int) -> tuple[IntArray, list[bool]]:
    """Add cuts inside sentences of more than ``max_tokens``; say of each piece whether a sentence ends with it."""
    first, last = _token_bounds(sentences, offsets)
    too_long = last[1:] - first[:-1] > max_tokens
    if not too_long.any():
        return sentences, [True] * (len(sentences) - 1)
    begins_character, begins_word = _cut_places(text, offsets)
    cuts, is_sentence_end = [0], []
    for number, end in enumerate(sentences[1:]):
        if too_long[number]:
            begin, stop = int(first[number]), int(last[number + 1])
            while (begin := _next_cut(begin, begin, stop, max_tokens, begins_character, begins_word)) < stop:
                cuts.append(int(offsets[begin, 0]))
                is_sentence_end.append(False)
        cuts.append(int(end))
        is_sentence_end.append(True)
    return np.array(cuts, dtype=np.int64), is_sentence_end


def _cut_places(text: str, offsets: IntArray) -> tuple[list[bool], list[bool]]:
    """Say of each token whether it begins a character of its own, and whether it begins a word."""
    starts, previous_ends = offsets[1:, 0], offsets[:-1, 1]
    begins_character = [True, *(starts >= previous_ends).tolist()]
    gap = (starts > previous_ends).tolist()
    begins_word = [True] + [
        own and (apart or text[start].isspace())
        for own, apart, start in zip(begins_character[1:], gap, starts.tolist(), strict=True)
    ]
    return begins_character, begins_word


def _next_cut(
    begin: int, after: int, stop: int, size: int, begins_character: list[bool], begins_word: list[bool]
) -> int:
    """The token behind ``after`` before which to cut: at most ``size`` from ``begin`` where a character allows it."""
    limit = begin + size
    if limit >= stop:
        return stop
    for places, least in ((begins_word, max(begin + (size - 1) // 2, after)), (begins_character, after)):
        for token in range(limit, least, -1):
            if places[token]:
                return token
    return next((token for token in range(limit + 1, stop) if begins_character[token]), stop)


def _step_back(end: int, overlap: int, begin: int, begins_character: list[bool]) -> int:
    """The token at which the next chunk begins: ``overlap`` before ``end``, at a character's start, after ``begin``."""
    return next(token for token in range(max(end - overlap, begin + 1), end + 1) if begins_character[token])


def _finish(text: str, chunks: list[tuple[int, int]], trim: bool) -> list[Span]:
    return list(_trimmed(text, chunks) if trim else (Span(start, end) for start, end in chunks))


def _trimmed(text: str, chunks: list[tuple[int, int]]) -> Iterator[Span]:
    for start, end in chunks:
        piece = text[start:end]
        stripped = piece.strip()
        lead = len(piece) - len(piece.lstrip())
        # A piece that is white space throughout holds a token (some tokenizers have such) and stays as it is.
        yield Span(start + lead, start + lead + len(stripped)) if stripped else Span(start, end)
