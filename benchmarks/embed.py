"""Tokens a second from text to stored chunk vectors, against the bare forward passes over the same windows."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from common import load_documents, parser, peak_rss_mb, report, time_pairs

from latechunk import Document, Encoder, Index, SentenceChunker
from latechunk.windows import plan_windows


def window_batches(encoder: Encoder, documents: list[Document]) -> list[dict[str, torch.Tensor]]:
    """The batches of token ids that indexing these documents gives the model, without what leads to them."""
    settings = encoder.settings
    sequences = []
    for tokens in encoder.tokenize([document.text for document in documents]):
        n_special = len(encoder._prefix_ids) + len(encoder._suffix_ids) + len(tokens.prompt_ids)
        windows = plan_windows(len(tokens), settings["window_tokens"] - n_special, settings["overlap_tokens"])
        for start, end in zip(windows.starts, windows.ends, strict=True):
            parts = (encoder._prefix_ids, tokens.prompt_ids, tokens.ids[start:end], encoder._suffix_ids)
            sequences.append(np.concatenate([np.asarray(part, dtype=np.int64) for part in parts]))
    sequences.sort(key=len, reverse=True)
    batches = []
    while sequences:
        size = max(1, encoder.batch_tokens // len(sequences[0]))
        batch, sequences = sequences[:size], sequences[size:]
        ids = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(one) for one in batch], batch_first=True)
        lengths = torch.tensor([len(one) for one in batch])
        mask = (torch.arange(ids.shape[1]) < lengths[:, None]).long()
        batches.append({"input_ids": ids.to(encoder.device), "attention_mask": mask.to(encoder.device)})
    return batches


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--data", type=Path, required=True, help="a folder of documents")
    arguments.add_argument("--model", default="all-MiniLM-L6-v2")
    arguments.add_argument("--dtype", default="auto")
    arguments.add_argument("--max-tokens", type=int, default=128)
    arguments.add_argument("--rounds", type=int, default=7)
    options = arguments.parse_args()

    documents = load_documents(options.data)
    # In plain windows, so that the bare passes are what anybody would run.
    encoder = Encoder.load(options.model, dtype=options.dtype, context="windows")
    batches = window_batches(encoder, documents)
    n_tokens = sum(len(tokens) for tokens in encoder.tokenize([document.text for document in documents]))

    def index_all() -> None:
        chunker = SentenceChunker(max_tokens=options.max_tokens)
        with (
            tempfile.TemporaryDirectory() as folder,
            Index.create(Path(folder, "x"), encoder=encoder, chunker=chunker, mode="late") as index,
        ):
            index.add(documents)

    @torch.inference_mode()
    def bare() -> None:
        for batch in batches:
            encoder._model.transformer(dict(batch))

    whole, forward = time_pairs(index_all, bare, options.rounds)
    figures = {
        "ratio_to_bare": round(forward / whole, 3),
        "tokens_per_second": round(n_tokens / whole),
        "peak_rss_mb": round(peak_rss_mb()),
        "n_documents": len(documents),
        "n_tokens": n_tokens,
        "dtype": str(encoder.dtype).removeprefix("torch."),
    }
    report(f"embed-{figures['dtype']}", figures, save=options.save)


if __name__ == "__main__":
    main()
