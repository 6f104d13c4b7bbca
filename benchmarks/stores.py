"""Adding, searching, deleting, replacing and reopening: a latechunk index beside other stores of vectors.

All stores get the same documents, cut already, with the same texts, metadata and ready-made unit vectors; encoding
costs nothing anywhere. Each runs in a process of its own, in a folder of its own on the same disk, step by step in turn
with the others, whole rounds several times over (a store that needs more than 20 seconds to add: once). Figures are
medians over the rounds, ratios medians of the ratios of each round: ours to the fastest other store whose every answer
was right, and beside it to the fastest of all. There are two clocks: the one on the wall, which waits for the disk and
for whatever else the machine does, and the work of all threads of the process, which is what to look at where others
use the machine, best with ``--cpus 1``, by which each store has one core.

What is timed:

- ``add``: all documents in one call (a call for each full batch where batches are limited) from the objects that the
  store takes, which are made beforehand, until the store says that they survive a kill, and the first search after;
- ``search``, ``filtered 1 %``, ``filtered 10 %``: the median of the searches for 10 chunks with texts and metadata. A
  filtered search has another filter than the 99 before, so that remembering answers is of no use; ``filtered 1 %,
  again`` always has the same;
- ``delete``: 100 documents in one call; ``replace``: one document by another, shorter one; ``add one``: one more
  document; each until it survives a kill, and the first search after it;
- ``reopen after kill``: the process was killed right after the searches; a new one opens the store and searches once.
  ``reopen``: as after a proper close, closing included. The imports are made before, and the system has read the files.

What is judged, against numpy's exact answers over what the store should hold now: the number of hits (all that match
where fewer than 10 do), that they are the nearest, that none is deleted, replaced or twice, that names, texts and
metadata belong together; after every step, and once more after reopening.

What is not the same, and cannot be made so:

- latechunk returns from a change when it is on the disk (``fsync``); Chroma commits to SQLite; LanceDB, LangChain's
  FAISS and LlamaIndex's stores write files that a power cut may lose, the last two all of them anew each time.
- latechunk keeps whole documents, checksums and, unless ``words=None``, a lexical index of all words, which is why it
  is measured with and without. Chroma keeps a lexical index of trigrams; the others keep none.
- Chroma's search is approximate (HNSW, its defaults); all others are set up for exact search over all vectors.
- LlamaIndex's stores hold vectors only and are used through a VectorStoreIndex, which keeps the texts. Its Simple store
  and LangChain's FAISS filter in Python. LangChain's filters the nearest ``fetch_k``, by default 20: with its default
  and, to be exact, with all.
- Stores without documents are told which chunks a document has.

The others are installed by ``pip install -r benchmarks/requirements.txt``.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

from common import parser, report
from stores_corpus import (
    Corpus,
    Found,
    Question,
    State,
    make_corpus,
    one_percent,
    own_vectors,
    rare_part,
    same_part,
    ten_percent,
)
from stores_kinds import KINDS
from stores_worker import Failure, Timing, Unsupported, Worker
from threadpoolctl import threadpool_limits

OURS = "latechunk"
Clock: TypeAlias = Callable[[Timing], float]
CLOCKS: Mapping[str, Clock] = {"wall": lambda timing: timing.wall, "cpu": lambda timing: timing.cpu}
PACKAGES = ("langchain-community", "llama-index-core", "llama-index-vector-stores-faiss", "chromadb", "lancedb")
_N_DELETED = 100
_N_CHANGES = 3
_WARM_UP = 10
_SLOW = 20.0  # a store that needs so many seconds to add is left out after the first round
_MOST_SECONDS = 10.0
_JUDGED = 50  # of the queries, after each change


@dataclass
class Operation:
    """What one store did in one operation, over all rounds.

    Attributes:
        times: Of each round, by the round's number.
        parts: Likewise the first of two steps that ``times`` sums: the change without the search.
        n_right: Right answers.
        n_judged: All answers.
        problems: What was wrong, and how often.
        refusal: Why it was not done at all.
    """

    times: dict[int, Timing] = field(default_factory=dict)
    parts: dict[int, Timing] = field(default_factory=dict)
    n_right: int = 0
    n_judged: int = 0
    problems: dict[str, int] = field(default_factory=dict)
    refusal: str = ""

    @property
    def is_right(self) -> bool:
        """Whether it was done and every answer was right."""
        return bool(self.times) and not self.refusal and self.n_right == self.n_judged

    @property
    def verdict(self) -> str:
        """The answers in words."""
        if self.refusal:
            return self.refusal
        if self.is_right:
            return "right"
        worst = max(self.problems, key=lambda one: self.problems[one])
        return f"{self.n_judged - self.n_right} of {self.n_judged} wrong: {worst}"


class Run:
    """One store in one round: its process, its folder and what it should hold."""

    def __init__(self, name: str, number: int, folder: Path, corpus: Corpus, results: dict[str, Operation]) -> None:
        self._name = name
        self._number = number
        self._folder = folder
        self._corpus = corpus
        self._results = results
        self._state = State(corpus.sources)
        self._open(fresh=True)

    def steps(self) -> Sequence[Callable[[], None]]:
        """What is done, in order."""
        queries = self._corpus.queries
        return [
            lambda: self._change("add", [lambda: self._worker.add(self._corpus.sources)], []),
            lambda: self._search("search", [Question(vector) for vector in queries]),
            lambda: self._search("filtered 1 %", one_percent(queries)),
            lambda: self._search("filtered 10 %", ten_percent(queries)),
            lambda: self._search("filtered 1 %, again", same_part(queries)),
            self._reopen_killed,
            self._delete,
            self._replace,
            self._add_more,
            self._reopen_closed,
            self._worker_kill,
        ]

    def _open(self, *, fresh: bool) -> None:
        dims = self._corpus.queries.shape[1]
        self._worker = Worker(self._name, self._folder, dims, fresh=fresh)

    def _worker_kill(self) -> None:
        self._worker.kill()

    def _delete(self) -> None:
        gone = self._corpus.sources[_N_DELETED : 2 * _N_DELETED]
        self._state.remove(gone)
        if not self._change("delete", [lambda: self._worker.delete(gone)], own_vectors(gone[:10])):
            for source in gone:
                self._state.put(source)

    def _replace(self) -> None:
        old = [self._find(source.id) for source in self._corpus.replacements]
        pairs = list(zip(old, self._corpus.replacements, strict=True))
        for _, new in pairs:
            self._state.put(new)
        changes = [lambda one=one, new=new: self._worker.replace(one, new) for one, new in pairs]
        if not self._change("replace", changes, own_vectors([*old, *self._corpus.replacements])):
            for source in old:
                self._state.put(source)

    def _add_more(self) -> None:
        for source in self._corpus.additions:
            self._state.put(source)
        changes = [lambda one=one: self._worker.add([one]) for one in self._corpus.additions]
        self._change("add one", changes, own_vectors([*self._corpus.additions, *self._corpus.sources[-4:]]))

    def _reopen_killed(self) -> None:
        self._worker.kill()
        self._reopen("reopen after kill", Timing(0.0, 0.0))

    def _reopen_closed(self) -> None:
        self._reopen("reopen", self._worker.close())

    def _reopen(self, name: str, closing: Timing) -> None:
        try:
            self._open(fresh=False)
            ((searching, _),) = self._worker.search([self._first_question])
        except (Failure, Unsupported) as error:
            self._refuse(name, error)
            return
        self._results[name].times[self._number] = closing + self._worker.opening + searching
        changed = own_vectors([*self._corpus.additions, *self._corpus.replacements]) if name == "reopen" else []
        self._judge(name, [*changed, *self._some_queries])

    def _change(self, name: str, changes: Sequence[Callable[[], Timing]], questions: Sequence[Question]) -> bool:
        """Make changes one by one, each with a search after it; whether it could be done."""
        whole, alone = [], []
        try:
            for change in changes:
                timing = change()
                ((searching, _),) = self._worker.search([self._first_question])
                whole.append(timing + searching)
                alone.append(timing)
        except (Failure, Unsupported) as error:
            self._refuse(name, error)
            return False
        self._results[name].times[self._number] = middle(whole)
        self._results[name].parts[self._number] = middle(alone)
        self._judge(name, [*questions, *self._some_queries])
        return True

    def _search(self, name: str, questions: Sequence[Question]) -> None:
        try:
            self._worker.search(questions[-_WARM_UP:])  # unlike those that follow first
            answers = self._worker.search(questions)
        except (Failure, Unsupported) as error:
            self._refuse(name, error)
            return
        self._results[name].times[self._number] = middle([timing for timing, _ in answers])
        self._note(name, questions, [found for _, found in answers])
        if questions[0].parts is not None:
            self._judge(name, rare_part(self._corpus.queries[:10]))

    def _judge(self, name: str, questions: Sequence[Question]) -> None:
        deadline = time.perf_counter() + _MOST_SECONDS
        for question in questions:
            if time.perf_counter() > deadline:
                break
            try:
                ((_, found),) = self._worker.search([question])
            except Failure as error:
                self._count(name, f"fails with {error}"[:60])
            else:
                self._note(name, [question], [found])

    def _note(self, name: str, questions: Sequence[Question], answers: Sequence[Sequence[Found]]) -> None:
        for question, found in zip(questions, answers, strict=False):  # too slow a store does not answer all
            self._count(name, self._state.judge(question, found))

    def _count(self, name: str, problem: str) -> None:
        operation = self._results[name]
        operation.n_judged += 1
        if problem:
            operation.problems[problem] = operation.problems.get(problem, 0) + 1
        else:
            operation.n_right += 1

    def _refuse(self, name: str, error: Exception) -> None:
        self._results[name].refusal = "unsupported" if isinstance(error, Unsupported) else f"fails: {error}"[:80]

    @property
    def _some_queries(self) -> list[Question]:
        return [Question(vector) for vector in self._corpus.queries[:_JUDGED]]

    @property
    def _first_question(self) -> Question:
        return Question(self._corpus.queries[0])

    def _find(self, document_id: str) -> Any:
        return next(source for source in self._corpus.sources if source.id == document_id)


def middle(timings: Sequence[Timing]) -> Timing:
    """Medians of both clocks."""
    return Timing(statistics.median(one.wall for one in timings), statistics.median(one.cpu for one in timings))


def compare(names: Sequence[str], corpus: Corpus, rounds: int) -> dict[str, defaultdict[str, Operation]]:
    """Results of each operation of each store."""
    results: dict[str, defaultdict[str, Operation]] = {name: defaultdict(Operation) for name in names}
    for number in range(rounds):
        with ExitStack() as stack:
            fast = [name for name in names if number == 0 or results[name]["add"].times[0].wall < _SLOW]
            order = [*fast[number % len(fast) :], *fast[: number % len(fast)]]
            folders = {name: Path(stack.enter_context(tempfile.TemporaryDirectory())) for name in order}
            runs = [Run(name, number, folders[name], corpus, results[name]) for name in order]
            for step in zip(*(run.steps() for run in runs), strict=True):
                for one in step:
                    one()
        print(f"round {number + 1} of {rounds} is done", file=sys.stderr)
    return results


def ratio(ours: Operation, other: Operation, clock: Clock) -> float:
    """The median over rounds of our time by the other's."""
    shared = ours.times.keys() & other.times.keys()
    return statistics.median(clock(ours.times[number]) / clock(other.times[number]) for number in shared)


def fastest(operations: Mapping[str, Operation], clock: Clock) -> str | None:
    """The name of the store with the least median, None if there is none."""
    timed = {
        name: statistics.median(clock(timing) for timing in one.times.values())
        for name, one in operations.items()
        if one.times
    }
    return min(timed, key=lambda name: timed[name], default=None)


def summarize(results: Mapping[str, Mapping[str, Operation]], ours: str, clock: Clock) -> dict[str, Any]:
    """For each operation our ratio to the fastest other store: of those that are right, and of all."""
    summary = {}
    for name, own in results[ours].items():
        others = {store: found[name] for store, found in results.items() if not store.startswith(OURS)}
        right = fastest({store: one for store, one in others.items() if one.is_right}, clock)
        fastest_of_all = fastest(others, clock)
        summary[name] = {
            "ratio": right and round(ratio(own, others[right], clock), 2),
            "fastest": right,
            "ratio_to_fastest_of_all": fastest_of_all and round(ratio(own, others[fastest_of_all], clock), 2),
            "fastest_of_all": fastest_of_all,
        }
    return summary


def show(results: Mapping[str, Mapping[str, Operation]]) -> None:
    """Print a table for each operation: both clocks, the ratio of ours to it by each, and whether it was right."""
    own = results[OURS]
    for name in own:
        print(f"\n{name:28}{'wall':>15}{'cpu':>15}   ours/it by wall, cpu", file=sys.stderr)
        for store, found in results.items():
            one = found[name]
            if one.times:
                shown = _milliseconds(one.times)
                ratios = [ratio(own[name], one, clock) for clock in CLOCKS.values()]
                columns = f"{shown['ms']:12,.2f} ms{shown['cpu_ms']:12,.2f} ms{ratios[0]:9.2f}{ratios[1]:9.2f}"
            else:
                columns = f"{'-':>12}   {'-':>12}   {'-':>9}{'-':>9}"
            print(f"  {store:26}{columns}  {one.verdict}", file=sys.stderr)


def _milliseconds(times: Mapping[int, Timing]) -> dict[str, float]:
    timing = middle(list(times.values()))
    return {"ms": round(1e3 * timing.wall, 3), "cpu_ms": round(1e3 * timing.cpu, 3)}


def _worst(summary: Mapping[str, Mapping[str, Any]]) -> tuple[float, str]:
    ratios = {name: one["ratio"] for name, one in summary.items() if one["ratio"] is not None}
    worst = max(ratios, key=lambda name: ratios[name])
    return ratios[worst], worst


def _figures_of(found: Mapping[str, Operation]) -> dict[str, Any]:
    return {
        name: {
            **(_milliseconds(one.times) if one.times else {}),
            **({"change_alone": _milliseconds(one.parts)} if one.parts else {}),
            "result": one.verdict,
        }
        for name, one in found.items()
    }


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--chunks", type=int, default=20_000)
    arguments.add_argument("--dims", type=int, default=384)
    arguments.add_argument("--queries", type=int, default=200)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--cpus", type=int, help="let each store use so many cores only")
    arguments.add_argument("--stores", nargs="+", choices=list(KINDS), default=list(KINDS), metavar="STORE")
    options = arguments.parse_args()

    if options.cpus is not None:  # the processes of the stores inherit it
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.cpus])
    names = [OURS, *(name for name in options.stores if name != OURS)]
    corpus = make_corpus(options.chunks, options.dims, options.queries, n_changes=_N_CHANGES)
    with threadpool_limits(1):  # of the judge, whose threads would wait for each other beside the stores
        results = compare(names, corpus, options.rounds)
    show(results)
    summaries = {
        store: {name: summarize(results, store, clock) for name, clock in CLOCKS.items()}
        for store in names
        if store.startswith(OURS)
    }
    worst = {name: _worst(summary) for name, summary in summaries[OURS].items()}
    figures = {
        "worst_ratio": worst["wall"][0],
        "worst_operation": worst["wall"][1],
        "worst_cpu_ratio": worst["cpu"][0],
        "worst_cpu_operation": worst["cpu"][1],
        "n_chunks": sum(len(source.texts) for source in corpus.sources),
        "cpus": options.cpus,
        "rounds": options.rounds,
        "ratios": summaries,
        "stores": {name: _figures_of(found) for name, found in results.items()},
        "packages": {name: version(name) for name in PACKAGES},
    }
    report("stores", figures, save=options.save)


if __name__ == "__main__":
    main()
