"""What the benchmarks of long-context models share: one document in one pass, beside the bare forward pass over it."""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from common import parser, peak_rss_mb

from latechunk import Document, Encoder, TokenChunker
from latechunk.demo import read_documents
from latechunk.embedding import ChunkedDocument, Embedding, chunk_documents, embed_chunks


def long_model_parser(description: str | None, *, rounds: int) -> argparse.ArgumentParser:
    """Arguments of the benchmarks of long-context models."""
    arguments = parser(description)
    arguments.add_argument("--dtype", default="auto")
    arguments.add_argument("--rounds", type=int, default=rounds)
    arguments.add_argument("--tiny", action="store_true", help="a tiny model and short texts, to try this script")
    return arguments


def write_in_child(write: Callable[..., object], folder: Path, options: dict[str, Any]) -> None:
    """Write a checkpoint in a process of its own, so that the memory it takes is not counted in this one's."""
    child = multiprocessing.get_context("spawn").Process(target=write, args=(folder,), kwargs=options)
    child.start()
    child.join()
    if child.exitcode:
        raise SystemExit(f"the checkpoint was not written: exit status {child.exitcode}")


def fit_document(encoder: Encoder, n_tokens: int) -> Document:
    """A document that is one sequence of about ``n_tokens``, special tokens and prompt included, and not more."""
    text = "\n\n".join(document.text for document in read_documents())
    (tokens,) = encoder.tokenize([text])
    text = "\n\n".join([text] * (1 + n_tokens // len(tokens)))
    (tokens,) = encoder.tokenize([text])
    n_content = n_tokens - encoder._plan.n_special - len(tokens.prompt_ids)
    return Document("long", text[: int(tokens.offsets[n_content - 1, 1])])


def cut_into_chunks(encoder: Encoder, document: Document) -> ChunkedDocument:
    """A document in chunks of 256 tokens."""
    (cut,) = chunk_documents(encoder, [TokenChunker(max_tokens=256)], Embedding("late"), [document], stop)
    return cut


def embed(encoder: Encoder, document: Document) -> np.ndarray:
    """From text to the vectors of chunks of 256 tokens."""
    (vectors,) = embed_chunks(encoder, Embedding("late"), [cut_into_chunks(encoder, document)])
    return vectors


def stop(document: Document, error: Exception) -> None:
    raise SystemExit(str(error))


def sequence_of(encoder: Encoder, document: Document) -> torch.Tensor:
    """The ids of a document as the model reads them in one pass, shape ``(1, n_tokens)``."""
    plan = encoder._plan
    (tokens,) = encoder.tokenize([document.text])
    parts = (plan.prefix_ids, tokens.prompt_ids, tokens.ids, plan.suffix_ids)
    return torch.from_numpy(np.concatenate([np.asarray(part, dtype=np.int64) for part in parts]))[None]


def compare(encoder: Encoder, model: Any, n_tokens: int, rounds: int) -> dict[str, Any]:
    """Time text to chunk vectors and a model's bare pass over the same ids, in turn, after a short text as a warm-up.

    ``cpu_time_ratio`` compares the least processor time of each, to which other work on the machine can only add.
    """
    document, warm_up = fit_document(encoder, n_tokens), fit_document(encoder, 200)
    ids = sequence_of(encoder, document)

    @torch.inference_mode()
    def bare(ids: torch.Tensor) -> None:
        model(input_ids=ids)

    embed(encoder, warm_up)
    bare(sequence_of(encoder, warm_up))
    whole, forward = _Clock(), _Clock()
    for _ in range(rounds):
        whole.measure(lambda: embed(encoder, document))
        forward.measure(lambda: bare(ids))
    return {
        "time_ratio": round(median(whole.seconds) / median(forward.seconds), 3),
        "cpu_time_ratio": round(min(whole.cpu_seconds) / min(forward.cpu_seconds), 3),
        "seconds": round(median(whole.seconds), 1),
        "seconds_bare": round(median(forward.seconds), 1),
        "cpu_seconds": [round(one, 1) for one in whole.cpu_seconds],
        "cpu_seconds_bare": [round(one, 1) for one in forward.cpu_seconds],
        "n_rounds": rounds,
        "n_tokens": ids.shape[1],
        "peak_mb": round(peak_rss_mb()),
        "n_parameters": sum(one.numel() for one in model.parameters()),
        **encoder.runtime,
    }


class _Clock:
    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.cpu_seconds: list[float] = []

    def measure(self, function: Callable[[], object]) -> None:
        begin, cpu_begin = time.perf_counter(), time.process_time()
        function()
        self.seconds.append(time.perf_counter() - begin)
        self.cpu_seconds.append(time.process_time() - cpu_begin)
