"""Vectors as bytes: whole, or rounded to take half or a quarter of the space."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np

from latechunk.types import BoolArray, FloatArray

Precision: TypeAlias = Literal["float32", "float16", "int8"]

_FORMATS = {"float32": "<f4", "float16": "<f2", "int8": "i1"}
_LARGEST = 127
_FIRST = 16  # numbers of a vector that are looked at before all of them are


def n_bytes(dims: int, precision: Precision) -> int:
    """What a vector takes."""
    return dims * np.dtype(_FORMATS[precision]).itemsize


def pack(vectors: FloatArray, precision: Precision) -> list[bytes]:
    """Unit vectors as bytes, one after the other, shape ``(n, dims)``.

    In int8 a vector is stretched until its largest number is 127, and rounded; its length is known to be 1. One whose
    numbers are whole multiples of a step, at most 127 of it, loses nothing: the model pplx-embed gives such. What
    ``unpack`` gives is packed to the same bytes again, in each precision.
    """
    if precision == "int8":
        vectors = _whole_numbers(vectors)
    return [one.tobytes() for one in np.ascontiguousarray(vectors, dtype=_FORMATS[precision])]


def _whole_numbers(vectors: FloatArray) -> FloatArray:
    """Vectors times what makes their numbers whole, and the largest 127 or as near to it as that allows."""
    largest = np.abs(vectors).max(axis=1, keepdims=True, initial=0)
    shares = vectors / np.maximum(largest, np.finfo(np.float32).tiny)
    scales = np.full((len(shares), 1), _LARGEST)
    for scale in range(_LARGEST // 2 + 1, _LARGEST):  # a step that fits less often also fits so often, some times over
        rows = np.flatnonzero(_are_whole(shares[:, :_FIRST] * scale))
        scales[rows[_are_whole(shares[rows] * scale)]] = scale
    whole = np.rint(shares * scales)
    whole /= np.maximum(np.gcd.reduce(whole.astype(np.int64), axis=1, keepdims=True), 1)
    whole *= _LARGEST // np.maximum(np.abs(whole).max(axis=1, keepdims=True, initial=0), 1)
    return np.asarray(whole, dtype=np.float32)


def _are_whole(rows: FloatArray) -> BoolArray:
    """Whether all numbers of a row are whole. Fractions of numbers up to 127 differ by more than eight times this."""
    return np.asarray((np.abs(rows - np.rint(rows)) < 1e-3).all(axis=1))


def unpack(packed: bytes, dims: int, precision: Precision) -> FloatArray:
    """The vectors that were packed, joined: shape ``(n, dims)``, float32, of unit length."""
    rows = np.frombuffer(packed, dtype=_FORMATS[precision]).reshape(-1, dims)
    if precision != "int8":
        return rows.astype(np.float32, copy=False)
    whole = rows.astype(np.float32)
    return np.asarray(whole / np.maximum(np.linalg.norm(whole, axis=1, keepdims=True), 1), dtype=np.float32)
