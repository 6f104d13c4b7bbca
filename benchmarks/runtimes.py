"""Whether another runtime than PyTorch is worth its dependency: all-MiniLM-L6-v2 on a CPU, in PyTorch and OpenVINO.

OpenVINO is called directly (``pip install openvino``), since optimum, through which sentence-transformers calls it,
does not install beside this transformers. Windows of 128 tokens in batches of 32, which is how documents are read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import openvino
import torch
from common import parser, report, time_in_turn

from latechunk import Encoder
from latechunk.models.catalogue import LIGHT_MODEL

ROWS, WIDTH, BATCHES = 32, 128, 8
INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class LastHidden(torch.nn.Module):
    """Token embeddings alone, of a transformer that gives more."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> Any:
        """Shape ``(rows, width, hidden)``."""
        result = self.model(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)
        return result.last_hidden_state


def load_torch(dtype: str) -> Callable[[np.ndarray], np.ndarray]:
    model = Encoder.load(LIGHT_MODEL, dtype=dtype, context="windows", device="cpu")._model.transformer.model

    @torch.inference_mode()
    def run(ids: np.ndarray) -> np.ndarray:
        return np.asarray(model(input_ids=torch.from_numpy(ids)).last_hidden_state.float())

    return run


def load_openvino(precision: str) -> Callable[[np.ndarray], np.ndarray]:
    model = Encoder.load(LIGHT_MODEL, dtype="float32", context="windows", device="cpu")._model.transformer.model
    example = {name: torch.ones(2, 8, dtype=torch.long) for name in INPUTS}
    graph = openvino.convert_model(LastHidden(model), example_input=example)
    hints = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    compiled = openvino.Core().compile_model(graph, "CPU", hints)

    def run(ids: np.ndarray) -> np.ndarray:
        inputs = dict(zip(INPUTS, (ids, np.ones_like(ids), np.zeros_like(ids)), strict=True))
        return np.array(compiled(inputs)[0])

    return run


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--rounds", type=int, default=5)
    options = arguments.parse_args()

    rng = np.random.default_rng(0)
    batches = [rng.integers(1_000, 20_000, (ROWS, WIDTH)) for _ in range(BATCHES)]
    runtimes = {
        "PyTorch, float32": load_torch("float32"),
        "PyTorch, bfloat16": load_torch("bfloat16"),
        "OpenVINO, float32": load_openvino("f32"),
        "OpenVINO, bfloat16": load_openvino("bf16"),
    }
    exact = runtimes["PyTorch, float32"](batches[0]).mean(axis=1)
    exact /= np.linalg.norm(exact, axis=1, keepdims=True)
    other = runtimes["OpenVINO, float32"](batches[0]).mean(axis=1)
    other /= np.linalg.norm(other, axis=1, keepdims=True)
    seconds = time_in_turn(
        [lambda run=run: [run(batch) for batch in batches] for run in runtimes.values()], options.rounds
    )
    figures = {
        "speed": {name: round(seconds[0] / taken, 2) for name, taken in zip(runtimes, seconds, strict=True)},
        "openvino_float32_difference": float(np.abs(exact - other).max()),
        "openvino": openvino.__version__,
    }
    report("runtimes", figures, save=options.save)


if __name__ == "__main__":
    main()
