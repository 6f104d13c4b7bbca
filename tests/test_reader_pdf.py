"""PDF files: pages, headings, scripts, and what is wrong with such files; and the process that parses them."""

import io
import re
import sys
from pathlib import Path

import pytest

from latechunk.errors import DocumentError, MissingDependencyError
from latechunk.readers import parser_process, pdf
from latechunk.readers.parsed import Parsed, ParserOptions
from latechunk.readers.parser_process import ParserProcess
from latechunk.readers.pdf_headings import _levels
from latechunk.types import Block, Page
from tests.pdfs import IMAGE, make_pdf, write_lines

pypdfium2 = pytest.importorskip("pypdfium2")

PROSE = ["The pump must be checked each week", "by a trained person, who writes it down."]


@pytest.fixture
def read(read):
    """Reads a PDF of these bytes, as the fixture of this name of all readers does."""

    def read_pdf(data, name="a.pdf", **options):
        found = read(name, data, **options)
        read_pdf.notes = read.notes
        return found

    return read_pdf


def parse(tmp_path, data, **options):
    (tmp_path / "direct.pdf").write_bytes(data)
    return pdf.parse(tmp_path / "direct.pdf", ParserOptions(**options))


def page_texts(document):
    return [document.text[page.start : page.end] for page in document.pages]


def test_pages_are_one_text_with_their_labels(read, tmp_path):
    data = make_pdf(
        [write_lines(PROSE), b"", write_lines(["Last."])],
        labels="0 << /S /r >> 1 << /S /D /P (A-) >>",
        info="/Title (Pumps) /Author (Ann) /CreationDate (D:20240131093000+01'00')",
    )

    ((document,), problems) = read(data)

    first = "\n".join(PROSE)
    assert document.text == f"{first}\nLast."
    assert page_texts(document) == [first, "", "Last."]
    assert [page.label for page in document.pages] == ["i", "A-1", "A-2"]
    assert document.outline is None
    source = (tmp_path / "a.pdf").as_posix()
    assert document.metadata == {
        "title": "Pumps",
        "author": "Ann",
        "created": "2024-01-31T09:30:00",
        "source": source,
    }
    assert problems == read.notes == []


def test_labels_that_repeat_and_no_labels_are_as_they_are(read):
    pages = [write_lines([name]) for name in "abc"]

    repeated = read(make_pdf(pages, labels="0 << /S /D >> 1 << /S /D >> 2 << /P (x) >>"))[0][0]
    plain = read(make_pdf(pages))[0][0]

    assert [page.label for page in repeated.pages] == ["1", "1", "x"]
    assert [page.label for page in plain.pages] == [None] * 3


def test_words_cut_at_line_ends_are_whole_and_paragraphs_are_apart(read):
    lines = ["Die Verant-", "wortung in Ost-", "West und die Jahre 19-", "20 der Koope\xad", "ration."]
    content = write_lines(lines) + write_lines(["A new one."], y=620)

    ((document,), _) = read(make_pdf([content]))

    assert document.text == ("Die Verantwortung in Ost-West und die Jahre 19-\n20 der Kooperation.\n\nA new one.")


@pytest.mark.parametrize(
    ("elsewhere", "lines", "joined"),
    [
        ("It is well-known.", ["a Well-", "known pump"], "a Well-known pump"),
        ("It is known.", ["a well-", "known pump"], "a wellknown pump"),
        ("Some resign, and some re-sign.", ["They re-", "sign it"], "They resign it"),
        ("A state-of-the-art pump.", ["a state-", "of-", "the-", "art one"], "a state-of-the-art one"),
        ("No other.", ["a pneumonoul-", "tramicro-", "scopic word"], "a pneumonoultramicroscopic word"),
        ("Vorteile.", ["Vor-", "und Nachteile"], "Vor-\nund Nachteile"),
        ("A meteor.", ["a mete-", "or fell"], "a meteor fell"),
    ],
)
def test_a_hyphen_at_a_line_end_stays_where_the_document_has_the_word_with_it_only(read, elsewhere, lines, joined):
    pages = [write_lines([elsewhere]), write_lines(lines), write_lines(["The end."])]

    ((document,), _) = read(make_pdf(pages, bookmarks=[("The end.", 2)]))

    assert page_texts(document) == [elsewhere, joined, "The end."]
    (heading,) = document.outline
    assert document.text[heading.start : heading.end] == "The end."


def test_browsers_break_words_at_soft_hyphens_and_lines_at_those_of_words(read):
    lines = [
        "An organ_",
        "ization of long-",
        "term pre-",
        "and postfix West_",
        "Falia, see /a-",
        "path and end.",
    ]

    mapped = [("_", "\u2010")]
    ((printed,), _) = read(make_pdf([write_lines(lines)], info="/Producer (Skia/PDF m138)", to_unicode=mapped))
    ((other,), _) = read(make_pdf([write_lines(lines)], to_unicode=mapped))

    assert printed.text == ("An organization of long-term pre-\nand postfix West-Falia, see /a-path and end.")
    assert other.text == "An organization of longterm pre-\nand postfix West-Falia, see /apath and end."


def test_bullets_notes_and_words_in_other_type_end_no_paragraph(read):
    shown = [  # where each piece of a line stands, and the size of its type
        [(72, 720, 16, "\u2022"), (84, 720, 11, "The pump must be")],
        [(72, 706, 11, "checked each week")],
        [(72, 692, 8, "FAQ"), (92, 692, 11, "and manual of the")],
        [(72, 678, 11, "pump say how.")],
        [(72, 104, 5, "1"), (78, 100, 8, "A note on pumps")],
        [(72, 94, 5, "b"), (76, 90, 8, "Another, of")],
        [(72, 80, 8, "two lines")],
    ]
    content = b"".join(write_lines([text], x=x, y=y, size=size) for line in shown for x, y, size, text in line)

    ((document,), _) = read(make_pdf([content, write_lines(["It goes on."])]))

    assert document.text == (
        "\u2022 The pump must be\nchecked each week\nFAQ and manual of the\npump say how."
        "\n\n1 A note on pumps\n\nbAnother, of\ntwo lines\n\nIt goes on."
    )


def test_letters_of_one_font_that_differ_a_little_are_of_one_level():
    assert _levels([20.0, 14.1, 14.0, 12.7]) == {20.0: 1, 14.1: 2, 14.0: 2, 12.7: 3}


def test_lines_of_larger_type_are_headings(read):
    pages = [
        write_lines(["Guide to", "pumps"], size=20, lead=24)
        + write_lines(PROSE * 3, y=660)
        + write_lines(["Care"], size=14, y=560)
        + write_lines(PROSE * 3, y=540),
        write_lines(["More"], size=20) + write_lines(PROSE, y=690),
    ]

    ((document,), _) = read(make_pdf(pages))

    headings = [(document.text[one.start : one.end], one.level) for one in document.outline]
    assert headings == [("Guide to\npumps", 1), ("Care", 2), ("More", 1)]


@pytest.mark.parametrize(
    ("head", "is_running"),
    [
        ("Pumps Ltd", True),
        ("Pumps Ltd, page {0} of 9", True),
        ("Pumps Ltd, page {1} of 9", False),
        ("Step {0}", False),
    ],
)
@pytest.mark.parametrize("n_pages", [2, 4])
def test_running_heads_of_larger_type_are_no_headings(read, n_pages, head, is_running):
    heads = [head.format(3 + page, [3, 8, 5, 20][page]) for page in range(n_pages)]
    prose, care = write_lines(PROSE * 6, y=540), write_lines(["Care"], size=14, y=560)
    pages = [write_lines([one], size=14, y=760) + care * (not page) + prose for page, one in enumerate(heads)]

    ((document,), _) = read(make_pdf(pages))

    headings = [line for one in document.outline for line in document.text[one.start : one.end].split("\n") if line]
    assert headings == (["Care"] if is_running else [heads[0], "Care", *heads[1:]])
    assert [document.text.count(one) for one in heads] == [heads.count(one) for one in heads]


@pytest.mark.parametrize(
    ("head", "foot", "kept"),
    [
        ("Care of pumps", "Page {0} of 9", ["Care of pumps", "Page 3 of 9"]),
        ("Chapter 2 of the guide  {0}", "- {0} -", ["Chapter 2 of the guide 3"]),
        ("Exercise {0}", "{1}", ["Exercise 3", "Exercise 4", "Exercise 5", "Exercise 6", "3", "8", "5", "20"]),
        ("Preface | {2}", "{2}", ["Preface | iii", "Preface | iv", "Preface | v", "Preface | vi"]),
        ("{2}", "ill iv will", ["ill iv will"]),
    ],
)
def test_running_heads_and_page_numbers_are_read_once(read, head, foot, kept):
    lines = ["A sentence that goes", "on over the end of the"]
    pages = [
        write_lines([head.format(3 + page, [3, 8, 5, 20][page], ["iii", "iv", "v", "vi"][page])], y=760)
        + write_lines([*lines, f"page {page}"], y=700)
        + write_lines([foot.format(3 + page, [3, 8, 5, 20][page], ["iii", "iv", "v", "vi"][page])], y=30, size=9)
        for page in range(4)
    ]

    ((document,), _) = read(make_pdf(pages, labels="0 << /S /D >>"))
    said = document.text.split("\n")

    assert sorted(line for line in said if line not in (*lines, "") and line[:5] != "page ") == sorted(kept)
    assert [line[-1] for line in said if line[:5] == "page "] == ["0", "1", "2", "3"]
    assert [document.text[one.start : one.end].count(lines[0]) for one in document.pages] == [1] * 4
    assert [one.label for one in document.pages] == ["1", "2", "3", "4"]


@pytest.mark.parametrize(
    "head", ["Invoice No. {0}", "Our invoice #{0}", "Facture n° {0}", "Invoice INV-{0}", "Rechnung Nr.{0}"]
)
def test_numbers_of_things_of_one_page_stay(read, head):
    pages = [
        write_lines([head.format(1001 + page)], y=760)
        + write_lines(["Pumps and valves", "as you ordered them"], y=700)
        + write_lines([f"Page {page + 1}"], y=30, size=9)
        for page in range(4)
    ]

    ((document,), _) = read(make_pdf(pages))

    assert [head.format(1001 + page) in document.text for page in range(4)] == [True] * 4
    assert document.text.count("Page") == 1


def test_heads_that_stand_on_two_pages_or_far_from_each_other_stay(read):
    body = write_lines(["One line.", "Another."], y=700)
    heads = [write_lines(["Care of pumps"], y=760), *[b""] * 3]

    for pages in ([heads[0]] * 2, heads * 3):
        ((document,), _) = read(make_pdf([head + body for head in pages]))

        assert document.text.count("Care of pumps") == pages.count(heads[0])


def test_bookmarks_are_headings_where_the_text_says_them(read):
    pages = [write_lines(["1.2 Care of pumps", *PROSE]), write_lines([*PROSE, "Sparing", "parts"])]

    ((document,), _) = read(make_pdf(pages, bookmarks=[("Care of  Pumps", 0), ("Sparing parts", 1), ("Nowhere", 0)]))

    headings = [document.text[one.start : one.end] for one in document.outline]
    assert headings == ["1.2 Care of pumps", "Sparing\nparts"]
    assert read(make_pdf(pages, bookmarks=[("Nowhere", 0)]))[0][0].outline is None


def test_what_is_mostly_large_has_no_headings():
    from latechunk.readers.pdf_headings import Line, find_headings

    lines = [Line(0, 0, 40, 20.0), Line(0, 41, 100, 10.0)]
    assert find_headings("x" * 100, lines, []) == ()
    assert find_headings("x" * 100, [Line(0, 0, 5, 20.0), *lines[1:]], [(0, "?!", 1)]) == (Block("heading", 0, 5, 1),)


def test_a_page_that_is_turned_has_paragraphs_and_headings(read):
    lines = ["I am narrow, and so on, and on.", "We are wide, and so on, and on."]
    turned = [
        write_lines(["Care"], size=20) + write_lines(lines * 2, y=690) + write_lines(lines * 2, y=620),
    ]

    texts = []
    for matrix, rotation in ((b"1 0 0 1 0 0", 0), (b"0 1 -1 0 792 0", 90), (b"0 -1 1 0 0 612", 270)):
        pages = [b"q %s cm %s Q" % (matrix, page) for page in turned]
        ((document,), _) = read(make_pdf(pages, page_entries=f"/Rotate {rotation}"))
        texts.append(document.text)
        assert [document.text[one.start : one.end] for one in document.outline] == ["Care"]

    paragraph = "\n".join(lines * 2)
    assert texts == [f"Care\n\n{paragraph}\n\n{paragraph}"] * 3


@pytest.mark.parametrize("matrix", ["1 0 0 1 0 0", "0 1 -1 0 792 0", "-1 0 0 -1 612 792", "0 -1 1 0 0 612"])
@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_a_page_that_lies_on_its_side_or_its_head_is_read_as_it_was_written(read, matrix, rotation):
    rows = [["Part", "Price", "Stock"], ["Pump", "12", "3"], ["Valve", "5", "9"]]
    shown = b"".join(
        write_lines([cell], x=72 + 110 * column, y=500 - 22 * row)
        for row, cells in enumerate(rows)
        for column, cell in enumerate(cells)
    ) + write_lines(PROSE, y=420)

    ((document,), _) = read(make_pdf([b"q %s cm %s Q" % (matrix.encode(), shown)], page_entries=f"/Rotate {rotation}"))

    assert document.text.split("\n") == ["Part Price Stock", "Pump 12 3", "Valve 5 9", "", *PROSE]


def test_cells_of_a_row_that_are_drawn_one_by_one_stand_on_one_line(read):
    rows = [["Part", "Price", "Stock"], ["Pump", "12", "3"], ["Valve", "5", "9"]]
    content = b"".join(
        write_lines([cell], x=72 + 110 * column, y=700 - 22 * row)
        for row, cells in enumerate(rows)
        for column, cell in enumerate(cells)
    )

    assert read(make_pdf([content]))[0][0].text.split("\n") == ["Part Price Stock", "Pump 12 3", "Valve 5 9"]


@pytest.mark.parametrize(
    ("entries", "text"),
    [
        ("/Subtype /Widget /FT /Tx /T (name) /V (Ann Lee)", "Name:\nAnn Lee"),
        ("/Subtype /FreeText /Contents (Ann Lee)", "Name:\nAnn Lee"),
        ("/Subtype /Widget /FT /Tx /T (name) /V (Ann Lee) /F 2", "Name:"),  # hidden
        ("/Subtype /Link", "Name:"),
    ],
)
def test_what_is_filled_in_or_typed_upon_a_page_is_text(read, entries, text):
    annotation = f"/Annots [<< /Type /Annot /Rect [72 600 372 630] /AP << /N 9 0 R >> {entries} >>]"
    shown = write_lines(["Ann Lee"], x=2, y=4)

    ((document,), _) = read(make_pdf([write_lines(["Name:"])], page_entries=annotation, appearance=shown))

    assert document.text.split() == text.split()


def test_columns_come_one_after_the_other(read):
    content = write_lines(["left one", "left two"]) + write_lines(["right one", "right two"], x=320)

    assert read(make_pdf([content]))[0][0].text == "left one\nleft two\nright one\nright two"


def test_text_from_right_to_left_ligatures_and_signs_beyond_the_basic_plane(read):
    hebrew = dict(zip("1234", "םולש", strict=True))  # as it is drawn, from left to right
    mapped = [*hebrew.items(), ("f", "\ufb01"), ("5", "\U0001d465")]

    ((document,), _) = read(make_pdf([write_lines(["1234", "fnal 5 = 0", "Next"])], to_unicode=mapped))

    assert document.text.split("\n") == ["שלום", "final \U0001d465 = 0", "Next"]


def test_arabic_words_are_in_order_however_their_letters_are_drawn(read):
    def replaced(number, text):  # as Chromium draws letters, from left to right
        return b"/Span << /ActualText <feff%s> >> BDC (%s) Tj EMC " % (text.encode("utf-16-be").hex().encode(), number)

    # Salam, with a ligature for its second and third letter: drawn from left to right, from right to left in one piece,
    # and letter by letter with replacements.
    words = [
        b"BT /F1 11 Tf 72 720 Td (123) Tj ET",
        b"BT /F1 11 Tf 90 690 Td [(3) 1112 (2) 1112 (1)] TJ ET",
        b"BT /ReversedChars BMC /F1 11 Tf 72 660 Td " + b"".join(map(replaced, b"1 2 3".split(), ["م", "لا", "س"])),
    ]
    for ligature in ("لا", "\ufefb"):
        content = b" ".join(words[:2] if ligature == "\ufefb" else words)
        mapped = [("1", "م"), ("2", ligature), ("3", "س")]

        ((document,), _) = read(make_pdf([content + b"EMC ET"], to_unicode=mapped))

        assert set(document.text.split()) == {"سلام"}


def test_vertical_text_is_read_column_by_column(read):
    font = Path(pytest.importorskip("matplotlib").get_data_path(), "fonts/ttf/DejaVuSans.ttf").read_bytes()
    glyphs = dict(zip("東京は首都", range(36, 41), strict=True))

    def column(x, text):
        return b"BT /F2 12 Tf %d 700 Td <%s> Tj ET\n" % (x, "".join(f"{glyphs[one]:04x}" for one in text).encode())

    mapped = [(chr(glyph), character) for character, glyph in glyphs.items()]

    data = make_pdf(
        [column(500, "東京は") + column(480, "首都") + write_lines(["End."], y=90)], to_unicode=mapped, vertical=font
    )

    assert read(data)[0][0].text.split() == ["東京は", "首都", "End."]


def test_a_pdf_of_images_is_named_as_such(read):
    nothing, ((_, reason),) = read(make_pdf([IMAGE, IMAGE]))
    blank, ((_, why),) = read(make_pdf([b""]))
    ((mixed,), problems) = read(make_pdf([IMAGE, write_lines(PROSE)]))

    assert nothing == blank == []
    assert reason == "its pages are images without text; recognise the text (OCR) first"
    assert why == "it holds no text"
    assert page_texts(mixed)[0] == ""
    assert (problems, [what for _, what in read.notes]) == (
        [],
        ["pages that are images with hardly any text, which OCR could recognise"],
    )


def test_scans_with_a_stamp_are_told_to_be_images(read):
    stamp = write_lines(["Case 1:20-cv-01234 Document 12 Filed 01/02/20"], y=770)
    scan = b"q 600 0 0 760 6 6 cm /I1 Do Q "

    ((document,), problems) = read(make_pdf([scan + stamp]))
    notes = [what for _, what in read.notes]
    read.notes.clear()
    read(make_pdf([IMAGE + stamp, scan + write_lines(PROSE * 2)]))

    assert (document.text[:6], problems, read.notes) == ("Case 1", [], [])
    assert notes == ["pages that are images with hardly any text, which OCR could recognise"]


def test_a_dynamic_form_is_named_and_its_please_wait_is_not_read(read):
    data = make_pdf([write_lines(["Please wait... If this message is not eventually replaced"])])
    form = b"/AcroForm << /XFA [(a) 3 0 R] /Fields [] >> /Type /Catalog"

    documents, ((_, reason),) = read(data.replace(b"/Type /Catalog", b"/NeedsRendering true " + form))

    assert documents == []
    assert reason == "it is a form (dynamic XFA) that only programs of Adobe show; print it as a PDF there"
    assert read(data.replace(b"/Type /Catalog", form))[0][0].text.startswith("Please wait")


def test_an_encrypted_pdf_needs_its_password(read):
    pypdf = pytest.importorskip("pypdf")
    writer = pypdf.PdfWriter(io.BytesIO(make_pdf([write_lines(PROSE)])))
    writer.encrypt("geheim", algorithm="RC4-128")
    file = io.BytesIO()
    writer.write(file)

    assert read(file.getvalue())[1] == [("", "it is encrypted, and needs its password (--password)")]
    assert read(file.getvalue(), password="other")[1] == [("", "its password is another one (--password)")]
    assert read(file.getvalue(), password="geheim")[0][0].text == "\n".join(PROSE)


def test_a_damaged_page_costs_itself(read):
    ((document,), problems) = read(make_pdf([write_lines(["One."]), None, write_lines(["Three."])]))

    assert page_texts(document) == ["One.", "", "Three."]
    ((place, reason),) = problems
    assert place == ", page 2"
    assert "damaged" in reason
    documents, ((place, reason),) = read(make_pdf([None, None]))
    assert (documents, place) == ([], "")
    assert "page 1: the page is damaged" in reason


@pytest.mark.parametrize("data", [b"%PDF-1.7\n", b"%PDF-1.7\n" + b"\xff" * 999, b"no pdf", b""])
def test_what_is_no_pdf_is_named(read, data):
    documents, ((place, reason),) = read(data)

    assert (documents, place) == ([], "")
    assert "it is no PDF file, or damaged" in reason


def test_a_truncated_pdf_gives_its_text_or_is_named(read):
    data = make_pdf([write_lines(PROSE)] * 5)
    for n_bytes in range(20, len(data), len(data) // 25):
        documents, problems = read(data[:n_bytes])
        assert documents or problems


def test_a_pdf_is_found_by_its_content(read):
    assert read(make_pdf([write_lines(PROSE)]), "paper.download")[0][0].text == "\n".join(PROSE)


def test_more_pages_or_text_than_the_limit_are_refused(tmp_path, monkeypatch):
    data = make_pdf([write_lines(PROSE)] * 3)
    monkeypatch.setattr("latechunk.readers.pdf.MAX_PAGES", 2)
    with pytest.raises(DocumentError, match="it has 3 pages, and at most 2 are read"):
        parse(tmp_path, data)
    monkeypatch.setattr("latechunk.readers.pdf.MAX_PAGES", 3)
    monkeypatch.setattr("latechunk.readers.limits.MAX_BYTES", 100)
    with pytest.raises(DocumentError, match="holds more than 100 characters"):
        parse(tmp_path, data)


def test_without_the_parser_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pypdfium2", None)
    with pytest.raises(MissingDependencyError, match=re.escape('pip install ".[documents]"')):
        parse(tmp_path, make_pdf([b""]))


def test_the_text_of_each_page_is_that_of_pdfium(read):
    pages = [write_lines([f"Page {number}.", *PROSE * number], lead=13) for number in range(1, 20)]
    data = make_pdf(pages)

    ((document,), _) = read(data)

    for mine, page in zip(page_texts(document), pypdfium2.PdfDocument(data), strict=True):
        assert mine.split() == page.get_textpage().get_text_range().split()


@pytest.fixture
def process(tmp_path, monkeypatch):
    """A process of parsers, and a way to give it one."""
    monkeypatch.syspath_prepend(tmp_path)
    made = ParserProcess()

    def parse(name, code):
        (tmp_path / f"{name}.py").write_text(f"import os, time\nfrom latechunk.readers.parsed import *\n{code}")
        return made.parse(name, tmp_path / "file")

    yield parse
    made.close()


GOOD = "def parse(path, options): return Parsed(str(path.name), (Page(0, 1, 'i'),), (Block('code', 0, 1),), {'a': 1})"


def test_a_parser_that_hangs_or_crashes_costs_its_file(process, monkeypatch):
    monkeypatch.setattr(parser_process, "MAX_SECONDS", 1.0)
    monkeypatch.setattr(parser_process, "MAX_MEMORY", 2 * 1024**3)
    for name, code, reason in [
        ("hanging", "def parse(path, options):\n while True: pass", "needed more than 1 s, and was ended"),
        ("crashing", "def parse(path, options): os.abort()", "its parser crashed (SIGABRT)"),
        ("leaving", "def parse(path, options): os._exit(7)", "its parser crashed (exit code 7)"),
        ("greedy", "def parse(path, options): return 'x' * 2**40", "needs more memory"),
        ("failing", "def parse(path, options): raise KeyError('x')", "its parser failed: KeyError: 'x'"),
        ("missing", "import nothing_of_this_name", "its parser failed: ModuleNotFoundError"),
        ("decoding", r"def parse(path, options): b'\xff'.decode()", "not UTF-8"),
    ]:
        with pytest.raises(DocumentError, match=re.escape(reason)):
            process(name, code)
    printing = GOOD.replace("return", "print('noise'); os.write(1, b'noise'); return")
    assert process("printing", printing) == Parsed("file", (Page(0, 1, "i"),), (Block("code", 0, 1),), {"a": 1})


def test_a_parser_that_ticks_may_take_long(process, monkeypatch):
    monkeypatch.setattr(parser_process, "MAX_SECONDS", 1.0)
    slow = GOOD.replace("return", "[(options.tick(), time.sleep(0.05)) for _ in range(30)]; return")

    assert process("slow", slow).text == "file"


def test_a_process_that_was_lost_between_files_is_started_again(process):
    assert process("good", GOOD).text == "file"
    leaving = "import threading\n" + GOOD.replace("return", "threading.Timer(0, os._exit, [5]).start(); return")
    for number in range(3):
        try:
            assert process(f"leaving{number}", leaving).text == "file"
        except DocumentError as error:  # it left before it answered
            assert "exit code 5" in str(error)
    assert process("good", GOOD).text == "file"


def test_dots_that_lead_to_a_page_number_are_one_sign(read):
    lines = [
        "1 Introduction . . . . . . . . . . . . . . 5",
        "1.1 Scope.......................12",
        "And so on... to 1.2.3.4.5.",
    ]
    ((document,), _) = read(make_pdf([write_lines(lines)]))
    assert document.text.split("\n") == ["1 Introduction … 5", "1.1 Scope … 12", "And so on... to 1.2.3.4.5."]
