"""Means of the token embeddings of spans: which rows of which window add up to which span, and the sums themselves.

Training and inference share it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from latechunk.errors import SpanError
from latechunk.models.catalogue import SpecialTokens
from latechunk.types import IntArray, PoolingTask, WindowPlan
from latechunk.types.arrays import counted_ranges


@dataclass(frozen=True, slots=True)
class PoolingPlan:
    """Which rows of which window's output add up to which span.

    A piece is a run of rows of one window's sequence (prefix, content, suffix) that belongs to one span. Pieces are
    ordered by window.

    Attributes:
        piece_span: Span of each piece, shape ``(n_pieces,)``.
        piece_start: First row in the window's sequence, shape ``(n_pieces,)``.
        piece_end: One past the last row, shape ``(n_pieces,)``.
        window_pieces: Pieces of window ``w`` are ``window_pieces[w]`` to ``window_pieces[w + 1]``.
        n_rows: How many rows each span is the mean of, shape ``(n_spans,)``.
    """

    piece_span: IntArray
    piece_start: IntArray
    piece_end: IntArray
    window_pieces: IntArray
    n_rows: IntArray


def require_ranges(task: PoolingTask) -> None:
    """Raise a SpanError unless every range lies in the text and holds a token."""
    starts, ends, n_tokens = task.ranges[:, 0], task.ranges[:, 1], len(task.tokens)
    wrong = np.flatnonzero((starts < 0) | (starts >= ends) | (ends > n_tokens))
    if len(wrong):
        start, end = task.ranges[wrong[0]].tolist()
        raise SpanError(f"a range of tokens needs 0 <= start < end <= {n_tokens}, got [{start}, {end})")


def plan_pooling(
    ranges: IntArray,
    windows: WindowPlan,
    n_prefix: int,
    n_suffix: int,
    special_tokens: SpecialTokens,
    *,
    prefix_counts: bool = True,
) -> PoolingPlan:
    """Split each span's tokens among the windows that own them.

    Args:
        ranges: Half-open token ranges of the spans, none empty, shape ``(n_spans, 2)``.
        windows: The windows of the text.
        n_prefix: Rows before the content in every window: special tokens, then the prompt.
        n_suffix: Rows after the content.
        special_tokens: ``"exclude"`` leaves prefix and suffix out; ``"include"`` adds those of every window that owns
            a token of the span.
        prefix_counts: False to leave the prefix out of what ``special_tokens`` adds, for a model whose own pooling
            leaves out everything up to the end of the prompt.
    """
    # A span of tokens [a, b) lies in the windows that own its first and its last token, and in all between. Windows own
    # half-open, neighbouring ranges of tokens ("seams"), so the two are found by binary search, and each pair of a span
    # and such a window gives one piece: the part of the span that the window owns. Windows overlap, but ownership does
    # not, so every token is in exactly one piece, and the sum over a span's pieces is the sum over its tokens. All of
    # it is array arithmetic, since a document of a million tokens may have tens of thousands of spans: ``span`` and
    # ``window`` name the pair of each piece, and rows are counted in the window's own sequence, where content begins
    # after the prefix.
    first = np.searchsorted(windows.seams, ranges[:, 0], side="right") - 1
    last = np.searchsorted(windows.seams, ranges[:, 1], side="left") - 1
    n_windows_of_span = last - first + 1
    span = np.repeat(np.arange(len(ranges)), n_windows_of_span)
    window = counted_ranges(first, n_windows_of_span)
    shift = n_prefix - windows.starts[window]
    start = np.maximum(ranges[span, 0], windows.seams[window]) + shift
    end = np.minimum(ranges[span, 1], windows.seams[window + 1]) + shift

    # Special tokens are pieces, too: the rows before and after the content, once for every piece of content. Each piece
    # is of another pair of span and window, so a special token counts once in a span and window.
    lengths = n_prefix + (windows.ends - windows.starts) + n_suffix
    with_suffix = np.arange(len(span) if special_tokens == "include" else 0)
    with_prefix = with_suffix if prefix_counts else with_suffix[:0]
    span = np.concatenate([span, span[with_prefix], span[with_suffix]])
    start = np.concatenate([start, np.zeros_like(with_prefix), lengths[window[with_suffix]] - n_suffix])
    end = np.concatenate([end, np.full_like(with_prefix, n_prefix), lengths[window[with_suffix]]])
    window = np.concatenate([window, window[with_prefix], window[with_suffix]])

    filled = end > start
    order = np.argsort(window[filled], kind="stable")
    span, start, end, window = (array[filled][order] for array in (span, start, end, window))
    return PoolingPlan(
        piece_span=span,
        piece_start=start,
        piece_end=end,
        window_pieces=np.searchsorted(window, np.arange(len(windows.seams))),
        n_rows=np.bincount(span, weights=end - start, minlength=len(ranges)).astype(np.int64),
    )


def lay_out_runs(windows: Sequence[tuple[PoolingPlan, int, int, int]]) -> tuple[IntArray, IntArray, IntArray]:
    """Write out ``rows``, ``bags`` and ``spans`` for ``SpanPool.add`` of the windows that one pass reads.

    Args:
        windows: Of each the plan of its text, its number in that text, the row of the table that its sequence begins
            at, and the number that the first span of its text has among all spans.
    """
    starts, ends, spans = [], [], []
    for plan, window, first_row, first_span in windows:
        pieces = slice(plan.window_pieces[window], plan.window_pieces[window + 1])
        starts.append(plan.piece_start[pieces] + first_row)
        ends.append(plan.piece_end[pieces] + first_row)
        spans.append(plan.piece_span[pieces] + first_span)
    first, counts = np.concatenate(starts), np.concatenate(ends) - np.concatenate(starts)
    return counted_ranges(first, counts), np.cumsum(counts) - counts, np.concatenate(spans)


class SpanPool(torch.nn.Module):
    """Means of runs of token embeddings, taken in float32 on their device; differentiable.

    In place of the Pooling of sentence-transformers: one vector for each span, not for each text. A span that lies in
    several windows is summed over several passes, of which ``add`` takes one.
    """

    def forward(self, features: dict[str, Any]) -> dict[str, Any]:
        """Pool spans that lie in one pass.

        From ``token_embeddings`` of any shape ``(..., hidden)``, ``rows``, ``bags`` and ``spans`` as ``add`` takes
        them, and ``n_rows``, shape ``(n_spans,)``, it adds ``sentence_embedding``, float32, ``(n_spans, hidden)``.
        """
        embeddings, n_rows = features["token_embeddings"], features["n_rows"]
        table = embeddings.reshape(-1, embeddings.shape[-1])
        sums = torch.zeros((len(n_rows), table.shape[1]), dtype=torch.float32, device=table.device)
        sums = self.add(sums, table, features["rows"], features["bags"], features["spans"])
        return {**features, "sentence_embedding": sums / n_rows[:, None]}

    @staticmethod
    def add(
        sums: torch.Tensor, table: torch.Tensor, rows: torch.Tensor, bags: torch.Tensor, spans: torch.Tensor
    ) -> torch.Tensor:
        """Add what one pass gives of each span to ``sums``, in place.

        ``table`` has token embeddings in any dtype, shape ``(n_rows, hidden)``; ``rows`` are those to sum, run after
        run, ``bags`` where each run begins in them, ``spans`` the span that each run belongs to.
        """
        return sums.index_add_(0, spans, functional.embedding_bag(rows, table.float(), bags, mode="sum"))
