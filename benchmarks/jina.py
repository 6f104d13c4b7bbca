"""jina-embeddings-v3 in full size with random weights: one document of 8,192 tokens in one pass, beside the bare pass.

``jina_v3_time_ratio`` is the time from text to chunk vectors over that of the transformer's forward pass alone, both on
the same model under the same adapter, in turn. ``switch_share`` is what changing the task adds to such a pass.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from common import load_random_jina, peak_rss_mb, report
from single_pass import compare, long_model_parser

from latechunk import Encoder


def measure_switch(encoder: Encoder, n: int = 50) -> float:
    """Seconds that one change of the task takes."""
    adapters = encoder._model.adapters
    if adapters is None:
        raise SystemExit("the model has no adapters")
    begin = time.perf_counter()
    for number in range(n):
        with adapters.at_work(adapters.names[number % 2]):
            pass
    return (time.perf_counter() - begin) / n


def main() -> None:
    options = long_model_parser(__doc__, rounds=2).parse_args()

    with tempfile.TemporaryDirectory() as temporary:
        encoder = load_random_jina(Path(temporary, "jina"), tiny=options.tiny, device="cpu", dtype=options.dtype)
    loaded_mb = peak_rss_mb()
    adapters = encoder._model.adapters
    figures = compare(encoder, encoder._model.transformer.model, int(encoder.settings["window_tokens"]), options.rounds)
    switch = measure_switch(encoder)
    figures = {
        "jina_v3_time_ratio": figures.pop("time_ratio"),
        "peak_rss_mb": figures.pop("peak_mb"),
        "peak_rss_mb_of_loading": round(loaded_mb),
        "switch_seconds": round(switch, 5),
        "switch_share": round(switch / figures["seconds_bare"], 6),
        "n_adapters": len(adapters.names) if adapters else 0,
        **figures,
    }
    report("jina", figures, save=options.save)


if __name__ == "__main__":
    main()
