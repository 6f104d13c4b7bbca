"""Pages and headings of a passage, how it is cited, and that both survive storing, exporting and salvaging."""

import json
import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latechunk import (
    Block,
    Chunk,
    Document,
    Hit,
    Index,
    Page,
    SentenceChunker,
    Span,
    StructureChunker,
    TokenChunker,
    embed_documents,
)
from latechunk.chunking import places
from latechunk.chunking.places import find_places, find_sections, with_outline
from latechunk.errors import IndexDamagedError, InputError, SpanError
from latechunk.maintenance.dump import dump_documents
from latechunk.maintenance.export import export_index, import_index
from latechunk.maintenance.repair import repair
from latechunk.maintenance.verify import verify
from latechunk.readers import SourceFile, read_documents
from latechunk.types import PageNumber
from tests.conftest import FakeEncoder

TEXT = "Guide\nWe sell pumps.\nRefunds\nShipping\nWe pay for it.\nStaff\nAsk them.\n"
HEADINGS = (Block("heading", 0, 5, 1), Block("heading", 21, 28, 2), Block("heading", 29, 37, 3))
STAFF = Block("heading", 53, 58, 2)
GUIDE = Document(
    "docs/guide.pdf",
    TEXT,
    {"source": "/home/me/docs/guide.pdf"},
    pages=(Page(0, 20, "ii"), Page(20, 20, None), Page(21, 52, "iii"), Page(53, 69, None)),
    outline=(*HEADINGS, Block("list", 38, 52), STAFF),
)


def place(start, end, document=GUIDE):
    return find_places(document, [Span(start, end)])[0]


def passage(start, end, document=GUIDE):
    found = place(start, end, document)
    text = document.text[start:end]
    parts = {"headings": found.headings, "sections": found.titles, "pages": found.pages, "line": found.line}
    return Chunk(document.id, 0, start, end, text, document.metadata, **parts)


@pytest.mark.parametrize(
    ("start", "end", "headings"),
    [
        (6, 20, ("Guide",)),
        (0, 20, ("Guide",)),  # it begins with its own heading
        (21, 52, ("Guide", "Refunds", "Shipping")),  # and so with two
        (20, 52, ("Guide", "Refunds", "Shipping")),  # and white space before them
        (0, 5, ("Guide",)),  # nothing but a heading
        (21, 37, ("Guide", "Refunds", "Shipping")),
        (21, 29, ("Guide", "Refunds")),
        (23, 52, ("Guide", "Refunds", "Shipping")),  # a heading cut in two
        (10, 52, ("Guide",)),  # it begins in the section before
        (53, 69, ("Guide", "Staff")),  # a heading ends all of its level and deeper
    ],
)
def test_the_headings_above_a_passage(start, end, headings):
    assert place(start, end).headings == headings


def test_there_may_be_no_heading_above():
    document = Document("a", "Preface\n# One\ntext")
    assert [one.headings for one in find_places(with_outline(document), [Span(0, 7), Span(8, 18)])] == [(), ("One",)]
    assert find_places(Document("b", "x", outline=()), [Span(0, 1)])[0].headings == ()


def test_a_heading_that_skips_levels_stands_under_the_last_one_above():
    outline = (
        Block("heading", 0, 1, 2),
        Block("heading", 2, 3, 5),
        Block("heading", 4, 5, 4),
        Block("heading", 6, 7, 1),
    )
    document = Document("a", "a\nb\nc\nd\ne", outline=outline)
    paths = [one.headings for one in find_places(document, [Span(2, 3), Span(4, 5), Span(8, 9)])]
    assert paths == [("a", "b"), ("a", "c"), ("d",)]


def test_a_title_is_one_line_of_at_most_200_characters():
    text = "Terms\n of  sale" + "!" * 300
    (found,) = find_places(Document("a", text, outline=(Block("heading", 0, len(text), 1),)), [Span(0, 5)])
    assert found.headings == ("Terms of sale" + "!" * 186 + "…",)


@pytest.mark.parametrize(
    ("start", "end", "pages"),
    [
        (0, 20, [(0, "ii")]),
        (0, 21, [(0, "ii")]),  # white space at the end
        (6, 30, [(0, "ii"), (2, "iii")]),  # not the blank page between them
        (50, 69, [(2, "iii"), (3, None)]),
        (69, 70, []),  # behind the last page
    ],
)
def test_the_pages_of_a_passage(start, end, pages):
    assert place(start, end).pages == tuple(PageNumber(*one) for one in pages)


def test_titles_are_those_of_the_sections_that_begin_in_a_passage_and_not_that_of_the_document():
    several = with_outline(Document("a", "# A\n\n# B\n\nText.\n"))
    many = with_outline(Document("a", "".join(f"# {number}\n\n" for number in range(17))))

    assert [place(0, end).titles for end in (5, 28, len(TEXT))] == [(), ("Refunds",), ("Refunds", "Shipping", "Staff")]
    assert place(29, len(TEXT)).titles == ("Shipping", "Staff")
    assert place(0, len(several.text), several).titles == ("A", "B")
    assert place(0, len(many.text), many).titles == ("0", "…", "16")
    wordless = with_outline(Document("a", "# Guide\n\nText.\n\n## ![](a.png)\n\nfoo\n\n## B\n\nbar"))
    assert place(0, len(wordless.text), wordless).titles == ("B",)


def test_lines_are_counted_from_one_in_any_order():
    spans = [Span(6, 20), Span(38, 52), Span(0, 5), Span(20, 28)]
    assert [one.line for one in find_places(GUIDE, spans)] == [2, 5, 1, 3]


@pytest.mark.parametrize(
    ("chunk", "citation"),
    [
        (passage(6, 20), "docs/guide.pdf, p. ii, Guide"),
        (passage(38, 52), "docs/guide.pdf, p. iii, Guide > Refunds > Shipping"),
        (passage(6, 52), "docs/guide.pdf, pp. ii-iii, Guide; Refunds; Shipping"),
        (passage(53, 69), "docs/guide.pdf, p. 4, Guide > Staff"),
        (passage(3, 7, Document("notes.txt", "One\ntwo", outline=())), "notes.txt:2"),
        (passage(4, 7, Document("x", "One\ntwo", {"source": "/home/me/a.py"}, outline=())), "a.py:2"),
        (passage(0, 3, Document("x", "One", {"file_path": r"C:\docs\a b.md"})), "a b.md:1"),
        (passage(0, 3, Document("x", "One", {"file_name": "b.md"})), "b.md:1"),
        (passage(0, 3, Document("x", "One", {"source": "https://a.org/b"})), "https://a.org/b:1"),
        (passage(0, 3, Document("x", "One", {"source": 7})), "x:1"),
        (passage(0, 3, Document("/home/me/c.txt", "One")), "c.txt:1"),
        (passage(0, 3, Document("d/a.csv#7", "One", {"source": "/me/d/a.csv", "table_row": 7})), "d/a.csv, row 7"),
        (passage(0, 3, Document("own", "One", {"source": "/me/d/a.csv", "table_row": 7})), "a.csv, row 7"),
        (passage(0, 3, Document("seat", "One", {"source": "hall.txt", "row": 7})), "hall.txt:1"),
        (passage(0, 3, Document("x", "One", pages=(Page(0, 3),))), "x, p. 1"),
        (Chunk("x", 0, 0, 3, "One", {}), "x"),
    ],
)
def test_citations(chunk, citation):
    assert chunk.citation == citation
    assert Hit(1.0, chunk).citation == citation


@pytest.fixture
def index(tmp_path):
    chunkers = {"small": TokenChunker(max_tokens=3), "large": TokenChunker(max_tokens=6)}
    with Index.create(tmp_path / "index", encoder=FakeEncoder(), chunkers=chunkers) as made:
        yield made


@pytest.mark.parametrize(
    ("headings", "sections", "citation"),
    [
        (("Guide", "Refunds"), ("Shipping",), "a, Guide > Refunds; Shipping"),  # the answer may stand in either
        (("Guide", "Refunds"), ("Refunds",), "a, Guide > Refunds"),  # it begins with its own heading
        (("Guide", "Refunds", "Shipping"), ("Refunds", "Shipping"), "a, Guide > Refunds > Shipping"),
        (("Guide", "Refunds", "Shipping"), ("Refunds", "Shipping", "Staff"), "a, Guide > Refunds > Shipping; Staff"),
        (("A",), ("B", "C", "D"), "a, A; B; C; D"),
        (("A",), ("B", "C", "D", "E"), "a, A; B; …; E"),
        (("A",), ("A", "A"), "a, A; A"),  # two sections of one title
        (("G",), ("A", "…", "Z"), "a, G; A; …; Z"),
        ((), ("Refunds", "Staff"), "a:3, Refunds; Staff"),  # text before the first heading
        (("A", "B"), ("A", "B", "C", "A", "B"), "a, A > B; C; A; B"),
    ],
)
def test_a_citation_names_the_sections_that_begin_in_a_passage(headings, sections, citation):
    assert Chunk("a", 0, 5, 6, "x", {}, headings=headings, sections=sections, line=3).citation == citation


@pytest.mark.parametrize("overlap", [0, 1])
@pytest.mark.parametrize("n_sections", [5, 20])
def test_joined_passages_have_the_sections_of_the_whole(tmp_path, overlap, n_sections):
    parts = "".join(f"## Part {n}\n\nText {n}. More of it.\n\n" for n in range(n_sections))
    document = Document("g", f"# Guide\n\nIntro. Another.\n\n{parts}")
    chunker = SentenceChunker(max_sentences=2, overlap=overlap)
    with Index.create(tmp_path / "i", encoder=FakeEncoder(), chunker=chunker) as index:
        index.add([document])
        for expand in (1, 2, 40):
            for hit in index.search("Text", k=3, expand=expand):
                whole = index.passage("g", hit.chunk.start, hit.chunk.end)
                assert (hit.chunk.sections, hit.citation) == (whole.sections, whole.citation)


def test_a_passage_over_two_short_sections_is_cited_by_both(tmp_path):
    """Found by a reader whose answer stood in the second."""
    text = (
        "# Slicer\n\n## Wiring\n\nUse 230 volts.\n\n## Starting\n\nPress the green button.\n\n## Care\n\n"
        + "Oil it. " * 60
    )
    with Index.create(tmp_path / "i", encoder=FakeEncoder(), chunker=StructureChunker(max_tokens=64)) as index:
        index.add([Document("manual.md", text)])
        (found,) = [one for one in index.chunks("manual.md") if "green" in one.text]
    assert "volts" in found.text
    assert found.citation == "manual.md, Slicer > Wiring; Starting; Care"


def test_a_hit_knows_its_pages_and_headings(index):
    index.add([GUIDE])

    hit = index.search("pay for it", k=1)[0]
    assert hit.chunk.headings == ("Guide", "Refunds", "Shipping")
    assert hit.citation == "docs/guide.pdf, p. iii, Guide > Refunds > Shipping"
    wide = index.search("pay for it", k=1, expand=5)[0].chunk
    assert (wide.text, wide.headings, wide.sections) == (TEXT, ("Guide",), ("Refunds", "Shipping", "Staff"))
    assert wide.citation == "docs/guide.pdf, pp. ii-4, Guide; Refunds; Shipping; Staff"
    assert wide.pages == (PageNumber(0, "ii"), PageNumber(2, "iii"), PageNumber(3, None))


def test_joined_passages_stand_on_the_pages_of_all(index):
    index.add([GUIDE])
    hits = index.search("Refunds Shipping pumps", k=20, expand=1)
    for hit in hits:
        assert hit.chunk == index.passage(GUIDE.id, hit.chunk.start, hit.chunk.end).__class__(
            hit.chunk.document_id,
            hit.chunk.number,
            hit.chunk.start,
            hit.chunk.end,
            hit.chunk.text,
            hit.chunk.metadata,
            hit.chunk.granularity,
            place(hit.chunk.start, hit.chunk.end).headings,
            place(hit.chunk.start, hit.chunk.end).titles,
            place(hit.chunk.start, hit.chunk.end).pages,
            place(hit.chunk.start, hit.chunk.end).line,
        )


def test_a_range_of_a_document_is_a_passage(index):
    index.add([GUIDE])

    assert index.passage(GUIDE.id, 38, 52) == passage(38, 52)
    assert index.passage(GUIDE.id, 38, 1000) is None
    assert index.passage("nothing", 0, 1) is None
    with pytest.raises(SpanError):
        index.passage(GUIDE.id, 3, 3)


def test_chunks_without_an_index_know_as_much(index):
    index.add([GUIDE])
    (embedded,) = embed_documents([GUIDE], encoder=FakeEncoder(), chunker=TokenChunker(max_tokens=3))

    stored = index.chunks(GUIDE.id)
    assert [(one.start, one.headings, one.pages, one.line) for one in embedded.chunks] == [
        (one.start, one.headings, one.pages, one.line) for one in stored
    ]


def test_an_outline_that_nobody_knows_is_found_in_the_text(index):
    document = Document("a.md", "# Pumps\n\nCheck them weekly.\n\n## Seals\n\nOil them.\n")
    index.add([document])

    assert index.get("a.md").outline == (Block("heading", 0, 7, 1), Block("heading", 29, 37, 2))
    assert index.search("oil", k=1)[0].citation == "a.md, Pumps > Seals"
    assert index.add([document]).n_unchanged == 1
    assert index.add([index.get("a.md")]).n_unchanged == 1


@pytest.mark.parametrize(
    ("change", "report"),
    [
        ({}, (0, 1, 0)),
        ({"outline": None}, (0, 1, 0)),  # claims nothing
        ({"outline": GUIDE.outline[1:]}, (1, 0, 1)),  # may be cut otherwise
        ({"outline": ()}, (1, 0, 1)),
        ({"pages": ()}, (1, 0, 0)),
        ({"pages": (*GUIDE.pages[:3], Page(53, 69, "iv"))}, (1, 0, 0)),
        ({"pages": GUIDE.pages[:2], "metadata": {}}, (1, 0, 0)),
    ],
)
def test_what_changed_is_updated_and_encoded_only_if_it_must_be(index, change, report):
    index.add([GUIDE])
    before = index.encoder.n_encoded
    fields = {"metadata": GUIDE.metadata, "pages": GUIDE.pages, "outline": GUIDE.outline, **change}
    document = Document(GUIDE.id, TEXT, **fields)
    done = index.add([document])

    assert (done.n_updated, done.n_unchanged, index.encoder.n_encoded - before) == report
    stored = index.get(GUIDE.id)
    assert (stored.metadata, stored.pages) == (document.metadata, document.pages)
    assert stored.outline == (GUIDE.outline if document.outline is None else document.outline)
    for name in ("small", "large"):
        for chunk in index.chunks(GUIDE.id, granularity=name):
            expected = place(chunk.start, chunk.end, stored)
            assert (chunk.headings, chunk.pages, chunk.line) == (expected.headings, expected.pages, expected.line)
            assert chunk.sections == expected.titles
    assert verify(index.path) == []


@st.composite
def documents(draw):
    text = draw(st.text(alphabet="ab #\n\r日é", min_size=1, max_size=60).filter(lambda text: not text.isspace()))
    places = st.integers(0, len(text))
    ends = sorted(draw(st.lists(places, max_size=8)))
    labels = st.none() | st.text(alphabet="iv1日 \"'", max_size=3)
    pages = tuple(Page(start, end, draw(labels)) for start, end in zip(ends[::2], ends[1::2], strict=False))
    ranges = draw(st.lists(st.tuples(places, places).filter(lambda pair: pair[0] < pair[1]), max_size=6))
    blocks = []
    for start, end in sorted(ranges, key=lambda pair: (pair[0], -pair[1])):
        kind = draw(st.sampled_from(["heading", "table", "code", "list"]))
        blocks.append(Block(kind, start, end, draw(st.integers(1, 4)) if kind == "heading" else 0))
    outline = draw(st.sampled_from([None, tuple(blocks)]))
    return Document(draw(st.sampled_from(["a", "b/c.md"])), text, pages=pages, outline=outline)


@given(documents())
def test_pages_and_outline_survive_storing_and_exporting(tmp_path_factory, document):
    folder = tmp_path_factory.mktemp("structure")
    expected = with_outline(document)
    with Index.create(folder / "index", encoder=FakeEncoder(), chunker=TokenChunker(max_tokens=2)) as index:
        index.add([document])
        assert index.get(document.id) == expected
        chunks = index.chunks(document.id)
    for chunk, found in zip(chunks, find_places(expected, [Span(one.start, one.end) for one in chunks]), strict=True):
        assert (chunk.headings, chunk.pages, chunk.line) == (found.headings, found.pages, found.line)
        assert chunk.sections == found.titles
        start = chunk.start + len(chunk.text) - len(chunk.text.lstrip())
        assert chunk.line == document.text[:start].count("\n") + 1
        solid = {place for place in range(chunk.start, chunk.end) if not document.text[place].isspace()}
        numbers = [
            number
            for number, page in enumerate(document.pages)
            if page.start < page.end and min(solid) < page.end and page.start <= max(solid)
        ]
        assert [page.number for page in chunk.pages] == numbers
    for suffix in ("jsonl", "parquet"):
        export_index(folder / "index", folder / f"out.{suffix}")
        import_index(folder / f"out.{suffix}", folder / suffix)
        with Index.open(folder / suffix, encoder=FakeEncoder()) as back:
            assert back.get(document.id) == expected
            assert back.chunks(document.id) == chunks
    path, _ = dump_documents(folder / "index")
    problems = []
    (salvaged,) = read_documents([SourceFile(path, path.name)], problems.append)
    assert with_outline(salvaged) == expected
    assert not problems


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE structures SET pages = '[[0,5,null]]'",
        "UPDATE structures SET outline = '[]'",
        "UPDATE structures SET outline = x'ff'",
        "DELETE FROM structures",
    ],
)
def test_damaged_pages_and_outlines_are_found_and_never_given(index, damage):
    index.add([GUIDE, Document("other", "Something else.")])
    with sqlite3.connect(index.path / "store.sqlite3") as connection:
        (number,) = connection.execute("SELECT number FROM documents WHERE id = ?", (GUIDE.id,)).fetchone()
        connection.execute(f"{damage} WHERE document = {number}")
    connection.close()

    with pytest.raises(IndexDamagedError):
        index.get(GUIDE.id)
    (problem,) = verify(index.path)
    assert (problem.document, problem.mending) == (GUIDE.id, "drop")
    assert "pages or its outline" in problem.what
    report = repair(index.path, drop=True, encoder=FakeEncoder())
    assert not report.remaining
    left = [json.loads(line) for line in report.files[0].read_text().splitlines()]
    assert [(one["text"], one["metadata"]) for one in left] == [(TEXT, GUIDE.metadata)]


@pytest.mark.parametrize("column", ["headings = '[\"Other\"]'", "pages = '[]'", "line = 9", "headings = 'x'"])
def test_a_chunk_in_the_wrong_place_is_found_and_encoded_again(index, column):
    index.add([GUIDE])
    before = index.chunks(GUIDE.id)
    with sqlite3.connect(index.path / "store.sqlite3") as connection:
        connection.execute(f"UPDATE chunks SET {column} WHERE place = 4")
    connection.close()

    assert [one.mending for one in verify(index.path)] == ["encode"]
    report = repair(index.path, encoder=FakeEncoder())
    assert report.is_whole
    assert index.chunks(GUIDE.id) == before


def test_a_structure_without_a_document_is_removed(index):
    index.add([GUIDE])
    with sqlite3.connect(index.path / "store.sqlite3") as connection:
        connection.execute("INSERT INTO structures VALUES (99, '[]', '[]', x'00')")
    connection.close()

    (problem,) = verify(index.path)
    assert (problem.part, problem.mending) == ("structure", "references")
    assert repair(index.path, encoder=FakeEncoder()).is_whole


@pytest.mark.parametrize(
    ("text", "sections"),
    [
        ("No heading here.", []),
        ("# A\none\n# B\n", ["# A\none\n", "# B\n"]),
        ("before\n\n# A\none", ["before\n\n", "# A\none"]),
        ("\n\n# A\n\n## B\n\none\n## C\ntwo", ["\n\n# A\n\n## B\n\none\n", "## C\ntwo"]),
    ],
)
def test_sections_begin_at_headings(text, sections):
    document = with_outline(Document("a", text))
    assert [text[one.start : one.end] for one in find_sections(document)] == sections


def test_small_to_big_by_section(index):
    text = "# Über 東京\n\nIt has many trains. They run at all hours.\n\n## Seals\n\nOil them. Grease them.\n"
    index.add([Document("a.md", text), Document("plain", "Grease is used for trains. It is not oil.")])

    hits = index.search("grease them seals oil", k=20, within="section")

    passages = [hit.chunk for hit in hits if hit.chunk.document_id == "a.md"]
    assert sorted((one.start, one.text, one.headings, one.granularity) for one in passages) == [
        (0, text[: text.index("## S")], ("Über 東京",), "section"),
        (text.index("## S"), text[text.index("## S") :], ("Über 東京", "Seals"), "section"),
    ]
    for hit in hits:
        assert text[hit.chunk.start : hit.chunk.end] == hit.chunk.text or hit.chunk.document_id == "plain"
        assert hit.chunk.granularity == ("section" if hit.found else "small")
    assert index.neighbours(passages) == [(None, None), (None, None)]
    assert next(hit for hit in hits if hit.found).found[0].granularity == "small"


def test_where_sections_stand_is_found_in_one_pass_over_their_document(index, monkeypatch):
    """One pass for each took 7 s for 1,000 sections of a document of 4,000."""
    text = "".join(f"# Über {n}\n\nIt has trains. They run in {n}.\n\n" for n in range(40))
    index.add([Document("a.md", text)])
    made = []
    outline = places._Outline
    monkeypatch.setattr(places, "_Outline", lambda *parts: made.append(1) or outline(*parts))

    hits = index.search("trains run", k=30, within="section")

    assert len(made) == 1
    assert len({hit.chunk.start for hit in hits}) == 30
    for hit in hits:
        heading, line = hit.chunk.text.splitlines()[0], text[: hit.chunk.start].count("\n") + 1
        assert hit.chunk.text == text[hit.chunk.start : hit.chunk.end]
        assert (hit.chunk.headings, hit.chunk.line) == ((heading.removeprefix("# "),), line)


def test_sections_and_neighbours_are_not_asked_for_together(index):
    index.add([GUIDE])
    with pytest.raises(InputError, match="expand counts chunks"):
        index.search("pumps", within="section", expand=1)
    with pytest.raises(InputError, match="within must be one of"):
        index.search("pumps", within="sections")


def test_a_granularity_of_ones_own_may_be_called_section(tmp_path):
    chunkers = {"small": TokenChunker(max_tokens=2), "section": TokenChunker(max_tokens=4)}
    with Index.create(tmp_path / "own", encoder=FakeEncoder(), chunkers=chunkers) as index:
        index.add([GUIDE])
        found = index.search("pumps", k=1, within="section")[0].chunk
        assert found in index.chunks(GUIDE.id, granularity="section")
