"""A filter that no document can meet by mistake is told, and one that none happens to meet is not."""

import datetime
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latechunk import Document, Index, SearchOptions
from latechunk.errors import FilterError
from tests.conftest import FakeEncoder

DOCUMENTS = [
    Document(
        "a", "Berlin is big.", {"source": "x", "year": 2023, "tags": ["p", "q"], "author": {"name": "M"}, "n": None}
    ),
    Document("b", "Paris is bigger.", {"source": "y", "year": 2024.5, "open": True, "day": "2024-01-01"}),
]


@pytest.fixture
def index(tmp_path):
    with Index.create(tmp_path / "i", encoder=FakeEncoder()) as made:
        made.add(DOCUMENTS)
        yield made


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"year": "2023"}, "'year' has only numbers, and is compared with the string '2023'"),
        ({"year": {"$gte": "2023"}}, "'year' has only numbers, and is compared with the string '2023'"),
        ({"year": {"$in": ["2023"]}}, "'year' has only numbers, and is compared with the string '2023'"),
        ({"source": 7}, "'source' has only strings, and is compared with 7"),
        ({"tags": True}, "'tags' has only strings, and is compared with True"),
        ({"open": "true"}, "'open' has only booleans, and is compared with the string 'true'"),
        ({"day": datetime.date(2024, 1, 1), "year": datetime.date(2024, 1, 1)}, "'year' has only numbers"),
        ({"sorce": "x"}, "no document has a plain value for the key 'sorce': did you mean 'source'?"),
        ({"YEAR": 2023}, "no document has a plain value for the key 'YEAR': did you mean 'year'?"),
        ({"colour": "red"}, "no document has a plain value for the key 'colour'"),
        ({"year": {"gte": 2022}}, "operators begin with $: under 'year' it is $gte"),
        ({"year": {"gte": 2022, "lt": 2030}}, "under 'year' it is $gte and $lt"),
        ({"$and": [{"source": "x"}, {"sorce": "x"}]}, "did you mean 'source'?"),
        ({"year": "1", "sorce": "x"}, "string '1'; no document has a plain value for the key 'sorce'"),
    ],
)
def test_a_mistake_is_told_once(index, caplog, wanted, said):
    for _ in range(3):
        assert index.search("big", filter=wanted) == []

    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.message.startswith("there is no document to search: ")
    assert said in record.message


@pytest.mark.parametrize(
    "wanted",
    [
        {"year": 1999},
        {"year": {"$gt": 3000}},
        {"source": {"$in": ["z", 3]}},
        {"source": {"$in": []}},
        {"n": 3},
        {"author": {"name": "z"}},
        {"author.name": "z"},
        {"nobody.knows": "z"},
        {"year": {"$exists": False}, "source": {"$exists": False}},
        {"source": "x", "year": 2024.5},
        {"$or": [{"sorce": "x"}]},
        {"$not": {"$or": [{"year": 2023}, {"year": 2024.5}]}},
    ],
)
def test_what_is_merely_not_there_is_no_mistake(index, caplog, wanted):
    assert index.search("big", filter=wanted) == []
    assert caplog.records == []


def test_ids_that_no_document_has_are_told(index, caplog):
    assert index.search("big", document_ids=["c"]) == []
    assert [one.message for one in caplog.records] == ["there is no document to search: no document has the id 'c'"]
    assert [hit.chunk.document_id for hit in index.search("big", document_ids=["c", "a"])] == ["a"]
    assert index.search("big", document_ids=[]) == []
    assert len(caplog.records) == 1


def test_a_deletion_tells_a_mistake_in_its_filter(index, caplog):
    assert index.delete(filter={"source": "z"}) == index.delete(["a"], filter={"source": "z"}) == 0
    assert caplog.records == []
    assert index.delete(filter={"sorce": "x"}) == 0
    assert [one.message for one in caplog.records] == [
        "there is no document to delete: no document has a plain value for the key 'sorce': did you mean 'source'?"
    ]
    assert index.delete(filter={"source": "x"}) == 1


def test_an_index_says_what_is_wrong_with_options(index, caplog):
    wrong = SearchOptions(filter={"sorce": "x"}, document_ids=["c"])
    right = SearchOptions(filter={"source": "x", "year": 2024.5}, document_ids=["a"])

    assert index.find_mistakes(wrong) == [
        "no document has a plain value for the key 'sorce': did you mean 'source'?",
        "no document has the id 'c'",
    ]
    assert index.find_mistakes(right) == index.find_mistakes(SearchOptions()) == []
    with pytest.raises(FilterError):
        index.find_mistakes(SearchOptions(filter={"$gtt": 1}))
    assert caplog.records == []


def test_it_is_told_again_when_documents_have_changed(index, caplog):
    for number in range(2):
        index.search("big", filter={"sorce": "x"})
        assert len(caplog.records) == number + 1
        index.add([Document("c", "Rome is old.", {"number": number})])


def test_an_empty_index_has_no_mistakes(tmp_path, caplog):
    with Index.create(tmp_path / "i", encoder=FakeEncoder()) as empty:
        assert empty.search("big", filter={"sorce": "x"}) == []
    assert caplog.records == []


@given(
    st.dictionaries(st.text(min_size=1, max_size=3), st.none() | st.booleans() | st.integers() | st.text(max_size=3))
)
def test_the_keys_and_kinds_of_the_store_are_those_of_its_metadata(tmp_path_factory, metadata):
    with Index.create(tmp_path_factory.mktemp("i") / "i", encoder=FakeEncoder()) as made:
        made.add([Document("a", "Berlin is big.", metadata), Document("b", "Paris.", {"k": 1})])
        store = made._store
        with store.snapshot():
            kinds_of = {key: set(store.field_kinds(key)) for key in store.field_names()}
        assert kinds_of.keys() == {*metadata, "k"}
        for key, value in metadata.items():
            kinds = {str: {"text"}, int: {"integer", "real"}, bool: {str(value).lower()}, type(None): {"null"}}
            own = kinds_of[key] - ({"integer"} if key == "k" else set())
            assert own <= kinds[type(value)]
            assert kinds_of[key] & (kinds[type(value)] | {"integer"})
