"""Pages are joined where that is known to be right, and a passage knows the pages on which it stands."""

import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latechunk import PAGES, Chunk, Document, PagesWarning, join_pages, page_metadata
from latechunk.pages import have_no_page_in_common


def page(text, number=None, label=None, *, name=None, source="a.pdf", **metadata):
    given = {"source": source, "page": number, "page_label": label, **metadata}
    return name, text, {key: value for key, value in given.items() if value is not None}


def join(*pages, sure=False):
    """Documents of what is joined, and the texts of all else."""
    made = join_pages(pages, lambda page: page, lambda _, *joined: Document(*joined), source_keys=["source"], sure=sure)
    return [one if isinstance(one, Document) else one[1] for one in made]


def passage(joined, start, end):
    return Chunk(joined.id, 0, start, end, joined.text[start:end], joined.metadata)


def test_pages_become_one_document_with_a_table():
    (joined,) = join(page("", 0, "i"), page("It is", 1, "ii"), page("big.", 2, "iii"))

    assert joined.id == "a.pdf"
    assert joined.text == "It is\nbig."
    assert joined.metadata == {"source": "a.pdf", PAGES: [[0, 0, "i"], [0, 5, "ii"], [6, 10, "iii"]]}


def test_other_documents_keep_their_place():
    x, a, c, y = join(
        page("x", source="x.txt"), page("A", 0), page("B", 1), page("C", 0, source="c.pdf"), (None, "y", {})
    )

    assert (x, a.text, c.text, y) == ("x", "A\nB", "C", "y")
    assert c.metadata == {"source": "c.pdf", PAGES: [[0, 1, None]]}


def test_pages_are_ordered_by_their_numbers_and_missing_ones_are_empty():
    (joined,) = join(page("third", 3), page("first", 1))

    assert joined.text == "first\nthird"
    assert joined.metadata[PAGES] == [[0, 0, None], [0, 5, None], [5 + 1, 5 + 1, None], [6, 11, None]]


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
    assert joined.metadata.keys() == {"source", PAGES}


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

    for text, (start, end, _) in zip(texts, joined.metadata[PAGES], strict=True):
        assert joined.text[start:end] == (text if text.strip() else "")
    solid = [place for place, character in enumerate(joined.text) if not character.isspace()]
    if solid:
        start = data.draw(st.sampled_from(solid))
        (number,) = [n for n, (begin, stop, _) in enumerate(joined.metadata[PAGES]) if begin <= start < stop]
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


def test_metadata_without_pages_stay():
    assert page_metadata(Chunk("a", 0, 0, 1, "a", {"page": 7, "n": 1})) == {"page": 7, "n": 1}


def test_parts_of_a_file_have_no_page_in_common():
    first, rest = join(page("A", 0)), join(page("B", 1), page("C", 2))
    assert have_no_page_in_common(first[0].metadata, rest[0].metadata)
    assert not have_no_page_in_common(rest[0].metadata, rest[0].metadata)
    assert not have_no_page_in_common({}, rest[0].metadata)
    labelled = join(page("A", label="1")) + join(page("B", label="2"))
    assert have_no_page_in_common(*(one.metadata for one in labelled))
