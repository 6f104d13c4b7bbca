"""Structured queries, as SelfQueryRetriever makes them of questions, find what they say."""

from __future__ import annotations

import pytest
from langchain_core.documents import Document
from langchain_core.runnables import RunnableLambda
from langchain_core.structured_query import Comparator, Comparison, Operation, Operator, StructuredQuery
from langchain_latechunk import LateChunkTranslator

TITLE = Comparison(Comparator.CONTAIN, "title", "Spree")
EARLY = Comparison(Comparator.LT, "at", {"date": "2024-01-01", "type": "date"})


@pytest.fixture
def filled(store):
    metadatas = {
        "a": {"title": "On the Spree", "year": 1237, "at": "2023-12-31"},
        "b": {"title": "On the Seine", "year": 250, "at": "2024-01-01"},
        "c": {},
    }
    store.add_documents([Document("A river.", id=name, metadata=one) for name, one in metadatas.items()])
    return store


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (None, "abc"),
        (TITLE, "a"),
        (EARLY, "a"),
        (Comparison(Comparator.GTE, "at", {"datetime": "2023-12-31T10:00:00", "type": "datetime"}), "b"),
        (Comparison(Comparator.EQ, "year", 250), "b"),
        (Comparison(Comparator.NE, "year", 250), "ac"),
        (Comparison(Comparator.GT, "year", 250), "a"),
        (Comparison(Comparator.LTE, "year", 250), "b"),
        (Comparison(Comparator.IN, "year", [250, 1237]), "ab"),
        (Comparison(Comparator.NIN, "year", [250, 1]), "ac"),
        (Operation(Operator.AND, [TITLE, Comparison(Comparator.EQ, "year", 250)]), ""),
        (Operation(Operator.OR, [TITLE, Comparison(Comparator.EQ, "year", 250)]), "ab"),
        (Operation(Operator.NOT, [TITLE]), "bc"),
        (Operation(Operator.NOT, [TITLE, Comparison(Comparator.EQ, "year", 250)]), "c"),
    ],
)
def test_filters_find_what_they_say(filled, wanted, expected):
    query, options = LateChunkTranslator().visit_structured_query(StructuredQuery("river", wanted))

    assert query == "river"
    assert "".join(sorted(one.id for one in filled.similarity_search(query, **options))) == expected


def test_a_comparator_without_counterpart_is_an_error():
    with pytest.raises(ValueError, match="disallowed comparator like"):
        LateChunkTranslator().visit_comparison(Comparison(Comparator.LIKE, "title", "Spree"))


def test_langchains_self_query_retriever_takes_it(filled):
    base = pytest.importorskip("langchain_classic.retrievers.self_query.base")
    made = StructuredQuery("river", EARLY)
    retriever = base.SelfQueryRetriever(
        vectorstore=filled,
        query_constructor=RunnableLambda(lambda _: made),
        structured_query_translator=LateChunkTranslator(),
    )

    assert [one.id for one in retriever.invoke("Which river before 2024?")] == ["a"]
    made = StructuredQuery(" ", EARLY)  # as LangChain's parser has it where the model leaves no question
    retriever.use_original_query = True
    assert [one.id for one in retriever.invoke("What was before 2024?")] == ["a"]
