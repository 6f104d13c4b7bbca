"""Choose the device, the number format, the attention and the batch size to compute with."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeAlias, cast

import torch

from latechunk.errors import InputError, MissingDependencyError
from latechunk.printing import how_to_install

Dtype: TypeAlias = Literal["auto", "float32", "bfloat16", "float16", "int8"]
Attention: TypeAlias = Literal["auto", "eager", "sdpa", "flash_attention_2"]

_NO_MEMORY = ("can't allocate memory", "not enough memory", "CUBLAS_STATUS_ALLOC_FAILED")  # no error type of their own
CPU_INFO = Path("/proc/cpuinfo")  # of Linux
# AVX512-BF16 and AMX of x86, BF16 of ARM. Where a processor has one of them, the products of a feed-forward layer are 2
# to 5 times as fast in bfloat16; where it has none, bfloat16 is emulated: 40 times as slow as float32 on an EPYC.
_BFLOAT16_UNITS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
# VNNI of x86. Where there is no unit for bfloat16, the default model reads documents 2.2 times as fast as in float32.
# Without VNNI oneDNN adds two products in 16 bits, which is too little for 127 * 127 + 127 * 127.
_INT8_UNITS = frozenset({"avx512_vnni", "avx_vnni"})
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16, "int8": torch.int8}


def choose_device(device: str) -> torch.device:
    """``"auto"`` is CUDA, then MPS, then CPU; anything else is a name that torch has."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        probe = torch.zeros(1, device=device)
        probe.cpu()  # fails where a tensor holds no numbers
        return probe.device
    except (RuntimeError, AssertionError, ValueError, TypeError, NotImplementedError) as error:
        raise InputError(f'device must be "auto" or one that torch can use here, got {device!r}: {error}') from error


def choose_dtype(dtype: Dtype, device: torch.device, *, takes_int8: bool = False) -> torch.dtype:
    """``"auto"`` is bfloat16 where the device has units for it, else int8 where that can be, else float32."""
    if dtype != "auto":
        return _DTYPES[dtype]
    if device.type == "cuda":
        has_units = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if has_units else torch.float32
    if device.type == "cpu" and not _BFLOAT16_UNITS.isdisjoint(_cpu_features()):
        return torch.bfloat16
    return torch.int8 if takes_int8 else torch.float32


def has_int8_units() -> bool:
    """Whether the processor multiplies whole numbers of 8 bits exactly, and faster than floats."""
    has_kernels = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return has_kernels and not _INT8_UNITS.isdisjoint(_cpu_features())


def _cpu_features() -> set[str]:
    """Instruction sets of the processor: as torch says, else as Linux says, else none."""
    if hasattr(torch.cpu, "get_capabilities"):  # came after torch 2.6
        return {name for name, value in torch.cpu.get_capabilities().items() if value is True}
    try:
        lines = CPU_INFO.read_text(encoding="utf-8").splitlines()
    except OSError:
        return set()
    flags = [line.partition(":")[2].split() for line in lines if line.startswith(("flags", "Features"))]
    return {name for one in flags for name in one}


def choose_attention(attention: Attention, device: torch.device, dtype: torch.dtype) -> Attention:
    """``"auto"`` is FlashAttention 2 where flash-attn is installed and fits; else it stays, for the model to choose."""
    fits = device.type == "cuda" and dtype in (torch.bfloat16, torch.float16)
    if attention == "auto":
        return "flash_attention_2" if fits and is_flash_attn_2_available() else "auto"
    if attention == "flash_attention_2" and not fits:
        raise InputError(
            f"FlashAttention 2 needs a CUDA device and bfloat16 or float16, got {name_of(dtype)} on {device}; "
            f'pass attention="sdpa"'
        )
    if attention == "flash_attention_2" and not is_flash_attn_2_available():
        raise MissingDependencyError(
            "FlashAttention 2 needs the package flash-attn, which is not installed or does not support this GPU; "
            f'{how_to_install("flash-attn")}, or pass attention="sdpa"'
        )
    return attention


def is_flash_attn_2_available() -> bool:
    """Whether flash-attn is installed and supports the GPU, as transformers finds."""
    from transformers.utils.import_utils import is_flash_attn_2_available as is_available

    return bool(is_available())


def name_of(dtype: torch.dtype) -> str:
    """``torch.bfloat16`` as ``"bfloat16"``."""
    return str(dtype).removeprefix("torch.")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether torch ran out of memory, on a GPU or (which has no error type of its own) on the CPU."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _NO_MEMORY)


def tokens_that_fit(free_bytes: int, used_bytes: int, n_tokens: int, *, least: int) -> int:
    """Tokens that take seven tenths of the free memory, if a pass over ``n_tokens`` took ``used_bytes``."""
    fitting = int(0.7 * free_bytes * n_tokens / max(used_bytes, 1))
    return max(least, min(65_536, fitting))  # by which a GPU has been busy for long


def _find_malloc_trim() -> Callable[[int], int] | None:
    try:
        return cast(Callable[[int], int], ctypes.CDLL(None).malloc_trim)
    except (AttributeError, OSError, TypeError):  # another C library; on Windows there is none to name so
        return None


_MALLOC_TRIM = _find_malloc_trim()


def give_back_memory() -> None:
    """Let the C library return what was freed to the system, where it can (glibc).

    It keeps freed tensors, and those of the next pass, a little larger, do not fit into the holes that they leave: over
    passes of 4,096 tokens a process grows by 400 MB.
    """
    if _MALLOC_TRIM is not None:
        _MALLOC_TRIM(0)
