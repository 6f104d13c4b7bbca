"""Rank the questions of a set with every encoder, chunk size and arm, unless an earlier run has."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from latechunk.embedding import Embedding, choose_embedding, context_shifts
from latechunk.errors import InputError
from latechunk.evaluation.arms import ARMS, Material
from latechunk.evaluation.cache import CacheKey, read_arrays, write_arrays
from latechunk.evaluation.dataset import EvaluationSet
from latechunk.evaluation.passes import Vectors, cut_only, encode
from latechunk.evaluation.ranking import ArmResult, ChunkTable, Rankings
from latechunk.evaluation.searching import KnownQuestions, encode_questions, filled_index
from latechunk.protocols import SpanEncoder
from latechunk.types import FloatArray

_MOST_SCORES = 10**9  # 4 GB in float32, some of which are held at a time


@dataclass(frozen=True, slots=True)
class Setup:
    """What is evaluated with each set: encoders by a name for the tables, chunk sizes, arms.

    ``depth`` is the k of measures, ``seed`` that of the halves of the questions.

    Raises:
        InputError: If something is empty or unknown.
    """

    encoders: Mapping[str, SpanEncoder]
    max_tokens: tuple[int, ...] = (64, 128)
    arms: tuple[str, ...] = tuple(ARMS)
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
class SetResult:
    """All arms of a set.

    Attributes:
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

    ``on_progress`` is called with what is being done and the share of the documents' characters done.

    Raises:
        InputError: If there are more scores than fit the memory.
    """
    tables: dict[tuple[str, int], ChunkTable] = {}
    shifts: dict[tuple[str, int], FloatArray] = {}
    results: list[ArmResult] = []
    for name, encoder in setup.encoders.items():
        keys = {size: CacheKey(evaluation_set, encoder, size, setup.depth, setup.seed) for size in setup.max_tokens}
        found: dict[int, dict[str, Rankings | None]] = {
            size: {arm: key.read(work, arm) for arm in setup.arms} for size, key in keys.items()
        }
        missing = {size: [arm for arm, one in arms.items() if one is None] for size, arms in found.items()}
        vectors = _encode_missing(evaluation_set, encoder, missing, on_progress)
        for size, key in keys.items():
            own = vectors.get(size)
            table = own.table if own else cut_only(encoder, evaluation_set, size)
            tables[name, size] = table
            if missing[size]:
                on_progress(f"{evaluation_set.name}: searching", 1.0)
                ranked = _rank_missing(evaluation_set, encoder, setup, size, missing[size], table, own)
                for arm, rankings in ranked:
                    found[size][arm] = rankings
                    key.write(work, arm, rankings, len(table))
            if own and own.late is not None and own.naive is not None:
                write_arrays(key.path(work, "shift"), {"shift": context_shifts(own.late, own.naive)})
            results += [ArmResult(arm, name, size, one) for arm, one in found[size].items() if one is not None]
            shift = read_arrays(key.path(work, "shift")).get("shift")
            if shift is not None and shift.shape == (len(table),):
                shifts[name, size] = shift
    return SetResult(evaluation_set, tables, tuple(results), shifts)


def _encode_missing(
    evaluation_set: EvaluationSet,
    encoder: SpanEncoder,
    missing: Mapping[int, Sequence[str]],
    on_progress: Callable[[str, float], None],
) -> dict[int, Vectors]:
    """Vectors of the chunk sizes that still need some, from one reading of each document."""
    embedding = choose_embedding(encoder, None, None)
    late = {size: any(_needs(arm, embedding)[0] for arm in arms) for size, arms in missing.items()}
    naive = {size: any(_needs(arm, embedding)[1] for arm in arms) for size, arms in missing.items()}
    sizes = [size for size in missing if late[size] or naive[size]]
    n_characters = sum(len(document.text) for document in evaluation_set.documents)
    done = 0

    def report(n_done: int) -> None:
        nonlocal done
        done += n_done
        on_progress(f"{evaluation_set.name}: encoding", done / n_characters)

    if not sizes:
        return {}
    return encode(encoder, evaluation_set, sizes, late=any(late.values()), naive=naive, on_progress=report)


def _needs(arm: str, embedding: Embedding) -> tuple[bool, bool]:
    """Whether an arm needs late vectors, and naive ones; a search needs what an index with this embedding holds."""
    one = ARMS[arm]
    if not one.dense:
        return one.late, one.naive
    return embedding.mode != "naive", embedding.mode != "late"


def _rank_missing(
    evaluation_set: EvaluationSet,
    encoder: SpanEncoder,
    setup: Setup,
    max_tokens: int,
    arms: Sequence[str],
    table: ChunkTable,
    vectors: Vectors | None,
) -> Iterator[tuple[str, Rankings]]:
    """Rank arm after arm, with what they need: the questions' vectors, and an index for those that search."""
    if any(not ARMS[arm].searches for arm in arms) and len(evaluation_set.questions) * len(table) > _MOST_SCORES:
        raise InputError(
            f"{evaluation_set.name}: {len(evaluation_set.questions):,} questions of {len(table):,} chunks are more "
            f"than fit the memory; evaluate fewer questions, larger chunks, or use latechunk.evaluation.mteb"
        )
    material = Material(evaluation_set, table, setup.depth, setup.seed, vectors)
    if vectors:
        material = replace(material, questions=encode_questions(encoder, evaluation_set.questions))
    with ExitStack() as stack:
        if any(ARMS[arm].searches for arm in arms):
            known: dict[str, FloatArray] = {}
            if material.questions is not None:
                texts = [question.text for question in evaluation_set.questions]
                known = dict(zip(texts, material.questions, strict=True))
            embedding = choose_embedding(encoder, None, None)
            stored = vectors.of(embedding) if vectors and any(ARMS[arm].dense for arm in arms) else None
            index = filled_index(KnownQuestions(encoder, known), embedding, evaluation_set, table, stored, max_tokens)
            material = replace(material, index=stack.enter_context(index))
        for arm in arms:
            yield arm, ARMS[arm].rank(material)
