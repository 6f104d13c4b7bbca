"""pplx-embed-context-v1-0.6b in full size with random weights on the CPU, from text to chunk vectors.

``time_ratio`` is the time for 8,192 tokens in plain late chunking over that of the bare pass of transformers' Qwen3,
not causal, on the same weights, run in turn. ``peak_mb`` is the most memory that the process held over one document of
32,768 tokens in one pass, chunks with separators between them as the model was trained. With ``--layers`` only so many
compute: each needs the same memory, and what is not the model's own weighs more.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from common import peak_rss_mb, report
from single_pass import compare, cut_into_chunks, embed, fit_document, long_model_parser, write_in_child
from transformers import Qwen3Config, Qwen3Model

sys.path.insert(0, str(Path(__file__).parent.parent))
from latechunk import Encoder
from tests.checkpoints import write_pplx

SIZES = {
    "hidden_size": 1_024,
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "intermediate_size": 3_072,
    "vocab_size": 151_936,
}


class Reference:
    """transformers' Qwen3 on an encoder's own weights, reading in both directions."""

    def __init__(self, model: Any) -> None:
        names = Qwen3Config().to_dict().keys() - {"model_type", "architectures", "dtype", "transformers_version"}
        settings = {name: value for name, value in model.config.to_dict().items() if name in names}
        config = Qwen3Config(**{**settings, "num_hidden_layers": len(model.layers)})
        config._attn_implementation = "sdpa"
        with torch.device("meta"):
            self.model = Qwen3Model(config)
        self.model.load_state_dict(model.state_dict(), assign=True)
        self.model.config.num_hidden_layers = model.config.num_hidden_layers
        self.model.rotary_emb = model.rotary_emb
        self.model.eval()
        for layer in self.model.layers:
            layer.self_attn.is_causal = False
        self.parameters = self.model.parameters

    def __call__(self, input_ids: torch.Tensor) -> Any:
        """Read one sequence."""
        return self.model(input_ids=input_ids, attention_mask={"full_attention": None})


def measure_memory(folder: Path, n_tokens: int, dtype: str, n_layers: int | None) -> dict[str, Any]:
    """Read one document of ``n_tokens`` in one pass; on the way say after which layer how much memory was the most.

    With ``n_layers`` only so many compute. All are in memory, and each needs what the one before it did.
    """
    encoder = Encoder.load(str(folder), device="cpu", dtype=dtype, window_tokens=n_tokens)
    config = encoder._model.transformer.model.config
    config.num_hidden_layers = n_layers or config.num_hidden_layers
    loaded_mb = peak_rss_mb()
    document = fit_document(encoder, n_tokens - 2 - n_tokens // 200)  # room for the separators: chunks end with lines
    cut = cut_into_chunks(encoder, document)
    n_read = len(cut.tokens) + len(cut.spans) - 1
    if n_read > n_tokens:
        raise SystemExit(f"with separators the document has {n_read} tokens, which do not fit one pass of {n_tokens}")
    for number, layer in enumerate(encoder._model.transformer.model.layers):
        layer.register_forward_hook(
            lambda *_, number=number: print(f"layer {number}: {peak_rss_mb():.0f} MB", flush=True)
        )
    begin = time.perf_counter()
    vectors = embed(encoder, document)
    return {
        "peak_mb": round(peak_rss_mb()),
        "peak_mb_of_loading": round(loaded_mb),
        "n_layers_computed": config.num_hidden_layers,
        "seconds_of_one_pass": round(time.perf_counter() - begin, 1),
        "n_tokens_of_one_pass": n_read,
        "n_chunks": len(vectors),
    }


def main() -> None:
    arguments = long_model_parser(__doc__, rounds=2)
    arguments.add_argument("--only", choices=("time", "memory"), help="one of the two, as they take long")
    arguments.add_argument("--layers", type=int, help="compute only so many of the layers, as all take hours")
    options = arguments.parse_args()

    long, short = (600, 300) if options.tiny else (32_768, 8_192)
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "pplx")
        write_in_child(write_pplx, folder, {"context": True, "sizes": None if options.tiny else SIZES})
        if options.only != "time":
            figures |= measure_memory(folder, long, options.dtype, options.layers)
        if options.only != "memory":
            encoder = Encoder.load(str(folder), device="cpu", dtype=options.dtype, context="windows")
            config = encoder._model.transformer.model.config
            config.num_hidden_layers = options.layers or config.num_hidden_layers
            figures["n_layers_computed"] = config.num_hidden_layers
            timed = compare(encoder, Reference(encoder._model.transformer.model), short, options.rounds)
            figures = {**timed, **figures}
    report(f"pplx-{options.only}" if options.only else "pplx", figures, save=options.save)


if __name__ == "__main__":
    main()
