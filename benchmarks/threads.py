"""Searches a second of eight threads that share one index, against one thread, over the same queries."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from common import parser, report

from latechunk import Document, Index, SentenceChunker

N_THREADS = 8
TOPICS = ["rivers", "bridges", "harbours", "markets", "towers", "gardens", "libraries", "railways", "mills", "inns"]
QUERIES = [f"which town has {one} and what do its people say of {other}" for one in TOPICS for other in TOPICS]


def make_document(number: int) -> Document:
    """A document of 40 sentences that differ from each other and from those of others."""
    sentences = [
        f"Town {number} is known for its {TOPICS[(number + place) % 10]}, and visitor {number * place % 997} said so "
        f"of the {TOPICS[(number * 7 + place * 3) % 10]} in year {1500 + (number * 31 + place * 17) % 500}."
        for place in range(40)
    ]
    return Document(f"town-{number}", " ".join(sentences))


def seconds_of(search: Callable[[int], object], n: int, pool: ThreadPoolExecutor | None) -> float:
    """How long ``n`` searches take, one after the other or in a pool."""
    begin = time.perf_counter()
    for _ in map(search, range(n)) if pool is None else pool.map(search, range(n)):
        pass
    return time.perf_counter() - begin


def compare(search: Callable[[int], object], n: int, rounds: int) -> tuple[float, list[float], list[float]]:
    """One thread and eight in turn, round by round: the median ratio, and the seconds of both."""
    alone, shared = [], []
    with ThreadPoolExecutor(N_THREADS) as pool:
        for number in range(rounds + 1):
            seconds = seconds_of(search, n, None), seconds_of(search, n, pool)
            if number:  # the first round warms up
                alone.append(seconds[0])
                shared.append(seconds[1])
    return statistics.median(one / other for one, other in zip(alone, shared, strict=True)), alone, shared


def per_second(seconds: Sequence[float], n: int) -> float:
    return round(n / statistics.median(seconds), 1)


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--documents", type=int, default=250)
    arguments.add_argument("--queries", type=int, default=100)
    arguments.add_argument("--rounds", type=int, default=5)
    options = arguments.parse_args()

    with (
        tempfile.TemporaryDirectory() as folder,
        Index.create(Path(folder, "x"), chunker=SentenceChunker(max_sentences=1)) as index,
    ):
        index.add(make_document(number) for number in range(options.documents))
        vectors = np.stack([index.encoder.encode_query(one) for one in QUERIES])
        by_text = compare(
            lambda number: index.search(QUERIES[number % 100], mode="dense"), options.queries, options.rounds
        )
        by_default = compare(lambda number: index.search(QUERIES[number % 100]), options.queries, options.rounds)
        by_vector = compare(
            lambda number: index.search_by_vector(vectors[number % 100]), 4 * options.queries, options.rounds
        )
        n_chunks = index.info().n_chunks
    figures = {
        "speedup_threads": round(by_text[0], 3),
        "speedup_threads_default": round(by_default[0], 3),
        "speedup_threads_vectors": round(by_vector[0], 3),
        "one_thread_per_s": per_second(by_text[1], options.queries),
        "eight_threads_per_s": per_second(by_text[2], options.queries),
        "one_thread_vectors_per_s": per_second(by_vector[1], 4 * options.queries),
        "eight_threads_vectors_per_s": per_second(by_vector[2], 4 * options.queries),
        "n_chunks": n_chunks,
    }
    report("threads", figures, save=options.save)


if __name__ == "__main__":
    main()
