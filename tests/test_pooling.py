import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latechunk.embedding.chunks import token_ranges
from latechunk.encoding.pooling import PoolingPlan, lay_out_runs, plan_pooling
from latechunk.encoding.windows import plan_windows
from latechunk.errors import SpanError
from latechunk.types import Span


def test_token_ranges_by_hand():
    # "Its people." as It|s| people|.
    offsets = np.array([[0, 2], [2, 3], [3, 10], [10, 11]])

    ranges = token_ranges(offsets, [Span(0, 3), Span(3, 11), Span(1, 4), Span(0, 11)])

    assert ranges.tolist() == [[0, 2], [2, 4], [0, 3], [0, 4]]


def test_tokens_that_share_a_character_all_belong_to_its_span():
    # An emoji of three byte tokens between two letters.
    offsets = np.array([[0, 1], [1, 2], [1, 2], [1, 2], [2, 3]])

    assert token_ranges(offsets, [Span(1, 2), Span(0, 1), Span(2, 3)]).tolist() == [[1, 4], [0, 1], [4, 5]]


def test_a_span_without_a_token_is_named():
    with pytest.raises(SpanError, match=r"\[2, 3\) holds no token"):
        token_ranges(np.array([[0, 2], [3, 5]]), [Span(0, 2), Span(2, 3)])


@st.composite
def pooled(draw):
    n_tokens = draw(st.integers(1, 80))
    size = draw(st.integers(1, 20))
    overlap = draw(st.integers(0, size - 1))
    starts = draw(st.lists(st.integers(0, n_tokens - 1), min_size=1, max_size=12))
    ranges = [[start, draw(st.integers(start + 1, n_tokens))] for start in starts]
    return n_tokens, size, overlap, np.array(ranges)


def rows_of(plan, windows, n_prefix):
    """What each span sums, as (window, row) pairs."""
    rows = [[] for _ in plan.n_rows]
    for window in range(len(windows)):
        for piece in range(plan.window_pieces[window], plan.window_pieces[window + 1]):
            run = range(plan.piece_start[piece], plan.piece_end[piece])
            rows[plan.piece_span[piece]] += [(window, row) for row in run]
    return rows


@given(pooled(), st.integers(0, 3), st.integers(0, 2))
def test_each_span_sums_each_of_its_tokens_once_from_the_window_that_owns_it(case, n_prefix, n_suffix):
    n_tokens, size, overlap, ranges = case
    windows = plan_windows(n_tokens, size, overlap)

    plan = plan_pooling(ranges, windows, n_prefix, n_suffix, "exclude")

    for (start, end), rows, n_rows in zip(ranges, rows_of(plan, windows, n_prefix), plan.n_rows, strict=True):
        tokens = [windows.starts[window] + row - n_prefix for window, row in rows]
        assert tokens == list(range(start, end))
        assert all(windows.seams[w] <= t < windows.seams[w + 1] for (w, _), t in zip(rows, tokens, strict=True))
        assert n_rows == end - start


@given(pooled(), st.integers(0, 3), st.integers(0, 2))
def test_include_adds_prefix_and_suffix_of_every_window_that_owns_a_token(case, n_prefix, n_suffix):
    n_tokens, size, overlap, ranges = case
    windows = plan_windows(n_tokens, size, overlap)

    plan = plan_pooling(ranges, windows, n_prefix, n_suffix, "include")

    for (start, end), rows in zip(ranges, rows_of(plan, windows, n_prefix), strict=True):
        owners = {w for w in range(len(windows)) if windows.seams[w] < end and start < windows.seams[w + 1]}
        length = n_prefix + windows.ends - windows.starts + n_suffix
        special = {(w, row) for w in owners for row in [*range(n_prefix), *range(length[w] - n_suffix, length[w])]}
        assert special <= set(rows)
        assert len(rows) == len(set(rows)) == end - start + len(owners) * (n_prefix + n_suffix)


def test_runs_are_laid_out_by_hand():
    # Window 1 of a text has the rows 4 and 5 of span 0 and 0 to 2 of span 1; window 0 of another the row 9 of span 0.
    one = PoolingPlan(*map(np.array, ([1, 0, 1], [7, 4, 0], [8, 6, 3], [0, 1, 3], [2, 4])))
    other = PoolingPlan(*map(np.array, ([0], [9], [10], [0, 1], [1])))

    rows, bags, spans = lay_out_runs([(one, 1, 100, 5), (other, 0, 200, 7)])

    assert rows.tolist() == [104, 105, 100, 101, 102, 209]
    assert bags.tolist() == [0, 2, 5]
    assert spans.tolist() == [5, 6, 7]
