"""Rank the questions of a set with every encoder, chunk size and arm, unless an earlier run has."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from latechunk.chunking.fixed import FixedSpans
from latechunk.embedding import Embedding, choose_embedding, context_shifts, encode_queries
from latechunk.errors import InputError
from latechunk.evaluation.arms import ARMS, Material
from latechunk.evaluation.cache import CacheKey, read_arrays, write_arrays
from latechunk.evaluation.dataset import EvaluationSet
from latechunk.evaluation.passes import Vectors, chunker_for, cut_only, encode
from latechunk.evaluation.ranking import ArmResult, ChunkTable, Rankings
from latechunk.evaluation.searching import KnownQuestions, filled_index
from latechunk.index import Index
from latechunk.protocols import Chunker, SpanEncoder
from latechunk.types import Document, FloatArray, Settings, Span

_MOST_SCORES = 10**9  # 4 GB in float32, some of which are held at a time


@dataclass(frozen=True, slots=True)
class Setup:
    """What is evaluated with each set: encoders by a name for the tables, chunk sizes, arms.

    Attributes:
        depth: The k of measures.
        seed: Of the halves of the questions.
        index: The one that is evaluated, open, with its encoder as the only one: its own chunks are ranked, and its
            own search is asked; ``max_tokens`` is then what its chunker says, 0 if it says nothing. None for chunks of
            sentences and temporary indexes of them.

    Raises:
        InputError: If something is empty or unknown.
    """

    encoders: Mapping[str, SpanEncoder]
    max_tokens: tuple[int, ...] = (64, 128)
    arms: tuple[str, ...] = tuple(ARMS)
    depth: int = 10
    seed: int = 0
    index: Index | None = None

    def __post_init__(self) -> None:
        unknown = [arm for arm in self.arms if arm not in ARMS]
        if unknown or not self.arms:
            raise InputError(f"arms must be some of {', '.join(ARMS)}, got {', '.join(unknown) or 'none'}")
        if self.index is not None:
            size = next(iter(self.index.manifest.chunkers.values())).get("max_tokens", 0)
            object.__setattr__(self, "max_tokens", (size if isinstance(size, int) else 0,))
        elif not self.encoders or not self.max_tokens:
            raise InputError("an evaluation needs an encoder and a chunk size")
        elif min(self.max_tokens) < 1:
            raise InputError(f"max_tokens must be at least 1, got {min(self.max_tokens)}")
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
    """Evaluate a set, taking from ``work`` what an earlier run has finished; an index is always asked anew.

    ``on_progress`` is called with what is being done and the share of the documents' characters done.

    Raises:
        InputError: If there are more scores than fit the memory.
    """
    tables: dict[tuple[str, int], ChunkTable] = {}
    shifts: dict[tuple[str, int], FloatArray] = {}
    results: list[ArmResult] = []
    chunker_of, chunker = _choose_chunks(evaluation_set, setup.index)
    for name, encoder in setup.encoders.items():
        keys = {
            size: CacheKey(evaluation_set, encoder, size, setup.depth, setup.seed, chunker) for size in setup.max_tokens
        }
        kept = [arm for arm in setup.arms if setup.index is None or not ARMS[arm].searches]
        found = {
            size: {arm: key.read(work, arm) if arm in kept else None for arm in setup.arms}
            for size, key in keys.items()
        }
        missing = {size: [arm for arm, one in arms.items() if one is None] for size, arms in found.items()}
        vectors = _encode_missing(evaluation_set, encoder, setup, missing, chunker_of, on_progress)
        for size, key in keys.items():
            own = vectors.get(size)
            table = own.table if own else cut_only(encoder, evaluation_set, size, chunker_of)
            tables[name, size] = table
            if missing[size]:
                on_progress(f"{evaluation_set.name}: searching", 1.0)
                for arm, ranked in _rank_missing(evaluation_set, encoder, setup, size, missing[size], table, own):
                    found[size][arm] = ranked
                    if arm in kept:
                        key.write(work, arm, ranked, len(table))
            if own and own.late is not None and own.naive is not None:
                write_arrays(key.path(work, "shift"), {"shift": context_shifts(own.late, own.naive)})
            results += [ArmResult(arm, name, size, one) for arm, one in found[size].items() if one is not None]
            shift = read_arrays(key.path(work, "shift")).get("shift")
            if shift is not None and shift.shape == (len(table),):
                shifts[name, size] = shift
    return SetResult(evaluation_set, tables, tuple(results), shifts)


def _choose_chunks(
    evaluation_set: EvaluationSet, index: Index | None
) -> tuple[Callable[[int, Document], Chunker], Settings | None]:
    """What cuts a document at a chunk size, and where it is not the same for all evaluations, what tells it apart."""
    if index is None:
        return chunker_for, None
    chunks = {one.id: index.chunks(one.id) for one in evaluation_set.documents}
    spans = {name: [Span(chunk.start, chunk.end) for chunk in own] for name, own in chunks.items()}
    # Settings do not tell: another version of the chunker, or other pages of a document, cut elsewhere under the same.
    cut = json.dumps([[(one.start, one.end) for one in own] for own in spans.values()])
    return lambda *_: FixedSpans(spans), {"spans_sha256": hashlib.sha256(cut.encode()).hexdigest()}


def _encode_missing(
    evaluation_set: EvaluationSet,
    encoder: SpanEncoder,
    setup: Setup,
    missing: Mapping[int, Sequence[str]],
    chunker_of: Callable[[int, Document], Chunker],
    on_progress: Callable[[str, float], None],
) -> dict[int, Vectors]:
    """Vectors of the chunk sizes that still need some, from one reading of each document."""
    embedding = choose_embedding(encoder, None, None) if setup.index is None else None
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
    is_late = any(late.values())
    return encode(encoder, evaluation_set, sizes, late=is_late, naive=naive, on_progress=report, chunker_of=chunker_of)


def _needs(arm: str, embedding: Embedding | None) -> tuple[bool, bool]:
    """Whether an arm needs late vectors, and naive ones.

    A dense search needs what a temporary index with this embedding holds; None for an index that holds its own.
    """
    one = ARMS[arm]
    if embedding is None or not one.dense:
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
    known: dict[str, FloatArray] = {}
    if vectors or (setup.index is not None and any(ARMS[arm].dense for arm in arms)):
        questions = encode_queries(encoder, [question.text for question in evaluation_set.questions])
        material = replace(material, questions=questions)
        known = dict(zip([one.text for one in evaluation_set.questions], questions, strict=True))
    knowing = KnownQuestions(encoder, known)
    with ExitStack() as stack:
        if setup.index is not None:
            index = stack.enter_context(Index.open(setup.index.path, encoder=knowing, read_only=True))
            material = replace(material, index=index)
        elif any(ARMS[arm].searches for arm in arms):
            embedding = choose_embedding(encoder, None, None)
            stored = vectors.of(embedding) if vectors and any(ARMS[arm].dense for arm in arms) else None
            filled = filled_index(knowing, embedding, evaluation_set, table, stored, max_tokens)
            material = replace(material, index=stack.enter_context(filled))
        for arm in arms:
            yield arm, ARMS[arm].rank(material)
