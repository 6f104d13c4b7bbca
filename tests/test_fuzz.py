"""Random input of every sort: it works or is refused by an error of ours, and never hangs."""

from __future__ import annotations

import json
import random
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from latechunk import Document, Index, SentenceChunker
from latechunk.chunking.places import with_outline
from latechunk.errors import LateChunkError
from latechunk.readers import find_files, read_documents
from tests.conftest import SCRIPTS, FakeEncoder

IS_NIGHTLY = settings().max_examples > 100
N_INPUTS = 100_000 if IS_NIGHTLY else 4_000
N_FILES = 2_000 if IS_NIGHTLY else 60
SECONDS = 20.0  # of the processor, not of the clock, for one input; far above what any takes

SNIPPETS = [
    *SCRIPTS.values(),
    *(
        "",
        " ",
        "\0",
        "\n",
        "\r\n",
        "\ufeff",
        "\ufffd",
        "\u2028",
        "\u200b",
        "\u202e",
        "e\u0301" * 40,
        "👩‍👩‍👧‍👦",
        "a" * 3000,
    ),
    *('"', "'", "''", "\\", "%s", "{}", "$eq", "$", ".", "*", "(", "NEAR(a b)", "a AND b", "-a", "a:b", "^a", '"a'),
    *("'; DROP TABLE documents; --", "../../etc/passwd", "/dev/zero", "C:\\nul", "file:///etc/passwd", "<script>"),
    *("null", "true", "NaN", "1e999", "-0", "0x10", "١٢", "½", "\ud800", "\udfff\ud800"),
]
OPERATORS = ["$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$exists", "$and", "$or", "$not", "$regex", "$"]
KEYS = ["n", "a", "a.b", "a.b.c", "", ".", "a.", "$a", '"', "'", "]", "\0", "ключ", "x" * 500]
SCALARS = [None, True, False, 0, 1, -1, 2**63, -(2**64), 10**400, 0.0, -0.0, 1.5, 1e308, float("nan"), float("inf")]
OBJECTS = [object(), b"bytes", {1, 2}, (1, 2), np.int64(3), np.float32(2), np.zeros(3), complex(1), range(3), Path("a")]


class Fuzzer:
    """Draws values from a seed, of the sorts that break things."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def text(self):
        parts = self.random.choices(SNIPPETS, k=self.random.choice([0, 1, 1, 2, 5]))
        if self.random.random() < 0.3:
            parts.append("".join(chr(self.random.randrange(0x110000)) for _ in range(self.random.randrange(20))))
        return self.random.choice(["", " ", ". "]).join(parts)

    def value(self, depth=0):
        sort = self.random.random()
        if sort < 0.3 or depth > 6:
            return self.random.choice(SCALARS)
        if sort < 0.55:
            return self.text()
        if sort < 0.6:
            return self.random.choice(OBJECTS)
        if sort < 0.8:
            return [self.value(depth + 1) for _ in range(self.random.randrange(4))]
        return {self.key(): self.value(depth + 1) for _ in range(self.random.randrange(4))}

    def key(self):
        return self.random.choice([*KEYS, *OPERATORS, self.random.choice(SCALARS)])

    def filter(self, depth=0):
        if depth > 4 or self.random.random() < 0.1:
            return self.value(depth)
        sort = self.random.random()
        if sort < 0.2:
            return {
                self.random.choice(["$and", "$or"]): [self.filter(depth + 1) for _ in range(self.random.randrange(4))]
            }
        if sort < 0.3:
            return {"$not": self.filter(depth + 1)}
        field = self.random.choice(KEYS)
        if sort < 0.5:
            return {field: self.value(4)}
        return {field: {self.random.choice(OPERATORS): self.value(4) for _ in range(self.random.randrange(1, 3))}}

    def deep(self):
        value = self.value()
        for _ in range(self.random.choice([50, 500, 5_000])):
            value = self.random.choice([[value], {"a": value}, {"$not": value}])
        return value


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    path = tmp_path_factory.mktemp("fuzz") / "index"
    chunkers = {"chunks": SentenceChunker(max_tokens=8), "sentences": SentenceChunker(max_sentences=1)}
    with Index.create(path, encoder=FakeEncoder(), chunkers=chunkers) as index:
        index.add([Document(name, text, {"n": len(text), "a": {"b": name}}) for name, text in SCRIPTS.items()])
        yield index


def add(index, fuzz):
    metadata = fuzz.deep() if fuzz.random.random() < 0.02 else fuzz.value()
    document = Document(fuzz.random.choice([*SCRIPTS, fuzz.text(), fuzz.value()]), fuzz.text(), metadata)
    index.add([document])
    assert index.get(document.id) == with_outline(document)


def search_with_filter(index, fuzz):
    condition = fuzz.deep() if fuzz.random.random() < 0.02 else fuzz.filter()
    mode = fuzz.random.choice(["dense", "lexical", "hybrid"])
    assert len(index.search("capital people", 5, filter=condition, mode=mode)) <= 5


def search_for(index, fuzz):
    question = fuzz.text() if fuzz.random.random() < 0.9 else fuzz.value()
    index.search(question, 3, mode=fuzz.random.choice(["dense", "lexical", "hybrid"]))


def search_with_options(index, fuzz):
    names = ["k", "mode", "fusion", "dense_weight", "score_threshold", "mmr", "candidates", "per_document", "within"]
    names += ["expand", "granularity", "document_ids", "rerank"]
    good = {
        "within": "sentences",
        "expand": 2,
        "mmr": 0.4,
        "per_document": True,
        "mode": "hybrid",
        "fusion": "rrf",
    }
    chosen = fuzz.random.sample(names, fuzz.random.randrange(1, 4))
    options = {one: good[one] if one in good and fuzz.random.random() < 0.7 else fuzz.value() for one in chosen}
    index.search("capital", **options)


def search_by_vector(index, fuzz):
    vector = fuzz.random.choice(
        [np.full(8, fuzz.random.choice([0, 1, np.nan, 1e-300, 1e300])), np.ones(3), fuzz.value()]
    )
    index.search_by_vector(vector, 3)


def ask_for_ids(index, fuzz):
    one = fuzz.random.choice([fuzz.text(), fuzz.value()])
    assert one not in index or one in index.ids()
    index.get(one)
    index.chunks(one, granularity=fuzz.random.choice([None, "sentences", fuzz.value()]), number=fuzz.value())
    index.delete([one])


ACTIONS = [add, search_with_filter, search_for, search_with_options, search_by_vector, ask_for_ids]


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.__name__)
def test_input_works_or_is_refused(index, action):
    n_refused = 0
    for seed in range(N_INPUTS // len(ACTIONS)):
        begin = time.process_time()
        try:
            action(index, Fuzzer(seed))
        except LateChunkError as error:
            n_refused += 1
            assert len(str(error)) > 20, (action, seed)
        except Exception as error:
            error.add_note(f"seed {seed}")
            raise
        assert time.process_time() - begin < SECONDS, (action, seed)
    assert 0 < n_refused < N_INPUTS // len(ACTIONS)
    assert index.search("capital", 1)


def test_files_of_documents_are_read_or_named(tmp_path):
    for seed in range(N_FILES):
        fuzz = Fuzzer(seed)
        content = b"\n".join(_line(fuzz) for _ in range(5))
        path = tmp_path / f"file{fuzz.random.choice(['.txt', '.md', '.jsonl'])}"
        path.write_bytes(content)
        problems = []
        documents = list(read_documents(find_files([path], problems.append), problems.append))
        assert documents or problems
        path.unlink()


def _line(fuzz):
    sort = fuzz.random.random()
    if sort < 0.3:
        return fuzz.random.randbytes(fuzz.random.randrange(40))
    if sort < 0.6:
        return fuzz.text().encode("utf-8", "surrogatepass")
    try:
        return json.dumps({"id": fuzz.text(), "text": fuzz.text(), "more": fuzz.value()}).encode()
    except (TypeError, ValueError):
        return b"[" * fuzz.random.choice([1, 100, 100_000])


def test_an_index_with_flipped_bytes_is_searched_or_named(tmp_path):
    good = tmp_path / "good"
    with Index.create(good, encoder=FakeEncoder(), chunker=SentenceChunker(max_tokens=8)) as index:
        index.add([Document(name, text * 5, {"n": len(text)}) for name, text in SCRIPTS.items()])
        index.search("capital")
    for seed in range(N_FILES):
        fuzz = random.Random(seed)
        path = tmp_path / "copy"
        shutil.copytree(good, path)
        name = fuzz.choice(
            ["store.sqlite3", "store.sqlite3", *(f"vectors.{suffix}" for suffix in ("faiss", "npy", "json"))]
        )
        content = bytearray((path / name).read_bytes())
        for _ in range(fuzz.choice([1, 10, 200])):
            content[fuzz.randrange(len(content))] = fuzz.randrange(256)
        (path / name).write_bytes(content[: fuzz.choice([len(content), len(content) // 2])])
        try:
            with Index.open(path, encoder=FakeEncoder()) as index:
                hits = index.search(
                    "capital", 5, mode=fuzz.choice(["dense", "lexical", "hybrid"]), filter={"n": {"$gt": 1}}
                )
                assert all(hit.chunk.text for hit in hits)
                index.add([Document("new", "A new document.")])
                index.delete(["new"])
        except LateChunkError as error:
            assert len(str(error)) > 20
        except Exception as error:
            error.add_note(f"seed {seed} in {name}")
            raise
        shutil.rmtree(path)
