"""Evaluation sets, encoders and arms in; rankings out, each computed once and kept for the next run."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, TypeVar

import numpy as np

from latechunk.embedding import context_shifts
from latechunk.errors import InputError
from latechunk.evaluation.bm25 import bm25_scores
from latechunk.evaluation.dataset import EvaluationSet
from latechunk.evaluation.metrics import headline, judge
from latechunk.evaluation.passes import Vectors, cut_only, encode
from latechunk.evaluation.ranking import NOTHING, SCOPES, ChunkTable, Ranking, Scope, fuse, rank
from latechunk.evaluation.statistics import Values, split_in_halves
from latechunk.manifest import package_versions
from latechunk.protocols import BatchQueryEncoder, ReportsRuntime, SpanEncoder
from latechunk.types import FloatArray, IntArray

Needed = TypeVar("Needed")
Arm: TypeAlias = Literal["naive", "late", "blend", "document", "bm25", "hybrid"]

ARMS: tuple[Arm, ...] = ("naive", "late", "blend", "document", "bm25", "hybrid")
WEIGHTS = tuple(round(0.1 * step, 1) for step in range(1, 10))
_MOST_SCORES = 10**9  # 4 GB in float32, some of which are held at a time
_LATE: tuple[Arm, ...] = ("late", "blend", "document", "hybrid")
_NAIVE: tuple[Arm, ...] = ("naive", "blend", "hybrid")


@dataclass(frozen=True, slots=True)
class Setup:
    """What is evaluated with each set.

    Attributes:
        encoders: By a name for the tables.
        max_tokens: Chunk sizes: sentences are packed up to so many tokens.
        arms: Ways to score the same chunks. ``"document"`` gives each chunk the score of its whole document,
            ``"blend"`` mixes late and naive vectors with a weight fitted on the other half of the questions,
            ``"hybrid"`` fuses the blend with BM25 by reciprocal ranks.
        depth: The k of measures.
        seed: Of the halves.

    Raises:
        InputError: If something is empty or unknown.
    """

    encoders: Mapping[str, SpanEncoder]
    max_tokens: tuple[int, ...] = (64, 128)
    arms: tuple[Arm, ...] = ARMS
    depth: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        unknown = [arm for arm in self.arms if arm not in ARMS]
        if unknown or not self.arms:
            raise InputError(f"arms must be some of {', '.join(ARMS)}, got {', '.join(unknown) or 'none'}")
        if not self.encoders or not self.max_tokens or min(self.max_tokens) < 1:
            raise InputError("an evaluation needs an encoder and a chunk size of at least 1")
        object.__setattr__(self, "arms", tuple(dict.fromkeys(self.arms)))
        object.__setattr__(self, "max_tokens", tuple(dict.fromkeys(self.max_tokens)))
        if not 1 <= self.depth <= 1_000:
            raise InputError(f"depth must be from 1 to 1,000, got {self.depth}")


@dataclass(frozen=True, slots=True)
class ArmResult:
    """The rankings of one arm on one set with one encoder and chunk size.

    Attributes:
        arm: Which.
        encoder: Its name.
        max_tokens: Chunk size.
        rankings: By scope.
        weights: Of a blend, the share of late vectors of each half of the questions, by scope.
    """

    arm: Arm
    encoder: str
    max_tokens: int
    rankings: Mapping[Scope, Ranking]
    weights: Mapping[Scope, tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class SetResult:
    """All arms of a set.

    Attributes:
        evaluation_set: What was asked.
        tables: Chunks by encoder and chunk size.
        results: In order of encoders, chunk sizes, arms.
        context_shift: 1 - cosine of late and naive vector of each chunk, by encoder and chunk size; where both were
            computed in this run or an earlier one.
    """

    evaluation_set: EvaluationSet
    tables: Mapping[tuple[str, int], ChunkTable]
    results: tuple[ArmResult, ...]
    context_shift: Mapping[tuple[str, int], FloatArray]


def evaluate(
    evaluation_set: EvaluationSet, setup: Setup, work: Path, on_progress: Callable[[str, float], None]
) -> SetResult:
    """Evaluate a set, taking from ``work`` what an earlier run has finished.

    Args:
        evaluation_set: Documents and questions.
        setup: What to evaluate.
        work: A folder for finished rankings; made if it is not there.
        on_progress: Called with what is being done and the share of the documents' characters done.
    """
    tables: dict[tuple[str, int], ChunkTable] = {}
    shifts: dict[tuple[str, int], FloatArray] = {}
    results: list[ArmResult] = []
    for name, encoder in setup.encoders.items():
        keys = {size: _Key(evaluation_set, encoder, name, size, setup) for size in setup.max_tokens}
        missing = {size: [arm for arm in setup.arms if keys[size].read(work, arm) is None] for size in keys}
        vectors = _encode_missing(evaluation_set, encoder, missing, on_progress)
        for size in setup.max_tokens:
            table = vectors[size].table if size in vectors else cut_only(encoder, evaluation_set, size)
            tables[name, size] = table
            if missing[size]:
                _compute(evaluation_set, encoder, setup, keys[size], missing[size], table, vectors.get(size), work)
            results += [_needed(keys[size].read(work, arm)) for arm in setup.arms]
            shift = read_arrays(keys[size].path(work, "shift")).get("shift")
            if shift is not None and shift.shape == (len(table),):
                shifts[name, size] = shift
    return SetResult(evaluation_set, tables, tuple(results), shifts)


@dataclass(frozen=True, slots=True)
class _Key:
    """What decides an arm's rankings; names the file that they are kept in."""

    evaluation_set: EvaluationSet
    encoder: SpanEncoder
    name: str
    max_tokens: int
    setup: Setup

    def path(self, work: Path, part: str) -> Path:
        settings = {name: value for name, value in self.encoder.settings.items() if name not in ("model", "revision")}
        made_by = {name: value for name, value in package_versions().items() if name in ("latechunk", "sentencex")}
        dtype = self.encoder.runtime.get("dtype") if isinstance(self.encoder, ReportsRuntime) else None
        run = [self.max_tokens, self.setup.depth, self.setup.seed, dtype, made_by, part]
        decisive = json.dumps([self.evaluation_set.fingerprint, settings, *run], sort_keys=True)
        digest = hashlib.sha256(decisive.encode()).hexdigest()[:16]
        name = re.sub(r"[^\w.-]", "_", self.evaluation_set.name)[:60]
        return work / f"{name}-{self.max_tokens}-{part}-{digest}.npz"

    def write(self, work: Path, result: ArmResult, n_chunks: int) -> None:
        arrays: dict[str, np.ndarray] = {"n_chunks": np.array([n_chunks])}
        for scope, ranking in result.rankings.items():
            arrays[f"{scope}-chunks"], arrays[f"{scope}-documents"] = ranking.chunks, ranking.documents
            arrays[f"{scope}-weights"] = np.array(result.weights.get(scope, ()), dtype=np.float64)
        write_arrays(self.path(work, result.arm), arrays)

    def read(self, work: Path, arm: Arm) -> ArmResult | None:
        """What an earlier run has finished; None if it has not, or its file is damaged."""
        arrays = read_arrays(self.path(work, arm))
        n_questions, n_documents = len(self.evaluation_set.questions), len(self.evaluation_set.documents)
        n_chunks = int(arrays["n_chunks"][0]) if arrays.get("n_chunks", np.zeros(0)).shape == (1,) else 0
        rankings: dict[Scope, Ranking] = {}
        weights: dict[Scope, tuple[float, ...]] = {}
        for scope in SCOPES:
            width = self.setup.depth if scope == "corpus" else 0
            chunks, documents = arrays.get(f"{scope}-chunks"), arrays.get(f"{scope}-documents")
            if not _are_places(chunks, (n_questions, self.setup.depth), n_chunks) or not _are_places(
                documents, (n_questions, width), n_documents
            ):
                return None
            rankings[scope] = Ranking(_needed(chunks), _needed(documents))
            weights[scope] = tuple(arrays.get(f"{scope}-weights", np.zeros(0)).tolist())
        return ArmResult(arm, self.name, self.max_tokens, rankings, weights)


def _are_places(array: np.ndarray | None, shape: tuple[int, int], n: int) -> bool:
    """Whether these are numbers of ``n`` things, or ``NOTHING``."""
    if array is None or array.shape != shape or array.dtype != np.int64:
        return False
    return not array.size or bool(array.min() >= NOTHING and array.max() < n)


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    with unfinished.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    os.replace(unfinished, path)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read what :func:`write_arrays` wrote; empty if it is not there or damaged. Never unpickles."""
    try:
        with path.open("rb") as opened:  # which NumPy leaves open where it finds no archive
            file = np.load(opened, allow_pickle=False)
            return {name: file[name] for name in file.files} if isinstance(file, np.lib.npyio.NpzFile) else {}
    except (OSError, ValueError, LookupError, TypeError, EOFError, zipfile.BadZipFile, zlib.error):
        return {}


def _encode_missing(
    evaluation_set: EvaluationSet,
    encoder: SpanEncoder,
    missing: Mapping[int, Sequence[Arm]],
    on_progress: Callable[[str, float], None],
) -> dict[int, Vectors]:
    """Vectors of the chunk sizes that still need some, from one reading of each document."""
    sizes = [size for size, arms in missing.items() if any(arm in (*_LATE, *_NAIVE) for arm in arms)]
    if not sizes:
        return {}
    n_characters = sum(len(document.text) for document in evaluation_set.documents)
    done = 0

    def report(n_done: int) -> None:
        nonlocal done
        done += n_done
        on_progress(f"{evaluation_set.name}: encoding", done / n_characters)

    return encode(
        encoder,
        evaluation_set,
        sizes,
        late=any(arm in _LATE for size in sizes for arm in missing[size]),
        naive={size: any(arm in _NAIVE for arm in missing[size]) for size in sizes},
        on_progress=report,
    )


def _compute(
    evaluation_set: EvaluationSet,
    encoder: SpanEncoder,
    setup: Setup,
    key: _Key,
    arms: Sequence[Arm],
    table: ChunkTable,
    vectors: Vectors | None,
    work: Path,
) -> None:
    if len(evaluation_set.questions) * len(table) > _MOST_SCORES:
        raise InputError(
            f"{evaluation_set.name}: {len(evaluation_set.questions):,} questions of {len(table):,} chunks are more "
            f"than fit the memory; evaluate fewer questions, larger chunks, or use latechunk.evaluation.mteb"
        )
    queries = _encode_queries(encoder, [question.text for question in evaluation_set.questions]) if vectors else None
    scorer = _Scorer(evaluation_set, setup, table, vectors, queries)
    for arm in arms:
        rankings, weights = scorer.rank(arm)
        key.write(work, ArmResult(arm, key.name, key.max_tokens, rankings, weights), len(table))
    if vectors and vectors.late is not None and vectors.naive is not None:
        write_arrays(key.path(work, "shift"), {"shift": context_shifts(vectors.late, vectors.naive)})


def _encode_queries(encoder: SpanEncoder, texts: Sequence[str]) -> FloatArray:
    if isinstance(encoder, BatchQueryEncoder):
        return encoder.encode_queries(texts)
    return np.stack([encoder.encode_query(text) for text in texts])


class _Scorer:
    """Scores one set's questions with one chunker's chunks, arm by arm."""

    def __init__(
        self,
        evaluation_set: EvaluationSet,
        setup: Setup,
        table: ChunkTable,
        vectors: Vectors | None,
        queries: FloatArray | None,
    ) -> None:
        self._set = evaluation_set
        self._setup = setup
        self._table = table
        self._vectors = vectors
        self._queries = queries
        self._halves = split_in_halves([question.cluster for question in evaluation_set.questions], setup.seed)
        self._judgements = judge(evaluation_set, table)
        self._deep = max(100, setup.depth)
        self._blend = functools.cache(self._rank_blend)
        self._bm25 = functools.cache(self._score_bm25)

    def rank(self, arm: Arm) -> tuple[dict[Scope, Ranking], dict[Scope, tuple[float, ...]]]:
        """Rankings by scope, and the weights of a blend."""
        if arm == "blend":
            deep, weights = self._blend()
            return {scope: _cut(ranking, self._setup.depth) for scope, ranking in deep.items()}, weights
        if arm == "hybrid":
            return self._rank_hybrid(), {}
        return self._rank_scores(self._bm25() if arm == "bm25" else self._dense(arm)), {}

    def _rank_scores(self, scores: FloatArray, depth: int | None = None) -> dict[Scope, Ranking]:
        depth = depth or self._setup.depth
        return {scope: rank(self._set, self._table, scores, scope, depth) for scope in SCOPES}

    def _dense(self, arm: Arm) -> FloatArray:
        vectors, queries = _needed(self._vectors), _needed(self._queries)
        if arm == "document":
            return np.asarray((queries @ vectors.whole.T)[:, self._table.document_of], dtype=np.float32)
        matrix = _needed(vectors.late if arm == "late" else vectors.naive)
        return np.asarray(queries @ matrix.T, dtype=np.float32)

    def _score_bm25(self) -> FloatArray:
        texts = [
            self._set.documents[number].text[span.start : span.end]
            for number, span in zip(self._table.document_of, self._table.spans, strict=True)
        ]
        languages = {str(document.metadata.get("lang", "en")) for document in self._set.documents}
        return bm25_scores(texts, [question.text for question in self._set.questions], languages)

    def _blended(self, weight: float, late: FloatArray, naive: FloatArray) -> FloatArray:
        """Scores of ``normalise(weight * late + (1 - weight) * naive)``, from the scores of both."""
        vectors = _needed(self._vectors)
        mixed = np.float32(weight) * _needed(vectors.late) + np.float32(1 - weight) * _needed(vectors.naive)
        norms = np.linalg.norm(mixed, axis=1)
        return np.asarray((np.float32(weight) * late + np.float32(1 - weight) * naive) / norms, dtype=np.float32)

    def _rank_blend(self) -> tuple[dict[Scope, Ranking], dict[Scope, tuple[float, ...]]]:
        """Each half of the questions is ranked with the weight that did best on the other half; deep enough to fuse."""
        late, naive = self._dense("late"), self._dense("naive")
        by_weight = {weight: self._rank_scores(self._blended(weight, late, naive), self._deep) for weight in WEIGHTS}
        rankings: dict[Scope, Ranking] = {}
        weights: dict[Scope, tuple[float, ...]] = {}
        for scope in SCOPES:
            values = {
                weight: headline(self._judgements, ranked[scope], scope, self._setup.depth)
                for weight, ranked in by_weight.items()
            }
            chosen = [_fit({one: values[one][self._halves != half] for one in WEIGHTS}) for half in (0, 1)]
            rankings[scope] = _take_halves([by_weight[weight][scope] for weight in chosen], self._halves)
            weights[scope] = tuple(chosen)
        return rankings, weights

    def _rank_hybrid(self) -> dict[Scope, Ranking]:
        """The first 100 of the blend and of BM25, fused by reciprocal ranks."""
        blend, _ = self._blend()
        words = self._rank_scores(self._bm25(), self._deep)
        rankings: dict[Scope, Ranking] = {}
        for scope in SCOPES:
            fused = fuse([blend[scope].chunks, words[scope].chunks], len(self._table))
            rankings[scope] = rank(self._set, self._table, fused, scope, self._setup.depth)
        return rankings


def _needed(value: Needed | None) -> Needed:
    """What :func:`_encode_missing` has computed for the arms that were missing."""
    if value is None:
        raise RuntimeError("an arm was scored whose vectors were not computed")
    return value


def _fit(values: Mapping[float, Values]) -> float:
    """The weight with the highest mean; the middle one where there is no question to fit it on."""
    kept = {weight: one[~np.isnan(one)] for weight, one in values.items()}
    return max(kept, key=lambda weight: kept[weight].mean()) if all(map(len, kept.values())) else 0.5


def _cut(ranking: Ranking, depth: int) -> Ranking:
    return Ranking(ranking.chunks[:, :depth], ranking.documents[:, :depth])


def _take_halves(rankings: Sequence[Ranking], halves: IntArray) -> Ranking:
    """Rows of the first ranking for the first half of the questions, of the second for the second."""
    chosen = halves[:, None] == 0
    first, second = rankings
    documents = np.where(chosen, first.documents, second.documents) if first.documents.size else first.documents
    return Ranking(np.where(chosen, first.chunks, second.chunks), documents)
