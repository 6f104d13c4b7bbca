"""The retriever: provenance, settings, the two ways of calling it."""

from __future__ import annotations

import pytest
from langchain_core.documents import Document
from langchain_core.runnables import ConfigurableField
from langchain_latechunk import LateChunkRetriever
from pydantic import ValidationError

from latechunk import Document as OurDocument
from latechunk import Index, SearchOptions, SentenceChunker
from latechunk.errors import FilterError, IndexExistsError, InputError, QueryError


@pytest.fixture
def filled(index, documents):
    index.add([OurDocument(one.id, one.page_content, one.metadata) for one in documents])
    return index


def test_passages_know_their_place(filled):
    retriever = LateChunkRetriever(index=filled, k=10)

    found = retriever.invoke("Which river?")

    hits = filled.search("Which river?", 10)
    assert len(found) == len(hits) == 6
    for one, hit in zip(found, hits, strict=True):
        assert one.metadata == {
            **hit.chunk.metadata,
            "latechunk_document_id": hit.chunk.document_id,
            "latechunk_chunk": hit.chunk.number,
            "latechunk_granularity": "chunks",
            "start_index": hit.chunk.start,
            "end_index": hit.chunk.end,
            "latechunk_score": hit.score,
        }
        text = filled.get(hit.chunk.document_id).text
        assert text[one.metadata["start_index"] : one.metadata["end_index"]] == one.page_content


async def test_k_and_filter_in_the_call(filled):
    retriever = LateChunkRetriever(index=filled, k=3)

    assert len(retriever.invoke("it")) == len(await retriever.ainvoke("it")) == 3
    assert len(retriever.invoke("it", k=2)) == len(await retriever.ainvoke("it", k=2)) == 2
    for found in (retriever.invoke("it", filter={"n": 2}), await retriever.ainvoke("it", filter={"n": 2})):
        assert {one.metadata["latechunk_document_id"] for one in found} == {"paris"}
    assert retriever.batch(["it", "people"]) == await retriever.abatch(["it", "people"])
    with pytest.raises(InputError, match="k must be at least 1, got 0"):
        retriever.invoke("it", k=0)


@pytest.mark.parametrize(
    ("settings", "options"),
    [
        ({}, {}),
        ({"mode": "lexical"}, {"mode": "lexical"}),
        ({"mode": "hybrid"}, {"mode": "hybrid"}),
        ({"filter": {"n": {"$gte": 1}}}, {"filter": {"n": {"$gte": 1}}}),
        ({"score_threshold": 0.1}, {"score_threshold": 0.1}),
        ({"expand": 1}, {"expand": 1}),
        ({"per_document": True}, {"per_document": True}),
        ({"search_type": "mmr", "lambda_mult": 0.2}, {"mmr": 0.2, "candidates": 20}),
        ({"search_type": "mmr", "fetch_k": 1}, {"mmr": 0.5, "candidates": 4}),
        ({"rerank": lambda question, texts: list(range(len(texts)))},) * 2,
    ],
)
async def test_settings_are_those_of_the_index(filled, settings, options):
    retriever = LateChunkRetriever(index=filled, **settings)

    found = retriever.invoke("capital Spree")

    expected = filled.search("capital Spree", 4, **options)
    assert [one.page_content for one in found] == [hit.chunk.text for hit in expected]
    assert [one.metadata["latechunk_score"] for one in found] == [hit.score for hit in expected]
    assert await retriever.ainvoke("capital Spree") == found


def test_within_and_granularity(tmp_path, fake, documents):
    chunkers = {"small": SentenceChunker(max_sentences=1), "large": SentenceChunker(max_tokens=64)}
    with Index.create(tmp_path / "x", encoder=fake, chunkers=chunkers) as index:
        index.add([OurDocument(one.id, one.page_content) for one in documents])

        (within,) = LateChunkRetriever(index=index, k=1, within="large").invoke("The Seine")
        (large,) = LateChunkRetriever(index=index, k=1, granularity="large").invoke("Hello there.")
        (small,) = LateChunkRetriever(index=index, k=1).invoke("The Seine")

        assert (within.id, within.page_content) == ("paris", documents[1].page_content)
        assert within.metadata["latechunk_granularity"] == "large"
        assert large.id == "stub"
        assert (small.id, small.page_content) == ("paris#1", "The Seine runs through it.")
        with pytest.raises(ValidationError, match="within must be one of the index's granularities"):
            LateChunkRetriever(index=index, within="paragraphs")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"k": 0}, "k must be at least 1"),
        ({"lambda_mult": 2.0, "search_type": "mmr"}, "mmr must be at most 1"),
        ({"search_type": "similarity_score_threshold"}, "similarity.*mmr"),
        ({"mode": "sparse"}, "dense"),
        ({"filter": {"n": {"$above": 1}}}, r"must be one of \$eq"),
        ({"expand": -1}, "expand must be"),
        ({"filters": {}}, "Extra inputs are not permitted"),
        ({"granularity": "pages"}, "granularity must be one of"),
    ],
)
def test_wrong_settings_are_errors_at_once(filled, settings, message):
    with pytest.raises(ValidationError, match=message):
        LateChunkRetriever(index=filled, **settings)


def test_it_takes_an_index(tmp_path):
    with pytest.raises(ValidationError, match="instance of Index"):
        LateChunkRetriever(index=str(tmp_path))


def test_bad_questions(filled):
    retriever = LateChunkRetriever(index=filled)
    with pytest.raises(QueryError):
        retriever.invoke(" ")
    with pytest.raises(FilterError):
        retriever.invoke("it", filter={"$n": 1})


def test_from_documents(tmp_path, embedding, documents):
    path = tmp_path / "x"
    chunker = SentenceChunker(max_tokens=8)
    retriever = LateChunkRetriever.from_documents(documents, embedding=embedding, path=path, chunker=chunker, k=1)

    assert [one.id for one in retriever.invoke("The Seine")] == ["paris#1"]
    retriever.index.close()
    again = LateChunkRetriever.open(path, embedding=embedding, k=1)
    assert [one.id for one in again.invoke("The Seine")] == ["paris#1"]
    again.index.close()
    with pytest.raises(IndexExistsError, match="exist_ok=True"):
        LateChunkRetriever.from_documents(documents, embedding=embedding, path=path)
    settings = {"embedding": embedding, "path": path, "chunker": chunker, "exist_ok": True}
    twice = LateChunkRetriever.from_documents(documents, **settings)
    assert len(twice.index) == len(documents)
    twice.index.close()


def test_from_documents_without_a_path(embedding, documents):
    retriever = LateChunkRetriever.from_documents(documents, embedding=embedding, ids=["a", "b", "c"])
    folder = retriever.index.path

    assert {one.metadata["latechunk_document_id"] for one in retriever.invoke("it", k=9)} == {"a", "b", "c"}
    copy = retriever.model_copy(update={"k": 1})
    del retriever
    assert len(copy.invoke("it")) == 1
    del copy
    assert not folder.exists()


def test_wrong_settings_leave_no_temporary_index(tmp_path, embedding, documents, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(ValidationError):
        LateChunkRetriever.from_documents(documents, embedding=embedding, k=0)
    assert list(tmp_path.iterdir()) == []


def test_settings_of_one_call_as_langchain_knows_them(filled):
    retriever = LateChunkRetriever(index=filled, k=1)
    configurable = retriever.configurable_fields(k=ConfigurableField(id="k"), mode=ConfigurableField(id="mode"))

    assert len(retriever.bind(k=2).invoke("it")) == 2
    assert len(configurable.invoke("it")) == 1
    found = configurable.invoke("it Seine", config={"configurable": {"k": 3, "mode": "lexical"}})
    assert {one.page_content for one in found} == {
        "The Seine runs through it.",
        "The Spree runs through it.",
        "It has many people. ",
    }


def test_callbacks_see_the_passages(filled):
    from langchain_core.callbacks import BaseCallbackHandler

    class Seen(BaseCallbackHandler):
        documents: list[Document]

        def on_retriever_end(self, documents, **kwargs):
            self.documents = documents

    seen = Seen()
    found = LateChunkRetriever(index=filled).invoke("it", config={"callbacks": [seen]})
    assert seen.documents == found


def test_every_option_of_a_search_reaches_the_index(filled, monkeypatch):
    given = {
        "mode": "hybrid",
        "fusion": "rrf",
        "dense_weight": 0.25,
        "filter": {"n": {"$gte": 1}},
        "document_ids": ["berlin"],
        "granularity": "chunks",
        "score_threshold": 0.1,
        "candidates": 9,
        "per_document": True,
        "expand": 1,
    }
    passed = []
    monkeypatch.setattr(filled, "search_with", lambda _, options: passed.append(options) or [])

    LateChunkRetriever(index=filled, k=3, **given).invoke("the capital")
    LateChunkRetriever(index=filled, k=3, search_type="mmr", lambda_mult=0.3).invoke("the capital")

    assert passed == [SearchOptions(k=3, **given), SearchOptions(k=3, mmr=0.3, candidates=20)]
