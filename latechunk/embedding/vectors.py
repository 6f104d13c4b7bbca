"""The vectors of chunks: late, naive or a blend of both, made for the same spans."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from latechunk.embedding.chunks import ChunkedDocument
from latechunk.embedding.progress import BatchProgress, Progress
from latechunk.embedding.settings import Embedding
from latechunk.errors import InputError, ModelError
from latechunk.protocols import BatchQueryEncoder, SpanEncoder
from latechunk.types import FloatArray, PoolingTask

# Half-precision models normalise in half precision, and are off by up to 5e-4.
_UNIT_TOLERANCE = 1e-3


def embed_chunks(
    encoder: SpanEncoder,
    embedding: Embedding,
    chunked: Sequence[ChunkedDocument],
    on_progress: Callable[[Progress], None] | None = None,
) -> list[FloatArray]:
    """Encode documents and pool their chunks; ModelError if the model gives unusable vectors.

    Progress counts a document once, and a blend, which reads it twice, by halves.

    Returns:
        For each document its chunks' unit vectors in span order, shape ``(n_spans, dims)``.
    """
    progress = BatchProgress(chunked, 2 if embedding.mode == "blend" else 1, on_progress)
    if embedding.mode == "naive":
        return _embed_naive(encoder, chunked, progress)
    tasks = [PoolingTask(one.tokens, one.ranges) for one in chunked]
    counts = [len(one.spans) for one in chunked]
    report = progress.of_pass([len(one.tokens) for one in chunked])
    late = check_vectors(encoder, encoder.encode_spans(tasks, report), counts)
    if embedding.mode == "late":
        return late
    naive = _embed_naive(encoder, chunked, progress)
    return [blend(*pair, embedding.late_weight) for pair in zip(late, naive, strict=True)]


def encode_queries(encoder: SpanEncoder, texts: Sequence[str]) -> FloatArray:
    """Encode queries, together where the encoder can; ModelError if it gives unusable vectors.

    Returns:
        Unit vectors in order, shape ``(len(texts), dims)``.
    """
    if len(texts) > 1 and isinstance(encoder, BatchQueryEncoder):
        vectors = np.asarray(encoder.encode_queries(texts))
    else:
        vectors = np.stack([encoder.encode_query(text) for text in texts])
    (checked,) = check_vectors(encoder, [vectors], [len(texts)])
    return checked


def blend(late: FloatArray, naive: FloatArray, late_weight: float) -> FloatArray:
    """Unit vectors along ``late_weight * late + (1 - late_weight) * naive``, row by row, shape ``(n, dims)``.

    Raises:
        ModelError: If two vectors cancel each other.
    """
    mixed = np.float32(late_weight) * late + np.float32(1 - late_weight) * naive
    norms = np.linalg.norm(mixed, axis=1, keepdims=True)
    if not norms.all():
        raise ModelError("the late and the naive vector of a chunk cancel each other; choose another late_weight")
    return np.asarray(mixed / norms, dtype=np.float32)


def context_shifts(late: FloatArray, naive: FloatArray) -> FloatArray:
    """How far its context moves each chunk: 1 less the cosine of two unit vectors, row by row, shape ``(n_chunks,)``.

    What rounding puts below 0 is 0.
    """
    cosines = (late.astype(np.float64) * naive).sum(axis=1)
    return np.asarray(np.maximum(0, 1 - cosines), dtype=np.float32)


def check_vectors(encoder: SpanEncoder, results: Sequence[FloatArray], counts: Sequence[int]) -> list[FloatArray]:
    """Matrices of ``counts`` vectors as float32; ModelError if there are more or fewer, or not of unit length."""
    dims = encoder.settings["dims"]
    if not isinstance(results, list | tuple) or len(results) != len(counts):
        raise ModelError(f"encode_spans must return a list of {len(counts)} matrices, got {results!r:.80}")
    checked = []
    for result, count in zip(results, counts, strict=True):
        if not isinstance(result, np.ndarray) or result.shape != (count, dims):
            got = f"shape {result.shape}" if isinstance(result, np.ndarray) else type(result).__name__
            raise ModelError(f"an encoder of {dims} dims must give vectors of shape ({count}, {dims}), got {got}")
        vectors = result.astype(np.float32)
        if not have_unit_length(vectors):
            norms = np.linalg.norm(vectors, axis=1)
            raise ModelError(f"an encoder must give finite vectors of unit length, got norms such as {norms.max()}")
        checked.append(vectors)
    return checked


def have_unit_length(vectors: FloatArray) -> bool:
    """Whether all vectors are finite and of unit length, as far as half precision can tell; shape ``(n, dims)``."""
    norms = np.linalg.norm(vectors, axis=1)
    return bool((np.abs(norms - 1) < _UNIT_TOLERANCE).all())  # false, too, where a norm is not a number


def to_unit(vector: FloatArray, dims: int) -> FloatArray:
    """A vector of the index's length, scaled to unit length."""
    if not isinstance(vector, np.ndarray) or vector.shape != (dims,) or vector.dtype.kind not in "fiu":
        got = f"shape {vector.shape}" if isinstance(vector, np.ndarray) else type(vector).__name__
        raise InputError(f"the vector must be a numpy array of {dims} numbers, shape ({dims},), got {got}")
    peak = float(np.abs(vector.astype(np.float64)).max())
    if not (math.isfinite(peak) and peak > 0):
        raise InputError(f"the vector must be finite and not zero, got numbers of up to {peak}")
    scaled = vector.astype(np.float64) / peak  # so that no square overflows
    return np.asarray(scaled / np.linalg.norm(scaled), dtype=np.float32)


def _embed_naive(encoder: SpanEncoder, chunked: Sequence[ChunkedDocument], progress: BatchProgress) -> list[FloatArray]:
    """Encode each chunk's text as a document of its own that is one span."""
    alone = [tokens for one in chunked for tokens in one.alone]
    tasks = [PoolingTask.whole(tokens) for tokens in alone]
    owners = [number for number, one in enumerate(chunked) for _ in one.alone]
    report = progress.of_pass([sum(len(tokens) for tokens in one.alone) for one in chunked])
    results = encoder.encode_spans(tasks, lambda task, n_tokens: report(owners[task], n_tokens))
    vectors = check_vectors(encoder, results, [1] * len(tasks))
    bounds = np.cumsum([0, *(len(one.alone) for one in chunked)])
    stacked = np.concatenate(vectors) if vectors else np.zeros((0, 0), dtype=np.float32)
    return [stacked[begin:end] for begin, end in pairwise(bounds)]
