"""jina-embeddings-v3 in full size with random weights on a GPU: from token ids to pooled chunk vectors on the host.

``share_of_matmul`` is the arithmetic of the model (matrix products of the layers and of attention, adapters left out) a
second, over the rate of large bfloat16 matrix products of the same card in the same run. ``mix_ratio`` is the rate of
tokens on documents of lognormal lengths (200 to 8,192 tokens) over that on documents of full length.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import load_random_jina, parser, report, time_in_turn
from transformers.utils.import_utils import is_flash_attn_2_available

from latechunk import Encoder
from latechunk.types import PoolingTask, Tokens

CHUNK = 256


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


def count_operations(encoder: Encoder, lengths: np.ndarray) -> float:
    """Floating-point operations of the layers' matrix products and of attention: 11.6e12 for 8,192 tokens in full."""
    config: Any = encoder._model.transformer.model.config
    hidden, layers = config.hidden_size, config.num_hidden_layers
    weights = layers * (4 * hidden**2 + 2 * hidden * config.intermediate_size)
    return float(2 * weights * lengths.sum() + 4 * hidden * layers * (lengths.astype(float) ** 2).sum())


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


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--device", default="cuda")
    arguments.add_argument("--documents", type=int, default=64)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--tiny", action="store_true", help="a tiny model, to try this script anywhere")
    options = arguments.parse_args()

    device = torch.device(options.device)
    on_gpu = device.type == "cuda"
    rng = np.random.default_rng(1)
    full = np.full(options.documents, 8_190)
    mix = np.clip(rng.lognormal(7.3, 0.9, options.documents * 4), 200, 8_190).astype(np.int64)
    figures: dict[str, Any] = {"device": torch.cuda.get_device_name(device) if on_gpu else options.device}
    matmul = measure_matmul(device, 8_192 if on_gpu else 512, options.rounds)
    figures["matmul_tflops"] = round(matmul / 1e12, 1)
    with tempfile.TemporaryDirectory() as temporary:
        for attention in ("sdpa", "flash_attention_2"):
            if attention == "flash_attention_2" and not (on_gpu and is_flash_attn_2_available()):
                continue
            encoder = load_random_jina(
                Path(temporary, "jina"), tiny=options.tiny, device=options.device, dtype="bfloat16", attention=attention
            )
            vocabulary = encoder._model.transformer.model.config.vocab_size
            full_tasks, mix_tasks = make_tasks(full, vocabulary), make_tasks(mix, vocabulary)
            if on_gpu:
                torch.cuda.reset_peak_memory_stats(device)
            full_seconds, mix_seconds = time_in_turn(
                [
                    lambda encoder=encoder, tasks=full_tasks: encoder.encode_spans(tasks),
                    lambda encoder=encoder, tasks=mix_tasks: encoder.encode_spans(tasks),
                ],
                options.rounds,
            )
            figures[attention] = {
                "tokens_per_second": round(full.sum() / full_seconds),
                "share_of_matmul": round(count_operations(encoder, full + 2) / full_seconds / matmul, 3),
                "mix_ratio": round((mix.sum() / mix_seconds) / (full.sum() / full_seconds), 3),
                "peak_memory_gb": round(torch.cuda.max_memory_allocated(device) / 1e9, 2) if on_gpu else None,
                **encoder.runtime,
            }
            del encoder
    report("gpu" if on_gpu and not options.tiny else "gpu-trial", figures, save=options.save)


if __name__ == "__main__":
    main()
