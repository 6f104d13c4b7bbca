"""Experiments in which an index's process is killed or its writes fail: what they are, how they are chosen and run."""

from __future__ import annotations

import errno
import json
import os
import platform
import random
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import IntEnum
from itertools import zip_longest
from pathlib import Path


class How(IntEnum):
    """How a call goes wrong; see faults.c."""

    FAIL = 0
    HALF = 1
    SHORT = 2
    KILL = 3
    KILL_HALF = 4


@dataclass(frozen=True)
class Kind:
    """What a call meets with. For good: all later ones meet with it as well, until it is mended."""

    how: How
    error: int = 0
    for_good: bool = False


@dataclass(frozen=True)
class Fault:
    """The write call of this number goes wrong."""

    call: int
    kind: Kind


@dataclass(frozen=True)
class Moment:
    """A kill from outside, when a step has gone on for a share of the time that it usually takes."""

    step: int
    share: float


@dataclass(frozen=True)
class Call:
    """A write call, as it is when nothing goes wrong."""

    step: str
    name: str
    file: str


@dataclass(frozen=True)
class Outcome:
    """What came of an experiment: the step it struck, the error that it raised and what did not hold, if any."""

    experiment: Fault | Moment
    step: str
    error: str | None
    problem: str | None


KILLS = (Kind(How.KILL), Kind(How.KILL_HALF))
FULL_DISK = (
    Kind(How.FAIL, errno.ENOSPC),
    Kind(How.HALF, errno.ENOSPC),
    Kind(How.FAIL, errno.ENOSPC, for_good=True),
    Kind(How.HALF, errno.ENOSPC, for_good=True),
)
BAD_DISK = (Kind(How.FAIL, errno.EIO), Kind(How.HALF, errno.EIO), Kind(How.FAIL, errno.EIO, for_good=True))
SHORT_WRITE = (Kind(How.SHORT),)


def faults_of(call: Call) -> Sequence[Kind]:
    """What can befall a call, kills apart: what takes no room meets no full disk, and only writes have halves."""
    room = FULL_DISK if call.name in ("write", "open", "rename", "link", "mkdir") else ()
    return [*room, *BAD_DISK, *(SHORT_WRITE if call.name == "write" else ())]


def spread(calls: Sequence[Call], kinds: Sequence[Sequence[Kind]], n: int, seed: int) -> list[Fault]:
    """Choose faults: each sort of call (same step, name and file) gets its turn, so that long steps crowd out none.

    Args:
        calls: All write calls.
        kinds: What is to befall each of them.
        n: How many to choose.
        seed: Of the choice.
    """
    chance = random.Random(seed)
    sorts: dict[Call, list[Fault]] = {}
    for number, (call, kinds_of_call) in enumerate(zip(calls, kinds, strict=True)):
        sorts.setdefault(call, []).extend(Fault(number, kind) for kind in kinds_of_call)
    for faults in sorts.values():
        chance.shuffle(faults)
    turns = zip_longest(*sorts.values())
    return [fault for turn in turns for fault in turn if fault][:n]


def build(folder: Path) -> Path:
    """Compile faults.c into ``folder``.

    Raises:
        LookupError: If that cannot be done here; the message says why.
    """
    if platform.libc_ver()[0] != "glibc":
        raise LookupError("writes can be made to fail on Linux with glibc only")
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        raise LookupError("there is no C compiler, cc, to build tests/faults.c with")
    library = folder / "faults.so"
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", library, Path(__file__).with_suffix(".c"), "-ldl"]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        raise LookupError(f"the C compiler cannot build tests/faults.c: {result.stderr[:500]}")
    return library


def record_calls(folder: Path, scenario: str, library: Path) -> list[Call]:
    """All write calls of a scenario, in order, when nothing goes wrong."""
    return [Call(*one) for one in _ask_host(folder, scenario, [], library)]


def run(
    folder: Path, scenario: str, experiments: Sequence[Fault | Moment], library: Path | None = None
) -> list[Outcome]:
    """Run each experiment on an index of its own; faults need the ``library`` that :func:`build` made."""
    outcomes = _ask_host(folder, scenario, experiments, library)
    return [Outcome(experiment, *outcome) for experiment, outcome in zip(experiments, outcomes, strict=True)]


def explain_problems(outcomes: Sequence[Outcome]) -> str:
    """What did not hold, the first few in full."""
    found = [one for one in outcomes if one.problem]
    lines = [f"{one.experiment} struck {one.step}:\n{one.problem}" for one in found[:3]]
    return "\n".join([f"{len(found)} of {len(outcomes)} went wrong", *lines])


def _ask_host(folder: Path, scenario: str, experiments: Sequence[Fault | Moment], library: Path | None) -> list:
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    result = subprocess.run(
        [sys.executable, "-m", "tests.faults_host", folder.resolve(), scenario],
        input=json.dumps([asdict(one) for one in experiments]),
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent.parent,
        env={**os.environ, **one_thread, **({"LD_PRELOAD": str(library)} if library else {})},
    )
    if result.returncode:
        raise RuntimeError(f"the host of the experiments failed: {result.stderr[-3000:]}")
    return json.loads(result.stdout)
