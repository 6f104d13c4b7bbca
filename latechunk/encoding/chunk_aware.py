"""Read documents as a contextual model was trained to: chunk after chunk in one sequence, a separator between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from latechunk.encoding.pooling import require_ranges
from latechunk.types import FloatArray, IntArray, PoolingTask, Tokens
from latechunk.types.arrays import counted_ranges


@dataclass(frozen=True, slots=True)
class _Reading:
    """Chunks of one text, joined; ``owner`` is the number of the text."""

    owner: int
    task: PoolingTask


def encode_separated(
    tasks: Sequence[PoolingTask],
    separator_id: int,
    encode: Callable[..., list[FloatArray]],
    on_progress: Callable[[int, int], None] | None,
) -> list[FloatArray]:
    """Have each text's spans read one after the other, with a separator between neighbours and none at the ends.

    Tokens that no span holds are left out, and those that two spans hold are read in each of them, as when the texts of
    the chunks are given one by one. Spans of several chunkers come one chunker after the other, and each has a sequence
    of its own, which begins where a span does not start after the one before it. Separators are seen by all tokens and
    are in no mean. ``encode`` and ``on_progress`` are those of ``SpanRunner.run``, whose results these are.
    """
    for task in tasks:
        require_ranges(task)
    readings = [_Reading(number, joined) for number, task in enumerate(tasks) for joined in _join(task, separator_id)]
    report = _Report(tasks, readings, on_progress) if on_progress else None
    results = encode([reading.task for reading in readings], on_progress=report)
    by_owner = groupby(zip(readings, results, strict=True), key=lambda pair: pair[0].owner)
    return [np.concatenate([vectors for _, vectors in pairs]) for _, pairs in by_owner]


def _join(task: PoolingTask, separator_id: int) -> list[PoolingTask]:
    if not len(task.ranges):
        return [task]
    starts = task.ranges[:, 0]
    seams = np.flatnonzero(starts[1:] <= starts[:-1]) + 1
    return [_join_one(task.tokens, ranges, separator_id) for ranges in np.split(task.ranges, seams)]


def _join_one(tokens: Tokens, ranges: IntArray, separator_id: int) -> PoolingTask:
    lengths = ranges[:, 1] - ranges[:, 0]
    starts = np.cumsum(lengths + 1) - (lengths + 1)  # each but the last is followed by a separator
    places = counted_ranges(ranges[:, 0], lengths + 1)[:-1]
    separators = starts[1:] - 1
    places[separators] -= 1  # a separator stands where the token before it does
    ids = tokens.ids[places]
    ids[separators] = separator_id
    joined = Tokens(tokens.prompt_ids, ids, tokens.offsets[places])
    return PoolingTask(joined, np.stack([starts, starts + lengths], axis=1))


class _Report:
    """Turns tokens of joined sequences that were read into shares of their texts' own tokens."""

    def __init__(
        self, tasks: Sequence[PoolingTask], readings: Sequence[_Reading], tell: Callable[[int, int], None]
    ) -> None:
        self._lengths = [len(task.tokens) for task in tasks]
        self._owners = [reading.owner for reading in readings]
        self._totals = [0] * len(tasks)
        for reading in readings:
            self._totals[reading.owner] += len(reading.task.tokens)
        self._done = [0] * len(tasks)
        self._tell = tell

    def __call__(self, number: int, n_tokens: int) -> None:
        owner = self._owners[number]
        before = self._share(owner)
        self._done[owner] += n_tokens
        self._tell(owner, self._share(owner) - before)

    def _share(self, owner: int) -> int:
        return self._lengths[owner] * self._done[owner] // self._totals[owner]
