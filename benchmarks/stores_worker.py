"""A process of its own for each store, so that none slows down or tidies up after another, and each can be killed."""

from __future__ import annotations

import gc
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self

from stores_corpus import CHUNKS_PER_DOCUMENT, Found, Question, Source, make_corpus
from stores_kinds import KINDS

_MOST_SECONDS = 10.0
_LEAST_SEARCHES = 10


class Unsupported(Exception):  # noqa: N818
    """The store says that it does not do this."""


class Failure(Exception):  # noqa: N818
    """The store failed where it should not."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds by the clock on the wall, and of work by all threads of the process."""

    wall: float
    cpu: float

    def __add__(self, other: Timing) -> Timing:
        return Timing(self.wall + other.wall, self.cpu + other.cpu)


class Worker:
    """A store in its process; what it does is timed there, without what it takes to get there."""

    def __init__(self, name: str, folder: Path, dims: int, *, fresh: bool) -> None:
        """Start the process, and open the store."""
        context = multiprocessing.get_context("spawn")
        self._connection, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, name), daemon=True)
        self._process.start()
        other.close()
        self.opening: Timing = self._call("open", folder, dims, fresh)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def add(self, sources: Sequence[Source]) -> Timing:
        """Add documents."""
        return self._call("add", sources)  # type: ignore[no-any-return]

    def delete(self, sources: Sequence[Source]) -> Timing:
        """Delete documents."""
        return self._call("delete", sources)  # type: ignore[no-any-return]

    def replace(self, old: Source, new: Source) -> Timing:
        """Replace a document."""
        return self._call("replace", old, new)  # type: ignore[no-any-return]

    def search(self, questions: Sequence[Question]) -> list[tuple[Timing, list[Found]]]:
        """Answer each question; only the first few where a store needs too long for all."""
        return self._call("search", questions)  # type: ignore[no-any-return]

    def close(self) -> Timing:
        """Close the store; the process ends then."""
        timing = self._call("close")
        self.kill()
        return timing  # type: ignore[no-any-return]

    def kill(self) -> None:
        """End the process without any notice."""
        self._process.kill()
        self._process.join()

    def _call(self, command: str, *values: Any) -> Any:
        self._connection.send((command, values))
        try:
            kind, value = self._connection.recv()
        except EOFError:
            raise Failure("the process died") from None
        if kind == "error":
            raise Unsupported(value) if "not implemented" in value.replace(" yet", "").lower() else Failure(value)
        return value


def _serve(connection: Connection, name: str) -> None:
    kind = KINDS[name]()

    def search(questions: Sequence[Question]) -> list[tuple[Timing, list[Found]]]:
        answers: list[tuple[Timing, list[Found]]] = []
        deadline = time.perf_counter() + _MOST_SECONDS
        for question in questions:
            if len(answers) >= _LEAST_SEARCHES and time.perf_counter() > deadline:
                break
            answer, timing = _time(kind.search, question)
            answers.append((timing, kind.read(answer)))
        return answers

    def change(function: Callable[..., object], *values: Any) -> Timing:
        gc.collect()
        gc.freeze()  # so that collecting garbage does not go through what was made beforehand
        return _time(function, *values)[1]

    commands: dict[str, Callable[..., Any]] = {
        "open": lambda folder, dims, fresh: change(lambda: kind.open(folder, dims, fresh=fresh)),
        "add": lambda sources: change(kind.add, kind.prepare(sources)),
        "delete": lambda sources: change(kind.delete, sources),
        "replace": lambda old, new: change(kind.replace, old, kind.prepare([new])),
        "search": search,
        "close": lambda: change(kind.close),
    }
    _warm_up(name)
    while True:
        try:
            command, values = connection.recv()
        except EOFError:
            return
        try:
            connection.send(("done", commands[command](*values)))
        except Exception as error:  # noqa: BLE001  whatever a store raises is its result
            connection.send(("error", f"{type(error).__name__}: {error}"))


def _warm_up(name: str) -> None:
    """Have all imported and started that the first use of a kind of store needs, with a tiny one elsewhere."""
    corpus = make_corpus(3 * CHUNKS_PER_DOCUMENT, 8, 1, n_changes=1)
    with tempfile.TemporaryDirectory() as folder:
        kind = KINDS[name]()
        kind.open(Path(folder), 8, fresh=True)
        kind.add(kind.prepare(corpus.sources))
        kind.search(Question(corpus.queries[0]))
        kind.close()
        kind = KINDS[name]()
        kind.open(Path(folder), 8, fresh=False)
        kind.search(Question(corpus.queries[0]))
        kind.close()


def _time(function: Callable[..., Any], *values: Any) -> tuple[Any, Timing]:
    wall, cpu = time.perf_counter(), time.process_time()
    result = function(*values)
    return result, Timing(time.perf_counter() - wall, time.process_time() - cpu)
