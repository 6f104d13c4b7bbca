"""The retriever: provenance, settings, the two ways of calling it."""

from __future__ import annotations

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.runnables import ConfigurableField
from langchain_latechunk import LateChunkRetriever, LateChunkVectorStore
from pydantic import ValidationError

from latechunk import Document as OurDocument
from latechunk import Index, SearchOptions, SentenceChunker
from latechunk.errors import DocumentError, FilterError, IndexExistsError, InputError, QueryError


@pytest.fixture
def filled(index, documents):
    index.add([OurDocument(one.id, one.page_content, one.metadata) for one in documents])
    return index


def test_passages_know_their_place(filled):
    retriever = LateChunkRetriever(index=filled, k=10, add_score=True)

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


def test_a_passage_is_the_same_whatever_the_question(filled):
    for retriever in (LateChunkRetriever(index=filled, k=6), LateChunkVectorStore(filled).as_retriever()):
        many, river = ({one.id: one for one in retriever.invoke(question)} for question in ("many people", "river"))
        assert len(many.keys() & river.keys()) > 1
        assert all(many[name] == river[name] for name in many.keys() & river.keys())


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
        ({"search_type": "mmr", "candidates": 5}, {"mmr": 0.5, "candidates": 5}),
        ({"k": np.int64(4), "score_threshold": np.float32(0.5)}, {"score_threshold": 0.5}),
        ({"rerank": lambda question, texts: list(range(len(texts)))},) * 2,
    ],
)
async def test_settings_are_those_of_the_index(filled, settings, options):
    retriever = LateChunkRetriever(index=filled, add_score=True, **settings)

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
        with pytest.raises(ValidationError, match="within must name another granularity than the one that is searched"):
            LateChunkRetriever(index=index, within="small")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"k": 0}, "k must be at least 1"),
        ({"lambda_mult": 2.0, "search_type": "mmr"}, "lambda_mult must be a number from 0 to 1, got 2.0"),
        ({"lambda_mult": "0.5", "search_type": "mmr"}, "lambda_mult must be a number"),
        ({"lambda_mult": 0.5}, 'lambda_mult would have no effect: pass search_type="mmr"'),
        ({"fetch_k": 20}, "fetch_k would have no effect"),
        ({"fetch_k": 50, "lambda_mult": 7}, "fetch_k and lambda_mult would have no effect"),
        ({"fetch_k": 0, "search_type": "mmr"}, "fetch_k must be a whole number of at least 1, got 0"),
        ({"fetch_k": -3, "search_type": "mmr"}, "fetch_k must be a whole number of at least 1, got -3"),
        ({"fetch_k": True, "search_type": "mmr"}, "fetch_k must be a whole number"),
        ({"candidates": 0, "search_type": "mmr"}, "candidates must be at least k, which is 4, got 0"),
        ({"candidates": 9, "fetch_k": 9, "search_type": "mmr"}, "fetch_k and candidates both say"),
        ({"k": "2"}, "k must be a whole number, got '2'"),
        ({"k": True}, "k must be a whole number, got True"),
        ({"k": 2.0}, "k must be a whole number, got 2.0"),
        ({"per_document": "yes"}, "per_document must be True or False, got 'yes'"),
        ({"expand": "1"}, "expand must be a whole number"),
        ({"score_threshold": "0.5"}, "score_threshold must be a number"),
        ({"document_ids": "abc"}, "document_ids must be a list of ids, got 'abc'"),
        ({"dense_weight": 7}, "dense_weight must be at most 1"),
        ({"rerank": 7}, "rerank must be"),
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
    with pytest.raises(
        ValidationError, match=r"index must be a latechunk.Index .* got str; .* LateChunkRetriever\.open\(path\)"
    ):
        LateChunkRetriever(index=str(tmp_path))


def test_bad_questions(filled):
    retriever = LateChunkRetriever(index=filled)
    with pytest.raises(QueryError):
        retriever.invoke(" ")
    with pytest.raises(FilterError):
        retriever.invoke("it", filter={"$n": 1})


async def test_an_unknown_keyword_of_a_call_is_named(filled):
    retriever = LateChunkRetriever(index=filled)
    message = "invoke takes a query, k, filter and no further keywords; got foo"
    with pytest.raises(InputError, match=message):
        retriever.invoke("it", foo=1)
    with pytest.raises(InputError, match=message):
        await retriever.ainvoke("it", k=2, foo=1)
    with pytest.raises(InputError, match="k must be a whole number, got '2'"):
        retriever.invoke("it", k="2")


@pytest.mark.parametrize("was_there", [False, True, "linked"])
def test_what_fails_before_anything_is_stored_leaves_the_path_free(tmp_path, embedding, documents, was_there):
    path = tmp_path / "x"
    if was_there:
        folder = tmp_path / "folder" if was_there == "linked" else path
        folder.mkdir()
        if folder != path:
            path.symlink_to(folder)
    blank = [Document(" ", id="blank")]
    for error, given, settings in (
        (ValidationError, documents, {"k": 0}),
        (ValidationError, documents, {"granularity": "pages"}),
        (ValidationError, documents, {"colour": "red"}),
        (DocumentError, blank, {}),
        (DocumentError, [*documents, Document("x", id="berlin#1")], {}),
    ):
        with pytest.raises(error):
            LateChunkRetriever.from_documents(given, embedding=embedding, path=path, **settings)
        assert path.exists() == bool(was_there)
    with pytest.raises(DocumentError):
        LateChunkVectorStore.from_documents(blank, embedding, path=path)
    assert path.exists() == bool(was_there)
    with LateChunkVectorStore.from_documents(documents, embedding, path=path) as store:
        assert len(store.index) == 3


def test_a_failure_leaves_what_was_there(tmp_path, embedding, documents):
    path = tmp_path / "x"
    LateChunkVectorStore.create(path, embedding=embedding).close()
    for exist_ok in (True, False):
        with pytest.raises((ValidationError, IndexExistsError)):
            LateChunkRetriever.from_documents(documents, embedding=embedding, path=path, k=0, exist_ok=exist_ok)
        LateChunkVectorStore.open(path, embedding=embedding).close()


def test_a_failure_after_something_is_stored_leaves_it(tmp_path, embedding, documents, monkeypatch):
    add = Index.add
    monkeypatch.setattr(Index, "add", lambda index, given, **options: add(index, given[:1]) and 1 / 0)
    with pytest.raises(ZeroDivisionError):
        LateChunkRetriever.from_documents(documents, embedding=embedding, path=tmp_path / "x")
    with Index.open(tmp_path / "x") as index:
        assert index.ids() == ["berlin"]


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


def test_an_index_may_be_replaced(filled, tmp_path, fake):
    retriever = LateChunkRetriever(index=filled)
    with Index.create(tmp_path / "new", encoder=fake) as new:
        new.add([OurDocument("berlin", "Berlin is a state, too.")])
        copied = retriever.model_copy(update={"index": new})
        retriever.index = new
        filled.close()
        for one in (retriever, copied):
            assert [found.id for found in one.invoke("Berlin")] == ["berlin"]


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
