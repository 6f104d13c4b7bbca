"""Write unit vectors as the numbers or the base64 that a client asked for."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np

from latechunk.serving.errors import RequestError
from latechunk.types import FloatArray

Kind: TypeAlias = Literal["float", "int8", "uint8", "binary", "ubinary", "bits"]
"""Of numbers. ``binary`` and ``ubinary`` hold eight dimensions in a number, the first one highest; ``bits`` lowest."""

_DIGITS = 8  # of a number between -1 and 1: float32 has no more, and JSON is half as long


def encode_vectors(vectors: FloatArray, kind: Kind, *, as_base64: bool) -> Sequence[Any]:
    """Vectors as lists of numbers, or as base64 of their bytes, little-endian.

    ``int8`` is each vector times what makes its largest number 127, rounded; ``uint8`` is the same plus 128: compare
    by cosine. Of ``binary``, ``ubinary`` and ``bits`` a dimension is 1 where it is at least 0, and ``binary`` is
    ``ubinary`` less 128, as sentence-transformers and Voyage have it.

    Raises:
        RequestError: If eight do not divide the dimensions, and they were to be packed.
    """
    numbers = _quantise(vectors, kind)
    if as_base64:
        return [base64.b64encode(row.tobytes()).decode("ascii") for row in np.ascontiguousarray(numbers)]
    if kind == "float":
        return np.round(numbers.astype(np.float64), _DIGITS).tolist()  # type: ignore[no-any-return]
    return numbers.tolist()  # type: ignore[no-any-return]


def _quantise(vectors: FloatArray, kind: Kind) -> Any:
    if kind == "float":
        return vectors.astype("<f4")
    if kind in ("int8", "uint8"):
        peaks = np.abs(vectors).max(axis=1, keepdims=True)
        scaled = np.round(vectors * (127 / peaks)).astype(np.int16)
        return scaled.astype(np.int8) if kind == "int8" else (scaled + 128).astype(np.uint8)
    if vectors.shape[1] % 8:
        raise RequestError(
            400, f"binary vectors need a number of dimensions that 8 divides, and these have {vectors.shape[1]}"
        )
    packed = np.packbits(vectors >= 0, axis=1, bitorder="little" if kind == "bits" else "big")
    return (packed.astype(np.int16) - 128).astype(np.int8) if kind == "binary" else packed
