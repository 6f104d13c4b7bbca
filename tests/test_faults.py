"""Every sort of write fails once, on a full disk and on a bad one: nothing is lost, and the same index works on."""

import errno

import pytest

from tests.faults import Call, Fault, How, Kind, build, explain_problems, faults_of, record_calls, run, spread

KINDS = [Kind(How.FAIL, errno.EIO), Kind(How.HALF, errno.EIO)]


@pytest.fixture(scope="module")
def interposer(tmp_path_factory):
    try:
        return build(tmp_path_factory.mktemp("interposer"))
    except LookupError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize(("scenario", "n_faults"), [("changes", 170), ("large", 30)])
def test_a_write_that_fails_leaves_the_old_state_or_the_new(tmp_path, interposer, scenario, n_faults):
    calls = record_calls(tmp_path, scenario, interposer)
    faults = spread(calls, [faults_of(call) for call in calls], n_faults, seed=7)

    outcomes = run(tmp_path, scenario, faults, interposer)

    assert len(outcomes) == n_faults
    assert not any(one.problem for one in outcomes), explain_problems(outcomes)
    assert [one.step for one in outcomes] == [calls[one.call].step for one in faults]
    errors = [one.error for one in outcomes if one.error]
    assert any("the disk is full" in error for error in errors)
    assert len(errors) < n_faults  # a cache that cannot be written is no error


def test_all_that_writes_is_seen(tmp_path, interposer):
    calls = record_calls(tmp_path, "changes", interposer)

    assert {call.name for call in calls} >= {"mkdir", "open", "write", "sync", "truncate", "rename", "unlink"}
    assert {call.file for call in calls} >= {
        "index",
        "index/write.lock",
        "index/new-*",
        "index/store.sqlite3",
        "index/store.sqlite3-wal",
        "index/store.sqlite3-shm",
        "index/vectors.faiss",
        "index/vectors.npy",
        "index/vectors.json",
    }
    assert calls == record_calls(tmp_path, "changes", interposer)


def test_a_new_index_survives_a_power_cut(tmp_path, interposer):
    """Its content is on the disk before it gets its name, and the name is before anything is told of it."""
    calls = [call for call in record_calls(tmp_path, "changes", interposer) if call.step == "0 create"]

    renamed = calls.index(Call("0 create", "rename", "index/store.sqlite3"))
    writes = [number for number, call in enumerate(calls) if call == Call("0 create", "write", "index/new-*")]
    assert writes
    assert Call("0 create", "sync", "index/new-*") in calls[writes[-1] : renamed]
    assert Call("0 create", "sync", "index") in calls[renamed:]


def test_each_sort_of_call_gets_its_turn():
    once, often = Call("0 create", "mkdir", "index"), Call("1 add", "write", "index/store.sqlite3-wal")
    calls = [once, *[often] * 1000]

    faults = spread(calls, [KINDS for _ in calls], 5, seed=1)

    assert [one.call == 0 for one in faults] == [True, False, True, False, False]
    assert {one.kind for one in faults[:3:2]} == set(KINDS)
    assert len(set(faults)) == 5
    assert faults == spread(calls, [KINDS for _ in calls], 5, seed=1)


def test_what_takes_no_room_meets_no_full_disk():
    errors = {name: {kind.error for kind in faults_of(Call("", name, ""))} for name in ("write", "unlink")}

    assert errors == {"write": {errno.ENOSPC, errno.EIO, 0}, "unlink": {errno.EIO}}


def test_a_host_that_fails_says_why(tmp_path):
    with pytest.raises(RuntimeError, match="KeyError: 'nowhere'"):
        run(tmp_path, "nowhere", [Fault(0, KINDS[0])])
