"""An index and a plain-Python model of it go through the same random changes, and must agree at every step."""

from __future__ import annotations

import shutil
import tempfile
from functools import lru_cache
from pathlib import Path

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from latechunk import Document, Index, SentenceChunker
from latechunk.chunking.places import with_outline
from latechunk.embedding import Embedding, chunk_documents, embed_chunks
from tests.conftest import FakeEncoder, no_error

IS_NIGHTLY = settings().max_examples > 100
CHUNKERS = {"pairs": SentenceChunker(max_sentences=2), "sentences": SentenceChunker(max_sentences=1)}
WORDS = ["river", "bridge", "mayor", "cheese", "Москва", "橋", "ship\0", "e\u0301"]
IDS = st.sampled_from([f"doc-{number}" for number in range(12)])
SENTENCES = st.lists(st.sampled_from(WORDS), min_size=1, max_size=4).map(lambda words: " ".join(words) + ". ")
TEXTS = st.lists(SENTENCES, min_size=1, max_size=12).map("".join)
METADATA = st.fixed_dictionaries({"year": st.integers(0, 4)}, optional={"tags": st.lists(st.sampled_from("abc"))})
FILTERS = st.one_of(
    st.none(),
    st.integers(0, 4).map(lambda year: {"year": year}),
    st.integers(0, 4).map(lambda year: {"year": {"$gte": year}}),
    st.sampled_from("abc").map(lambda tag: {"tags": tag}),
    st.sampled_from("abc").map(lambda tag: {"$not": {"tags": tag}}),
)


def holds(condition, metadata):
    """What the few filters that are drawn here mean."""
    if condition is None:
        return True
    if "$not" in condition:
        return not holds(condition["$not"], metadata)
    if "tags" in condition:
        return condition["tags"] in metadata.get("tags", [])
    year = condition["year"]
    return metadata["year"] >= year["$gte"] if isinstance(year, dict) else metadata["year"] == year


@lru_cache(maxsize=4096)
def chunks_of(text):
    """By granularity: spans and vectors, made without an index."""
    encoder, made = FakeEncoder(), {}
    for name, chunker in CHUNKERS.items():
        cuts = chunk_documents(encoder, [chunker], Embedding(), [Document("x", text)], no_error)
        made[name] = cuts[0].spans, embed_chunks(encoder, Embedding(), cuts)[0]
    return made


class IndexAgainstModel(RuleBasedStateMachine):
    """The model is a dict of documents; it has no files, no caches, and searches by comparing everything."""

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.model: dict[str, Document] = {}

    def open(self):
        self.index = Index.open(self.folder / "index", encoder=FakeEncoder())

    @initialize(kind=st.sampled_from(["auto", "flat", "hnsw", "ivf"]))
    def create(self, kind):
        self.kind = kind
        Index.create(self.folder / "index", encoder=FakeEncoder(), chunkers=CHUNKERS, vectors=kind).close()
        self.open()

    @rule(documents=st.dictionaries(IDS, st.tuples(TEXTS, METADATA), min_size=1, max_size=6))
    def add(self, documents):
        new = [Document(one, text, metadata) for one, (text, metadata) in documents.items()]
        changed = [one for one in new if one.id not in self.model or self.model[one.id].text != one.text]
        before = self.index.encoder.n_encoded
        report = self.index.add(new)
        assert report.n_added == len(documents.keys() - self.model.keys())
        assert self.index.encoder.n_encoded - before == len(changed)
        self.model |= {one.id: one for one in new}

    @precondition(lambda self: self.model)
    @rule(data=st.data(), metadata=METADATA)
    def relabel(self, data, metadata):
        one = data.draw(st.sampled_from(sorted(self.model)))
        self.model[one] = Document(one, self.model[one].text, metadata)
        before = self.index.encoder.n_encoded
        self.index.add([self.model[one]])
        assert self.index.encoder.n_encoded == before

    @rule(ids=st.lists(IDS, max_size=4, unique=True))
    def delete(self, ids):
        assert self.index.delete(ids) == len(set(ids) & self.model.keys())
        self.model = {one: document for one, document in self.model.items() if one not in ids}

    @rule()
    def reopen(self):
        self.index.close()
        self.open()

    @rule()
    def die(self):
        """End as a killed process does: nothing is closed or written any more."""
        self.index._store.close()
        self.open()

    @rule(kind=st.sampled_from([None, "flat", "hnsw", "ivf"]))
    def optimize(self, kind):
        self.kind = kind or self.kind
        self.index.optimize(vectors=kind)

    @rule(
        question=st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map(" ".join),
        k=st.integers(1, 40),
        condition=FILTERS,
        name=st.sampled_from(sorted(CHUNKERS)),
        ids=st.one_of(st.none(), st.lists(IDS, max_size=4)),
    )
    def search(self, question, k, condition, name, ids):
        query = FakeEncoder().encode_query(question)
        expected = {}
        for one in self.model.values():
            if holds(condition, one.metadata) and (ids is None or one.id in ids):
                spans, vectors = chunks_of(one.text)[name]
                for place, (span, score) in enumerate(zip(spans, vectors @ query, strict=True)):
                    expected[one.id, place] = float(score), one.text[span.start : span.end], one.metadata

        options = {"filter": condition, "granularity": name, "document_ids": ids}
        hits = self.index.search(question, k, mode="dense", **options)
        assert len(self.index.search(question, k, **options)) == len(hits)

        assert len(hits) == min(k, len(expected))
        assert len({(hit.chunk.document_id, hit.chunk.number) for hit in hits}) == len(hits)
        for hit in hits:
            score, text, metadata = expected[hit.chunk.document_id, hit.chunk.number]
            assert abs(hit.score - score) < 1e-5
            assert (hit.chunk.text, hit.chunk.metadata) == (text, metadata)
        if self.kind in ("auto", "flat"):
            best = sorted((score for score, _, _ in expected.values()), reverse=True)[:k]
            np.testing.assert_allclose([hit.score for hit in hits], best, atol=1e-5)

    @rule(
        word=st.sampled_from(["river", "bridge", "Москва", "橋"]),
        condition=FILTERS,
        name=st.sampled_from(sorted(CHUNKERS)),
    )
    def search_words(self, word, condition, name):
        expected = {
            (one.id, place)
            for one in self.model.values()
            if holds(condition, one.metadata)
            for place, span in enumerate(chunks_of(one.text)[name][0])
            if word in one.text[span.start : span.end]
        }
        hits = self.index.search(word, 1000, mode="lexical", filter=condition, granularity=name)
        assert {(hit.chunk.document_id, hit.chunk.number) for hit in hits} == expected

    @invariant()
    def holds_what_was_added(self):
        if hasattr(self, "index"):
            stored = {name: with_outline(one) for name, one in self.model.items()}
            assert {one: self.index.get(one) for one in self.index.ids()} == stored

    def teardown(self):
        if hasattr(self, "index"):
            self.index.close()
        shutil.rmtree(self.folder)


# 200 steps, and 2,000 with --hypothesis-profile=nightly.
IndexAgainstModel.TestCase.settings = settings(
    max_examples=40 if IS_NIGHTLY else 5, stateful_step_count=50 if IS_NIGHTLY else 40
)
test_an_index_does_what_its_model_does = IndexAgainstModel.TestCase
