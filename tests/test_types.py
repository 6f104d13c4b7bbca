import math
from datetime import UTC, date, datetime, time
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest

from latechunk import Block, Chunk, Document, Hit, Page, Span
from latechunk.errors import DocumentError, SpanError


@pytest.mark.parametrize("document_id", [7, None, b"x", ["a"]])
def test_an_id_that_is_no_string_is_refused(document_id):
    with pytest.raises(DocumentError, match="must be a string"):
        Document(document_id, "text")


def test_an_empty_id_is_refused():
    with pytest.raises(DocumentError, match="must not be empty"):
        Document("", "text")


@pytest.mark.parametrize("text", [None, 3, b"bytes"])
def test_text_that_is_no_string_is_refused(text):
    with pytest.raises(DocumentError, match="text of document 'a' must be a string"):
        Document("a", text)


def test_a_lone_surrogate_is_refused_by_its_place():
    with pytest.raises(DocumentError, match="surrogate .* at character 3"):
        Document("a", "abc\ud800def")
    with pytest.raises(DocumentError, match="surrogate"):
        Document("a\udfff", "text")
    with pytest.raises(DocumentError, match="surrogate"):
        Document("a", "text", {"key": "\ud800"})


@pytest.mark.parametrize(
    "metadata",
    [{"a": object()}, {"a": math.nan}, {"a": {1, 2}}, {1: "a"}, {"a": {2: 3}}, {"a": b"x"}, {"a": math.inf}],
)
def test_metadata_that_json_cannot_give_back_is_refused(metadata):
    with pytest.raises(DocumentError, match="metadata of document 'a'"):
        Document("a", "text", metadata)


def test_metadata_that_holds_itself_is_refused():
    loop = {}
    loop["loop"] = loop
    with pytest.raises(DocumentError, match="metadata of document 'a'"):
        Document("a", "text", loop)


def test_metadata_must_be_a_mapping():
    with pytest.raises(DocumentError, match="must be a mapping, got list"):
        Document("a", "text", ["x"])


@pytest.mark.parametrize(("start", "end"), [(3, 3), (4, 2), (-1, 2)])
def test_an_empty_or_backward_span_is_refused(start, end):
    with pytest.raises(SpanError, match="0 <= start < end"):
        Span(start, end)


@pytest.mark.parametrize("places", [(0.0, 3), ("0", "3"), (None, 3)])
def test_a_span_needs_whole_numbers(places):
    with pytest.raises(SpanError, match="whole numbers"):
        Span(*places)


def test_whole_numbers_of_any_kind_become_plain_ones():
    span = Span(np.int64(1), np.int32(4))

    assert (type(span.start), type(span.end)) == (int, int)
    assert span == Span(1, 4)


def test_metadata_cannot_change_behind_the_documents_back():
    metadata = {"tags": ["a"]}
    document = Document("a", "text", metadata)
    metadata["tags"].append(object())

    assert document.metadata == {"tags": ["a"]}


def test_metadata_may_be_nested_as_deep_as_sqlite_reads_it():
    def nested(n_levels):
        value = {}
        for _ in range(n_levels - 1):
            value = {"a": value}
        return value

    assert Document("a", "text", nested(100)).metadata == nested(100)
    with pytest.raises(DocumentError, match="more than 100 levels"):
        Document("a", "text", nested(101))


def test_what_has_a_form_in_json_comes_back_in_it():
    given = {
        "at": datetime(2024, 2, 1, 10, 30, tzinfo=UTC),
        "day": date(2024, 2, 1),
        "time": time(10, 30),
        "file": Path("a/b.pdf"),
        "uuid": UUID(int=7),
        "numbers": np.arange(2),
        "half": np.float32(0.5),
        "true": np.bool_(True),
        "stamp": np.datetime64("2024-02-01"),
        "stamps": np.array([["2024-02-01T10:30:00"]], dtype="datetime64[ns]"),
        "no array": np.array("2024-02-01", dtype="datetime64[ns]"),
        "nested": [{"page": np.int64(3)}],
    }

    assert Document("a", "text", given).metadata == {
        "at": "2024-02-01T10:30:00+00:00",
        "day": "2024-02-01",
        "time": "10:30:00",
        "file": str(Path("a/b.pdf")),
        "uuid": "00000000-0000-0000-0000-000000000007",
        "numbers": [0, 1],
        "half": 0.5,
        "true": True,
        "stamp": "2024-02-01",
        "stamps": [["2024-02-01T10:30:00.000000000"]],
        "no array": "2024-02-01T00:00:00.000000000",
        "nested": [{"page": 3}],
    }


class Missing(datetime):
    """As pandas' NaT is."""

    def isoformat(self, *_):
        return "NaT"


@pytest.mark.parametrize(
    ("metadata", "place"),
    [
        ({"pages": [{"box": {1, 2}}]}, r"'pages\[0\].box' is of type set"),
        ({"x": {"y": float("nan")}}, "'x.y' is nan; leave it out, or give None"),
        ({"x": {"y": np.datetime64("NaT")}}, "'x.y' is nan; leave it out, or give None"),
        ({"x": Missing(2024, 1, 1)}, "'x' is nan; leave it out, or give None"),
        ({"x": np.timedelta64(5, "ns")}, "'x' is of type numpy.timedelta64"),
        ({"x": {3: "a"}}, "3 in 'x' must be a string to be a key"),
        ({"x": b"raw"}, "'x' is of type bytes"),
    ],
)
def test_an_error_names_the_key(metadata, place):
    with pytest.raises(DocumentError, match=place):
        Document("a", "text", metadata)


def test_pages_and_outline_are_part_of_a_document():
    text = "# Berlin\nBerlin is big."
    pages = (Page(0, 8, "i"), Page(8, 8), Page(9, 23, "ii"))
    outline = (Block("heading", 0, 8, 1), Block("list", 9, 23), Block("code", 9, 15))
    document = Document("a", text, pages=pages, outline=outline)

    assert (document.pages, document.outline) == (pages, outline)
    assert document == Document("a", text, pages=pages, outline=outline)
    assert document != Document("a", text, pages=pages[:2], outline=outline)
    assert document != Document("a", text, pages=pages)
    assert Document("a", text, outline=()) != Document("a", text)


@pytest.mark.parametrize(
    ("pages", "message"),
    [
        ([Page(0, 1)], "must be a tuple of latechunk.Page, got list"),
        ((Page(0, 1), (1, 2)), "must hold latechunk.Page, got tuple"),
        ((Page(0, 3), Page(2, 4)), "page 1 of document 'a' starts at 2, before the last one ends at 3"),
        ((Page(2, 4), Page(0, 2)), "must be in order"),
        ((Page(0, 5),), r"has 4 characters, too few for Page\(start=0, end=5"),
    ],
)
def test_pages_that_do_not_fit_the_text_are_refused(pages, message):
    with pytest.raises(DocumentError, match=message):
        Document("a", "text", pages=pages)


@pytest.mark.parametrize(
    ("outline", "message"),
    [
        ([], "must be a tuple of latechunk.Block, got list"),
        ((Page(0, 1),), "must hold latechunk.Block, got Page"),
        ((Block("list", 1, 2), Block("list", 0, 2)), "must be sorted by start"),
        ((Block("list", 0, 1), Block("list", 0, 2)), "the longer first"),
        ((Block("code", 0, 5),), "has 4 characters"),
    ],
)
def test_an_outline_that_does_not_fit_the_text_is_refused(outline, message):
    with pytest.raises(DocumentError, match=message):
        Document("a", "text", outline=outline)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Page(2, 1),
        lambda: Page(-1, 1),
        lambda: Page(0.0, 1),
        lambda: Page(0, True),
        lambda: Page(0, 1, 3),
        lambda: Page(0, 1, "\ud800"),
        lambda: Block("list", 1, 1),
        lambda: Block("list", 2, 1),
        lambda: Block("list", 0, 1, 1),
        lambda: Block("heading", 0, 1),
        lambda: Block("heading", 0, 1, 1.0),
        lambda: Block("figure", 0, 1),
    ],
)
def test_an_impossible_page_or_block_is_refused(make):
    with pytest.raises(DocumentError, match="page|block|heading"):
        make()


def test_documents_and_passages_are_keys_whatever_their_metadata():
    def make(n):
        chunk = Chunk("a", 0, 0, 4, "text", {"n": n, "tags": ["x"]})
        return Document("a", "text", {"n": n, "tags": ["x"]}), chunk, Hit(0.5, chunk, found=(chunk,))

    for one, same, other in zip(make(1), make(1), make(2), strict=True):
        assert len({one, same, other}) == 2
