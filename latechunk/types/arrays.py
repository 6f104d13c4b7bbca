"""Names of types: arrays, settings, and how vectors are made; and the numbers of ranges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

IntArray: TypeAlias = NDArray[np.int64]
FloatArray: TypeAlias = NDArray[np.float32]
ScoreArray: TypeAlias = NDArray[np.float64]
BoolArray: TypeAlias = NDArray[np.bool_]
Settings: TypeAlias = Mapping[str, Any]
"""What made something, as JSON: two things made alike have equal settings."""
Mode: TypeAlias = Literal["late", "naive", "blend"]
"""How chunk vectors are made; see ``latechunk.Embedding``."""


def counted_ranges(starts: IntArray, counts: IntArray) -> IntArray:
    """Concatenate ``arange(start, start + count)`` over all pairs."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    return np.asarray(np.arange(total) + np.repeat(starts - (ends - counts), counts), dtype=np.int64)
