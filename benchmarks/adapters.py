"""What a framework's retriever costs beside Index.search on the same index: same questions, k = 10, in turn.

The encoder gives prepared vectors, so that only what the adapter adds is measured. A framework that is not installed is
left out and named.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from common import parser, report
from search import N_WORDS, WORDS, RandomEncoder, unit_vectors

from latechunk import Document, Index, TokenChunker

K = 10


def langchain_retriever(index: Index) -> Callable[[str], object]:
    from langchain_latechunk import LateChunkRetriever

    return LateChunkRetriever(index=index, k=K).invoke


def llama_index_retriever(index: Index) -> Callable[[str], object]:
    from llama_index.retrievers.latechunk import LateChunkRetriever

    return LateChunkRetriever(index, similarity_top_k=K).retrieve


ADAPTERS: dict[str, tuple[str, Callable[[Index], Callable[[str], object]]]] = {
    "langchain": ("langchain_latechunk", langchain_retriever),
    "llama_index": ("llama_index.retrievers.latechunk", llama_index_retriever),
}
"""By name: the package that must be there, and what makes a function of a question."""


def is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # of what the package lies in
        return False


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--documents", type=int, default=100, help="documents in the index")
    arguments.add_argument("--chunks", type=int, default=50, help="chunks of each document")
    arguments.add_argument("--dims", type=int, default=384)
    arguments.add_argument("--queries", type=int, default=300)
    options = arguments.parse_args()
    queries = unit_vectors(np.random.default_rng(1), options.queries, options.dims)
    encoder = RandomEncoder(options.dims, queries)
    documents = (
        Document(f"d{number}", WORDS * options.chunks, {"source": f"{number}.txt", "n": number})
        for number in range(options.documents)
    )
    with (
        tempfile.TemporaryDirectory() as folder,
        Index.create(Path(folder, "x"), encoder=encoder, chunker=TokenChunker(max_tokens=N_WORDS)) as index,
    ):
        index.add(documents)
        made = {name: make(index) for name, (package, make) in ADAPTERS.items() if is_installed(package)}
        seconds = time_questions([lambda question: index.search(question, K), *made.values()], options.queries)
    bare, *theirs = (statistics.median(times) for times in seconds)
    paired = [np.median(np.subtract(times, seconds[0])) for times in seconds[1:]]
    overheads = {f"{name}_overhead_ms": round(1e3 * float(one), 3) for name, one in zip(made, paired, strict=True)}
    figures = {
        "overhead_ms": max(overheads.values(), default=None),
        **overheads,
        "search_ms": round(1e3 * bare, 3),
        **{f"{name}_ms": round(1e3 * one, 3) for name, one in zip(made, theirs, strict=True)},
        "not_installed": [name for name in ADAPTERS if name not in made],
        "k": K,
        "n_chunks": options.documents * options.chunks,
    }
    report("adapters", figures, save=options.save)


def time_questions(functions: list[Callable[[str], object]], n_questions: int) -> list[list[float]]:
    """Ask each question of each function in turn, after a warm-up; the seconds of each answer."""
    seconds: list[list[float]] = [[] for _ in functions]
    for number in (0, *range(n_questions)):
        for function, times in zip(functions, seconds, strict=True):
            begin = time.perf_counter()
            function(str(number))
            times.append(time.perf_counter() - begin)
    return [times[1:] for times in seconds]


if __name__ == "__main__":
    main()
