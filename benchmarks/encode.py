"""Tokens a second from text to chunk vectors: against bare forward passes, and against others.

Three comparisons, each of things that run in turn in one process on the same documents:

- ``ratio_to_bare``: text to vectors stored in an index, against the bare forward passes over the same windows;
- ``same_vs_*``: like for like, text to vectors: float32, as many tokens a window as the model was published with, no
  overlap, chunks of 128;
- ``default_vs_*`` and ``late_vs_*``, with ``_float32`` and ``_int8`` where ours computes in that: each as it comes by
  default, with the same weights. Ours reads in local-global context with its adapters and blends in vectors of chunks
  alone, which it reads once more, or makes late vectors alone; the others compute in float32. ``naive`` is
  sentence-transformers, which encodes the texts of our chunks.

chonkie is installed by ``pip install -r benchmarks/requirements.txt``; left out where it is not.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import load_documents, parser, peak_rss_mb, report, stop, time_in_turn

from latechunk import Document, Encoder, Index, SentenceChunker, TokenChunker, embed_documents
from latechunk.embedding import Embedding, chunk_documents, embed_chunks
from latechunk.encoding.windows import plan_windows
from latechunk.models.bert import BertTransformer
from latechunk.models.catalogue import DEFAULT_MODEL, LIGHT_MODEL
from latechunk.models.checkpoint import find_checkpoint
from latechunk.models.device import has_int8_units
from latechunk.models.packed import unpack
from latechunk.protocols import Chunker

CHUNK = 128


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
        transformer = encoder._model.transformer
        if isinstance(transformer, BertTransformer):
            batches.append(transformer.data_collator([{"input_ids": one.tolist()} for one in batch]))
            continue
        ids = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(one) for one in batch], batch_first=True)
        lengths = torch.tensor([len(one) for one in batch])
        mask = (torch.arange(ids.shape[1]) < lengths[:, None]).long()
        batches.append({"input_ids": ids.to(encoder.device), "attention_mask": mask.to(encoder.device)})
    return batches


def index_all(encoder: Encoder, documents: Sequence[Document], max_tokens: int) -> None:
    with Index.temporary(encoder=encoder, chunker=SentenceChunker(max_tokens=max_tokens), mode="late") as index:
        index.add(documents)


@torch.inference_mode()
def run_bare(encoder: Encoder, batches: Sequence[dict[str, torch.Tensor]]) -> None:
    for batch in batches:
        encoder._model.transformer(dict(batch))


def embed_all(encoder: Encoder, chunker: Chunker, embedding: Embedding, documents: Sequence[Document]) -> None:
    """Text to chunk vectors, without storing them."""
    embed_chunks(encoder, embedding, chunk_documents(encoder, [chunker], embedding, documents, stop))


def published(model: str, folder: Path) -> Path:
    """A folder with a model's weights in float32, as sentence-transformers reads it; made in ``folder`` if need be."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    checkpoint = find_checkpoint(model, revision=None, download=False)
    if checkpoint.packed is None:
        return checkpoint.folder
    unpacked = unpack(checkpoint.packed)
    bert = BertModel(BertConfig(**unpacked.config), add_pooling_layer=False)
    words = unpacked.make_embedding(torch.float32)(torch.arange(len(unpacked.table)))
    bert.load_state_dict(unpacked.weights | {"embeddings.word_embeddings.weight": words})
    bert.save_pretrained(folder / "bert")
    n_positions = unpacked.config["max_position_embeddings"]
    special = {
        f"{name}_token": f"<{word}>" for name, word in (("pad", "pad"), ("unk", "unk"), ("cls", "s"), ("sep", "/s"))
    }
    make: Any = PreTrainedTokenizerFast
    make(tokenizer_object=unpacked.tokenizer, model_max_length=n_positions, **special).save_pretrained(folder / "bert")
    transformer = Transformer(str(folder / "bert"))
    pool = Pooling(transformer.get_embedding_dimension(), pooling_mode="mean")
    SentenceTransformer(modules=[transformer, pool, Normalize()], device="cpu").save(str(folder / "model"))
    return folder / "model"


def chonkie(folder: Path, documents: Sequence[Document], chunk_size: int | None) -> Callable[[], object]:
    """LateChunker, in windows of the model's length without overlap, as it does it."""
    from chonkie import LateChunker
    from chonkie.embeddings import SentenceTransformerEmbeddings
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    options = {"chunk_size": chunk_size} if chunk_size else {}
    chunker = LateChunker(embedding_model=SentenceTransformerEmbeddings(model), **options)
    return lambda: [chunker.chunk(document.text) for document in documents]


def naive(folder: Path, texts: Sequence[str]) -> Callable[[], object]:
    """sentence-transformers, which reads each chunk by itself."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    return lambda: model.encode(texts, batch_size=32)


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


def collect_peers(
    folder: Path, documents: Sequence[Document], chunk_size: int | None
) -> dict[str, Callable[[], object]]:
    """The other late chunker, with chunks of so many tokens or as it comes, if it is installed."""
    with contextlib.suppress(ImportError):
        return {"chonkie": chonkie(folder, documents, chunk_size)}
    return {}


def compare_with_peers(model: str, folder: Path, documents: Sequence[Document], rounds: int) -> dict[str, float]:
    """Ours and theirs over some documents."""
    from sentence_transformers import SentenceTransformer

    window = SentenceTransformer(str(folder), device="cpu").max_seq_length
    same = Encoder.load(
        model, adapters=None, dtype="float32", context="windows", window_tokens=window, overlap_tokens=0
    )
    ours = {"same": lambda: embed_all(same, TokenChunker(max_tokens=CHUNK), Embedding("late"), documents)}
    figures = compare(ours, collect_peers(folder, documents, CHUNK), rounds)
    best: dict[str, Callable[[], object]] = {}
    ways = [("", "auto"), ("_float32", "float32"), *([("_int8", "int8")] if has_int8_units() else [])]
    for suffix, dtype in ways:
        encoder = Encoder.load(model, dtype=dtype)
        best[f"default{suffix}"] = lambda encoder=encoder: embed_default(encoder, documents)
        best[f"late{suffix}"] = lambda encoder=encoder: embed_default(encoder, documents, mode="late")
    texts = [chunk.text for one in embed_documents(documents, encoder=encoder) for chunk in one.chunks]
    return figures | compare(best, {**collect_peers(folder, documents, None), "naive": naive(folder, texts)}, rounds)


def embed_default(encoder: Encoder, documents: Sequence[Document], **options: Any) -> None:
    """Text to chunk vectors as anybody gets them."""
    for _ in embed_documents(documents, encoder=encoder, **options):
        pass


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--data", type=Path, required=True, help="a folder of documents")
    arguments.add_argument("--model", choices=(DEFAULT_MODEL, LIGHT_MODEL), default=DEFAULT_MODEL)
    arguments.add_argument("--documents", type=int, default=40, help="how many of them to compare with others on")
    arguments.add_argument("--rounds", type=int, default=5)
    options = arguments.parse_args()

    documents = load_documents(options.data)
    figures: dict[str, float | str] = {}
    for dtype in ("auto", "float32"):
        # In plain windows, so that the bare passes are what anybody would run.
        encoder = Encoder.load(options.model, dtype=dtype, context="windows")
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
    with tempfile.TemporaryDirectory() as scratch:
        figures |= compare_with_peers(options.model, published(options.model, Path(scratch)), some, options.rounds)
    figures |= {
        "model": options.model,
        "n_documents": len(some),
        "threads": torch.get_num_threads(),
        "peak_rss_mb": round(peak_rss_mb()),
    }
    report("encode" if options.model == DEFAULT_MODEL else f"encode-{options.model}", figures, save=options.save)


if __name__ == "__main__":
    main()
