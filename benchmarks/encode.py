"""Tokens a second from text to chunk vectors: against bare forward passes, and against other late chunkers.

Three comparisons, each of things that run in turn in one process on the same documents:

- ``ratio_to_bare``: text to vectors stored in an index, against the bare forward passes over the same windows;
- ``speedup_vs_*``: like for like, text to vectors: float32, windows of 256 tokens without overlap, chunks of 128;
- ``best_speedup_vs_*``: each as it comes by default, ours with its overlap, its local-global context, its blend (which
  reads every chunk twice) and ``dtype="auto"``; ``best_windows_speedup_vs_*`` is ours with late vectors of plain
  windows.

The others are installed by ``pip install -r benchmarks/requirements.txt``; left out where they are not.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from common import load_documents, parser, peak_rss_mb, report, stop, time_in_turn

from latechunk import Document, Encoder, Index, SentenceChunker, TokenChunker
from latechunk.embedding import Embedding, chunk_documents, embed_chunks
from latechunk.encoding.windows import plan_windows
from latechunk.models.catalogue import LIGHT_MODEL
from latechunk.models.checkpoint import find_checkpoint
from latechunk.protocols import Chunker

WINDOW, CHUNK = 256, 128


def window_batches(encoder: Encoder, documents: Sequence[Document]) -> list[dict[str, torch.Tensor]]:
    """The batches of token ids that indexing these documents gives the model, without what leads to them."""
    plan = encoder._runner._plan
    sequences = []
    for tokens in encoder.tokenize([document.text for document in documents]):
        n_special = len(plan.prefix_ids) + len(plan.suffix_ids) + len(tokens.prompt_ids)
        windows = plan_windows(len(tokens), plan.window_tokens - n_special, plan.overlap_tokens)
        for start, end in zip(windows.starts, windows.ends, strict=True):
            parts = (plan.prefix_ids, tokens.prompt_ids, tokens.ids[start:end], plan.suffix_ids)
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


def index_all(encoder: Encoder, documents: Sequence[Document], max_tokens: int) -> None:
    chunker = SentenceChunker(max_tokens=max_tokens)
    with (
        tempfile.TemporaryDirectory() as folder,
        Index.create(Path(folder, "x"), encoder=encoder, chunker=chunker, mode="late") as index,
    ):
        index.add(documents)


@torch.inference_mode()
def run_bare(encoder: Encoder, batches: Sequence[dict[str, torch.Tensor]]) -> None:
    for batch in batches:
        encoder._model.transformer(dict(batch))


def embed_all(encoder: Encoder, chunker: Chunker, embedding: Embedding, documents: Sequence[Document]) -> None:
    """Text to chunk vectors, without storing them."""
    embed_chunks(encoder, embedding, chunk_documents(encoder, [chunker], embedding, documents, stop))


def chonkie(documents: Sequence[Document], chunk_size: int | None) -> Callable[[], object]:
    """LateChunker with all-MiniLM-L6-v2, in windows of 256 tokens without overlap, as it does it."""
    from chonkie import LateChunker
    from chonkie.embeddings import SentenceTransformerEmbeddings
    from sentence_transformers import SentenceTransformer

    folder = find_checkpoint(LIGHT_MODEL, revision=None, download=False).folder
    model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    options = {"chunk_size": chunk_size} if chunk_size else {}
    chunker = LateChunker(embedding_model=SentenceTransformerEmbeddings(model), **options)
    return lambda: [chunker.chunk(document.text) for document in documents]


def afterthoughts(documents: Sequence[Document], same: bool) -> Callable[[], object]:
    """LateEncoder with all-MiniLM-L6-v2. Its ``prechunk_overlap_tokens`` is the share that is *not* repeated."""
    from afterthoughts import LateEncoder

    folder = find_checkpoint(LIGHT_MODEL, revision=None, download=False).folder
    encoder = LateEncoder(str(folder), device="cpu")
    texts = [document.text for document in documents]
    options = (
        {"max_length": WINDOW, "max_chunk_sents": None, "max_chunk_tokens": CHUNK, "prechunk_overlap_tokens": 0.99}
        if same
        else {}
    )
    return lambda: encoder.encode(texts, show_progress=False, **options)


def compare(
    ours: dict[str, Callable[[], object]], peers: dict[str, Callable[[], object]], rounds: int
) -> dict[str, float]:
    """How many times as fast each of ours is as each of the peers."""
    seconds = time_in_turn([*ours.values(), *peers.values()], rounds)
    theirs = dict(zip(peers, seconds[len(ours) :], strict=True))
    return {
        f"{name}_vs_{peer}": round(theirs[peer] / taken, 2)
        for name, taken in zip(ours, seconds, strict=False)
        for peer in peers
    }


def collect_peers(documents: Sequence[Document], same: bool) -> dict[str, Callable[[], object]]:
    peers: dict[str, Callable[[], object]] = {}
    with contextlib.suppress(ImportError):
        peers["chonkie"] = chonkie(documents, CHUNK if same else None)
    with contextlib.suppress(ImportError):
        peers["afterthoughts"] = afterthoughts(documents, same)
    return peers


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--data", type=Path, required=True, help="a folder of documents")
    arguments.add_argument("--documents", type=int, default=40, help="how many of them to compare with others on")
    arguments.add_argument("--rounds", type=int, default=5)
    options = arguments.parse_args()

    documents = load_documents(options.data)
    figures: dict[str, float | str] = {}
    for dtype in ("auto", "float32"):
        # In plain windows, so that the bare passes are what anybody would run.
        encoder = Encoder.load(LIGHT_MODEL, dtype=dtype, context="windows")
        name = str(encoder.runtime["dtype"])
        batches = window_batches(encoder, documents)
        whole, forward = time_in_turn(
            [
                lambda encoder=encoder: index_all(encoder, documents, CHUNK),
                lambda encoder=encoder, batches=batches: run_bare(encoder, batches),
            ],
            options.rounds,
        )
        n_tokens = sum(len(tokens) for tokens in encoder.tokenize([document.text for document in documents]))
        figures[f"ratio_to_bare_{name}"] = round(forward / whole, 3)
        figures[f"tokens_per_second_{name}"] = round(n_tokens / whole)
    figures["ratio_to_bare"] = min(value for name, value in figures.items() if name.startswith("ratio"))

    some = documents[: options.documents]
    same = Encoder.load(LIGHT_MODEL, dtype="float32", context="windows", window_tokens=WINDOW, overlap_tokens=0)
    chunker = SentenceChunker(max_tokens=CHUNK)
    ours = {"speedup": lambda: embed_all(same, TokenChunker(max_tokens=CHUNK), Embedding("late"), some)}
    figures |= compare(ours, collect_peers(some, same=True), options.rounds)
    default, windows = Encoder.load(LIGHT_MODEL), Encoder.load(LIGHT_MODEL, context="windows")
    best = {
        "best_speedup": lambda: embed_all(default, chunker, Embedding("blend", 0.6), some),
        "best_windows_speedup": lambda: embed_all(windows, chunker, Embedding("late"), some),
    }
    figures |= compare(best, collect_peers(some, same=False), options.rounds)
    figures |= {"n_documents": len(some), "threads": torch.get_num_threads(), "peak_rss_mb": round(peak_rss_mb())}
    report("encode", figures, save=options.save)


if __name__ == "__main__":
    main()
