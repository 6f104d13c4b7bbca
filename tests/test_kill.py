"""A process that changes an index is killed 500 times; what it was told is stored must be there, whole."""

import os
import random

import pytest

from tests.faults import KILLS, Moment, build, explain_problems, record_calls, run, spread
from tests.scenario import SCENARIOS


@pytest.mark.parametrize(("scenario", "n_kills"), [("changes", 215), ("large", 35)])
def test_a_kill_at_a_write_loses_nothing_and_leaves_nothing_by_halves(tmp_path, scenario, n_kills):
    try:
        interposer = build(tmp_path)
    except LookupError as error:
        pytest.skip(str(error))
    calls = record_calls(tmp_path, scenario, interposer)
    faults = spread(calls, [KILLS] * len(calls), n_kills, seed=7)

    outcomes = run(tmp_path, scenario, faults, interposer)

    assert len(outcomes) == n_kills
    assert not any(one.problem for one in outcomes), explain_problems(outcomes)
    assert [one.step for one in outcomes] == [calls[one.call].step for one in faults]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
@pytest.mark.parametrize(("scenario", "n_kills"), [("changes", 220), ("large", 30)])
def test_a_kill_at_any_moment_loses_nothing_and_leaves_nothing_by_halves(tmp_path, scenario, n_kills):
    chance = random.Random(7)
    n_steps = len(SCENARIOS[scenario])
    moments = [Moment(number % n_steps, chance.random()) for number in range(n_kills)]

    outcomes = run(tmp_path, scenario, moments)

    assert len(outcomes) == n_kills
    assert not any(one.problem for one in outcomes), explain_problems(outcomes)
