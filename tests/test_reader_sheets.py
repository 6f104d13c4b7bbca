"""Workbooks: what cells show, sheets as sections, rows as documents, and what is wrong with such files."""

import datetime
import io
import zipfile

import pytest

from latechunk import Chunk
from latechunk.chunking.places import make_chunks
from latechunk.errors import DocumentError
from latechunk.readers import count_documents, find_files, sheets
from latechunk.readers.number_formats import BUILT_IN, show_number
from latechunk.types import Span
from tests.documents import cell, make_xlsx, pack, relationships, sheet_row


def parts(document):
    """The kinds of blocks, and what they hold."""
    return [(one.kind, document.text[one.start : one.end]) for one in document.outline]


SALES = "".join(
    [
        sheet_row(1, "Sales of 2024"),
        sheet_row(3, None, "region", "units", None, "price"),
        sheet_row(4, None, "North", 7, None, 1.5),
        sheet_row(5, None, "South &amp;\n East", 0),
        sheet_row(8, None, "total", "=7"),
    ]
)


def test_a_sheet_is_a_section_and_an_empty_row_parts_its_tables(read):
    ((document,), problems) = read("a.xlsx", make_xlsx({"Sales": SALES, "Empty": "", "Notes": sheet_row(2, "Text.")}))

    assert document.text == (
        "Sales\n\nSales of 2024\n\nregion | units | price\nNorth | 7 | 1.5\nSouth & East | 0\n\ntotal | =7"
        "\n\nNotes\n\nText."
    )
    assert parts(document) == [
        ("heading", "Sales"),
        ("table", "region | units | price\nNorth | 7 | 1.5\nSouth & East | 0"),
        ("table", "total | =7"),
        ("heading", "Notes"),
    ]
    assert problems == read.notes == []
    at = document.text.index("North")
    assert make_chunks(document, [Span(at, at + 5)])[0].citation == "a.xlsx, Sales"


def test_rows_are_documents_with_their_sheet(read):
    other = sheet_row(1, "id", "name") + sheet_row(2, 7, "Ann") + sheet_row(3, None, "Bob")

    documents, problems = read("a.xlsx", make_xlsx({"Sales": SALES, "Staff": other}), rows=True)

    assert [(one.id, one.text) for one in documents] == [
        ("a.xlsx#Sales#4", "region: North\nunits: 7\nprice: 1.5"),
        ("a.xlsx#Sales#5", "region: South &\n East\nunits: 0"),
        ("a.xlsx#Sales#8", "region: total\nunits: =7"),
        ("7", "id: 7\nname: Ann"),
        ("a.xlsx#Staff#3", "name: Bob"),
    ]
    first = documents[0]
    assert {key: first.metadata[key] for key in first.metadata if key != "source"} == {
        "region": "North",
        "units": "7",  # since a text stands in the column
        "price": 1.5,
        "table_row": 4,
        "table_sheet": "Sales",
    }
    assert Chunk(first.id, 0, 0, 1, "r", first.metadata).citation == "a.xlsx, Sales, row 4"
    assert problems == []
    (note,) = {what for _, what in read.notes if "above" in what}
    assert note.startswith("rows above the names of the columns, such as titles, are left out")


def test_columns_of_numbers_hold_numbers_for_filters(read):
    rows = sheet_row(1, "units", "rate", "day", "code", "mixed", "table_row")
    rows += sheet_row(
        2, 3, cell(0.075, style=1), cell(45382, style=2), cell(42, style=3), cell("#N/A", kind="e"), cell(9)
    )
    rows += sheet_row(3, 1e6, cell(0.5, style=1), cell(45383.75, style=2), cell(7, style=3), 2.5, cell(9))

    documents, _ = read("a.xlsx", make_xlsx({"A": rows}, codes=["0.0%", "d/m/yy h:mm", "00000"]), rows=True)

    found = [{key: value for key, value in one.metadata.items() if key not in ("source",)} for one in documents]
    assert found == [
        {"units": 3, "rate": 0.075, "day": "2024-03-31", "code": "00042", "table_row": "9", "table_sheet": "A"},
        {
            "units": 1_000_000,
            "rate": 0.5,
            "day": "2024-04-01 18:00",
            "code": "00007",
            "mixed": 2.5,
            "table_row": "9",
            "table_sheet": "A",
        },
    ]
    assert documents[0].text == "units: 3\nrate: 7.5%\nday: 2024-03-31\ncode: 00042\nmixed: #N/A\ntable_row: 9"


def test_the_names_of_columns_are_found_below_titles_and_above_groups(read):
    titles = sheet_row(1, "Budget") + sheet_row(2, "As of:", "May") + sheet_row(3, "By:", "Ann")
    header = sheet_row(5, "item", "units", "price", "note")
    groups = sheet_row(6, "Pump", 1, 2) + "".join(sheet_row(number, "Valve", 1, 2) for number in range(8, 12))
    notes = "".join(sheet_row(number, "Notes") for number in range(13, 30))

    documents, _ = read("a.xlsx", make_xlsx({"A": titles + header + groups + notes}), rows=True)

    assert documents[0].text == "item: Pump\nunits: 1\nprice: 2"
    assert [one.metadata["table_row"] for one in documents] == [6, *range(8, 12), *range(13, 30)]


def test_columns_without_a_name_have_their_letters_and_names_that_repeat_are_named(read):
    twice = sheet_row(1, "a", "a") + sheet_row(2, 1, 2)
    unnamed = sheet_row(1, "Sizes") + sheet_row(3, None, "x", "y") + sheet_row(4, 0, "p", "q")

    letters = sheet_row(1, None, "A", "B") + sheet_row(2, 0, "x", "y")
    sheets = {"Twice": twice, "Index": unnamed, "Letters": letters}

    documents, problems = read("a.xlsx", make_xlsx(sheets), rows=True)

    assert [one.text for one in documents] == ["A: 0\nx: p\ny: q", "1: 0\nA: x\nB: y"]
    assert problems == [(", sheet Twice", "the first row of its table must name the columns, and 'a' repeats")]


@pytest.mark.parametrize(
    ("value", "code", "shown"),
    [
        ("0.30000000000000004", "", "0.3"),
        ("1e+06", "", "1000000"),
        ("7.0", "General", "7"),
        ("-1.5E-3", "", "-0.0015"),
        ("1E-300", "", "1E-300"),
        ("12345678901234567890", "", "12345678901234567890"),
        ("x", "0", "x"),
        ("nan", "0", "nan"),
        ("0.075", "0.0%", "7.5%"),
        ("0.075", BUILT_IN[9], "8%"),
        ("1234.5", '"$"#,##0.00', "$1234.50"),
        ("1234.5", r'_-* #,##0.00\ "€"_-;-* #,##0.00\ "€"_-', "1234.50 €"),
        ("-1234.5", r'_-* #,##0.00\ "€"_-;-* #,##0.00\ "€"_-', "-1234.50 €"),
        ("-1234.5", "[$€-407] #,##0.00;[Red]([$€-407] #,##0.00)", "-€ 1234.50"),
        ("-5", "0;[Red]0", "-5"),
        ("-0.05", "+0.0%;▼0.0%", "-▼5.0%"),
        ("-0.001", "0.00", "0.00"),
        ("2.5", "0", "3"),
        ("1500000", '0.0,,"M"', "1.5M"),
        ("12.50", "#.##", "12.5"),
        ("5", 'General" kg"', "5 kg"),
        ("42", "00000", "00042"),
        ("5550100", "000-0000", "5550100"),
        ("5000", '[>999999]0.0,,"M";0.0,"K"', "5000"),
        ("0.25", "# ?/?", "0.25"),
        ("12345", "0.00E+00", "12345"),
        ("45382", "m/d/yyyy", "2024-03-31"),
        ("45382", BUILT_IN[14], "2024-03-31"),
        ("45382.604166667", BUILT_IN[22], "2024-03-31 14:30"),
        ("45382.99999", "d.m.yy", "2024-03-31"),
        ("45382", "[$-F800]dddd, mmmm dd, yyyy", "2024-03-31"),
        ("45382", 'yyyy"年"m"月"d"日"', "2024-03-31"),
        ("45382", "mmm-yy", "2024-03"),
        ("45382", "yyyy", "2024"),
        ("0.604166667", "h:mm AM/PM", "14:30"),
        ("1.5625", "[h]:mm", "37:30"),
        ("0.01", BUILT_IN[45], "00:14:24"),
        ("59", "yyyy-mm-dd", "1900-02-28"),
        ("61", "yyyy-mm-dd", "1900-03-01"),
        ("-5", "yyyy-mm-dd", "-5"),
        ("3000000", "yyyy-mm-dd", "3000000"),
        ("5", "0" * 300 + "." + "0" * 300, "0" * 254 + "5"),
        ("5", '"', "5"),
    ],
)
def test_numbers_and_dates_are_shown_as_their_format_says(value, code, shown):
    assert show_number(value, code)[0] == shown


def test_dates_of_old_macs_count_from_1904(read):
    rows = sheet_row(1, cell(43920, style=1))

    ((document,), _) = read("a.xlsx", make_xlsx({"A": rows}, codes=["yyyy-mm-dd"], settings='date1904="1"'))

    assert document.text == "A\n\n2024-03-31"


def test_what_cells_hold(read):
    texts = [
        "<t>plain</t>",
        "<r><t>rich </t></r><r><t>text</t></r><rPh><t>spoken</t></rPh>",
        "<t>a_x000D_\nb_x005F_x</t>",
    ]
    cells = [cell(0, kind="s"), cell(1, kind="s"), cell(2, kind="s"), cell(1, kind="b"), cell("#DIV/0!", kind="e")]
    cells += [cell("of a formula", kind="str"), cell("2024-03-31T00:00:00", kind="d"), "<c><f>A1+1</f><v>3</v></c>"]

    ((document,), problems) = read("a.xlsx", make_xlsx({"A": sheet_row(1, *cells)}, texts=texts))

    assert document.text.removeprefix("A\n\n") == (
        "plain | rich text | a b_x | TRUE | #DIV/0! | of a formula | 2024-03-31 | 3"
    )
    assert problems == read.notes == []


def test_texts_within_cells_stay_in_their_cells(read):
    cells = ["<c><is><t>of no kind</t></is></c>", cell("one"), '<c t="inlineStr"/>', '<c t="inlineStr"><v>two</v></c>']

    ((document,), _) = read("a.xlsx", make_xlsx({"A": sheet_row(1, *cells)}))

    assert document.text == "A\n\none | two"


def test_parts_are_found_by_names_as_other_programs_write_them(read):
    made = make_xlsx({"A": sheet_row(1, cell(0, kind="s"))}, texts=["<t>x</t>"])
    with zipfile.ZipFile(io.BytesIO(made)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}

    for rename in (lambda name: name.replace("/", "\\"), lambda name: name.replace("texts", "Texts"), str.upper):
        ((document,), problems) = read("a.xlsx", pack({rename(name): part for name, part in parts.items()}))

        assert (document.text, problems) == ("A\n\nx", [])


def test_a_sheet_whose_part_is_not_said_is_named(read):
    rels = relationships(r1=("worksheet", "worksheets/sheet1.xml"))
    made = make_xlsx({"Good": sheet_row(1, "x"), "Lost": sheet_row(1, "y")}, **{"xl/_rels/workbook.xml.rels": rels})

    ((document,), problems) = read("a.xlsx", made)

    assert document.text == "Good\n\nx"
    assert problems == [(", sheet Lost", "it lacks the part of this sheet, which its format must have")]


def test_formulas_without_values_are_noted(read):
    rows = sheet_row(1, "total", "<c><f>SUM(B1:B9)</f><v></v></c>", '<c t="str"><f>""</f><v></v></c>')

    read("a.xlsx", make_xlsx({"A": rows}))

    ((_, note),) = read.notes
    assert note.startswith("formulas whose values the file does not hold are left out; open it")


def test_a_short_cell_of_several_rows_stands_in_each(read):
    long = "long " * 30
    rows = sheet_row(1, "North", "a", long, "wide") + sheet_row(2, None, "b") + sheet_row(4, None, "c")
    rows += sheet_row(5, None, "d")
    merged = ["A1:A4", "C1:C2", "D1:F1", "B9:B9", "x", "A1:"]

    ((document,), _) = read("a.xlsx", make_xlsx({"A": rows}, merged=merged))

    assert document.text.split("\n\n")[1:] == [
        f"North | a | {long.strip()} | wide\nNorth | b",
        "North | c\n | d",
    ]


def test_hidden_sheets_are_read_and_those_of_programs_are_not(read):
    made = {name: sheet_row(1, name.lower()) for name in ("Shown", "Hidden", "Cache")}

    ((document,), _) = read("a.xlsx", make_xlsx(made, states=["", 'state="hidden"', 'state="veryHidden"']))

    assert document.text == "Shown\n\nshown\n\nHidden\n\nhidden"


def test_places_that_are_not_said_follow_those_before_and_far_cells_cost_nothing(read):
    rows = f"<row>{cell('a')}{cell('b')}</row><row>{cell('c', '$B$2')}{cell('d')}{cell('e', 'ZZZZ1')}</row>"
    far = sheet_row(1048576, cell("far", "XFD1048576"))

    ((document,), problems) = read("a.xlsx", make_xlsx({"A": rows + far}))

    assert (document.text, problems) == ("A\n\na | b\n | c | d | e\n\nfar", [])


def test_a_sheet_that_cannot_be_read_is_named_and_the_others_are_read(read):
    made = {"Good": sheet_row(1, "x"), "Torn": "<row>", "Lost": sheet_row(1, cell(5, kind="s"))}

    ((document,), problems) = read("a.xlsx", make_xlsx(made, texts=["<t>one</t>"]))

    assert document.text == "Good\n\nx"
    assert [place for place, _ in problems] == [", sheet Torn", ", sheet Lost"]
    assert "mismatched tag" in problems[0][1]
    assert problems[1][1] == "row 1 refers to text '5' of 1"


def test_many_rows_are_noted(read):
    rows = "".join(sheet_row(number, number, number * number) for number in range(1, 60))

    read("a.xlsx", make_xlsx({"A": rows}))

    assert [note for _, note in read.notes] == ["one document of many rows (--rows makes one of each)"]


def test_rows_are_counted_for_the_progress(tmp_path):
    (tmp_path / "a.xlsx").write_bytes(make_xlsx({"A": "".join(sheet_row(n, n) for n in range(1, 30_000))}))
    (tmp_path / "b.xlsx").write_bytes(b"none")
    files = find_files([tmp_path], pytest.fail)

    assert count_documents(files, rows=True) == 29_999
    assert count_documents(files) == 2


BOMB = pack({"xl/workbook.xml": "<a>" + " " * 5_000_000 + "</a>"})


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.xlsx", b"", "it is no zip archive"),
        ("a.xlsx", b"\xd0\xcf\x11\xe0" + b"\0" * 99, "save it as .docx, .pptx or .xlsx without a password"),
        ("a.xlsx", pack({"a.txt": "x"}), "it is no .xlsx file: it lacks xl/workbook.xml"),
        ("a.xlsx", pack({"xl/workbook.bin": "x"}), "it is a binary workbook (.xlsb); save it as .xlsx"),
        ("a.xlsx", make_xlsx({"A": ""}), "its sheets hold no text; charts and pictures are not read"),
        ("a.xlsx", make_xlsx({"A": "<row>"}), "sheet A: xl/worksheets/sheet1.xml is damaged"),
        ("a.xlsx", make_xlsx({"A": sheet_row(1, "x")})[:-30], "it is no zip archive"),
        ("a.xlsx", BOMB, "unpacks to more than 200 times its size"),
    ],
)
@pytest.mark.parametrize("rows", [False, True])
def test_what_is_no_workbook_is_named(read, name, content, reason, rows):
    documents, ((place, why),) = read(name, content, rows=rows)

    assert (documents, place) == ([], "")
    assert reason in why


@pytest.mark.parametrize("rows", [False, True])
def test_sheets_of_too_much_text_are_refused_before_it_is_joined(monkeypatch, rows):
    monkeypatch.setattr("latechunk.readers.limits.MAX_BYTES", 50)
    table = [(number, {1: sheets.Cell("x" * 30)}) for number in range(1, 4)]
    with pytest.raises(DocumentError, match="holds more than 50 characters; split it into several files"):
        sheets.to_parsed([("A", table)], {}, [], [], rows=rows)


def test_a_workbook_is_one_under_any_name_and_what_other_programs_call_so_is_read(read):
    assert read("a.download", make_xlsx({"A": sheet_row(1, "x")}))[0][0].text == "A\n\nx"
    for name in ("a.xlsx", "a.xls"):
        assert read(name, "<html><table><tr><td>a<td>b</table>")[0][0].text == "a | b"
        assert read(name, "\ufeff<meta charset=utf-8>\n<table><tr><td>ä<td>b</table>")[0][0].text == "ä | b"
        ((document,), _) = read(name, "name\tage\nAnn\t31\n".encode("utf-16"))
        assert parts(document) == [("table", "name | age\nAnn | 31")]
    assert read("a.xls", "name;age\nAnn;31\n", rows=True)[0][0].metadata["age"] == 31
    assert read("a.xls", make_xlsx({"A": sheet_row(1, "x")}))[0][0].text == "A\n\nx"


@pytest.mark.parametrize(
    ("name", "better"), [("a.xls", ".xlsx"), ("a.ods", ".xlsx"), ("a.DOC", ".docx"), ("a.ppt", ".pptx")]
)
def test_a_format_of_office_that_is_not_read_says_what_is(read, name, better):
    documents, ((_, why),) = read(name, b"\xd0\xcf\x11\xe0\0")

    assert (documents, why) == ([], f"its format is not read; save it as {better}")


def test_a_workbook_that_a_library_wrote(read, tmp_path):
    xlsxwriter = pytest.importorskip("xlsxwriter")
    with xlsxwriter.Workbook(tmp_path / "made.xlsx") as book:
        book.set_properties({"title": "Prices", "author": "Ann"})
        sheet = book.add_worksheet("Pumps & more")
        sheet.write_row(0, 0, ["name", "price", "since", "share", "sold"])
        sheet.write_row(1, 0, ["Pump A", 1249.5])
        sheet.write(1, 1, 1249.5, book.add_format({"num_format": '#,##0.00 "€"'}))
        sheet.write_datetime(1, 2, datetime.datetime(2024, 3, 31), book.add_format({"num_format": "dd/mm/yy"}))
        sheet.write(1, 3, 0.125, book.add_format({"num_format": 10}))
        sheet.write_boolean(1, 4, True)
        sheet.write_rich_string(2, 0, "Pump ", book.add_format({"bold": True}), "B")
        sheet.write_formula(2, 1, "=B2*2", None, 2499)
        chart = book.add_chart({"type": "bar"})
        chart.add_series({"values": ["Pumps & more", 1, 1, 2, 1]})
        book.add_chartsheet("Chart").set_chart(chart)
        sheet.merge_range("A5:E5", "Notes", book.add_format())
    with zipfile.ZipFile(tmp_path / "made.xlsx") as made:
        assert "xl/chartsheets/sheet1.xml" in made.namelist()

    ((document,), problems) = read("a.xlsx", (tmp_path / "made.xlsx").read_bytes())

    assert document.text == (
        "Pumps & more\n\nname | price | since | share | sold\nPump A | 1249.50 € | 2024-03-31 | 12.50% | TRUE\n"
        "Pump B | 2499\n\nNotes"
    )
    assert (document.metadata["title"], document.metadata["author"]) == ("Prices", "Ann")
    assert problems == read.notes == []


def test_rows_of_a_long_sheet_have_the_names_of_its_columns(read):
    rows = [("Sales of 2024",), ("Region", "Q1", 2024), *((f"Region {n}", n, n * n) for n in range(60)), ("All", 1, 2)]
    pairs = [("Sponsor", "Ann"), *((one, "some words that say more of it") for one in "abcdefghijklmnopqrst")]
    made = ["".join(sheet_row(n, *cells) for n, cells in enumerate(one, start=1)) for one in (rows, pairs)]

    ((document,), _) = read("a.xlsx", make_xlsx({"A": made[0], "B": made[1]}))
    lines = document.text.splitlines()

    assert lines[2:5] == ["Sales of 2024", "Region | Q1 | 2024", "Region: Region 0 | Q1: 0 | 2024: 0"]
    assert lines[64] == "Region: All | Q1: 1 | 2024: 2"
    assert lines[-1] == "t | some words that say more of it"
