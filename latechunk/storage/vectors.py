"""Vectors as bytes: whole, or rounded to take half or a quarter of the space."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np

from latechunk.types import FloatArray

Precision: TypeAlias = Literal["float32", "float16", "int8"]

_FORMATS = {"float32": "<f4", "float16": "<f2", "int8": "i1"}
_LARGEST = 127


def n_bytes(dims: int, precision: Precision) -> int:
    """What a vector takes."""
    return dims * np.dtype(_FORMATS[precision]).itemsize


def pack(vectors: FloatArray, precision: Precision) -> list[bytes]:
    """Unit vectors as bytes, one after the other, shape ``(n, dims)``.

    In int8 a vector is stretched until its largest number is 127, and rounded; its length is known to be 1. So what
    ``unpack`` gives is packed to the same bytes again, in each precision.
    """
    if precision == "int8":
        largest = np.abs(vectors).max(axis=1, keepdims=True, initial=0)
        vectors = np.rint(vectors * (_LARGEST / np.maximum(largest, np.finfo(np.float32).tiny)))
    return [one.tobytes() for one in np.ascontiguousarray(vectors, dtype=_FORMATS[precision])]


def unpack(packed: bytes, dims: int, precision: Precision) -> FloatArray:
    """The vectors that were packed, joined: shape ``(n, dims)``, float32, of unit length."""
    rows = np.frombuffer(packed, dtype=_FORMATS[precision]).reshape(-1, dims)
    if precision != "int8":
        return rows.astype(np.float32, copy=False)
    whole = rows.astype(np.float32)
    return np.asarray(whole / np.maximum(np.linalg.norm(whole, axis=1, keepdims=True), 1), dtype=np.float32)
