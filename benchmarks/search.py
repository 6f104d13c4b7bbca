"""Time of Index.search, query encoding apart, against raw FAISS on the same vectors."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import faiss
import numpy as np
from common import parser, peak_rss_mb, report

from latechunk import Document, Index, TokenChunker
from latechunk.types import FloatArray, PoolingTask, Tokens

WORDS = "every chunk of this text has eight words "
N_WORDS = len(WORDS.split())


class RandomEncoder:
    """Gives random unit vectors; a query is the number of one of the vectors prepared for queries."""

    def __init__(self, dims: int, queries: FloatArray) -> None:
        self.dims = dims
        self.queries = queries
        self._random = np.random.default_rng(0)

    @property
    def settings(self) -> dict[str, object]:
        """What an index records."""
        return {"kind": "random", "model": "random", "dims": self.dims}

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        """Words are tokens."""
        offsets = []
        start = 0
        for word in WORDS.split():
            offsets.append((start, start + len(word)))
            start += len(word) + 1
        unit = np.array(offsets, dtype=np.int64)
        results = []
        for text in texts:
            n_units = len(text) // len(WORDS)
            shifts = np.arange(n_units)[:, None, None] * len(WORDS)
            places = (unit[None] + shifts).reshape(-1, 2)
            results.append(Tokens((), np.zeros(len(places), dtype=np.int64), places))
        return results

    def encode_spans(
        self, tasks: Sequence[PoolingTask], on_progress: Callable[[int, int], None] | None = None
    ) -> list[FloatArray]:
        """Random unit vectors."""
        return [unit_vectors(self._random, len(task.ranges), self.dims) for task in tasks]

    def encode_query(self, text: str) -> FloatArray:
        """The prepared vector of that number."""
        return self.queries[int(text)]


def unit_vectors(random: np.random.Generator, n: int, dims: int) -> FloatArray:
    vectors = random.standard_normal((n, dims), dtype=np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--chunks", type=int, default=100_000)
    arguments.add_argument("--dims", type=int, default=384)
    arguments.add_argument("--queries", type=int, default=200)
    arguments.add_argument("-k", type=int, default=10)
    options = arguments.parse_args()

    queries = unit_vectors(np.random.default_rng(1), options.queries, options.dims)
    encoder = RandomEncoder(options.dims, queries)
    per_document = 100
    documents = (
        Document(f"d{number}", WORDS * per_document, {"n": number}) for number in range(options.chunks // per_document)
    )
    with (
        tempfile.TemporaryDirectory() as folder,
        Index.create(Path(folder, "x"), encoder=encoder, chunker=TokenChunker(max_tokens=N_WORDS)) as index,
    ):
        begin = time.perf_counter()
        index.add(documents)
        add_seconds = time.perf_counter() - begin
        begin = time.perf_counter()
        index.search("0", options.k, mode="dense")
        first_seconds = time.perf_counter() - begin
        with index._store.snapshot():
            vectors = np.concatenate([block for _, _, block in index._store.vectors(options.dims, after=0)])
        raw = faiss.IndexFlatIP(options.dims)
        raw.add(vectors)
        times: tuple[list[float], list[float]] = ([], [])
        for number in range(options.queries):
            begin = time.perf_counter()
            hits = index.search(str(number), options.k, mode="dense")
            middle = time.perf_counter()
            scores, _ = raw.search(queries[number : number + 1], options.k)
            times[0].append(middle - begin)
            times[1].append(time.perf_counter() - middle)
            if not np.allclose([hit.score for hit in hits], scores[0], atol=1e-6):
                raise SystemExit("the index and raw FAISS disagree")
    ours, bare = (statistics.median(one) for one in times)
    figures = {
        "ratio_to_faiss": round(ours / bare, 3),
        "search_ms": round(1e3 * ours, 3),
        "faiss_ms": round(1e3 * bare, 3),
        "n_chunks": len(vectors),
        "add_s": round(add_seconds, 2),
        "first_search_s": round(first_seconds, 2),
        "peak_rss_mb": round(peak_rss_mb()),
    }
    report("search", figures, save=options.save)


if __name__ == "__main__":
    main()
