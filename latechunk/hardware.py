"""A wish in, the device and the number format to compute with out."""

from __future__ import annotations

import functools
import time
from typing import Literal, TypeAlias

import torch

from latechunk.errors import InputError

Dtype: TypeAlias = Literal["auto", "float32", "bfloat16", "float16"]

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def choose_device(device: str) -> torch.device:
    """``"auto"`` is CUDA, then MPS, then CPU; anything else is a name that torch has."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        probe = torch.zeros(1, device=device)
        probe.cpu()  # fails where there are no numbers behind a tensor
        return probe.device
    except (RuntimeError, AssertionError, ValueError, TypeError, NotImplementedError) as error:
        raise InputError(f'device must be "auto" or one that torch can use here, got {device!r}: {error}') from error


def choose_dtype(dtype: Dtype, device: torch.device) -> torch.dtype:
    """``"auto"`` is bfloat16 where the device has units for it, else float32."""
    if dtype not in ("auto", *_DTYPES):
        raise InputError(f"dtype must be one of auto, {', '.join(_DTYPES)}, got {dtype!r}")
    if dtype != "auto":
        return _DTYPES[dtype]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    return torch.bfloat16 if device.type == "cpu" and _bfloat16_is_faster() else torch.float32


@functools.cache
def _bfloat16_is_faster() -> bool:
    """Measure a feed-forward layer's product on the CPU: 2 to 5 times as fast where it has units for bfloat16."""

    def seconds(dtype: torch.dtype) -> float:
        left, right = torch.ones(512, 384, dtype=dtype), torch.ones(384, 1536, dtype=dtype)
        times = []
        for _ in range(6):
            begin = time.perf_counter()
            torch.mm(left, right)
            times.append(time.perf_counter() - begin)
        return min(times)

    return seconds(torch.float32) > 1.5 * seconds(torch.bfloat16)
