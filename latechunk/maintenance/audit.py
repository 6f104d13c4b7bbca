"""Encodes a sample of an index again, to prove that its vectors are what its model makes of its texts."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from latechunk.chunking.fixed import FixedSpans
from latechunk.embedding import ChunkedDocument, Embedding, blend, chunk_documents, context_shifts, embed_batch
from latechunk.errors import InputError
from latechunk.index import Index
from latechunk.protocols import ReportsRuntime
from latechunk.storage.store import StoredDocument
from latechunk.storage.vectors import Precision
from latechunk.types import FloatArray, Mode, Span

# How far, as 1 less the cosine, the same model may put the same chunk another time: other batches, kernels, devices.
# all-MiniLM-L6-v2 deviates from its own float32 by up to 1.8e-6 in float16 and 1.0e-4 in bfloat16; models of four times
# its depth add up more rounding. A naive vector in the place of a late one is 0.02 away at the least.
TOLERANCES: Mapping[str, float] = {"float32": 1e-5, "float16": 1e-4, "bfloat16": 2e-3, "int8": 5e-3}
# What rounding of the stored vectors adds to that. In int8 a step is 1 / 127 of the largest number of a vector: of 384
# numbers that makes 4e-5 where the largest is 0.2, as usual, and 1e-3 where it is 1.
_ROUNDED: Mapping[Precision, float] = {"float32": 0.0, "float16": 1e-6, "int8": 1e-3}
_QUANTILES = (0.0, 0.25, 0.5, 0.75, 0.95, 1.0)
_LARGEST = 5

Place: TypeAlias = tuple[str, int, Span]
"""Granularity, place among its chunks, and span of a chunk."""


@dataclass(frozen=True, slots=True)
class DocumentAudit:
    """One document, encoded again.

    Attributes:
        n_outside: Tokens that lie in no chunk, for each granularity by name: white space or gaps that the chunker
            leaves, since the chunks are as it cuts them.
        deviation: The largest 1 less the cosine of a stored vector with the new one; NaN where none was made.
        faults: What is not as it should be, in words; empty if the document is proven.
    """

    document: str
    n_tokens: int
    n_chunks: int
    n_outside: Mapping[str, int]
    deviation: float
    faults: Sequence[str]


@dataclass(frozen=True, slots=True)
class ChunkShift:
    """How far its context moves a chunk: 1 less the cosine of its late with its naive vector."""

    shift: float
    document: str
    granularity: str
    chunk: int
    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What ``audit`` found.

    Attributes:
        n_documents: How many the index holds.
        dtypes: The number formats that the vectors were made in, and made again in.
        documents: The sample, in the order of the index.
        shifts: For each granularity by name, quantiles of the context shift by their levels.
        largest: The chunks that their context moves most, of all granularities, first the largest.
        n_without_shift: Documents with a chunk that cannot be read alone, so that nothing is said of their shifts.
    """

    n_documents: int
    seed: int
    tolerance: float
    dtypes: tuple[str, str]
    documents: Sequence[DocumentAudit]
    shifts: Mapping[str, Mapping[float, float]]
    largest: Sequence[ChunkShift]
    n_without_shift: int

    @property
    def is_proven(self) -> bool:
        """Whether everything in the sample is what the model makes of the texts."""
        return not any(one.faults for one in self.documents)

    @property
    def deviation(self) -> float:
        """The largest deviation of all."""
        return max((one.deviation for one in self.documents), default=0.0)


def audit(index: Index, *, n: int = 20, seed: int = 0) -> AuditReport:
    """Encode a random sample of documents again, as recorded, and compare with what is stored.

    Of each document it is seen that the stored text is what was added, that the chunkers cut it in the same places,
    that it has as many tokens, and that each stored vector is what the model gives, but for rounding. The tolerance is
    that of the coarser of two number formats, the one that the index was made in and the one used now, and of the
    precision in which vectors are stored.

    Args:
        index: What to audit; open for reading is enough.
        n: How many documents; all, if there are fewer.
        seed: Draws the sample.

    Raises:
        InputError: If ``n`` is no whole number of at least 1.
        IndexDamagedError: If a document is no longer what was stored; `latechunk verify` says more.
        ModelError: If the model is not on this machine or gives unusable vectors.
        IndexMismatchError: If encoder or chunker are the user's own and were not passed to ``Index.open``.
    """
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise InputError(f"n must be a whole number of at least 1, got {n!r:.80}")
    ids = index.ids()
    chosen = random.Random(seed).sample(range(len(ids)), min(n, len(ids)))  # noqa: S311  reproducible, not secret
    dtypes = _dtypes(index)
    tolerance = max(TOLERANCES.get(dtype, TOLERANCES["float32"]) for dtype in dtypes)
    tolerance += _ROUNDED[index.manifest.search.precision]
    stored = (index.stored(ids[place]) for place in sorted(chosen))
    audited = [_audit_document(index, one, tolerance) for one in stored if one is not None]
    shifts = [shift for _, found in audited for shift in found]
    return AuditReport(
        n_documents=len(ids),
        seed=seed,
        tolerance=tolerance,
        dtypes=dtypes,
        documents=[document for document, _ in audited],
        shifts=_summarise(shifts, list(index.info().chunkers)),
        largest=sorted(shifts, key=lambda one: -one.shift)[:_LARGEST],
        n_without_shift=sum(not found for _, found in audited),
    )


def _dtypes(index: Index) -> tuple[str, str]:
    """What the vectors were made in and are made in now, as far as the encoder says so."""
    encoder = index.encoder
    now = encoder.runtime if isinstance(encoder, ReportsRuntime) else {}
    made = index.info().made.get("on") or {}
    return str(made.get("dtype", "float32")), str(now.get("dtype", "float32"))


def _audit_document(index: Index, stored: StoredDocument, tolerance: float) -> tuple[DocumentAudit, list[ChunkShift]]:
    mode, names, document = index.manifest.embedding.mode, list(index.info().chunkers), stored.document
    places = [
        (name, place, span)
        for name, spans in zip(names, stored.chunkings, strict=True)
        for place, span in enumerate(spans)
    ]
    faults = _compare_cuts(index, stored, names)
    cut, late = _encode(index, stored, "late", faults)
    _, naive = _encode(index, stored, "naive", faults if mode != "late" else [])
    n_outside = _count_outside(cut, names, places) if cut else {}
    if cut and len(cut.tokens) != stored.n_tokens:
        faults.append(f"it has {len(cut.tokens)} tokens now, and {stored.n_tokens} are recorded")
    expected = late if mode == "late" else naive
    if mode == "blend" and naive is not None:
        expected = None if late is None else blend(late, naive, index.manifest.embedding.late_weight)
    deviation = float("nan")
    if expected is not None:
        deviations = _deviations(stored.vectors, expected)
        deviation = float(deviations.max())
        if deviation > tolerance:
            faults.append(_describe_deviations(deviations, places, tolerance))
    shifts = []
    if late is not None and naive is not None:
        shifts = [
            ChunkShift(shift, document.id, name, place, span.start, span.end, document.text[span.start : span.end])
            for shift, (name, place, span) in zip(context_shifts(late, naive).tolist(), places, strict=True)
        ]
    return DocumentAudit(document.id, stored.n_tokens, len(places), n_outside, deviation, tuple(faults)), shifts


def _compare_cuts(index: Index, stored: StoredDocument, names: Sequence[str]) -> list[str]:
    """Whether the chunkers cut the text in the places that are stored."""
    faults: list[str] = []
    note = lambda _, error: faults.append(str(error))  # noqa: E731
    for cut in chunk_documents(
        index.encoder, list(index.chunkers.values()), Embedding("late"), [stored.document], note
    ):
        pairs = zip(names, cut.chunkings, stored.chunkings, strict=True)
        faults += [f"{name!r} cuts it otherwise now" for name, new, old in pairs if list(new) != list(old)]
    return faults


def _encode(
    index: Index, stored: StoredDocument, mode: Mode, faults: list[str]
) -> tuple[ChunkedDocument, FloatArray] | tuple[None, None]:
    """The document cut where it is stored to be cut, and its vectors; what hinders it goes into ``faults``."""
    chunkers = [FixedSpans({stored.document.id: spans}) for spans in stored.chunkings]
    note = lambda _, error: faults.append(str(error))  # noqa: E731
    embedded = embed_batch(index.encoder, chunkers, Embedding(mode), [stored.document], note)
    return embedded[0] if embedded else (None, None)


def _deviations(stored: FloatArray, expected: FloatArray) -> NDArray[np.float64]:
    """1 less the cosine, row by row; what rounding puts below 0 is 0.

    Through the difference, which loses no digits where vectors are nearly equal: |a - b|^2 / 2 of unit vectors.
    """
    left, right = (one / np.linalg.norm(one, axis=1, keepdims=True) for one in map(np.float64, (stored, expected)))
    return np.asarray(((left - right) ** 2).sum(axis=1) / 2)


def _describe_deviations(deviations: NDArray[np.float64], places: Sequence[Place], tolerance: float) -> str:
    worst = int(deviations.argmax())
    name, place, _ = places[worst]
    return (
        f"{np.count_nonzero(deviations > tolerance)} of its vectors are not what the model gives; the worst is that of "
        f"chunk {place} of {name!r}: 1 less the cosine is {deviations[worst]:.2e}, and may be {tolerance:.0e}"
    )


def _count_outside(cut: ChunkedDocument, names: Sequence[str], places: Sequence[Place]) -> dict[str, int]:
    """Tokens that lie in no chunk, for each granularity."""
    inside: dict[str, set[int]] = {name: set() for name in names}
    for (name, _, _), (first, last) in zip(places, cut.ranges.tolist(), strict=True):
        inside[name].update(range(first, last))
    return {name: len(cut.tokens) - len(tokens) for name, tokens in inside.items()}


def _summarise(shifts: Sequence[ChunkShift], names: Sequence[str]) -> dict[str, dict[float, float]]:
    values = {name: [one.shift for one in shifts if one.granularity == name] for name in names}
    return {
        name: dict(zip(_QUANTILES, np.quantile(some, _QUANTILES).tolist(), strict=True))
        for name, some in values.items()
        if some
    }
