"""Adding, deleting, reopening and hybrid search: an index beside LanceDB and Chroma, with the same chunks and vectors.

All get the same documents, cut already, each chunk with its text, its document's id and a year, and ready-made unit
vectors, so that encoding costs nothing. Each runs in a process of its own, whole rounds in turn; figures are medians
over the rounds, ratios medians of the ratios of each round. What is timed, each until it is committed:

- ``add``: all documents in one call, words indexed: latechunk's for its hybrid search, LanceDB's full-text index (made
  once after the rows, BM25), and what Chroma keeps by itself (trigrams, no ranked search of words);
- ``delete``: 100 documents in one call, and the search after it;
- ``reopen``: opening in a fresh process, imports apart, and its first search for vectors;
- ``dense`` and ``hybrid``: the median search for ten chunks with their texts. LanceDB's hybrid is its own, reciprocal
  ranks of an exact search and BM25; Chroma has none.

latechunk waits for the disk (fsync) in each change, and keeps whole documents, checksums and titles; LanceDB and Chroma
leave it to the system to write. ``pip install -r benchmarks/requirements.txt`` installs the others.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common import parser, report
from scale import PER_DOCUMENT, WIDTH, PreparedEncoder, read_questions, read_texts

K = 10
STEPS = ("add", "delete", "dense", "hybrid", "reopen")


def make(texts: Path, questions: Path, n: int, folder: Path) -> None:
    """Write chunks, vectors and questions that all stores take."""
    random = np.random.default_rng(0)
    whole = read_texts(texts)
    chunks = [whole[WIDTH * place : WIDTH * (place + 1)] for place in range(n)]
    asked = read_questions(questions, 100)
    centres = random.standard_normal((200, 384))
    vectors = centres[random.integers(200, size=n + len(asked))] + random.standard_normal((n + len(asked), 384))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    np.save(folder / "vectors.npy", vectors)
    (folder / "chunks.json").write_text(json.dumps([chunks, asked]))


class _Latechunk:
    """An index, as ``Index.create`` makes it."""

    def __init__(self, path: Path, chunks: Sequence[str], vectors: Any, asked: dict[str, Any], *, fresh: bool) -> None:
        from latechunk import Index, TokenChunker

        encoder = PreparedEncoder(vectors, WIDTH, asked)
        self.open: Callable[[], Any] = (
            (lambda: Index.create(path, encoder=encoder, chunker=TokenChunker(max_tokens=1)))
            if fresh
            else (lambda: Index.open(path, encoder=encoder))
        )
        self._chunks = chunks

    def start(self) -> None:
        self._index = self.open()

    def add(self) -> None:
        from latechunk import Document

        parts = range(0, len(self._chunks), PER_DOCUMENT)
        self._index.add(
            Document(f"d{n}", "".join(self._chunks[n : n + PER_DOCUMENT]), {"year": 1900 + n % 120}) for n in parts
        )
        self._index.update_vectors()

    def delete(self, names: Sequence[str]) -> None:
        self._index.delete(names)

    def dense(self, question: str, vector: Any) -> list[str]:
        del question
        return [hit.chunk.text for hit in self._index.search_by_vector(vector, K)]

    def hybrid(self, question: str, vector: Any) -> list[str]:
        del vector
        return [hit.chunk.text for hit in self._index.search(question, K)]


class _Lance:
    """A LanceDB table with a full-text index."""

    def __init__(self, path: Path, chunks: Sequence[str], vectors: Any, asked: dict[str, Any], *, fresh: bool) -> None:
        import lancedb

        del asked
        self._lancedb, self._path, self._chunks, self._vectors, self._fresh = lancedb, path, chunks, vectors, fresh

    def start(self) -> None:
        self._base = self._lancedb.connect(self._path)
        if not self._fresh:
            self._table = self._base.open_table("chunks")

    def add(self) -> None:
        import pyarrow as arrow

        names = [f"d{n - n % PER_DOCUMENT}" for n in range(len(self._chunks))]
        years = [1900 + int(name[1:]) % 120 for name in names]
        vectors = arrow.FixedSizeListArray.from_arrays(arrow.array(self._vectors[: len(names)].ravel()), 384)
        columns = {"document": names, "year": years, "text": list(self._chunks), "vector": vectors}
        self._table = self._base.create_table("chunks", arrow.table(columns))
        self._table.create_fts_index("text")

    def delete(self, names: Sequence[str]) -> None:
        listed = ", ".join(f"'{name}'" for name in names)
        self._table.delete(f"document IN ({listed})")

    def dense(self, question: str, vector: Any) -> list[str]:
        del question
        return [row["text"] for row in self._table.search(vector).metric("cosine").limit(K).to_list()]

    def hybrid(self, question: str, vector: Any) -> list[str]:
        query = self._table.search(query_type="hybrid").vector(vector).text(question)
        return [row["text"] for row in query.limit(K).to_list()]


class _Chroma:
    """A Chroma collection."""

    def __init__(self, path: Path, chunks: Sequence[str], vectors: Any, asked: dict[str, Any], *, fresh: bool) -> None:
        import chromadb

        del asked, fresh
        self._chromadb, self._path, self._chunks, self._vectors = chromadb, path, chunks, vectors

    def start(self) -> None:
        client = self._chromadb.PersistentClient(
            str(self._path), settings=self._chromadb.Settings(anonymized_telemetry=False)
        )
        self._most = client.get_max_batch_size()
        space = {"hnsw:space": "cosine"}
        self._collection = client.get_or_create_collection("chunks", metadata=space, embedding_function=None)

    def add(self) -> None:
        for begin in range(0, len(self._chunks), self._most):
            part = range(begin, min(begin + self._most, len(self._chunks)))
            documents = [n - n % PER_DOCUMENT for n in part]
            self._collection.add(
                ids=[str(n) for n in part],
                documents=[self._chunks[n] for n in part],
                embeddings=self._vectors[part.start : part.stop],
                metadatas=[{"document": f"d{n}", "year": 1900 + n % 120} for n in documents],
            )

    def delete(self, names: Sequence[str]) -> None:
        self._collection.delete(where={"document": {"$in": list(names)}})

    def dense(self, question: str, vector: Any) -> list[str]:
        del question
        return list(self._collection.query(query_embeddings=[vector], n_results=K)["documents"][0])


STORES = {"latechunk": _Latechunk, "lancedb": _Lance, "chroma": _Chroma}


def timed(function: Callable[[], object]) -> float:
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin


def work(name: str, folder: Path, *, fresh: bool) -> Iterator[tuple[str, float]]:
    """What one process does with one store, and the seconds of each step."""
    chunks, asked = json.loads((folder / "chunks.json").read_text())
    vectors = np.load(folder / "vectors.npy")
    queries = dict(zip(asked, vectors[len(chunks) :], strict=True))
    store = STORES[name](folder / name, chunks, vectors, queries, fresh=fresh)
    first, *others = queries.items()
    if not fresh:
        yield "reopen", timed(lambda: (store.start(), store.dense(*first)))
        return
    store.start()
    yield "add", timed(lambda: (store.add(), store.dense(*first)))
    gone = [f"d{n}" for n in range(0, 100 * PER_DOCUMENT, PER_DOCUMENT)]
    yield "delete", timed(lambda: (store.delete(gone), store.dense(*first)))
    for step in ("dense", "hybrid"):
        if search := getattr(store, step, None):
            search(*first)
            yield step, statistics.median(timed(lambda one=one: search(*one)) for one in others)


def run(name: str, folder: Path, *, fresh: bool) -> dict[str, float]:
    command = [sys.executable, __file__, "--work", name, "--folder", str(folder), *["--fresh"] * fresh]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return dict(json.loads(output.splitlines()[-1]))


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--chunks", type=int, default=20_000)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--texts", type=Path, help="a folder with docs.jsonl files, for the words of the chunks")
    arguments.add_argument("--questions", type=Path, help="a queries.jsonl file")
    arguments.add_argument("--work", choices=list(STORES))
    arguments.add_argument("--folder", type=Path)
    arguments.add_argument("--fresh", action="store_true")
    options = arguments.parse_args()
    if options.work:
        print(json.dumps(list(work(options.work, options.folder, fresh=options.fresh))))
        return
    found: dict[str, dict[str, list[float]]] = {step: {} for step in STEPS}
    for number in range(options.rounds):
        names = [*STORES][number % len(STORES) :] + [*STORES][: number % len(STORES)]
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            make(options.texts, options.questions, options.chunks, folder)
            for name in names:
                for step, seconds in {**run(name, folder, fresh=True), **run(name, folder, fresh=False)}.items():
                    found[step].setdefault(name, []).append(seconds)
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
    figures: dict[str, Any] = {"n_chunks": options.chunks, "rounds": options.rounds}
    for step, times in found.items():
        figures[step] = {f"{name}_ms": round(1e3 * statistics.median(own), 2) for name, own in times.items()}
        for name in times.keys() - {"latechunk"}:
            ratios = [ours / other for ours, other in zip(times["latechunk"], times[name], strict=True)]
            figures[step][f"ratio_to_{name}"] = round(statistics.median(ratios), 2)
    report("stores", figures, save=options.save)


if __name__ == "__main__":
    main()
