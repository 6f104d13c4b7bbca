"""Draw training examples: segments of documents, cut into chunks, with questions that some of the chunks answer."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from latechunk.errors import InputError
from latechunk.training.data import TrainingData, TrainingDocument
from latechunk.training.settings import SegmentSettings
from latechunk.types import IntArray

_ATTEMPTS = 200  # at a segment of a length with a question that some of its chunks answer and others do not


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of whole chunks of one document, and questions that some of them answer.

    Attributes:
        document: Its number.
        size: Which chunks they are, by size.
        first_chunk: The first of them in the document.
        start, end: Its tokens in the document.
        ranges: Token ranges of the chunks, from ``start``, shape ``(n_chunks, 2)``.
        questions: Numbers of the questions.
        gold: Which chunk answers which question, shape ``(n_questions, n_chunks)``.
    """

    document: int
    size: int
    first_chunk: int
    start: int
    end: int
    ranges: IntArray
    questions: IntArray
    gold: NDArray[np.bool_]


class SegmentSource:
    """Draws batches of segments: the same number and seed always give the same batch."""

    def __init__(self, data: TrainingData, settings: SegmentSettings, seed: int) -> None:
        """Set up what is drawn from."""
        names = sorted({document.set_name for document in data.documents})
        weights = np.array([settings.mixture.get(name, 1.0) for name in names])
        self._data = data
        self._settings = settings
        self._seed = seed
        self._set_weights = weights / weights.sum()
        self._members = [
            np.array([number for number, one in enumerate(data.documents) if one.set_name == name]) for name in names
        ]
        # A document with many questions comes more often, and not as often as its questions: they share their text.
        counts = np.sqrt([len(document.asked) for document in data.documents])
        self._member_weights = [counts[members] / counts[members].sum() for members in self._members]

    def draw(self, number: int, n_segments: int) -> list[Segment]:
        """Batch ``number``: segments of about one length; InputError if none can be found that has a question."""
        chance = np.random.default_rng((self._seed, number))
        low, high = math.log(self._settings.least_tokens), math.log(self._settings.most_tokens)
        length = round(math.exp(chance.uniform(low, high)))
        row = self._settings.batches_in_a_row
        own = np.random.default_rng((self._seed, number // row, row)) if row else None  # the same for the whole row
        chosen = None if own is None else int(own.choice(len(self._members), p=self._set_weights))
        return [self._draw_one(chance, length, chosen) for _ in range(n_segments)]

    def _draw_one(self, chance: np.random.Generator, length: int, of: int | None) -> Segment:
        """A segment of set number ``of``, where that has some, or of any; of another length where none has this one."""
        for attempt in range(_ATTEMPTS):
            chosen = of
            if chosen is None or attempt >= _ATTEMPTS // 2:
                chosen = int(chance.choice(len(self._members), p=self._set_weights))
            number = int(chance.choice(self._members[chosen], p=self._member_weights[chosen]))
            segment = self._cut(chance, number, length)
            if segment is not None:
                return segment
        most = self._settings.most_tokens
        drawn = [members for members, weight in zip(self._members, self._set_weights, strict=True) if weight]
        for number in chance.permutation(np.concatenate(drawn)).tolist():  # a run must not end at its rarest length
            segment = self._cut(chance, number, most)
            if segment is not None:
                return segment
        raise InputError(
            f"no segment of {length} or {most} tokens with a question was found: a question must be answered "
            f"by some chunks of its segment and not by all; take longer documents, smaller chunks "
            f"({', '.join(map(str, self._settings.chunk_tokens))}), or longer segments"
        )

    def _cut(self, chance: np.random.Generator, number: int, length: int) -> Segment | None:
        """Cut a segment around the answer to one of a document's questions."""
        document = self._data.documents[number]
        size = int(chance.choice(list(document.cuts)))
        ranges = document.cuts[size]
        asked = self._data.questions[int(chance.choice(document.asked))]
        if document.set_name in self._settings.whole:
            length = self._settings.most_tokens
        first, last = asked.answers[chance.integers(len(asked.answers))]
        start = place_segment(chance, len(document.tokens), length, int(first), int(last))
        chunks = np.flatnonzero((ranges[:, 0] >= start) & (ranges[:, 1] <= start + length))
        if len(chunks) < 2:
            return None
        ranges = ranges[chunks]
        questions, gold = self._ask(chance, document, ranges)
        if not len(questions):
            return None
        begin, end = int(ranges[0, 0]), int(ranges[-1, 1])
        return Segment(number, size, int(chunks[0]), begin, end, ranges - begin, questions, gold)

    def _ask(
        self, chance: np.random.Generator, document: TrainingDocument, ranges: IntArray
    ) -> tuple[IntArray, NDArray[np.bool_]]:
        """Questions that some of the chunks answer and others do not."""
        numbers, rows = [], []
        for number in chance.permutation(document.asked):
            gold = overlaps(ranges, self._data.questions[int(number)].answers)
            if gold.any() and not gold.all():
                numbers.append(int(number))
                rows.append(gold)
            if len(numbers) == self._settings.most_questions:
                break
        return np.array(numbers, dtype=np.int64), np.array(rows, dtype=bool).reshape(len(rows), len(ranges))


def place_segment(chance: np.random.Generator, n_tokens: int, length: int, first: int, last: int) -> int:
    """Where a segment of ``length`` tokens begins that holds a token of ``[first, last)``, anywhere in it."""
    if n_tokens <= length:
        return 0
    inside = int(chance.integers(first, last))
    return int(np.clip(inside - chance.integers(0, length), 0, n_tokens - length))


def overlaps(ranges: IntArray, answers: IntArray) -> NDArray[np.bool_]:
    """Which chunks share a token with an answer, shape ``(len(ranges),)``."""
    return np.asarray(
        ((ranges[:, None, 0] < answers[None, :, 1]) & (answers[None, :, 0] < ranges[:, None, 1])).any(axis=1)
    )
