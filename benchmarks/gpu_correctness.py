"""Whether a device computes what the CPU does in float32: every attention path, packed and padded, with little memory.

Figures are the lowest cosine between the two over the chunks of texts of mixed lengths, by model and path.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers.utils.import_utils import is_flash_attn_2_available

sys.path.insert(0, str(Path(__file__).parent.parent))
from latechunk import DevicePool, Encoder
from latechunk.demo import read_documents
from latechunk.errors import MissingDependencyError, ModelError
from latechunk.models.device import choose_dtype
from latechunk.types import FloatArray, PoolingTask
from tests.checkpoints import write_jina, write_jina_bert, write_pplx

LEAST = {"float32": 0.99999, "bfloat16": 0.995}
LENGTHS = (40, 400, 1_500, 3_000)  # characters

WRITTEN: dict[str, Callable[[Path], Path]] = {
    "jina-v3": write_jina,
    "jina-v2": write_jina_bert,
    "jina-v2-code": lambda folder: write_jina_bert(folder, post_norm=True),
    "pplx": write_pplx,
    "pplx-context": lambda folder: write_pplx(folder, context=True),
}
INSTALLED = ("all-MiniLM-L6-v2", "multilingual-e5-small-q4")  # in local-global context, from their packages


def measure_correctness(folder: Path, device: str, *, tiny: bool) -> dict[str, Any]:
    """Compare all models, written into ``folder`` or installed; ``passed`` says whether all figures are high enough.

    With ``tiny`` only two of them, to see that this runs.
    """
    figures: dict[str, Any] = {}
    wanted = ("jina-v2", "pplx-context") if tiny else tuple(WRITTEN)
    models = {name: str(WRITTEN[name](folder / name)) for name in wanted}
    models |= {} if tiny else {name: name for name in INSTALLED}
    for name, model in models.items():
        try:
            figures[name] = compare_paths(model, device)
        except (MissingDependencyError, ModelError) as error:
            figures[name] = {"left_out": str(error)}
    figures["small_memory"] = measure_small_memory(models["jina-v2"], device)
    figures["device_pool"] = measure_pool(models["jina-v2"], device)
    passed = [is_high for row in figures.values() for is_high in _judge(row)]
    return {"passed": all(passed), "n_compared": len(passed), **figures}


def _judge(row: dict[str, Any]) -> list[bool]:
    return [
        value >= LEAST["bfloat16" if "bfloat16" in path else "float32"]
        for path, value in row.items()
        if isinstance(value, float)
    ]


def compare_paths(model: str, device: str) -> dict[str, float]:
    """The lowest cosines of one model with float32 on the CPU, by attention, dtype and kind of batch."""
    expected = encode(Encoder.load(model, device="cpu", dtype="float32", download=False))
    figures = {}
    for attention, dtype in paths(device):
        with contextlib.suppress(ValueError):  # local-global context has an attention of its own
            encoder = Encoder.load(model, device=device, dtype=dtype, attention=attention, download=False)
            kind = encoder.runtime["batches"]
            figures[f"{attention}, {dtype}, {kind}"] = lowest_cosine(encode(encoder), expected)
            if kind == "packed":
                with padded(encoder):
                    figures[f"{attention}, {dtype}, padded"] = lowest_cosine(encode(encoder), expected)
    return figures


def paths(device: str) -> list[tuple[Any, Any]]:
    """The ways to attend that there are on a device, with what they compute in."""
    found = [("eager", "float32"), ("sdpa", "float32")]
    if choose_dtype("auto", torch.device(device)) == torch.bfloat16:  # elsewhere it is emulated, and slow
        found.append(("sdpa", "bfloat16"))
    if device.startswith("cuda") and is_flash_attn_2_available():
        found.append(("flash_attention_2", "bfloat16"))
    return found


def tasks_of(encoder: Any, n: int) -> list[PoolingTask]:
    """Texts of mixed lengths, in three chunks each."""
    text = " ".join(document.text for document in read_documents())
    texts = [text[place * 97 : place * 97 + LENGTHS[place % len(LENGTHS)]] for place in range(n)]
    tasks = []
    for tokens in encoder.tokenize(texts):
        bounds = np.linspace(0, len(tokens), 4).astype(np.int64)
        tasks.append(PoolingTask(tokens, np.stack([bounds[:-1], bounds[1:]], axis=1)))
    return tasks


def encode(encoder: Any, n: int = 8) -> list[FloatArray]:
    vectors: list[FloatArray] = encoder.encode_spans(tasks_of(encoder, n))
    return vectors


def lowest_cosine(one: Sequence[FloatArray], other: Sequence[FloatArray]) -> float:
    return round(float(min((a * b).sum(axis=1).min() for a, b in zip(one, other, strict=True))), 6)


@contextlib.contextmanager
def padded(encoder: Encoder) -> Iterator[None]:
    """Have an encoder pad its batches although it need not."""
    transformer = encoder._model.transformer
    transformer.can_flatten_inputs = False
    try:
        yield
    finally:
        transformer.can_flatten_inputs = True


def measure_small_memory(model: str, device: str) -> dict[str, Any]:
    """Encode batches that are far too large: how often memory ran out, and what came out.

    On CUDA memory does run out, as most of it is taken; elsewhere a pass over more than 2,000 tokens says that it did.
    """
    n = 256 if device.startswith("cuda") else 16
    plain = Encoder.load(model, device=device, dtype="float32", download=False)
    expected = encode(plain, n)
    encoder = Encoder.load(model, device=device, dtype="float32", batch_tokens=2**22, download=False)
    forward, n_failed = encoder._runner._forward, [0]

    def counted(sequences: Any, budget: int) -> Any:
        try:
            if not device.startswith("cuda") and sum(len(one.ids) for one in sequences) > 2_000 and len(sequences) > 1:
                raise torch.OutOfMemoryError("as if memory had run out")
            return forward(sequences, budget)
        except RuntimeError:
            n_failed[0] += 1
            raise

    encoder._runner._forward = counted  # type: ignore[method-assign]
    with most_memory_taken(device):
        got = encode(encoder, n)
    return {
        "n_failed": n_failed[0],
        "batch_tokens": encoder.batch_tokens,
        "float32": lowest_cosine(got, expected),
    }


@contextlib.contextmanager
def most_memory_taken(device: str, left: int = 2**27) -> Iterator[None]:
    """Hold all but 128 MiB of a GPU's memory."""
    if not device.startswith("cuda"):
        yield
        return
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info(device)
    held = torch.empty(max(0, free - left), dtype=torch.uint8, device=device)
    try:
        yield
    finally:
        del held
        torch.cuda.empty_cache()


def measure_pool(model: str, device: str) -> dict[str, Any]:
    """Encode with a pool of one process on the device, and compare with the encoder alone."""
    encoder = Encoder.load(model, device=device, dtype="float32", download=False)
    with DevicePool(encoder, [device]) as pool:
        return {"float32": lowest_cosine(encode(pool), encode(encoder))}
