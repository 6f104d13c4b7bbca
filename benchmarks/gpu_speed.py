"""How fast a GPU turns token ids into chunk vectors on the host, as a share of its own rate of matrix products."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import load_random_jina, time_in_turn
from transformers.utils.import_utils import is_flash_attn_2_available

sys.path.insert(0, str(Path(__file__).parent.parent))
from latechunk import Document, Encoder, embed_documents
from latechunk.models.catalogue import LIGHT_MODEL
from latechunk.types import PoolingTask, Tokens
from tests.checkpoints import write_pplx

CHUNK = 256
Load = Callable[[str, str], Encoder]  # of a device and an attention


def make_tasks(lengths: np.ndarray, vocabulary: int) -> list[PoolingTask]:
    """Random documents of given lengths, in chunks of 256 tokens."""
    rng = np.random.default_rng(0)
    tasks = []
    for length in lengths.tolist():
        starts = np.arange(0, length, CHUNK)
        places = np.arange(length)
        tokens = Tokens((), rng.integers(5, vocabulary, length), np.stack([places, places + 1], axis=1))
        tasks.append(PoolingTask(tokens, np.stack([starts, np.minimum(starts + CHUNK, length)], axis=1)))
    return tasks


def count_operations(model: Any, lengths: np.ndarray) -> float:
    """Floating-point operations of the layers' matrix products and of attention; adapters and the pooler left out.

    11.6e12 for 8,192 tokens of jina-embeddings-v3, and 22.6e12 of pplx-embed-0.6b.
    """
    config = model.config
    n_weights = sum(
        module.weight.numel()
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and "layer" in name and "lora_" not in name
    )
    heads = config.num_attention_heads
    width = heads * (getattr(config, "head_dim", None) or config.hidden_size // heads)
    squares = (lengths.astype(float) ** 2).sum()
    return float(2 * n_weights * lengths.sum() + 4 * width * config.num_hidden_layers * squares)


def measure_matmul(device: torch.device, size: int, rounds: int) -> float:
    """Operations a second of bfloat16 products of square matrices, 20 in a row."""
    left, right = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))

    def multiply() -> None:
        result = left
        for _ in range(20):
            result = left @ right
        result[0, 0].item()  # waits for the device

    (seconds,) = time_in_turn([multiply], rounds)
    return 20 * 2 * size**3 / seconds


def measure_speed(folder: Path, device: str, *, tiny: bool, n_documents: int, rounds: int) -> dict[str, Any]:
    """Measure both models, in full size with random weights, and all-MiniLM-L6-v2."""
    on_gpu = device.startswith("cuda")
    dtype = "bfloat16" if on_gpu else "auto"
    matmul = measure_matmul(torch.device(device), 8_192 if on_gpu else 256, rounds)
    figures: dict[str, Any] = {"matmul_tflops": round(matmul / 1e12, 3)}
    longest = 200 if tiny else 8_190

    def jina(device: str, attention: str) -> Encoder:
        return load_random_jina(folder / "jina", tiny=tiny, device=device, dtype=dtype, attention=attention)

    def pplx(device: str, attention: str) -> Encoder:
        from pplx import SIZES

        if not (folder / "pplx").is_dir():
            write_pplx(folder / "pplx", context=True, sizes=None if tiny else SIZES)
        return Encoder.load(str(folder / "pplx"), device=device, dtype=dtype, attention=attention)

    loads: dict[str, Load] = {"jina-embeddings-v3": jina, "pplx-embed-context-v1-0.6b": pplx}
    for name, load in loads.items():
        figures[name] = {
            attention: measure_model(load(device, attention), matmul, longest, n_documents, rounds)
            for attention in ("sdpa", "flash_attention_2")
            if attention == "sdpa" or (on_gpu and is_flash_attn_2_available())
        }
    figures["default"] = measure_default(device, n_documents if tiny else 1_000, rounds)
    return figures


def measure_model(encoder: Encoder, matmul: float, longest: int, n_documents: int, rounds: int) -> dict[str, Any]:
    """Tokens a second of documents of full length and of lognormal lengths, and their share of ``matmul``."""
    device, model = encoder.device, encoder._model.transformer.model
    full = np.full(n_documents, longest)
    mix = np.clip(np.random.default_rng(1).lognormal(7.3, 0.9, n_documents * 4), 200, longest).astype(np.int64)
    vocabulary = min(model.config.vocab_size, 200_000)
    tasks, mixed = make_tasks(full, vocabulary), make_tasks(mix, vocabulary)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    full_seconds, mix_seconds = time_in_turn(
        [lambda: encoder.encode_spans(tasks), lambda: encoder.encode_spans(mixed)], rounds
    )
    n_special = encoder._plan.n_special
    peak = torch.cuda.max_memory_allocated(device) / 1e9 if device.type == "cuda" else None
    return {
        "tokens_per_second": round(full.sum() / full_seconds),
        "share_of_matmul": round(count_operations(model, full + n_special) / full_seconds / matmul, 3),
        "mix_ratio": round((mix.sum() / mix_seconds) / (full.sum() / full_seconds), 3),
        "peak_memory_gb": peak and round(peak, 2),
        **encoder.runtime,
    }


def measure_default(device: str, n_documents: int, rounds: int) -> dict[str, Any]:
    """Documents a second with all-MiniLM-L6-v2, and with sentence-transformers, which encodes each chunk alone."""
    from sentence_transformers import SentenceTransformer

    from latechunk.demo import read_documents

    encoder = Encoder.load(LIGHT_MODEL, device=device)
    text = "\n\n".join(document.text for document in read_documents())
    documents = [Document(str(n), text[n * 31 % 9_000 :][:3_000]) for n in range(n_documents)]
    chunks = [chunk.text for one in embed_documents(documents, encoder=encoder) for chunk in one.chunks]
    naive = SentenceTransformer(
        str(encoder._choice.checkpoint.folder), device=device, model_kwargs={"dtype": encoder.dtype}
    )

    def ours() -> None:
        for _ in embed_documents(documents, encoder=encoder):
            pass

    def theirs() -> None:
        naive.encode(chunks, batch_size=256)

    begin = time.perf_counter()
    ours_seconds, naive_seconds = time_in_turn([ours, theirs], min(rounds, 2))
    return {
        "documents_per_second": round(n_documents / ours_seconds, 1),
        "documents_per_second_naive": round(n_documents / naive_seconds, 1),
        "n_chunks": len(chunks),
        "seconds_in_all": round(time.perf_counter() - begin, 1),
        **encoder.runtime,
    }
