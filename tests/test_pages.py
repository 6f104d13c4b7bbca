"""Pages are joined where that is known to be right, and a passage knows the pages on which it stands."""

import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latechunk import (
    OUTLINE,
    PAGES,
    Block,
    Chunk,
    Document,
    Page,
    PagesWarning,
    Span,
    join_pages,
    pack_metadata,
    page_metadata,
    unpack_document,
)
from latechunk.chunking.places import find_places, with_outline
from latechunk.errors import DocumentError
from latechunk.indexing import have_no_page_in_common


def page(text, number=None, label=None, *, name=None, source="a.pdf", **metadata):
    given = {"source": source, "page": number, "page_label": label, **metadata}
    return name, text, {key: value for key, value in given.items() if value is not None}


def join(*pages, sure=False):
    """Documents of what is joined, and the texts of all else."""
    make = lambda _, *joined: unpack_document(*joined)  # noqa: E731
    made = join_pages(pages, lambda page: page, make, source_keys=["source"], sure=sure)
    return [one if isinstance(one, Document) else one[1] for one in made]


def passage(joined, start, end):
    (place,) = find_places(with_outline(joined), [Span(start, end)])
    return Chunk(joined.id, 0, start, end, joined.text[start:end], joined.metadata, pages=place.pages)


def test_pages_become_one_document_with_a_table():
    (joined,) = join(page("", 0, "i"), page("It is", 1, "ii"), page("big.", 2, "iii"))

    assert joined.id == "a.pdf"
    assert joined.text == "It is\nbig."
    assert joined.metadata == {"source": "a.pdf"}
    assert joined.pages == (Page(0, 0, "i"), Page(0, 5, "ii"), Page(6, 10, "iii"))


def test_other_documents_keep_their_place():
    x, a, c, y = join(
        page("x", source="x.txt"), page("A", 0), page("B", 1), page("C", 0, source="c.pdf"), (None, "y", {})
    )

    assert (x, a.text, c.text, y) == ("x", "A\nB", "C", "y")
    assert (c.metadata, c.pages) == ({"source": "c.pdf"}, (Page(0, 1),))


def test_pages_are_ordered_by_their_numbers_and_missing_ones_are_empty():
    (joined,) = join(page("third", 3), page("first", 1))

    assert joined.text == "first\nthird"
    assert joined.pages == (Page(0, 0), Page(0, 5), Page(5 + 1, 5 + 1), Page(6, 11))


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ([page("A", 0, name="1"), page("B", 1)], "they have ids of their own"),
        ([page("A", 0, year=1), page("B", 1, year=2)], "their metadata differ in 'year'"),
        ([page("A", label="1"), page("B", label="1")], "their page labels repeat"),
    ],
)
def test_what_may_be_wrong_is_said_and_done_only_if_told(parts, reason):
    with pytest.warns(PagesWarning, match=rf"2 of the documents look like pages of 'a.pdf', .* {reason}.*join_pages"):
        assert join(*parts) == ["A", "B"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (joined,) = join(*parts, sure=True)
    assert joined.text == "A\nB"
    assert joined.metadata == {"source": "a.pdf"}
    assert len(joined.pages) == 2


def test_labels_may_be_numbers():  # as LlamaIndex numbers slides
    (joined,) = join(page("A", label=1), page("B", label=2))

    assert (joined.text, joined.pages) == ("A\nB", (Page(0, 1, "1"), Page(2, 3, "2")))


@pytest.mark.parametrize("sure", [True, False])
def test_repeated_numbers_are_never_joined(sure):
    with pytest.warns(PagesWarning, match="their page numbers repeat or are missing"):
        assert join(page("A", 0), page("A", 0), sure=sure) == ["A", "A"]


def test_a_page_that_comes_alone_is_said_only_if_others_are_known():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert join(page("A", 0, name="1"), page("B", 0, name="2", source="b.pdf", total_pages=1)) == ["A", "B"]
    with pytest.warns(PagesWarning, match="1 of the documents"):
        join(page("A", 3, name="1", total_pages=5))


@pytest.mark.parametrize("number", [-1, 10**6, 1.5, True, "7"])
def test_a_number_that_is_no_page(number):
    assert join(page("A", number), page("B", number)) == ["A", "B"]


@given(st.lists(st.text(max_size=8), min_size=1, max_size=8), st.data())
def test_every_page_is_found_by_its_characters(texts, data):
    (joined,) = join(*(page(text, number, f"p{number}") for number, text in enumerate(texts)))

    for text, one in zip(texts, joined.pages, strict=True):
        assert joined.text[one.start : one.end] == (text if text.strip() else "")
    solid = [place for place, character in enumerate(joined.text) if not character.isspace()]
    if solid:
        start = data.draw(st.sampled_from(solid))
        (number,) = [n for n, one in enumerate(joined.pages) if one.start <= start < one.end]
        assert page_metadata(passage(joined, start, start + 1)) == {
            "source": "a.pdf",
            "page": number,
            "page_label": f"p{number}",
        }


def test_a_passage_over_several_pages_has_a_first_and_a_last():
    (joined,) = join(page("One. Two", 0, "i"), page(" ", 1, "ii"), page("goes on.\n", 2, "1"), page("Three.", 3, "2"))

    assert page_metadata(passage(joined, 5, 18)) == {
        "source": "a.pdf",
        "page": 0,
        "page_label": "i",
        "last_page": 2,
        "last_page_label": "1",
    }
    assert page_metadata(passage(joined, 5, 9)) == {"source": "a.pdf", "page": 0, "page_label": "i"}
    assert page_metadata(passage(joined, 8, len(joined.text)))["page"] == 2


def test_pages_without_labels_count_from_1():
    (joined,) = join(page("One", 0), page("Two", 1, "ii"), page("Three", 2))

    assert page_metadata(passage(joined, 0, 3)) == {"source": "a.pdf", "page": 0, "page_label": "1"}
    assert page_metadata(passage(joined, 5, len(joined.text))) == {
        "source": "a.pdf",
        "page": 1,
        "page_label": "ii",
        "last_page": 2,
        "last_page_label": "3",
    }


def test_the_bytes_of_a_file_are_refused_where_a_remedy_is_known():
    with pytest.raises(DocumentError, match=r"document 'a' begins with '%PDF-', .* bytes of a PDF file.*: install x"):
        unpack_document("a", "%PDF-1.7 ...", {}, bytes_remedy="install x")
    assert unpack_document("a", "On %PDF-1.7", {}, bytes_remedy="install x").text == "On %PDF-1.7"
    for raw in (b"PK\x03\x04\x14\x00\x06\x00[Content_Types].xml", b"\xff\xd8\xff\xe0\x00\x10JFIF"):
        with pytest.raises(DocumentError, match=r"document 'a' has a NUL .* bytes of a file, .*: install x"):
            unpack_document("a", raw.decode("utf-8", "ignore"), {}, bytes_remedy="install x")
    assert unpack_document("a", "\0", {}).text == "\0"
    assert unpack_document("a", "%PDF-1.7", {}).text == "%PDF-1.7"


def test_metadata_without_pages_stay():
    assert page_metadata(Chunk("a", 0, 0, 1, "a", {"page": 7, "n": 1})) == {"page": 7, "n": 1}


def test_parts_of_a_file_have_no_page_in_common():
    first, rest = join(page("A", 0)), join(page("B", 1), page("C", 2))
    assert have_no_page_in_common(first[0].pages, rest[0].pages)
    assert not have_no_page_in_common(rest[0].pages, rest[0].pages)
    assert not have_no_page_in_common((), rest[0].pages)
    labelled = join(page("A", label="1")) + join(page("B", label="2"))
    assert have_no_page_in_common(*(one.pages for one in labelled))


@pytest.mark.parametrize("after", [["1", "2", "3"], ["i", "ii", "1"], [None, None, "1"]])
@pytest.mark.parametrize("before", [["1", "2", "3"], [None, None, None]])
def test_a_file_whose_pages_were_labelled_otherwise_is_no_other_part_of_it(before, after):
    versions = [[Page(n, n + 1, label) for n, label in enumerate(labels)] for labels in (before, after)]
    assert not have_no_page_in_common(*versions)


def test_pages_and_outline_travel_in_metadata():
    outline = (Block("heading", 0, 5, 1), Block("list", 6, 10))
    document = Document("a", "It is\nbig.", {"n": 1}, pages=(Page(0, 5, "i"), Page(6, 10)), outline=outline)

    packed = pack_metadata(document)
    assert packed == {
        "n": 1,
        PAGES: [[0, 5, "i"], [6, 10, None]],
        OUTLINE: [["heading", 0, 5, 1], ["list", 6, 10, 0]],
    }
    assert unpack_document("a", document.text, packed) == document
    plain = Document("b", "x", outline=())
    assert unpack_document("b", "x", pack_metadata(plain)) == plain != unpack_document("b", "x", {})


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({PAGES: 3}, r"pages must be a list of \[start, end, label\], got 3"),
        ({PAGES: [[0, 1]]}, "pages must be a list"),
        ({PAGES: [[0, 9, None]]}, "has 4 characters"),
        ({OUTLINE: [["heading", 0, 1]]}, r"blocks must be a list of \[kind, start, end, level\]"),
        ({OUTLINE: None}, "blocks must be a list"),
        ({OUTLINE: [[["x"], 0, 1, 1]]}, "the kind of a block must be one of"),
    ],
)
def test_metadata_that_hold_no_pages_or_outline_are_refused(metadata, message):
    with pytest.raises(DocumentError, match=message):
        unpack_document("a", "text", metadata)
