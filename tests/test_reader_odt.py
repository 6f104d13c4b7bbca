"""Texts of LibreOffice: what is read of them, in its order, and what is no such file."""

import pytest

from tests.documents import pack

MIME = "application/vnd.oasis.opendocument.text"
META = """<m xmlns:dc="d" xmlns:meta="m"><dc:title>Pumps</dc:title><meta:initial-creator>Ann</meta:initial-creator>
<dc:creator>Bob</dc:creator><meta:creation-date>2024-03-31T10:00:00</meta:creation-date><dc:subject>x</dc:subject></m>"""
CONTENT = """<office:document-content xmlns:office="o" xmlns:text="t" xmlns:table="b" xmlns:draw="w" xmlns:dc="d">
<office:automatic-styles/><office:body><office:text><text:tracked-changes><text:changed-region><text:deletion>
<text:p>Gone.</text:p></text:deletion></text:changed-region></text:tracked-changes>
<text:h text:outline-level="1">Pumps</text:h>
<text:p>Check<text:s text:c="2"/>the
pump<text:note><text:note-citation>1</text:note-citation><text:note-body>
<text:p>With care.</text:p></text:note-body>
</text:note> <text:span>each<text:change-start/> week</text:span>.<text:line-break/>Twice.
<office:annotation><dc:creator>Ann
</dc:creator><text:p>A comment.</text:p></office:annotation></text:p><text:p/>
<text:h text:outline-level="2">Parts</text:h>
<text:list><text:list-item><text:p>One.</text:p><text:p>More.</text:p><text:list><text:list-item><text:p>Within.</text:p>
</text:list-item></text:list></text:list-item><text:list-item><text:p>Two.</text:p></text:list-item></text:list>
<text:p><draw:frame><draw:text-box><text:p>Boxed.</text:p><text:list><text:list-item><text:p>Item of the box.</text:p>
</text:list-item></text:list></draw:text-box></draw:frame>Beside it.</text:p>
<table:table><table:table-column/><table:table-header-rows><table:table-row><table:table-cell><text:p>City</text:p>
</table:table-cell><table:table-cell table:number-columns-spanned="2"><text:p>People</text:p></table:table-cell>
<table:covered-table-cell/></table:table-row></table:table-header-rows><table:table-row>
<table:table-cell table:number-rows-spanned="2"><text:p>Berlin</text:p></table:table-cell><table:table-cell>
<text:p>1990</text:p><text:p>(3.4)</text:p></table:table-cell><table:table-cell><table:table><table:table-row><table:table-cell><text:p>a</text:p>
</table:table-cell><table:table-cell><text:list><text:list-item><text:p>b</text:p></text:list-item></text:list>
</table:table-cell></table:table-row></table:table></table:table-cell></table:table-row><table:table-row>
<table:covered-table-cell/><table:table-cell><text:p>2020</text:p></table:table-cell></table:table-row></table:table>
<text:p>The end.</text:p></office:text></office:body></office:document-content>"""


def make_odt(content=CONTENT, **members):
    return pack({"mimetype": MIME, "content.xml": content, "meta.xml": META, **members})


@pytest.mark.parametrize("name", ["a.odt", "a.ott", "download"])
def test_a_text_with_headings_lists_tables_boxes_and_notes(read, name):
    ((document,), problems) = read(name, make_odt())

    assert document.text == (
        "Pumps\n\nCheck  the pump each week.\nTwice.\n\nWith care.\n\nParts\n\n- One.\n  More.\n  - Within.\n- "
        "Two.\n\nBeside it.\n\nBoxed.\n\nItem of the box.\n\nCity | People\nBerlin | 1990 (3.4) | a b\n"
        "Berlin | 2020\n\nThe end."
    )
    assert [(one.kind, one.level, document.text[one.start : one.end][:6]) for one in document.outline] == [
        ("heading", 1, "Pumps"),
        ("heading", 2, "Parts"),
        ("list", 0, "- One."),
        ("table", 0, "City |"),
    ]
    assert {key: value for key, value in document.metadata.items() if key != "source"} == {
        "title": "Pumps",
        "author": "Ann",
        "created": "2024-03-31T10:00:00",
    }
    assert problems == []


def test_a_title_that_the_text_says_is_text_and_that_of_a_picture_is_not(read):
    content = """<d xmlns:t="t" xmlns:s="s" xmlns:w="w">
<t:p>See <t:title>Pumps</t:title>,
<t:span><t:title>Pumps</t:title></t:span>.<w:frame><w:image/><s:title>A red pump</s:title>
<s:desc>Its handle</s:desc></w:frame></t:p></d>"""

    assert read("a.odt", make_odt(content))[0][0].text == "See Pumps, Pumps."


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is no zip archive"),
        (pack({"mimetype": MIME}), "it lacks content.xml"),
        (make_odt("<a>"), "content.xml is damaged"),
        (make_odt("x", **{"META-INF/manifest.xml": "<m><encryption-data/></m>"}), "it is encrypted"),
    ],
)
def test_what_is_no_such_text_is_named(read, content, reason):
    documents, ((_, why),) = read("a.odt", content)

    assert documents == []
    assert reason in why


def test_a_text_is_read_though_what_it_says_of_itself_is_damaged(read):
    assert read("a.odt", make_odt(**{"meta.xml": "<m>"}))[0][0].text.startswith("Pumps")


def test_rows_of_a_long_table_have_the_names_of_the_row_that_is_repeated(read):
    cell = "<table:table-cell><text:p>{}</text:p></table:table-cell>"
    rows = [
        f"<table:table-row>{''.join(map(cell.format, one))}</table:table-row>" for one in (("A", "12"), *["bc"] * 99)
    ]
    table = (
        f"<table:table><table:table-header-rows>{rows[0]}</table:table-header-rows>{''.join(rows[1:])}</table:table>"
    )
    before, after = CONTENT.split("<table:table><table:table-column/>", 1)

    ((document,), _) = read("a.odt", make_odt(f"{before}{table}{after[after.index('<text:p>The end') :]}"))

    assert document.text.endswith("A | 12\n" + "A: b | 12: c\n" * 99 + "\nThe end.")
