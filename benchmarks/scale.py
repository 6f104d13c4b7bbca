"""Search of many chunks, filtered and not: time, recall, memory and disk of each kind of vector index.

The vectors are real: those of a file, or those of documents encoded here. Where they are fewer than asked for, the rest
are drawn to look like them, because independent random vectors have no neighbours to find: each is a real vector v
drawn at random, plus the sum of g_j (n_j - v) / sqrt(8) over its 8 nearest real neighbours n_j with g_j from the
standard normal distribution, that is, noise of the covariance that the vectors have about v, made unit length.

An index is built through Index.add, of documents of 20 chunks each, which are true in the fields "tenth_percent",
"percent", "tenth" and "half" of their metadata for such shares of the documents, at random. Each kind is then searched
by Index.search_by_vector in a fresh process that holds nothing else; the first time that a filter is used is reported
apart, since what it selects is then remembered. Queries are those of a file, else vectors of the same making that are
not in the index. Recall is the share of hits whose exact score is that of the exact tenth hit or more. disk_mb is the
whole index, cache_mb the part of FAISS.

With --texts, a folder of docs.jsonl files and one of questions, each chunk is 400 characters of these texts, which are
repeated where they are too few, and the index has words: searches without options are then timed, too, each question
once, so that most of its words are read for the first time, and once more.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from latechunk.ann.persist import file_names, read_label
from latechunk.models.catalogue import LIGHT_MODEL
from latechunk.storage.directory import STORE, folder_size
from latechunk.storage.vectors import Precision, pack, unpack
from latechunk.types import FloatArray, IntArray, PoolingTask, Tokens

if TYPE_CHECKING:
    from latechunk import Index

PER_DOCUMENT = 20
K = 10
N_OPENED = 9
N_NEAR = 8
SHARES = {"tenth_percent": 0.001, "percent": 0.01, "tenth": 0.1, "half": 0.5}
BLOCK = 16_384
WIDTH = 400


class PreparedEncoder:
    """Gives out prepared vectors one after the other; so many characters are a token."""

    def __init__(self, vectors: FloatArray, width: int = 2, questions: dict[str, FloatArray] | None = None) -> None:
        self.vectors = vectors
        self._width = width
        self._questions = questions or {}
        self._next = 0

    @property
    def settings(self) -> dict[str, object]:
        """What an index records."""
        return {"kind": "prepared", "model": "prepared", "dims": self.vectors.shape[1]}

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        """Each part of the width less one character is a token."""
        results = []
        for text in texts:
            starts = np.arange(0, len(text), self._width)
            offsets = np.stack([starts, starts + self._width - 1], axis=1)
            results.append(Tokens((), np.zeros(len(starts), dtype=np.int64), offsets))
        return results

    def encode_spans(
        self, tasks: Sequence[PoolingTask], on_progress: Callable[[int, int], None] | None = None
    ) -> list[FloatArray]:
        """The next vectors."""
        results = []
        for task in tasks:
            end = self._next + len(task.ranges)
            results.append(np.array(self.vectors[self._next : end], dtype=np.float32))
            self._next = end
        return results

    def encode_query(self, text: str) -> FloatArray:
        """The vector that was prepared for a question; for one without the names in it, that of another question."""
        return self._questions.get(text, next(iter(self._questions.values())))


def encode_documents(folder: Path) -> FloatArray:
    """Vectors of the documents of a folder, in chunks of 32 tokens, by all-MiniLM-L6-v2."""
    from common import load_documents

    from latechunk import Encoder, TokenChunker
    from latechunk.embedding import Embedding, chunk_documents, embed_chunks

    encoder, late = Encoder.load(LIGHT_MODEL), Embedding("late")
    documents = [one for one in load_documents(folder) if one.text.strip()]
    cuts = chunk_documents(encoder, [TokenChunker(max_tokens=32)], late, documents, _stop)
    return np.concatenate(embed_chunks(encoder, late, cuts))


def draw(random: np.random.Generator, real: FloatArray, drawn: FloatArray) -> FloatArray:
    """Fill an array with vectors that lie about real ones as those lie about each other."""
    chosen = random.integers(len(real), size=len(drawn))
    numbers, places = np.unique(chosen, return_inverse=True)
    near = _neighbours(real, numbers)
    for begin in range(0, len(drawn), BLOCK):
        block = slice(begin, begin + BLOCK)
        centres = real[chosen[block]]
        around = real[near[places[block]]] - centres[:, None]
        shares = random.standard_normal(around.shape[:2]).astype(np.float32) / np.sqrt(around.shape[1])
        made = centres + np.einsum("nk,nkd->nd", shares, around)
        drawn[block] = made / np.linalg.norm(made, axis=1, keepdims=True)
    return drawn


def _neighbours(real: FloatArray, numbers: IntArray) -> IntArray:
    """The nearest others of some vectors, shape ``(n, n_near)``."""
    n_near = min(N_NEAR, len(real) - 1)
    found = np.empty((len(numbers), n_near), dtype=np.int64)
    for begin in range(0, len(numbers), 256):
        part = numbers[begin : begin + 256]
        scores = real[part] @ real.T
        scores[np.arange(len(part)), part] = -2
        found[begin : begin + 256] = np.argpartition(-scores, n_near - 1, axis=1)[:, :n_near]
    return found


def prepare(options: argparse.Namespace, scratch: Path) -> tuple[FloatArray, FloatArray, int]:
    """The vectors to index, those to search with, and how many of the indexed are real."""
    random = np.random.default_rng(0)
    real = np.load(options.vectors, mmap_mode="r") if options.vectors else encode_documents(options.data)
    if real.shape[1] != options.dims:
        raise SystemExit(f"the vectors have {real.shape[1]} numbers, not {options.dims}")
    n_real = min(len(real), options.chunks)
    vectors: FloatArray = real[:n_real]
    if n_real < options.chunks:
        shape = (options.chunks, options.dims)
        vectors = np.memmap(scratch / "vectors.bin", dtype=np.float32, mode="w+", shape=shape)
        vectors[:n_real] = real[:n_real]
        draw(random, np.asarray(real), vectors[n_real:])
    if options.queries:
        queries = np.load(options.queries)[: options.n_queries]
    elif len(real) >= options.chunks + options.n_queries:
        queries = np.array(real[-options.n_queries :])
    else:
        queries = draw(random, np.asarray(real[:100_000]), np.empty((options.n_queries, options.dims), np.float32))
    return vectors, np.asarray(queries, dtype=np.float32), n_real


def read_texts(folder: Path) -> str:
    """All texts of the docs.jsonl files below a folder, one after the other."""
    lines = (line for path in sorted(folder.rglob("docs.jsonl")) for line in path.open(encoding="utf-8"))
    texts = " ".join(json.loads(line)["text"] for line in lines)
    if not texts:
        raise SystemExit(f"there is no docs.jsonl file with text below {folder}")
    return texts


def read_questions(path: Path, n: int) -> list[str]:
    """The first questions of a queries.jsonl file."""
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line)["text"] for line, _ in zip(lines, range(n), strict=False)]


def build(folder: Path, encoder: PreparedEncoder, texts: str, precision: Precision) -> tuple[list[float], float]:
    """Make an index of the vectors; seconds of adding each tenth, and of training and writing the vector index.

    Its texts are "x x x", without words, or parts of ``texts``.
    """
    from latechunk import Document, Index, TokenChunker

    random = np.random.default_rng(1)
    vectors = encoder.vectors
    n_documents = -(-len(vectors) // PER_DOCUMENT)
    fields = {name: random.random(n_documents) < share for name, share in SHARES.items()}

    def documents() -> Iterator[Document]:
        for number in range(n_documents):
            n = min(PER_DOCUMENT, len(vectors) - number * PER_DOCUMENT)
            begin = number * PER_DOCUMENT * WIDTH
            shift = begin // len(texts) * 37 if texts else 0  # texts that are repeated are cut at other places
            begin = (begin + shift) % max(1, len(texts) - PER_DOCUMENT * WIDTH)
            text = texts[begin : begin + n * WIDTH] if texts else "x " * n
            yield Document(f"d{number}", text, {name: bool(values[number]) for name, values in fields.items()})

    chunker = TokenChunker(max_tokens=1)
    index = Index.create(folder, encoder=encoder, chunker=chunker, words=bool(texts), precision=precision)
    seconds, every = [], documents()
    try:
        for _ in range(10):
            begin = time.perf_counter()
            index.add(islice(every, -(-n_documents // 10)))
            seconds.append(time.perf_counter() - begin)
        begin = time.perf_counter()
        index.update_vectors()
    finally:
        index.close()
    return seconds, time.perf_counter() - begin


def find_documents(folder: Path, name: str) -> IntArray:
    """Numbers of the documents that are true in a field."""
    with sqlite3.connect(f"file:{folder / STORE}?mode=ro", uri=True) as connection:
        rows = connection.execute(f"SELECT number FROM documents WHERE json_extract(metadata, '$.{name}') ORDER BY 1")
        return np.array([number for (number,) in rows], dtype=np.int64)


def exact_scores(vectors: FloatArray, queries: FloatArray, folder: Path, precision: Precision) -> dict[str, Any]:
    """For all chunks and for those of each field: how many there are, and the score of each query's tenth hit."""
    masks = {"all": np.ones(len(vectors), dtype=bool)}
    owners = 1 + np.arange(len(vectors)) // PER_DOCUMENT
    masks.update({name: np.isin(owners, find_documents(folder, name)) for name in SHARES})
    best = {name: np.full((len(queries), K), -np.inf, dtype=np.float32) for name in masks}
    for begin in range(0, len(vectors), BLOCK):
        stored = unpack(b"".join(pack(vectors[begin : begin + BLOCK], precision)), vectors.shape[1], precision)
        scores = queries @ stored.T
        for name, mask in masks.items():
            joined = np.concatenate([best[name], scores[:, mask[begin : begin + BLOCK]]], axis=1)
            best[name] = np.partition(joined, -K, axis=1)[:, -K:]
    return {name: {"n": int(mask.sum()), "tenth": best[name].min(axis=1).tolist()} for name, mask in masks.items()}


def _time_first_filters(folder: Path, query: FloatArray) -> dict[str, float]:
    """Of the first search with each filter, in an index that was just opened: the median of several openings."""
    from latechunk import Index

    seconds: dict[str, list[float]] = {name: [] for name in SHARES}
    for _ in range(N_OPENED):
        with Index.open(folder, read_only=True) as index:
            index.search_by_vector(query, K)
            for name in SHARES:
                begin = time.perf_counter()
                index.search_by_vector(query, K, filter={name: True})
                seconds[name].append(time.perf_counter() - begin)
    return {
        f"filtered_{100 * share:g}pct_first_ms": round(1e3 * statistics.median(seconds[name]), 3)
        for name, share in SHARES.items()
    }


def measure(folder: Path, kind: str) -> dict[str, Any]:
    """Open an index and search it, filtered and not; run by a process of its own."""
    from latechunk import Index

    queries = np.load(folder.parent / "queries.npy")
    truth = json.loads((folder.parent / "truth.json").read_text())
    begin = time.perf_counter()
    index = Index.open(folder, read_only=True)
    index.search_by_vector(queries[0], K)
    figures: dict[str, Any] = {"open_s": round(time.perf_counter() - begin, 3)}
    seconds, recall, exact = _run(index, queries, None, truth["all"])
    figures["p50_ms"], figures["p99_ms"] = (round(1e3 * float(np.percentile(seconds, at)), 3) for at in (50, 99))
    figures["recall_at_10"] = round(recall, 4)
    for name, share in SHARES.items():
        seconds, recall, is_exact = _run(index, queries, {name: True}, truth[name])
        p50 = 1e3 * statistics.median(seconds)
        prefix = f"filtered_{100 * share:g}pct"
        figures[f"{prefix}_p50_ms"] = round(p50, 3)
        figures[f"{prefix}_ratio"] = round(p50 / figures["p50_ms"], 2)
        figures[f"{prefix}_recall_at_10"] = round(recall, 4)
        exact = exact and is_exact
    figures["counts_exact"] = exact
    figures.update(_time_questions(folder, queries) if (folder.parent / "questions.json").exists() else {})
    from common import peak_rss_mb  # here, since it loads more than a search does

    figures["rss_mb"] = round(peak_rss_mb())
    index.close()
    return figures | _time_first_filters(folder, queries[0])


def _time_questions(folder: Path, queries: FloatArray) -> dict[str, float]:
    """Milliseconds of searches by vectors and words, when a question is asked first and when it is asked again."""
    from latechunk import Index

    questions = json.loads((folder.parent / "questions.json").read_text())
    encoder = PreparedEncoder(queries[:0], WIDTH, dict(zip(questions, queries, strict=False)))
    figures = {}
    with Index.open(folder, encoder=encoder, read_only=True) as index:
        index.search("".join(questions[:1]), K)
        for prefix in ("hybrid", "hybrid_again"):
            seconds = []
            for question in questions[1:]:
                begin = time.perf_counter()
                index.search(question, K)
                seconds.append(time.perf_counter() - begin)
            for at in (50, 99):
                figures[f"{prefix}_p{at}_ms"] = round(1e3 * float(np.percentile(seconds, at)), 1)
    return figures


def _run(
    index: Index, queries: FloatArray, condition: dict[str, bool] | None, truth: dict[str, Any]
) -> tuple[list[float], float, bool]:
    """Seconds of each query, the recall, and whether there were as many hits as there had to be."""
    seconds, found, is_exact = [], [], True
    for query, tenth in zip(queries, truth["tenth"], strict=True):
        begin = time.perf_counter()
        hits = index.search_by_vector(query, K, filter=condition)
        seconds.append(time.perf_counter() - begin)
        wanted = min(K, truth["n"])
        is_exact = is_exact and len(hits) == wanted
        found.append(sum(hit.score >= tenth - 1e-5 for hit in hits) / wanted if wanted else 1.0)
    for k in (1, 100, 1000):
        is_exact = is_exact and len(index.search_by_vector(queries[0], k, filter=condition)) == min(k, truth["n"])
    return seconds, statistics.mean(found), is_exact


def run_kind(folder: Path, encoder: PreparedEncoder, kind: str, build_s: float | None) -> dict[str, Any]:
    """Build one kind, unless it is there, and measure it in a process of its own."""
    from latechunk import Index

    if build_s is None:
        with Index.open(folder, encoder=encoder) as index:
            begin = time.perf_counter()
            index.optimize(vectors=kind)
            build_s = time.perf_counter() - begin
    label = read_label(folder, 0)
    command = [sys.executable, __file__, "--measure", str(folder), "--kinds", kind]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return {
        "kind": label.held.factory,
        **json.loads(output),
        "build_s": round(build_s, 1),
        "disk_mb": round(folder_size(folder) / 1e6),
        "cache_mb": round(sum((folder / name).stat().st_size for name in file_names(0)) / 1e6),
        "params": asdict(label.params),
        "tuning": asdict(label.tuning) if label.tuning else None,
    }


def _stop(document: object, error: object) -> None:
    raise SystemExit(f"{document}: {error}")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    arguments.add_argument("--chunks", type=int, default=100_000)
    arguments.add_argument("--dims", type=int, default=384)
    arguments.add_argument("--kinds", nargs="+", default=["auto", "flat", "hnsw"], help="auto and others")
    default_data = Path(__file__).parent.parent / "latechunk" / "demo" / "data"
    arguments.add_argument("--data", type=Path, default=default_data, help="documents to encode")
    arguments.add_argument("--vectors", type=Path, help="a .npy of unit vectors, instead of documents")
    arguments.add_argument("--queries", type=Path, help="a .npy of unit vectors to search with")
    arguments.add_argument("--n-queries", type=int, default=200)
    arguments.add_argument("--texts", type=Path, help="a folder with docs.jsonl files, for the words of the chunks")
    arguments.add_argument("--questions", type=Path, help="a queries.jsonl file, for searches by vectors and words")
    arguments.add_argument("--precision", choices=get_args(Precision), default="float32", help="of the stored vectors")
    arguments.add_argument("--save", action="store_true", help="also write the figures to benchmarks/results")
    arguments.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure, options.kinds[0])))
        return

    from common import report  # not above: the process that measures memory needs no torch

    texts = read_texts(options.texts) if options.texts else ""
    questions = read_questions(options.questions, options.n_queries) if texts else []
    with tempfile.TemporaryDirectory() as scratch:
        vectors, queries, n_real = prepare(options, Path(scratch))
        figures: dict[str, Any] = {"n_chunks": len(vectors), "n_real": n_real, "dims": options.dims}
        figures["precision"] = options.precision
        folder = Path(scratch, "index")
        encoder = PreparedEncoder(vectors, WIDTH if texts else 2)
        tenths, close_s = build(folder, encoder, texts, options.precision)
        del texts
        if questions:
            Path(scratch, "questions.json").write_text(json.dumps(questions))
        np.save(Path(scratch, "queries.npy"), queries)
        Path(scratch, "truth.json").write_text(json.dumps(exact_scores(vectors, queries, folder, options.precision)))
        encoder.vectors = vectors[:0]
        del vectors
        figures["add_s"] = round(sum(tenths), 1)
        figures["last_tenth_to_first"] = round(tenths[-1] / tenths[0], 2)
        for kind in options.kinds:
            found = run_kind(folder, encoder, kind, close_s if kind == "auto" else None)
            prefix = "" if kind == "auto" else f"{kind}_"
            figures.update({f"{prefix}{name}": value for name, value in found.items()})
            print(json.dumps({kind: found}), flush=True)
    report(f"scale-{options.chunks}{'-words' if questions else ''}", figures, save=options.save)


if __name__ == "__main__":
    main()
