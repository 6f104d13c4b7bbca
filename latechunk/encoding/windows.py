"""Cover a text with overlapping windows, so that exactly one of them owns each token."""

from __future__ import annotations

import numpy as np

from latechunk.errors import InputError
from latechunk.types import WindowPlan


def plan_windows(n_tokens: int, size: int, overlap: int) -> WindowPlan:
    """Cover ``n_tokens`` with the fewest windows of ``size`` that overlap by at least ``overlap``.

    The windows are spread evenly, which costs nothing over packing them to the left and gives every seam an equal
    share of the slack as further context. A token belongs to the window in which it stands most centrally: the one
    whose middle is nearest, the earlier one on a tie.

    Args:
        n_tokens: Content tokens of the text, 0 or more.
        size: Content tokens that one window holds, at least 1.
        overlap: Tokens shared by neighbours, from 0 to ``size - 1``.
    """
    if size < 1 or not 0 <= overlap < size:
        raise InputError(f"windows need size >= 1 and 0 <= overlap < size, got size {size} and overlap {overlap}")
    if n_tokens == 0:
        empty = np.zeros(0, dtype=np.int64)
        return WindowPlan(starts=empty, ends=empty, seams=np.zeros(1, dtype=np.int64))
    length = min(size, n_tokens)
    n_windows = 1 + max(0, -(-(n_tokens - size) // (size - overlap)))
    starts = np.arange(n_windows, dtype=np.int64) * (n_tokens - length) // max(1, n_windows - 1)
    ends = starts + length
    # Token t is nearest to the middle (start + end - 1) / 2; between two middles the seam lies at their mean.
    middles = starts + ends - 1
    inner = (middles[:-1] + middles[1:]) // 4 + 1
    return WindowPlan(starts=starts, ends=ends, seams=np.concatenate(([0], inner, [n_tokens])))
