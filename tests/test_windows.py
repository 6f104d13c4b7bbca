import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latechunk.encoding.windows import plan_windows
from latechunk.errors import InputError


@st.composite
def plans(draw):
    n_tokens, size = draw(st.integers(0, 400)), draw(st.integers(1, 50))
    return n_tokens, size, draw(st.integers(0, size - 1))


@given(plans())
def test_each_token_is_owned_once_and_lies_in_the_window_that_owns_it(plan):
    n_tokens, size, overlap = plan

    windows = plan_windows(n_tokens, size, overlap)

    owned = [t for w in range(len(windows)) for t in range(windows.seams[w], windows.seams[w + 1])]
    assert owned == list(range(n_tokens))
    assert (windows.starts <= windows.seams[:-1]).all()
    assert (windows.seams[1:] <= windows.ends).all()
    assert (windows.seams[:-1] < windows.seams[1:]).all()


@given(plans())
def test_a_token_is_owned_by_the_window_in_which_it_stands_most_centrally(plan):
    windows = plan_windows(*plan)

    for owner in range(len(windows)):
        for token in range(windows.seams[owner], windows.seams[owner + 1]):
            margins = np.minimum(token - windows.starts, windows.ends - 1 - token)
            distances = abs(2 * token - (windows.starts + windows.ends - 1))
            assert distances[owner] == distances.min()
            assert margins[owner] == margins.max()


@given(plans())
def test_windows_have_one_size_overlap_enough_and_are_as_few_as_possible(plan):
    n_tokens, size, overlap = plan

    windows = plan_windows(n_tokens, size, overlap)

    assert set((windows.ends - windows.starts).tolist()) <= {min(size, n_tokens)}
    assert (windows.ends[:-1] - windows.starts[1:] >= overlap).all()
    reach = size + (len(windows) - 2) * (size - overlap)
    assert len(windows) <= 1 or reach < n_tokens


def test_windows_by_hand():
    # 10 tokens in windows of 4 with an overlap of 1: three windows, 0-4, 3-7, 6-10. Token 3 is as far from the
    # middle 1.5 of the first as from the middle 4.5 of the second, and goes to the first; token 6 likewise.
    windows = plan_windows(10, size=4, overlap=1)

    assert windows.starts.tolist() == [0, 3, 6]
    assert windows.ends.tolist() == [4, 7, 10]
    assert windows.seams.tolist() == [0, 4, 7, 10]


def test_slack_is_spread_over_the_seams():
    # 11 tokens, windows of 5, overlap of at least 1: three windows; packed to the left they would start at 0, 4, 6.
    assert plan_windows(11, size=5, overlap=1).starts.tolist() == [0, 3, 6]


@pytest.mark.parametrize(("size", "overlap"), [(0, 0), (4, 4), (4, -1)])
def test_impossible_windows_are_refused(size, overlap):
    with pytest.raises(InputError, match="overlap"):
        plan_windows(10, size, overlap)
