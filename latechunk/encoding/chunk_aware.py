"""Read documents as a contextual model was trained to: chunk after chunk in one sequence, a separator between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from latechunk.encoding.pooling import require_ranges
from latechunk.types import FloatArray, IntArray, PoolingTask, Tokens
from latechunk.types.arrays import counted_ranges


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
    readings = [_join(task, separator_id) for task in tasks]
    joined = [one for parts in readings for one in parts]
    results = encode(joined, on_progress=_shares(tasks, readings, on_progress) if on_progress else None)
    bounds = np.cumsum([0, *map(len, readings)]).tolist()
    return [np.concatenate(results[begin:end]) for begin, end in pairwise(bounds)]


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


def _shares(
    tasks: Sequence[PoolingTask], readings: Sequence[Sequence[PoolingTask]], tell: Callable[[int, int], None]
) -> Callable[[int, int], None]:
    """Turn tokens of joined sequences that were read, by the sequence's number, into shares of their texts' own."""
    owners = [number for number, parts in enumerate(readings) for _ in parts]
    totals = [sum(len(one.tokens) for one in parts) for parts in readings]
    done, told = [0] * len(tasks), [0] * len(tasks)

    def report(number: int, n_tokens: int) -> None:
        owner = owners[number]
        done[owner] += n_tokens
        before, told[owner] = told[owner], len(tasks[owner].tokens) * done[owner] // totals[owner]
        tell(owner, told[owner] - before)

    return report
