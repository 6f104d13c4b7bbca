"""jina-embeddings-v3 in full size with random weights: one document of 8,192 tokens in one pass, beside the bare pass.

``jina_v3_time_ratio`` is the time from text to chunk vectors over that of the transformer's forward pass alone, both on
the same model under the same adapter, in turn. ``switch_share`` is what changing the task adds to such a pass.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from common import load_random_jina, parser, peak_rss_mb, report, time_in_turn

from latechunk import Document, Encoder, TokenChunker
from latechunk.demo import read_documents
from latechunk.embedding import Embedding, chunk_documents, embed_chunks


def fit_document(encoder: Encoder) -> Document:
    """The longest document that is one window."""
    text = "\n\n".join(document.text for document in read_documents()) * 3
    (tokens,) = encoder.tokenize([text])
    n_content = int(encoder.settings["window_tokens"]) - 2 - len(tokens.prompt_ids)
    return Document("long", text[: int(tokens.offsets[n_content - 1, 1])])


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
    arguments = parser(__doc__)
    arguments.add_argument("--dtype", default="auto")
    arguments.add_argument("--rounds", type=int, default=2)
    arguments.add_argument("--tiny", action="store_true", help="a tiny model, to try this script")
    options = arguments.parse_args()

    with tempfile.TemporaryDirectory() as temporary:
        encoder = load_random_jina(Path(temporary, "jina"), tiny=options.tiny, device="cpu", dtype=options.dtype)
    loaded_mb = peak_rss_mb()
    document, chunker, embedding = fit_document(encoder), TokenChunker(max_tokens=256), Embedding("late")

    def ours() -> None:
        cuts = chunk_documents(encoder, [chunker], embedding, [document], lambda _, error: print(error))
        (vectors,) = embed_chunks(encoder, embedding, cuts)
        if len(vectors) < 8_000 // 256:
            raise SystemExit("too few chunks")

    plan = encoder._runner._plan
    (tokens,) = encoder.tokenize([document.text])
    parts = (plan.prefix_ids, tokens.prompt_ids, tokens.ids, plan.suffix_ids)
    ids = torch.from_numpy(np.concatenate([np.asarray(part, dtype=np.int64) for part in parts]))[None]

    @torch.inference_mode()
    def bare() -> None:
        encoder._model.transformer.model(input_ids=ids)

    adapters = encoder._model.adapters
    whole, forward = time_in_turn([ours, bare], options.rounds)
    switch = measure_switch(encoder)
    figures = {
        "jina_v3_time_ratio": round(whole / forward, 3),
        "seconds": round(whole, 1),
        "seconds_bare": round(forward, 1),
        "n_tokens": ids.shape[1],
        "peak_rss_mb": round(peak_rss_mb()),
        "peak_rss_mb_of_loading": round(loaded_mb),
        "switch_seconds": round(switch, 5),
        "switch_share": round(switch / forward, 6),
        "n_adapters": len(adapters.names) if adapters else 0,
        "n_parameters": sum(one.numel() for one in encoder._model.transformer.model.parameters()),
        **encoder.runtime,
    }
    report("jina", figures, save=options.save)


if __name__ == "__main__":
    main()
