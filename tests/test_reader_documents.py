"""HTML, Word and EPUB files: text and outline, and what is wrong with such files."""

import re
import sys
import zipfile
from base64 import b64encode
from itertools import pairwise

import pytest

from latechunk.errors import DocumentError, MissingDependencyError
from latechunk.readers import archive, html
from latechunk.readers.parsed import ParserOptions
from tests.documents import (
    OPF,
    PAGE,
    STYLES,
    A,
    W,
    make_docx,
    make_epub,
    make_pptx,
    pack,
    paragraph,
    relationships,
    shape,
)

pytest.importorskip("selectolax")


def parts(document):
    """The kinds and levels of blocks, and what they hold."""
    return [(f"{one.kind}{one.level or ''}", document.text[one.start : one.end]) for one in document.outline]


def test_the_main_text_of_a_page(read):
    ((document,), problems) = read("a.html", PAGE)

    assert document.text == (
        "Pumps & more\n\nCheck them\nweekly.\n\nParts:\n\n- one\n  - inner\n- two\n  more\n\nSizes\na | b\n1 x | l m"
        "\n\nx = 1\n  y\n\n3. c\n4. d\n\nLayout\n\ntext\n\ni | j"
    )
    assert parts(document) == [
        ("heading1", "Pumps & more"),
        ("list", "- one\n  - inner\n- two\n  more"),
        ("table", "Sizes\na | b\n1 x | l m"),
        ("code", "x = 1\n  y"),
        ("list", "3. c\n4. d"),
        ("heading2", "Layout"),
        ("table", "i | j"),
    ]
    said = {key: value for key, value in document.metadata.items() if key != "source"}
    assert said == {"title": "All about pumps", "author": "Ann", "created": "2024-01-31", "lang": "en"}
    assert problems == read.notes == []


@pytest.mark.parametrize(
    ("page", "text"),
    [
        (
            "<p>Around</p><main><header>Head</header><nav>menu</nav>Main.<aside>Note.</aside></main>",
            "Head\n\nMain.\n\nNote.",
        ),
        ("<p>Around</p><article>One.</article>", "One."),
        ("<article>One.</article><article>Two.</article>", "One.\n\nTwo."),
        (
            "<article><header><h2>A</h2></header>One.<footer>F</footer></article><article>Two.</article><footer>G</footer>",
            "A\n\nOne.\n\nF\n\nTwo.",
        ),
        ("<section><header><h2>A</h2></header>One.</section><header><h2>B</h2></header>", "A\n\nOne."),
        ("<h1>Story</h1><p>Text.</p><aside><article>A teaser.</article></aside>", "Story\n\nText."),
        ("<h2>Site</h2><article><h1>Story</h1>Text.</article>", "Story\n\nText."),
        ("<main></main><p>Outside.</p>", "Outside."),
        ("<header><h1>Title</h1></header><p>Text.</p>", "Title\n\nText."),
        ("<footer>Only this.</footer>", "Only this."),
        ("<p>soft\u00adhyphen non\u00a0breaking</p>", "soft\u00adhyphen non\u00a0breaking"),
        ("<p>東<rt>ひがし</rt>京</p>", "東京"),
        (
            "<div><p>Next: <a rel=next>B</a>, Previous: <a rel='prev nofollow'>A</a></p></div><h1>C</h1><p>Text.",
            "C\n\nText.",
        ),
        (
            "<table><tr><th colspan=3>C</th></tr><tr><td><a accesskey=p>Prev</a><td><td><a accesskey=n>Next</a></table>"
            "<h1>C</h1><p>Text.",
            "C\n\nText.",
        ),
        (f"<div>{'Text. ' * 30}<a rel=next>Next</a></div>", f"{'Text. ' * 30}Next"),
        ("<div><p>Text.</p><a rel=next>Next</a></div>", "Text.\n\nNext"),
        ("plain <b>text", "plain text"),
    ],
)
def test_what_belongs_to_the_main_text(read, page, text):
    assert read("a.htm", f"<!doctype html>{page}")[0][0].text == text


@pytest.mark.parametrize(
    ("page", "text", "blocks"),
    [
        ('<h2>Setup<a href="#s">¶</a></h2>', "Setup", [("heading2", "Setup")]),
        ('<h2><a href="p.html#s">§</a>Setup<a href="#s">&#8203;</a></h2>', "Setup", [("heading2", "Setup")]),
        ('<p>See <a href="#f">*</a> and <a href="x">#</a>', "See * and #", []),
        ("<h2>Title <button>Copy</button></h2>", "Title", [("heading2", "Title")]),
        ("<h3><button>When?</button></h3><button>Send</button><p>At six.", "When?\n\nAt six.", [("heading3", "When?")]),
        (
            "<table><tr><td><pre>9\n10</pre><td><pre>def f():\n  return 1</pre></table>",
            "def f():\n  return 1",
            [("code", "def f():\n  return 1")],
        ),
        (
            "<table><tr><td>a<td><pre>7</pre><tr><td>b<td><pre>x\ny</pre></table>",
            "a | 7\nb | x y",
            [("table", "a | 7\nb | x y")],
        ),
        (
            '<p>So <span style="display: none"><math><semantics><msup><mi>x</mi><mn>2</mn></msup>'
            '<annotation encoding="application/x-tex">x^2</annotation></semantics></math></span>.',
            "So x^2.",
            [],
        ),
    ],
)
def test_what_generators_add_to_pages(read, page, text, blocks):
    ((document,), _) = read("a.html", f"<!doctype html>{page}")

    assert document.text == text
    assert parts(document) == blocks


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("<ol start=3><li>c<li value=7>g<li>h</ol>", "3. c\n7. g\n8. h"),
        ("<ol type=a><li>x<ol type=I start=4><li>y</ol><li>z</ol>", "a. x\n  IV. y\nb. z"),
        ('<ol style="color: red; list-style: outside lower-roman"><li>x<li>y</ol>', "i. x\nii. y"),
        ("<ol type=a start=0><li>x<li>y</ol><ol type=i start=4000><li>z</ol>", "0. x\na. y\n\n4000. z"),
        ("<p>10<sup>6</sup>/ml, x<sup>n+1</sup>, text<sup>[1]</sup>, 1<sup>st</sup>", "10⁶/ml, xⁿ⁺¹, text[1], 1st"),
        (
            "<table><tr><th rowspan=2>City<th colspan=2>People<th>Note<tr><th>2000<th>2020"
            "<tr><td rowspan=2>Rome<td>1<td>2<td rowspan=2>old<tr><td>3<td>4<tr><td>Oslo<td>5</table>",
            "City | People |  | Note\nCity | 2000 | 2020\nRome | 1 | 2 | old\nRome | 3 | 4 | old\nOslo | 5",
        ),
        (
            "<table><thead><tr><th rowspan=9>a<th>b</thead><tr><td>1<td>2<tr><td colspan=2 rowspan=2>3<tr><td>4"
            f"<tr><td rowspan=2>{'long ' * 30}<td>5<tr><td>6</table>",
            f"a | b\n1 | 2\n3\n3 |  | 4\n{('long ' * 30).strip()} | 5\n | 6",
        ),
    ],
)
def test_numbers_of_lists_powers_and_cells_of_several_rows_are_as_a_page_shows_them(read, page, text):
    assert read("a.html", f"<!doctype html>{page}")[0][0].text == text


@pytest.mark.parametrize(
    ("declaration", "encoding"),
    [
        ('<meta charset="latin-1">', "cp1252"),
        ('<meta http-equiv="Content-Type" content="text/html; charset=shift_jis">', "shift_jis"),
        ('<?xml version="1.0" encoding="koi8-r"?>', "koi8-r"),
        ("<meta charset=iso-2022-jp>", "iso-2022-jp"),
        ("<meta charset=latin-1>", "utf-8"),
        ("<meta charset=nonsense>", "utf-8"),
        ("<meta charset=ascii>", "utf-16"),
    ],
)
def test_a_page_says_its_encoding(read, declaration, encoding):
    text = {"cp1252": "caf\u00e9 \u2013", "koi8-r": "Москва"}.get(encoding, "東京")

    ((document,), _) = read("a.html", f"{declaration}<html><p>{text}</p>".encode(encoding))

    assert document.text == text


def test_a_page_under_another_name_is_found_by_its_content(read):
    for name in ("download", "report.pdf", "report.docx"):
        assert read(name, "\ufeff\n<!DOCTYPE html><p>Not found.</p>")[0][0].text == "Not found."
    assert read("a.php", "<!doctype html><p>x")[0][0].text == "<!doctype html><p>x"


def test_empty_elements_of_xhtml_end_where_they_begin(read):
    page = (
        '<?xml version="1.0"?><html><head><title/></head><body><p>One <a id="x"/>two.</p><script src="x"/>More.</body>'
    )

    assert read("a.xhtml", page)[0][0].text == "One two.\n\nMore."


def test_a_large_page_of_one_line_and_deep_lists_are_read(read):
    data = "<!doctype html><p>" + "word " * 1_000_000
    assert read("a.html", data)[0][0].text == ("word " * 1_000_000).strip()
    ((links,), _) = read("c.html", "<div><i>text<a rel=next>link</a>" * 10_000)  # minutes, if with their square
    assert links.text.count("text") > 9_000
    ((deep,), _) = read("b.html", "<ul><li>item" * 3_000)
    assert deep.text.count("- item") == 3_000
    assert max(len(line) for line in deep.text.splitlines()) == 2 * 8 + len("- item")
    assert len(deep.outline) == 1


def test_without_the_parser_of_html_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "selectolax.lexbor", None)
    with pytest.raises(MissingDependencyError, match=re.escape('pip install ".[documents]"')):
        html.parse_html(b"<p>", ParserOptions())


def test_a_word_file_with_headings_lists_and_tables(read):
    style = lambda name: f'<w:pStyle w:val="{name}"/>'  # noqa: E731
    item = lambda depth: f'<w:numPr><w:ilvl w:val="{depth}"/><w:numId w:val="4"/></w:numPr>'  # noqa: E731
    cell = lambda *texts: f"<w:tc>{''.join(map(paragraph, texts))}</w:tc>"  # noqa: E731
    body = (
        paragraph("Guide", style("Titel"))
        + paragraph("Care", style("Own"))
        + paragraph("Deep", style("Outline"))
        + paragraph("Direct", '<w:outlineLvl w:val="0"/>')
        + paragraph("Body level", style("Own") + '<w:outlineLvl w:val="9"/>')
        + paragraph("one", item(0))
        + paragraph("two", item(1))
        + paragraph("three", style("Liste"))
        + paragraph("no item", style("Liste") + '<w:numPr><w:numId w:val="0"/></w:numPr>')
        + f"<w:tbl><w:tr>{cell('a', 'b')}{cell('c')}</w:tr>"
        f"<w:tr>{cell('')}<w:tc><w:tbl><w:tr>{cell('in')}</w:tr></w:tbl></w:tc></w:tr></w:tbl>"
        + paragraph("", "")
        + '<w:p><w:pPr><w:tabs><w:tab w:val="left"/></w:tabs></w:pPr><w:r><w:t>End</w:t><w:tab/><w:t>of</w:t><w:br/>'
        "<w:t>it</w:t><w:noBreakHyphen/><w:softHyphen/></w:r></w:p>" + paragraph("loop", style("Loop"))
    )
    core = (
        '<cp:coreProperties xmlns:cp="c" xmlns:dc="d" xmlns:dcterms="t"><dc:title>Pumps</dc:title><dc:creator>Ann'
        "</dc:creator><dcterms:created>2024-01-31T09:30:00Z</dcterms:created><dc:subject>x</dc:subject></cp:coreProperties>"
    )

    ((document,), problems) = read("a.docx", make_docx(body, styles=STYLES, core=core))

    assert document.text == (
        "Guide\n\nCare\n\nDeep\n\nDirect\n\nBody level\n\n- one\n  - two\n- three\n\nno item\n\na b | c\n | in\n\n"
        "End\tof\nit\u2011\u00ad\n\nloop"
    )
    assert parts(document) == [
        ("heading1", "Guide"),
        ("heading2", "Care"),
        ("heading3", "Deep"),
        ("heading1", "Direct"),
        ("list", "- one\n  - two\n- three"),
        ("table", "a b | c\n | in"),
    ]
    assert problems == []
    said = {key: value for key, value in document.metadata.items() if key != "source"}
    assert said == {"title": "Pumps", "author": "Ann", "created": "2024-01-31T09:30:00Z"}


def test_insertions_are_read_deletions_are_not_and_text_boxes_are_read_once(read):
    run = lambda text: f"<w:r><w:t>{text}</w:t></w:r>"  # noqa: E731
    box = f"<w:txbxContent>{paragraph('In the box.')}</w:txbxContent>"
    body = (
        f"<w:p>{run('It costs ')}<w:del><w:r><w:delText>one</w:delText></w:r></w:del><w:ins>{run('two')}</w:ins>"
        f"{run(' euros.')}"
        f"<w:moveFrom>{run('moved')}</w:moveFrom><w:moveTo>{run(' Moved.')}</w:moveTo>"
        f"<w:r><w:instrText>PAGE</w:instrText></w:r></w:p>"
        f"<w:p>{run('Around')}<w:r><mc:AlternateContent><mc:Choice>{box}</mc:Choice><mc:Fallback>{box}</mc:Fallback>"
        f"</mc:AlternateContent></w:r>{run(' it.')}</w:p>"
    )
    notes = f"<w:footnotes {W}><w:footnote>{paragraph('A note.')}</w:footnote></w:footnotes>"

    ((document,), _) = read("a.docx", make_docx(body, notes=notes))

    assert document.text == "It costs two euros. Moved.\n\nAround it.\n\nIn the box.\n\nA note."
    assert document.outline == ()


def test_notes_of_a_word_file_stand_in_the_section_that_refers_to_them(read):
    run = lambda text, number: (  # noqa: E731
        f'<w:p><w:r><w:t>{text}</w:t></w:r><w:r><w:footnoteReference w:id="{number}"/></w:r></w:p>'
    )
    note = lambda number, text: f'<w:footnote w:id="{number}">{paragraph(text)}</w:footnote>'  # noqa: E731
    table = f"<w:tbl><w:tr><w:tc>{run('Cell', 3)}</w:tc><w:tc>{paragraph('b')}</w:tc></w:tr></w:tbl>"
    heading = '<w:pStyle w:val="berschrift2"/>'
    body = run("Text", 2) + run("again", 2) + table + paragraph("Next", heading) + paragraph("More.")
    notes = note(-1, "") + note(1, "Unused.") + note(3, "Third.") + note(2, "Second.<w:tbl/>")
    xml = f"<w:footnotes {W}>{notes}</w:footnotes>"

    ((document,), _) = read("a.docx", make_docx(body, styles=STYLES, notes=xml))

    assert document.text == "Text\n\nSecond.\n\nagain\n\nCell Third. | b\n\nNext\n\nMore.\n\nUnused."


def levels(*said):
    return "".join(
        f'<w:lvl w:ilvl="{depth}"><w:start w:val="{start}"/><w:numFmt w:val="{form}"/>'
        f'<w:lvlText w:val="{text}"/>{more}</w:lvl>'
        for depth, (start, form, text, more) in enumerate(said)
    )


def test_numbers_that_word_gives_are_read(read):
    bases = [
        levels((1, "upperRoman", "Part %1", ""), (1, "decimal", "%1.%2", "<w:isLgl/>"), (3, "lowerLetter", "(%3)", "")),
        levels((1, "decimal", "%1.", ""), (1, "bullet", "\uf0b7", "")),
    ]
    override = '<w:lvlOverride w:ilvl="0"><w:startOverride w:val="5"/></w:lvlOverride>'
    lists = [("1", 0, ""), ("2", 1, ""), ("3", 1, override), ("9", 7, "")]
    made = [f'<w:abstractNum w:abstractNumId="{number}">{base}</w:abstractNum>' for number, base in enumerate(bases)]
    made += [f'<w:num w:numId="{name}"><w:abstractNumId w:val="{base}"/>{more}</w:num>' for name, base, more in lists]
    numbering = f"<w:numbering {W}>{''.join(made)}</w:numbering>"
    item = lambda name, depth: (  # noqa: E731
        f'<w:numPr><w:ilvl w:val="{depth}"/><w:numId w:val="{name}"/></w:numPr>'
    )
    heading = '<w:pStyle w:val="berschrift2"/>'
    deleted = f"<w:p><w:pPr>{item('2', 0)}<w:rPr><w:del/></w:rPr></w:pPr><w:del><w:r><w:t>x</w:t></w:r></w:del></w:p>"
    body = (
        paragraph("Scope", heading + item("1", 0))
        + paragraph("First clause.", item("1", 1))
        + paragraph("third", item("1", 2))
        + paragraph("fourth", item("1", 2))
        + paragraph("Terms", heading + item("1", 0))
        + paragraph("Second clause.", item("1", 1))
        + paragraph("letter", item("1", 2))
        + paragraph("Steps")
        + paragraph("one", item("2", 0))
        + paragraph("dot", item("2", 1))
        + deleted
        + paragraph("two", item("2", 0))
        + f"<w:tbl><w:tr><w:tc>{paragraph('', item('2', 0))}</w:tc><w:tc>{paragraph('cell')}</w:tc></w:tr></w:tbl>"
        + paragraph("five", item("3", 0))
        + paragraph("six", item("3", 0))
        + paragraph("unknown", item("8", 0))
        + paragraph("no base", item("9", 0))
    )

    ((document,), _) = read("a.docx", make_docx(body, styles=STYLES, numbering=numbering))

    assert document.text == (
        "Part I Scope\n\n  1.1 First clause.\n    (c) third\n    (d) fourth\n\nPart II Terms\n\n  2.1 Second clause."
        "\n    (c) letter\n\nSteps\n\n1. one\n  - dot\n2. two\n\n3. | cell\n\n5. five\n6. six\n- unknown\n- no base"
    )
    assert [text for kind, text in parts(document) if kind == "heading2"] == ["Part I Scope", "Part II Terms"]


def run(text):
    return f"<m:r><w:rPr><w:i/></w:rPr><m:t>{text}</m:t></m:r>"


@pytest.mark.parametrize(
    ("formula", "text"),
    [
        ("<m:f><m:fPr/><m:num>{a+b}</m:num><m:den>{2}</m:den></m:f>", "(a+b)/2"),
        ("{f}<m:d><m:dPr/><m:e>{x}</m:e></m:d>{=E=m}<m:sSup><m:e>{c}</m:e><m:sup>{2}</m:sup></m:sSup>", "f(x)=E=mc²"),
        ("<m:d><m:dPr><m:begChr m:val='['/><m:endChr m:val=''/></m:dPr><m:e>{x}</m:e></m:d>", "[x"),
        ("{P}<m:d><m:dPr/><m:e>{A}</m:e><m:e>{B}</m:e></m:d>", "P(A|B)"),
        (
            "<m:d><m:e><m:f><m:fPr><m:type m:val='noBar'/></m:fPr><m:num>{n+1}</m:num><m:den>{k}</m:den></m:f></m:e>"
            "</m:d>",
            "(n+1; k)",
        ),
        ("<m:f><m:fPr><m:type m:val='lin'/></m:fPr><m:num>{a}</m:num><m:den>{b}</m:den></m:f>", "a/b"),
        ("<m:d><m:e>{x+}<m:f><m:num>{a}</m:num><m:den>{b}</m:den></m:f></m:e></m:d>", "(x+a/b)"),
        ("{f}<m:d><m:dPr><m:sepChr m:val=','/></m:dPr><m:e/><m:e>{y}</m:e><m:e>{z}</m:e></m:d>", "f(,y,z)"),
        (
            "<m:nary><m:naryPr><m:chr m:val='∑'/></m:naryPr><m:sub>{i=1}</m:sub><m:sup>{n}</m:sup><m:e><m:acc><m:accPr>"
            "<m:chr m:val='̂'/></m:accPr><m:e>{x}</m:e></m:acc></m:e></m:nary>",
            "∑_(i=1)ⁿx",
        ),
        ("<m:nary><m:sub/><m:sup/><m:e>{f}</m:e></m:nary>", "∫f"),
        ("<m:sSubSup><m:e>{x}</m:e><m:sub>{i}</m:sub><m:sup>{k+1}</m:sup></m:sSubSup>", "x_i^(k+1)"),
        ("<m:rad><m:deg/><m:e>{a+b}</m:e></m:rad><m:rad><m:deg>{3}</m:deg><m:e>{8}</m:e></m:rad>", "√(a+b)³√8"),
        ("<m:func><m:fName>{sin}</m:fName><m:e>{x}</m:e></m:func>", "sin x"),
        ("<m:limLow><m:e>{lim}</m:e><m:lim>{x→0}</m:lim></m:limLow>", "lim_(x→0)"),
        ("<m:m><m:mr><m:e>{1}</m:e><m:e>{2}</m:e></m:mr><m:mr><m:e>{3}</m:e><m:e>{4}</m:e></m:mr></m:m>", "1 2; 3 4"),
        ("<m:eqArr><m:e>{a=b}</m:e><m:e>{c=d}</m:e></m:eqArr>", "a=b; c=d"),
    ],
)
def test_formulas_are_read_with_the_signs_that_office_draws(read, formula, text):
    within = re.sub(r"\{(.*?)\}", lambda found: run(found[1]), formula)
    body = f'<w:p><m:oMath xmlns:m="m">{within}</m:oMath><w:r><w:t xml:space="preserve"> holds.</w:t></w:r></w:p>'

    assert read("a.docx", make_docx(body))[0][0].text == f"{text} holds."
    line = f'<a:p xmlns:w="w"><m:oMath xmlns:m="m">{within}</m:oMath><a:r><a:t> holds.</a:t></a:r></a:p>'
    assert read("a.pptx", make_pptx(shape(line)))[0][0].text == f"{text} holds."


def test_merged_cells_of_a_word_file_keep_columns_and_rows(read):
    cell = lambda text, more="": f"<w:tc><w:tcPr>{more}</w:tcPr>{paragraph(text)}</w:tc>"  # noqa: E731
    first, below = '<w:vMerge w:val="restart"/>', "<w:vMerge/>"
    rows = [
        cell("City", first) + cell("People", '<w:gridSpan w:val="2"/>') + cell("Note"),
        cell("", below) + cell("2000") + cell("2020") + cell(""),
        cell("Rome", first) + cell("1") + cell("2") + cell("long " * 30, first),
        cell("", below) + cell("3") + cell("4") + cell("", below),
        cell("", below) + cell("") + cell("") + cell("", below),
        cell("Total", '<w:gridSpan w:val="4"/>'),
    ]
    body = "<w:tbl>" + "".join(f"<w:tr>{row}</w:tr>" for row in rows) + "</w:tbl>"

    ((document,), _) = read("a.docx", make_docx(body))

    assert document.text.split("\n") == [
        "City | People |  | Note",
        "City | 2000 | 2020 | ",
        f"Rome | 1 | 2 | {('long ' * 30).strip()}",
        "Rome | 3 | 4 | ",
        "Total",
    ]


def test_signs_of_a_word_file_are_letters(read):
    signs = [("Symbol", "F0B0"), ("Symbol", "F0A3"), ("Symbol", "6D"), ("Wingdings", "F0FC"), ("Arial", "2265")]
    unknown = [("Wingdings", "F021"), ("Symbol", "x"), ("Arial", "D800"), ("Own", "F041"), ("Symbol", "F0FF")]
    body = "".join(f'<w:sym w:font="{font}" w:char="{code}"/>' for font, code in signs + unknown)

    assert read("a.docx", make_docx(f"<w:p><w:r>{body}<w:t>.</w:t></w:r></w:p>"))[0][0].text == "°≤μ✓≥."
    raised = '<w:r><w:rPr><w:vertAlign w:val="superscript"/></w:rPr><w:t>6</w:t></w:r>'
    body = f"<w:p><w:r><w:t>10</w:t></w:r>{raised}<w:r><w:t>/l</w:t></w:r></w:p>"
    assert read("b.docx", make_docx(body))[0][0].text == "10⁶/l"


def test_a_word_file_agrees_with_python_docx(read, tmp_path):
    made = pytest.importorskip("docx").Document()
    made.add_heading("Guide", 0)
    for number in range(5):
        made.add_heading(f"Section {number}", 1 + number % 3)
        made.add_paragraph(f"Prose of section {number}. " * 20)
        made.add_paragraph("an item", style="List Bullet")
        table = made.add_table(2, 2)
        for place, cell in enumerate(table._cells):
            cell.text = f"cell {place}"
    made.save(tmp_path / "made.docx")

    ((document,), problems) = read("a.docx", (tmp_path / "made.docx").read_bytes())

    assert problems == []
    texts = [one.text.strip() for one in made.paragraphs]
    places = [document.text.find(text) for text in texts]
    assert all(place >= 0 for place in places)
    headings = [one.text for one in made.paragraphs if one.style.name.startswith(("Heading", "Title"))]
    assert [text for kind, text in parts(document) if kind.startswith("heading")] == headings
    assert [text for kind, text in parts(document) if kind == "table"] == ["cell 0 | cell 1\ncell 2 | cell 3"] * 5
    assert [text for kind, text in parts(document) if kind == "list"] == ["- an item"] * 5


def pages(document):
    return [(page.label, document.text[page.start : page.end]) for page in document.pages]


def test_slides_are_pages_in_their_order_with_titles_lists_and_tables(read):
    cell = lambda text: f"<a:tc><a:txBody><a:p><a:r><a:t>{text}</a:t></a:r></a:p></a:txBody></a:tc>"  # noqa: E731
    table = f"<a:tbl><a:tr>{cell('a')}{cell('b')}</a:tr><a:tr>{cell('1')}{cell('')}</a:tr></a:tbl>"
    deeper = '<a:p><a:pPr lvl="1"/><a:r><a:t>in </a:t></a:r><a:fld><a:t>Asia</a:t></a:fld></a:p>'
    plain = "<a:p><a:pPr><a:buNone/></a:pPr><a:r><a:t>no</a:t></a:r><a:br/><a:r><a:t>item</a:t></a:r></a:p>"
    marked = '<a:p><a:pPr><a:buChar char="o"/></a:pPr><a:r><a:t>an item</a:t></a:r></a:p>'
    slides = (
        shape("Ann", kind="subTitle") + shape("Annual", "review", kind="ctrTitle"),
        shape("Grow", deeper, "Hire", plain, kind="") + shape("Goals", kind="title") + shape("7", kind="sldNum"),
        f"<p:grpSp>{shape('In a group')}</p:grpSp>{shape('Free', marked)}<p:graphicFrame>{table}</p:graphicFrame>",
        "<p:pic/>",
        f"<mc:AlternateContent><mc:Choice>{shape('New')}</mc:Choice><mc:Fallback>{shape('Old')}</mc:Fallback>"
        f"</mc:AlternateContent>",
    )
    core = '<c:coreProperties xmlns:c="c" xmlns:d="d"><d:title>Deck</d:title></c:coreProperties>'

    ((document,), problems) = read("a.pptx", make_pptx(*slides, **{"docProps/core.xml": core}))

    assert problems == []
    assert pages(document) == [
        (None, "Annual review\n\nAnn"),
        (None, "Goals\n\n- Grow\n  - in Asia\n- Hire\n\nno\nitem"),
        (None, "In a group\n\nFree\n\n- an item\n\na | b\n1 | "),
        (None, ""),
        (None, "New"),
    ]
    assert parts(document) == [
        ("heading1", "Annual review"),
        ("heading1", "Goals"),
        ("list", "- Grow\n  - in Asia\n- Hire"),
        ("list", "- an item"),
        ("table", "a | b\n1 | "),
    ]
    assert document.metadata["title"] == "Deck"
    assert read("deck.download", make_pptx(*slides))[0][0].text == document.text


def test_diagrams_and_notes_come_after_the_slide_that_they_belong_to(read):
    diagram = '<p:graphicFrame><dgm:relIds r:dm="d1" r:lo="d2"/></p:graphicFrame>'
    point = "<dgm:pt><dgm:t><a:p><a:r><a:t>{}</a:t></a:r></a:p></dgm:t></dgm:pt>"
    members = {
        "ppt/slides/_rels/slide2.xml.rels": relationships(
            d1=("diagramData", "../diagrams/data1.xml"),
            n=("notesSlide", "/ppt/notesSlides/notes1.xml"),
            gone=("notesSlide", "../notesSlides/gone.xml"),
        ),
        "ppt/diagrams/data1.xml": f'<dgm:x xmlns:dgm="d" {A}>{point.format("Plan")}{point.format("Do")}</dgm:x>',
        "ppt/notesSlides/notes1.xml": f'<p:notes xmlns:p="p" {A}>{shape("7", kind="sldNum")}'
        f"{shape('Say this.', 'Pause.', kind='body')}</p:notes>",
    }

    ((document,), problems) = read("a.pptx", make_pptx(shape("Cycle", kind="title") + diagram, shape("x"), **members))

    assert problems == []
    assert pages(document) == [(None, "Cycle\n\n- Plan\n- Do\n\nSay this.\n\nPause."), (None, "x")]


def test_a_slide_that_cannot_be_read_is_named_and_the_numbers_are_those_on_the_slides(read):
    slides = [shape("one"), shape("two"), "<a:p>"]

    ((document,), problems) = read("a.pptx", make_pptx(*slides, first="5"))

    assert pages(document) == [("5", "one"), ("6", "two"), ("7", "")]
    assert problems == [(", slide 3", "ppt/slides/slide1.xml is damaged: mismatched tag: line 1, column 197")]


def test_a_slide_is_read_though_its_notes_or_what_it_names_cannot_be(read):
    members = {
        "ppt/slides/_rels/slide2.xml.rels": relationships(n=("notesSlide", "../notesSlides/notes1.xml")),
        "ppt/notesSlides/notes1.xml": "<a>",
        "ppt/slides/_rels/slide1.xml.rels": "<a>",
    }

    ((document,), problems) = read("a.pptx", make_pptx(shape("one"), shape("two"), **members))

    assert pages(document) == [(None, "one"), (None, "two")]
    assert [place for place, _ in problems] == [", slide 1", ", slide 2"]
    assert [what.partition(":")[0] for _, what in problems] == [
        "ppt/notesSlides/notes1.xml is damaged",
        "ppt/slides/_rels/slide1.xml.rels is damaged",
    ]


def test_slides_are_found_by_their_relationships_in_any_order_of_attributes_and_a_lost_one_is_named(read):
    listed = '<p:sldId r:id="r0" id="256"/><p:sldId id="257" r:id="gone"/><p:sldId id="258" r:id="r1"/>'
    sections = '<p14:sldIdLst xmlns:p14="p14"><p14:sldId id="256"/><p14:sldId id="258"/></p14:sldIdLst>'
    main = f'<p:presentation xmlns:p="p" xmlns:r="r"><p:sldIdLst>{listed}</p:sldIdLst>{sections}</p:presentation>'

    ((document,), problems) = read("a.pptx", make_pptx(shape("a"), shape("b"), **{"ppt/presentation.xml": main}))

    assert pages(document) == [(None, "a"), (None, ""), (None, "b")]
    assert problems == [
        (", slide 2", "it lacks the slide 'gone' of ppt/presentation.xml, which its format must have"),
    ]


def test_powers_and_cells_of_several_rows_of_a_slide(read):
    cell = lambda text, more="": f"<a:tc {more}><a:p><a:r><a:t>{text}</a:t></a:r></a:p></a:tc>"  # noqa: E731
    rows = [
        cell("Q1", 'rowSpan="2"') + cell("May", 'gridSpan="2"') + cell("", 'hMerge="1"'),
        cell("", 'vMerge="1"') + cell("1") + cell("2"),
        cell("") + cell("3") + cell("4"),
    ]
    table = f"<p:graphicFrame><a:tbl>{''.join(f'<a:tr>{one}</a:tr>' for one in rows)}</a:tbl></p:graphicFrame>"
    run = '<a:r><a:rPr baseline="{}"/><a:t>{}</a:t></a:r>'
    power = (
        f"<a:p><a:r><a:t>10</a:t></a:r>{run.format(30000, 6)}<a:r><a:t>/l of H</a:t></a:r>{run.format(-25000, 2)}</a:p>"
    )

    ((document,), problems) = read("a.pptx", make_pptx(shape(power) + table))

    assert problems == []
    assert document.text == "10⁶/l of H2\n\nQ1 | May | \nQ1 | 1 | 2\n | 3 | 4"


def test_a_file_is_read_though_what_it_says_of_itself_is_damaged(read):
    core = "<c><title>Deck</title><creator>"

    for name, content in (
        ("a.pptx", make_pptx(shape("x"), **{"docProps/core.xml": core})),
        ("a.docx", make_docx(paragraph("x"), core=core)),
    ):
        ((document,), problems) = read(name, content)
        assert (document.text, document.metadata["title"], problems) == ("x", "Deck", [])


def test_slides_agree_with_python_pptx(read, tmp_path):
    made = pytest.importorskip("pptx").Presentation()
    for number in range(6):
        slide = made.slides.add_slide(made.slide_layouts[1])
        slide.shapes.title.text = f"Goal {number}"
        slide.placeholders[1].text_frame.text = f"Point {number}"
        slide.placeholders[1].text_frame.add_paragraph().text = "More"
        slide.shapes.add_table(2, 2, 0, 0, 9, 9).table.cell(1, 1).text = f"cell {number}"
        slide.notes_slide.notes_text_frame.text = f"Note {number}"
    made.save(tmp_path / "made.pptx")

    ((document,), problems) = read("a.pptx", (tmp_path / "made.pptx").read_bytes())

    assert problems == []
    for page, slide in zip(document.pages, made.slides, strict=True):
        frames = [one.text_frame for one in slide.shapes if one.has_text_frame]
        cells = [cell for one in slide.shapes if one.has_table for cell in one.table.iter_cells()]
        texts = [paragraph.text for frame in [*frames, *cells] for paragraph in getattr(frame, "paragraphs", [frame])]
        found = document.text[page.start : page.end]
        assert all(text in found for text in [*texts, slide.notes_slide.notes_text_frame.text])
        assert len(found.split()) == len(" ".join([*texts, "Note 0"]).split()) + 2 + 1  # two bullets, a border
    assert [text for kind, text in parts(document) if kind == "heading1"] == [f"Goal {number}" for number in range(6)]


@pytest.mark.parametrize("name", ["a.mhtml", "A.MHT"])
def test_a_page_that_a_browser_saved_with_its_pictures_is_a_page(read, name):
    head = "From: <Saved by Blink>\nSubject: Title\nContent-Type: multipart/related; boundary=b\n\n--b\n"
    shown = "<title>T</title><nav>Menu</nav><p>Caf=C3=A9=\n</p>"
    page = f"Content-Type: text/html\nContent-Transfer-Encoding: quoted-printable\n\n{shown}\n"
    style = "--b\nContent-Type: text/css\n\np {}\n--b--\n"

    ((document,), problems) = read(name, f"{head}{page}{style}".encode())

    assert (document.text, document.metadata["title"], problems) == ("Café", "T", [])
    assert read(name, f"{head}{style}".encode())[1] == [("", "it holds no page")]


def test_a_saved_page_is_in_the_encoding_that_its_message_declares_and_read_as_far_as_it_goes(read):
    head = "From: <Saved by Blink>\nContent-Type: multipart/related; boundary=b\n\n--b\n"
    kind = "Content-Type: text/html; charset=windows-1251\nContent-Transfer-Encoding: "

    russian = f"{head}{kind}8bit\n\n<p>Привет, мир</p>\n--b--\n".encode("cp1251")
    ((document,), problems) = read("a.mht", russian)

    assert (document.text, problems, read.notes) == ("Привет, мир", [], [])

    letters = b64encode("<p>Привет, мир</p>".encode("cp1251"))[:13].decode()
    ((document,), _) = read("a.mht", f"{head}{kind}base64\n\n{letters}")

    assert document.text == "Привет"
    assert [what for _, what in read.notes] == ["a text is read up to where its base64 breaks off"]


def test_a_book_is_its_chapters_in_their_order(read):
    ((document,), problems) = read("a.epub", make_epub())

    assert document.text == "One\n\nText of One.\n\nTwo\n\nText of Two."
    assert parts(document) == [("heading1", "One"), ("heading1", "Two")]
    assert problems == [(", chapter OEBPS/gone.xhtml", "it lacks OEBPS/gone.xhtml, which its format must have")]
    said = {key: value for key, value in document.metadata.items() if key != "source"}
    assert said == {"title": "A book", "author": "Ann", "lang": "de"}
    assert read("book.download", make_epub())[0][0].text == document.text


def test_all_of_a_chapter_is_read_with_its_notes_and_examples(read):
    one = "<section><header><h2>One</h2></header><p>Text.</p><aside>A note.</aside></section><footer>End.</footer>"
    two = "<section><h1>Two</h1><p>Before.</p><article>An example.</article><p>After.</p></section>"
    chapters = {"OEBPS/text/one.xhtml": f"<body>{one}</body>", "OEBPS/text/two b.xhtml": f"<body>{two}</body>"}

    ((document,), _) = read("a.epub", make_epub(**chapters))

    assert document.text == "One\n\nText.\n\nA note.\n\nEnd.\n\nTwo\n\nBefore.\n\nAn example.\n\nAfter."
    assert parts(document) == [("heading2", "One"), ("heading1", "Two")]


def test_notes_and_answers_beside_the_order_of_reading_are_read_and_the_contents_are_not(read):
    package = OPF.replace('<itemref idref="b"/>', '<itemref idref="b" linear="no"/>')

    for shown in (package, package.replace('idref="n" linear="no"', 'idref="n"')):
        ((document,), _) = read("a.epub", make_epub(**{"OEBPS/a.opf": shown}))

        assert document.text == "One\n\nText of One.\n\nTwo\n\nText of Two."


NAV = """<html xmlns="x" xmlns:epub="y"><body><nav epub:type="landmarks"><ol>
<li><a href="text/one.xhtml">Start</a></li></ol></nav><nav epub:type="toc"><h1>Contents</h1><ol>
<li><a href="text/one.xhtml">Chapter <i>One</i></a></li>
<li><a href="text/one.xhtml#a">Within</a><ol><li><a href="text/two%20b.xhtml#x">The Second</a></li></ol></li></ol></nav>
</body></html>"""
NCX = """<ncx><docTitle><text>A book</text></docTitle><navMap><navPoint><navLabel><text>Chapter One</text></navLabel>
<content src="text/one.xhtml"/><navPoint><navLabel><text>The Second</text></navLabel>
<content src="text/two%20b.xhtml#x"/></navPoint></navPoint></navMap>
<pageList><pageTarget><navLabel><text>9</text></navLabel>
<content src="text/three.xhtml"/></pageTarget></pageList></ncx>"""
WITH_NCX = OPF.replace('properties="scripted nav"', "").replace(
    '<item id="c"', '<item id="ncx" href="toc.ncx" media-type="application/x-dtbncx+xml"/><item id="c"'
)


@pytest.mark.parametrize(
    "members",
    [
        {"OEBPS/nav.xhtml": NAV},
        {"OEBPS/a.opf": WITH_NCX, "OEBPS/toc.ncx": NCX, "OEBPS/nav.xhtml": None},
        {"OEBPS/a.opf": WITH_NCX.replace('id="n"', 'id="n" properties="nav"'), "OEBPS/toc.ncx": NCX},  # nav is no XML
    ],
)
def test_chapters_without_a_heading_have_that_of_the_contents(read, members):
    one = "<p>I.</p><p>CHAPTER<br/>One</p><p>Text.</p>"
    chapters = {"OEBPS/text/one.xhtml": one, "OEBPS/text/two b.xhtml": "<p>Text of two.</p>"}
    package = members.get("OEBPS/a.opf", OPF).replace("gone.xhtml", "text/three.xhtml")
    members = {**chapters, "OEBPS/text/three.xhtml": "<p>End.</p>", **members, "OEBPS/a.opf": package}

    ((document,), _) = read("a.epub", make_epub(**members))

    assert document.text == "I.\n\nCHAPTER\nOne\n\nText.\n\nThe Second\n\nText of two.\n\nEnd."
    assert parts(document) == [("heading1", "CHAPTER\nOne"), ("heading2", "The Second")]


def test_a_title_of_the_contents_has_the_level_of_other_chapters(read):
    nav = NAV.replace('<ol><li><a href="text/two', '</li><li><a href="text/two').replace("</li></ol></li>", "</li>")
    one = "<h2>One</h2><h3>Within</h3><p>Text.</p>"

    ((document,), _) = read(
        "a.epub",
        make_epub(**{"OEBPS/text/one.xhtml": one, "OEBPS/text/two b.xhtml": "<p>Text.</p>", "OEBPS/nav.xhtml": nav}),
    )

    assert parts(document) == [("heading2", "One"), ("heading3", "Within"), ("heading2", "The Second")]


def test_chapters_of_older_types_are_read(read):
    package = OPF.replace("application/xhtml+xml", "text/x-oeb1-document", 1).replace("one.xhtml", "one.xhtml#top")
    package = package.replace('#top" media-type="application/xhtml+xml', '#top" media-type="text/html; charset=utf-8')

    ((document,), _) = read("a.epub", make_epub(**{"OEBPS/a.opf": package}))

    assert document.text == "One\n\nText of One.\n\nTwo\n\nText of Two."


def test_protected_chapters_are_named(read):
    xml = '<encryption><CipherReference URI="OEBPS/text/one.xhtml"/><CipherReference URI="font.otf"/></encryption>'

    ((document,), problems) = read("a.epub", make_epub(**{"META-INF/encryption.xml": xml}))

    assert document.text.startswith("Two")
    assert problems[0] == (", chapter OEBPS/text/one.xhtml", "it is protected (DRM), and cannot be read")


BOMB = f"<w:document {W}><w:body>" + paragraph("x" * 5_000_000) + "</w:body></w:document>"
LAUGHS = '<!DOCTYPE d [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><d>&b;</d>'
OUTSIDE = '<!DOCTYPE d [<!ENTITY a SYSTEM "file:///etc/passwd">]><d>&a;</d>'


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.docx", b"no zip", "it is no zip archive"),
        ("a.docx", b"", "it is no zip archive"),
        ("a.docx", b"\xd0\xcf\x11\xe0" + b"\0" * 99, "it is encrypted, or of a format of before 2007"),
        ("a.docx", pack({"a.txt": "x"}), "it is no Word file: it lacks word/document.xml"),
        ("a.docx", make_docx(paragraph("x"))[:-30], "it is no zip archive"),
        ("a.docx", pack({"word/document.xml": "<a><b></a>"}), "word/document.xml is damaged: mismatched tag"),
        ("a.docx", pack({"word/document.xml": "<w>" * 600}), "nests more than 500 elements"),
        ("a.docx", pack({"word/document.xml": LAUGHS}), "declares entities, which are not read"),
        ("a.docx", pack({"word/document.xml": OUTSIDE}), "declares entities, which are not read"),
        ("a.docx", pack({"word/document.xml": '<?xml version="1.0" encoding="x"?><a/>'}), "declares the encoding 'x'"),
        ("a.docx", pack({"word/document.xml": '<?xml version="1.0" encoding="utf-7"?><a/>'}), "the encoding 'utf-7'"),
        ("a.docx", pack({"word/document.xml": BOMB}), "unpacks to more than 200 times its size"),
        ("a.docx", pack({"word/document.xml": "<a/>"}, zipfile.ZIP_LZMA).replace(b"\x0e\0", b"\x63\0"), "is damaged"),
        ("a.pptx", b"", "it is no zip archive"),
        ("a.pptx", b"\xd0\xcf\x11\xe0" + b"\0" * 99, "save it as .docx, .pptx or .xlsx without a password"),
        ("a.pptx", pack({"a.txt": "x"}), "it holds no slides: it lacks ppt/presentation.xml"),
        ("a.pptx", make_pptx(), "its slides hold no text; pictures and charts are not read"),
        ("a.pptx", make_pptx("<a:p>"), "slide 1: ppt/slides/slide1.xml is damaged"),
        ("a.pptx", make_pptx(shape("x"), **{"ppt/slides/slide1.xml": None}), "slide 1: it lacks ppt/slides/slide1.xml"),
        ("a.epub", pack({"mimetype": "application/epub+zip"}), "it lacks META-INF/container.xml"),
        ("a.epub", make_epub(**{"META-INF/container.xml": "<container/>"}), "names no package"),
        ("a.epub", make_epub(**{"OEBPS/a.opf": "<package/>"}), "it holds no text"),
        (
            "a.epub",
            make_epub(**{"OEBPS/text/one.xhtml": None, "OEBPS/text/two b.xhtml": None}),
            "chapter OEBPS/text/one.xhtml",
        ),
    ],
)
def test_what_is_no_such_file_is_named(read, name, content, reason):
    documents, ((place, why),) = read(name, content)

    assert (documents, place) == ([], "")
    assert reason in why


def test_archives_beyond_the_limits_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "a.zip"
    path.write_bytes(pack({"a": "x" * 1000, "b": "y"}))
    monkeypatch.setattr(archive, "MAX_UNPACKED", 500)
    with archive.Archive(path) as opened, pytest.raises(DocumentError, match="unpacks to more than 0 MB"):
        opened.read("a")
    monkeypatch.setattr(archive, "MAX_MEMBERS", 1)
    with pytest.raises(DocumentError, match="it has 2 members, and at most 1 are read"):
        archive.Archive(path)


def test_an_encrypted_member_is_named(tmp_path):
    data = bytearray(pack({"a": "x"}))
    data[6] |= 1
    data[data.index(b"PK\1\2") + 8] |= 1
    (tmp_path / "a.zip").write_bytes(bytes(data))
    with archive.Archive(tmp_path / "a.zip") as opened, pytest.raises(DocumentError, match="a is encrypted"):
        opened.read("a")


def test_blocks_are_in_order_and_within_the_text(read):
    for name, content in (("a.html", PAGE), ("a.epub", make_epub())):
        document = read(name, content)[0][0]
        for one, other in pairwise(document.outline):
            assert (one.start, -one.end) <= (other.start, -other.end)
            assert document.text[one.start : one.end].strip()


def test_rows_of_long_tables_have_the_names_that_their_format_tells(read):
    row = "<tr><th>{}<td>at {} bar<td>6"
    rows = "".join(row.format(f"Pump {number}", number) for number in range(40))
    head = "<caption>Pumps</caption><tr><th>Pump<th>Pressure<th>12</tr>"
    page = f"<table>{head}{rows}</table><p>After.<table>{rows}</table>"

    ((document,), _) = read("a.html", page)
    lines = document.text.splitlines()

    assert lines[:3] == ["Pumps", "Pump | Pressure | 12", "Pump: Pump 0 | Pressure: at 0 bar | 12: 6"]
    assert lines[41:] == ["Pump: Pump 39 | Pressure: at 39 bar | 12: 6", "", "After.", "", *lines[45:]]
    assert lines[-1] == "Pump 39 | at 39 bar | 6"
    assert [kind for kind, _ in parts(document)] == ["table", "table"]


@pytest.mark.parametrize(("setting", "last"), [("<w:tblHeader/>", "Pump: B39 | 12: x"), ("", "B39 | x")])
def test_rows_of_long_tables_of_word_have_the_names_of_the_row_that_is_repeated(read, setting, last):
    def row(*cells, more=""):
        return f"<w:tr><w:trPr>{more}</w:trPr>{''.join(f'<w:tc>{paragraph(one)}</w:tc>' for one in cells)}</w:tr>"

    rows = "".join(row(f"B{number}", "x") for number in range(40))
    padding = row("y" * 500, "z")

    ((document,), _) = read("a.docx", make_docx(f"<w:tbl>{row('Pump', '12', more=setting)}{padding}{rows}</w:tbl>"))

    assert document.text.splitlines()[-1] == last


def test_hidden_text_of_word_is_not_read(read):
    run = "<w:r><w:rPr>{}</w:rPr><w:t>{}</w:t></w:r>"
    hidden = run.format("<w:vanish/>", "secret ") + run.format('<w:vanish w:val="0"/>', "is read.")
    body = f"<w:p><w:pPr><w:rPr><w:vanish/></w:rPr></w:pPr>{run.format('<w:webHidden/>', 'What ')}{hidden}</w:p>"

    assert read("a.docx", make_docx(body))[0][0].text == "What is read."


def test_text_that_a_style_of_word_hides_is_not_read(read):
    style = '<w:style w:styleId="{}"><w:name w:val="n"/><w:basedOn w:val="{}"/><w:rPr>{}</w:rPr></w:style>'
    shown = '<w:vanish w:val="0"/>'
    styles = style.format("z", "", "<w:vanish/>") + style.format("zz", "z", "") + style.format("s", "z", shown)
    run = "<w:r><w:rPr>{}</w:rPr><w:t>{}</w:t></w:r>"
    top = f'<w:pPr><w:pStyle w:val="z"/></w:pPr>{run.format("", "Top of Form")}{run.format(shown, "Read.")}'
    line = run.format('<w:rStyle w:val="zz"/>', "secret ") + run.format('<w:rStyle w:val="s"/>', "This, too.")

    ((document,), _) = read(
        "a.docx", make_docx(f"<w:p>{top}</w:p><w:p>{line}</w:p>", styles=f"<w:styles {W}>{styles}</w:styles>")
    )

    assert document.text == "Read.\n\nThis, too."


def test_pages_of_html_within_a_word_file_are_read(read):
    body = f'{paragraph("Before.")}<w:altChunk r:id="r1"/><w:altChunk r:id="r2"/>{paragraph("After.")}'
    document = f'<w:document {W} xmlns:r="r"><w:body>{body}</w:body></w:document>'
    named = relationships(r1=("aFChunk", "chunk.mht"), r2=("aFChunk", "chunk.rtf"))
    page = "MIME-Version: 1.0\nContent-Type: text/html; charset=utf-8\n\n<h1>Pumps</h1><p>Check them."
    parts_of_file = {"word/document.xml": document, "word/_rels/document.xml.rels": named, "word/chunk.mht": page}

    ((document,), problems) = read("a.docx", pack(parts_of_file))

    assert document.text == "Before.\n\nPumps\n\nCheck them.\n\nAfter."
    assert parts(document) == [("heading1", "Pumps")]
    assert problems == [(", a file within it", "a file of .rtf format; open it in Word and save it")]


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ('<pre><span class="linenos">1</span>a = 1\n<span class="linenos">2</span>b = 2</pre>', "a = 1\nb = 2"),
        ('<pre><code><div class="line">a</div><div class="line">  b</div></code><button>Copy</button></pre>', "a\n  b"),
        ('<pre class="prettyprint"><ol><li><span>a</span></li><li>b</li></ol></pre>', "a\nb"),
        ("<pre>a<br>b<p>c</p>d\n<!-- e --></pre>", "a\nb\nc\nd"),
        ('<pre>see <span class="lineno">line 7</span></pre>', "see line 7"),
    ],
)
def test_code_has_its_lines_and_no_numbers_and_buttons_of_the_page(read, page, text):
    assert read("a.html", page)[0][0].text == text


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ('<h2>Old<span class="mw-editsection">[<a href="?action=edit">edit</a>]</span></h2>Text.', "Old\n\nText."),
        ('<ol><li><a href="#r1">^</a> A source. <a href="#r1">\u21a9\ufe0e</a></ol>', "1. A source."),
        ('<div role="tabpanel">pip</div><div role="tabpanel" hidden>conda</div>', "pip\n\nconda"),
        ('<div hidden="until-found">Folded.</div><div hidden>Not seen.</div>', "Folded."),
        ("<label>pip</label><label>conda</label>", "pip\n\nconda"),
        ('<p>Text.</p><div role="dialog">We use cookies.</div>', "Text."),
    ],
)
def test_what_a_click_opens_is_read_and_what_programs_add_to_pages_is_not(read, page, text):
    assert read("a.html", page)[0][0].text == text


@pytest.mark.parametrize(
    ("formula", "text"),
    [
        ("<msup><mi>a</mi><mn>2</mn></msup><mo>+</mo><mfrac><mn>1</mn><mn>2</mn></mfrac>", "a²+1/2"),
        ("<mfrac><mrow><mi>a</mi><mo>+</mo><mi>b</mi></mrow><mn>2</mn></mfrac>", "(a+b)/2"),
        ("<msqrt><mi>x</mi><mo>−</mo><mn>1</mn></msqrt><mroot><mi>y</mi><mn>3</mn></mroot>", "√(x−1)³√y"),
        ("<msubsup><mi>x</mi><mi>i</mi><mi>k</mi></msubsup>\n <mover><mi>x</mi><mo>¯</mo></mover>", "x_i^kx¯"),
        (
            "<munderover><mo>∑</mo><mrow><mi>i</mi><mo>=</mo><mn>1</mn></mrow><mi>n</mi></munderover><mi>i</mi>",
            "∑_(i=1)ⁿi",
        ),
        (
            "<mi>sin</mi><mo>&#x2061;</mo><mi>x</mi><mtext> if </mtext><mi>x</mi><mo>&#x2062;</mo><mi>y</mi>",
            "sin x if xy",
        ),
        (
            "<mtable><mtr><mtd><mn>1</mn></mtd><mtd><mn>0</mn></mtd></mtr><mtr><mtd><mn>2</mn></mtd></mtr></mtable>",
            "1 0; 2",
        ),
        ("<mfenced><mi>a</mi><mi>b</mi></mfenced><mfrac><mn>1</mn></mfrac>", "(a,b)1"),
        ('<mfenced open="{" close="" separators=""><mi>a</mi><mi>b</mi></mfenced>', "{ab"),
        ('<mfenced separators="; ,"><mi>a</mi><mi>b</mi><mi>c</mi><mi>d</mi></mfenced>', "(a;b,c,d)"),
        ("<maction actiontype='toggle'>\n<mi>a</mi><mi>b</mi></maction>", "a"),
        ("<mrow>" * 3000 + "<mi>x</mi>", "x"),
    ],
)
def test_formulas_without_tex_are_read_as_they_are_drawn(read, formula, text):
    assert read("a.html", f"<p>So <math>{formula}</math> holds.")[0][0].text == f"So {text} holds."


def test_a_row_of_word_that_begins_in_a_later_column_has_its_cells_there(read):
    cells = "".join(f"<w:tc>{paragraph(one)}</w:tc>" for one in "abc")
    later = f'<w:tr><w:trPr><w:gridBefore w:val="2"/></w:trPr><w:tc>{paragraph("d")}</w:tc></w:tr>'
    whole = f'<w:tr><w:trPr><w:gridBefore w:val="0"/></w:trPr>{cells}</w:tr>'

    ((document,), _) = read("a.docx", make_docx(f"<w:tbl><w:tr>{cells}</w:tr>{later}{whole}</w:tbl>"))

    assert document.text == "a | b | c\n |  | d\na | b | c"
