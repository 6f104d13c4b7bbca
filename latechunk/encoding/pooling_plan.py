"""Find the tokens of character spans, and the rows of each window's output that are summed for a span."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from latechunk.errors import SpanError
from latechunk.models.catalogue import SpecialTokens
from latechunk.types import IntArray, Span, WindowPlan


def token_ranges(offsets: IntArray, spans: Sequence[Span]) -> IntArray:
    """Find the tokens of each span: all that share a character with it.

    Returns:
        Half-open token ranges in span order, shape ``(n_spans, 2)``.

    Raises:
        SpanError: If a span holds no token.
    """
    first = np.searchsorted(offsets[:, 1], [span.start for span in spans], side="right")
    last = np.searchsorted(offsets[:, 0], [span.end for span in spans], side="left")
    for span, has_token in zip(spans, first < last, strict=True):
        if not has_token:
            raise SpanError(f"span [{span.start}, {span.end}) holds no token; is it blank?")
    return np.stack([first, last], axis=1).astype(np.int64)


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
    window = _counted_ranges(first, n_windows_of_span)
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
        window_pieces=np.searchsorted(window, np.arange(len(windows) + 1)),
        n_rows=np.bincount(span, weights=end - start, minlength=len(ranges)).astype(np.int64),
    )


def _counted_ranges(starts: IntArray, counts: IntArray) -> IntArray:
    """Concatenate ``arange(start, start + count)`` over all pairs."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    return np.asarray(np.arange(total) + np.repeat(starts - (ends - counts), counts), dtype=np.int64)


def rows_to_sum(starts: IntArray, ends: IntArray) -> tuple[IntArray, IntArray]:
    """List all rows of half-open runs, and where in that list each run begins, as an embedding bag wants them."""
    counts = ends - starts
    return _counted_ranges(starts, counts), np.cumsum(counts) - counts
