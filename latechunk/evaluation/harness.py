"""Rank the questions of a set with every encoder, chunk size and arm, unless an earlier run has."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from latechunk.embedding import choose_embedding, context_shifts
from latechunk.errors import InputError
from latechunk.evaluation.arms import ARMS, Material
from latechunk.evaluation.cache import CacheKey, read_arrays, write_arrays
from latechunk.evaluation.dataset import EvaluationSet
from latechunk.evaluation.passes import Vectors, cut_only, encode
from latechunk.evaluation.ranking import ArmResult, ChunkTable, Rankings
from latechunk.protocols import BatchQueryEncoder, SpanEncoder
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
                material = _gather(evaluation_set, encoder, setup, table, own)
                for arm in missing[size]:
                    found[size][arm] = ranked = ARMS[arm].rank(material)
                    key.write(work, arm, ranked, len(table))
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
    sizes = [size for size, arms in missing.items() if any(ARMS[arm].late or ARMS[arm].naive for arm in arms)]
    n_characters = sum(len(document.text) for document in evaluation_set.documents)
    done = 0

    def report(n_done: int) -> None:
        nonlocal done
        done += n_done
        on_progress(f"{evaluation_set.name}: encoding", done / n_characters)

    if not sizes:
        return {}
    return encode(
        encoder,
        evaluation_set,
        sizes,
        late=any(ARMS[arm].late for size in sizes for arm in missing[size]),
        naive={size: any(ARMS[arm].naive for arm in missing[size]) for size in sizes},
        on_progress=report,
    )


def _gather(
    evaluation_set: EvaluationSet, encoder: SpanEncoder, setup: Setup, table: ChunkTable, vectors: Vectors | None
) -> Material:
    """What the arms need, with the questions' vectors."""
    questions = [question.text for question in evaluation_set.questions]
    if len(questions) * len(table) > _MOST_SCORES:
        raise InputError(
            f"{evaluation_set.name}: {len(questions):,} questions of {len(table):,} chunks are more than fit the "
            f"memory; evaluate fewer questions, larger chunks, or use latechunk.evaluation.mteb"
        )
    encoded = None
    if vectors and isinstance(encoder, BatchQueryEncoder):
        encoded = vectors, encoder.encode_queries(questions)
    elif vectors:
        encoded = vectors, np.stack([encoder.encode_query(text) for text in questions])
    embedding = choose_embedding(encoder, None, None)
    return Material(evaluation_set, table, embedding, setup.depth, setup.seed, encoded)
