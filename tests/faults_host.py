"""The process that forks a child for each experiment: it imports everything once, so that one takes milliseconds.

tests/faults.py starts it with OpenMP held to one thread, since more would not survive a fork.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import re
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, TextIO

from latechunk.errors import StoreError
from tests.faults import Fault, How, Kind, Moment
from tests.scenario import (
    SCENARIOS,
    State,
    Step,
    World,
    check_afterwards,
    check_whole,
    measure_scores,
    open_again,
    plan,
)

HANGS_AFTER = 60  # seconds
Say = Callable[[object], None]


class Interposer:
    """The functions of faults.c, if it is preloaded."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(None)
        self._is_there = hasattr(self._library, "faults_watch")
        if self._is_there:
            self._library.faults_call.restype = self._library.faults_file.restype = ctypes.c_char_p

    def watch(self, folder: Path) -> None:
        if self._is_there:
            self._library.faults_watch(os.fsencode(folder))

    def arm(self, fault: Fault) -> None:
        kind = fault.kind
        self._library.faults_arm(ctypes.c_long(fault.call), kind.how, kind.error, kind.for_good)

    def disarm(self) -> None:
        self._library.faults_disarm()

    @property
    def has_fired(self) -> bool:
        return self._library.faults_fired() > 0

    def calls(self) -> list[tuple[str, str]]:
        """Name and file of every call since it was armed; random parts of file names are taken out."""
        return [
            (
                self._library.faults_call(number).decode(),
                re.sub(r"[0-9a-f]{16}", "*", self._library.faults_file(number).decode()),
            )
            for number in range(self._library.faults_count())
        ]


@dataclass(frozen=True)
class End:
    """How a child ended: how many steps it acknowledged, its result, what went wrong, the signal that ended it."""

    n_done: int
    result: Any
    problem: str | None
    killed_by: int


def fork(work: Callable[[Say], object]) -> tuple[int, TextIO]:
    """Start ``work`` in a child; it says the number of steps done, and at last its result or what went wrong."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        signal.alarm(HANGS_AFTER)
        with os.fdopen(writing, "w") as pipe:

            def say(value: object) -> None:
                pipe.write(json.dumps(value) + "\n")
                pipe.flush()

            try:
                say({"result": work(say)})
            except BaseException:
                say({"problem": traceback.format_exc()})
        os._exit(0)
    os.close(writing)
    return child, os.fdopen(reading)


def wait(child: int, pipe: TextIO) -> End:
    """Listen to a child until it ends."""
    with pipe:
        said = [json.loads(line) for line in pipe]
    killed_by = os.WTERMSIG(os.waitpid(child, 0)[1])
    last = said[-1] if said and isinstance(said[-1], dict) else {}
    problem = f"it hung for {HANGS_AFTER} s" if killed_by == signal.SIGALRM else last.get("problem")
    n_done = max((one for one in said if isinstance(one, int)), default=0)
    return End(n_done, last.get("result"), problem, killed_by)


class Host:
    """Runs experiments with one scenario, each in a folder of its own below ``parent``."""

    def __init__(self, parent: Path, scenario: str) -> None:
        self._parent = parent
        self._steps = plan(SCENARIOS[scenario])
        self._interposer = Interposer()
        self._interposer.watch(parent)
        with self._folder("scores") as folder:
            self._scores = measure_scores(folder / "index", self._steps)
        with self._folder("times") as folder:
            self._times = self._time_steps(folder)

    def list_calls(self) -> list[tuple[str, str, str]]:
        """Step, name and file of all write calls when nothing goes wrong."""
        n_calls = [0]
        with self._folder("calls") as folder:
            self._interposer.watch(folder)
            self._interposer.arm(Fault(-1, Kind(How.FAIL)))
            self._go_through(folder, lambda _: n_calls.append(len(self._interposer.calls())))
        places = zip(self._steps, pairwise(n_calls), strict=True)
        names = [step.name for step, (begin, end) in places for _ in range(begin, end)]
        return [(name, *call) for name, call in zip(names, self._interposer.calls()[: len(names)], strict=True)]

    def run(self, number: int, experiment: Fault | Moment) -> tuple[str, str | None, str | None]:
        """The step that was struck, the error that it raised, and what did not hold."""
        is_kill = isinstance(experiment, Moment) or experiment.kind.how in (How.KILL, How.KILL_HALF)
        with self._folder(str(number)) as folder:
            self._interposer.watch(folder)
            return self._kill(folder, experiment) if is_kill else self._strike(folder, experiment)

    def _go_through(self, folder: Path, say: Say) -> None:
        """Take all steps, and acknowledge each."""
        world = World(folder / "index")
        for number, step in enumerate(self._steps, start=1):
            step.act(world)
            say(number)

    def _time_steps(self, folder: Path) -> list[float]:
        times = [time.monotonic()]
        self._go_through(folder, lambda _: times.append(time.monotonic()))
        return [end - begin for begin, end in pairwise(times)]

    def _strike(self, folder: Path, fault: Fault) -> tuple[str, str | None, str | None]:
        """Let a call fail in a child; then another process must find all that it did."""
        end = wait(*fork(lambda say: self._endure(folder, fault, say)))
        struck, raised = end.result or ("unknown", None)
        return struck, raised, end.problem or self._verify(folder, self._steps[end.n_done - 1].states[-1:])

    def _endure(self, folder: Path, fault: Fault, say: Say) -> tuple[str, str | None]:
        """Take steps until the index is closed after the fault; one that fails is taken again when the fault is mended.

        Returns:
            The step that was struck, and the error that was raised, if any.
        """
        world = World(folder / "index")
        self._interposer.arm(fault)
        struck, raised = None, None
        for number, step in enumerate(self._steps, start=1):
            try:
                step.act(world)
            except StoreError as error:
                raised = f"{type(error).__name__}: {error}"
                self._mend(world, step, raised)
                step.act(world)
            say(number)
            if self._interposer.has_fired and not struck:
                struck = step.name
                if world.index:
                    check_whole(world.index, step.states[-1:], self._scores)
            if struck and not world.index:
                break
        assert struck, "nothing was struck"
        return struck, raised

    def _mend(self, world: World, step: Step, raised: str) -> None:
        """The step that raised an error has changed nothing, and reading went on before the fault was mended."""
        assert self._interposer.has_fired, raised
        assert str(world.path) in raised
        if world.index:
            check_whole(world.index, step.states[:-1], self._scores)
        self._interposer.disarm()
        if world.index and "open the index again" in raised:
            world.index.close()
            open_again(None)[1](world)

    def _kill(self, folder: Path, experiment: Fault | Moment) -> tuple[str, None, str | None]:
        """Kill a child on its way; what it has acknowledged must be there, and nothing by halves."""

        def work(say: Say) -> None:
            if isinstance(experiment, Fault):
                self._interposer.arm(experiment)
            say(0)
            self._go_through(folder, say)
            signal.pause()

        child, pipe = fork(work)
        n_done = self._kill_at(experiment, child, pipe) if isinstance(experiment, Moment) else 0
        end = wait(child, pipe)
        n_done = max(n_done, end.n_done)
        step = self._steps[min(n_done, len(self._steps) - 1)]
        if end.killed_by != signal.SIGKILL:
            return step.name, None, end.problem or "it was not killed"
        return step.name, None, self._verify(folder, step.states if n_done < len(self._steps) else step.states[-1:])

    def _kill_at(self, moment: Moment, child: int, pipe: TextIO) -> int:
        """Kill a child while it takes a step; how many it had done before that."""
        while int(pipe.readline()) < moment.step:
            pass
        time.sleep(moment.share * self._times[moment.step])
        os.kill(child, signal.SIGKILL)
        return moment.step

    def _verify(self, folder: Path, allowed: Sequence[State]) -> str | None:
        """What does not hold, as another process sees it."""
        return wait(*fork(lambda _: check_afterwards(World(folder / "index"), allowed, self._scores))).problem

    @contextlib.contextmanager
    def _folder(self, name: str) -> Iterator[Path]:
        folder = self._parent / name
        folder.mkdir()
        yield folder
        shutil.rmtree(folder)


def read_experiment(fields: dict) -> Fault | Moment:
    """An experiment from JSON."""
    if "step" in fields:
        return Moment(**fields)
    kind = fields["kind"]
    return Fault(fields["call"], Kind(How(kind["how"]), kind["error"], kind["for_good"]))


def main() -> None:
    """Read the experiments, run them, and write what came of them; without any, list the write calls."""
    host = Host(Path(sys.argv[1]), sys.argv[2])
    gc.freeze()  # or the first collection in each child would copy all that it shares with this process
    experiments = [read_experiment(one) for one in json.load(sys.stdin)]
    result = [host.run(number, one) for number, one in enumerate(experiments)] or host.list_calls()
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main()
