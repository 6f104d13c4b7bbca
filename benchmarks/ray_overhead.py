"""What Ray costs: one actor against the plain loop on the same documents, and two actors against one.

Each actor has one thread and one CPU. A job is timed from its first documents to its last: starting actors takes
seconds, however many documents there are, and is reported by itself.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

from common import parser, report


def make_documents(n: int, n_sentences: int) -> list[dict[str, str]]:
    """Documents of equal length, so that two actors can share them evenly."""
    sentence = "The {n}th city has {n} thousand inhabitants, and the river flows through it on its way to the sea. "
    return [{"id": str(k), "text": "".join(sentence.format(n=k + m) for m in range(n_sentences))} for k in range(n)]


def time_job(rows: Sequence[dict[str, str]], out: Path, n_actors: int, encoder: Any) -> dict[str, float]:
    """Seconds of a job, from the first part that was written, per document after those of the first."""
    import ray.data

    from latechunk.distributed import Workers, embed_dataset_to

    times: list[float] = []
    begin = time.perf_counter()
    dataset = ray.data.from_items(list(rows), override_num_blocks=len(rows) // 8)
    embed_dataset_to(
        dataset,
        out,
        encoder=encoder,
        workers=Workers(n=n_actors, batch_documents=8, dtype="float32"),
        on_outcome=lambda _: times.append(time.perf_counter()),
    )
    warm = 16 * n_actors  # documents until every actor is at work
    return {"start_s": times[0] - begin, "per_document_s": (times[-1] - times[warm - 1]) / (len(times) - warm)}


def main(given: Sequence[str] | None = None) -> dict[str, Any]:
    arguments = parser(__doc__)
    arguments.add_argument("--documents", type=int, default=160)
    arguments.add_argument("--sentences", type=int, default=60)
    options = arguments.parse_args(given)
    import ray
    import torch

    from latechunk import Document, Encoder, embed_documents

    torch.set_num_threads(1)
    rows = make_documents(options.documents, options.sentences)
    encoder = Encoder.load("all-MiniLM-L6-v2", dtype="float32", device="cpu")
    documents = [Document(row["id"], row["text"]) for row in rows]
    list(embed_documents(documents[:8], encoder=encoder))
    begin = time.perf_counter()
    for start in range(0, len(documents), 8):
        list(embed_documents(documents[start : start + 8], encoder=encoder))
    plain = (time.perf_counter() - begin) / len(documents)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    with tempfile.TemporaryDirectory() as folder:
        one = time_job(rows, Path(folder) / "one", 1, encoder)
        two = time_job(rows, Path(folder) / "two", 2, encoder)
    ray.shutdown()
    figures = {
        "overhead": round(one["per_document_s"] / plain - 1, 3),
        "speedup_two": round(one["per_document_s"] / two["per_document_s"], 2),
        "plain_ms_per_document": round(1e3 * plain, 1),
        "one_ms_per_document": round(1e3 * one["per_document_s"], 1),
        "two_ms_per_document": round(1e3 * two["per_document_s"], 1),
        "start_s": round(one["start_s"], 1),
        "n_documents": len(rows),
    }
    report("ray_overhead", figures, save=options.save)
    return figures


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
