"""Files of Office, books and pages of HTML for the tests, by hand, so that each part of them can be wrong."""

from __future__ import annotations

import io
import zipfile

W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
MC = 'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"'


def pack(members, compression=zipfile.ZIP_DEFLATED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as made:
        for name, content in members.items():
            made.writestr(name, content, zipfile.ZIP_STORED if name == "mimetype" else compression)
    return file.getvalue()


PAGE = """<!doctype html><html lang="en"><head><title> All about
 pumps </title><meta name="author" content="Ann"><meta property="article:published_time" content="2024-01-31">
<style>p {}</style></head><body><header><nav>Menu</nav>Logo</header>
<h1>Pumps &amp; <i>more</i></h1><p>Check
 them<br>weekly.<script>alert(1)</script></p><div>Parts:<ul><li>one<ul><li>inner</li></ul></li><li><p>two</p><p>more</p>
</li></ul></div><table><caption>Sizes</caption><tr><th>a<th>b</tr><tr><td><p>1</p><p>x</p><td><ul><li>l<li>m</ul></tr>
<tr><td></td><td> </td></tr></table><pre><code>x = 1
  y</code></pre><ol start="3"><li>c<li>d</ol><p hidden>secret</p><p style="display: none">secret</p>
<table><tr><td><h2>Layout</h2>text<table><tr><td>i<td>j</tr></table></td></tr></table><footer>Imprint</footer>"""

PEOPLE = 'name;age;note\nAnn;31;"two\nlines"\n\nBob;;\nCid;5;x;y\nDan\n'


def paragraph(text, settings=""):
    return f"<w:p><w:pPr>{settings}</w:pPr><w:r><w:t>{text}</w:t></w:r></w:p>"


STYLES = f"""<w:styles {W}>
<w:style w:type="paragraph" w:styleId="berschrift2"><w:name w:val="heading 2"/></w:style>
<w:style w:type="paragraph" w:styleId="Titel"><w:name w:val="Title"/></w:style>
<w:style w:type="paragraph" w:styleId="Own"><w:name w:val="My own"/><w:basedOn w:val="berschrift2"/></w:style>
<w:style w:type="paragraph" w:styleId="Outline"><w:name w:val="o"/><w:pPr><w:outlineLvl w:val="2"/></w:pPr></w:style>
<w:style w:type="paragraph" w:styleId="Liste"><w:name w:val="l"/>
<w:pPr><w:numPr><w:numId w:val="1"/></w:numPr></w:pPr></w:style>
<w:style w:type="paragraph" w:styleId="Loop"><w:name w:val="x"/><w:basedOn w:val="Loop"/></w:style>
</w:styles>"""


def make_docx(body="", **more):
    """A Word file of this body; more parts by ``styles``, ``numbering``, ``notes`` and ``core``."""
    document = f"<w:document {W} {MC}><w:body>{body}</w:body></w:document>"
    names = {"styles": "word/styles.xml", "notes": "word/footnotes.xml", "core": "docProps/core.xml"}
    names["numbering"] = "word/numbering.xml"
    return pack({"word/document.xml": document, **{names[key]: value for key, value in more.items()}})


A = 'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main"'


def shape(*paragraphs, kind=None):
    """A shape of a slide; ``kind`` is that of its placeholder, "" the one of a content placeholder."""
    placeholder = "" if kind is None else f'<p:ph type="{kind}"/>' if kind else '<p:ph idx="1"/>'
    body = "".join(one if one.startswith("<") else f"<a:p><a:r><a:t>{one}</a:t></a:r></a:p>" for one in paragraphs)
    return f"<p:sp><p:nvSpPr><p:nvPr>{placeholder}</p:nvPr></p:nvSpPr><p:txBody>{body}</p:txBody></p:sp>"


def relationships(**targets):
    """A part that names others: ``id="kind target"``."""
    rows = (f'<Relationship Id="{key}" Type="x/{kind}" Target="{target}"/>' for key, (kind, target) in targets.items())
    return f"<Relationships>{''.join(rows)}</Relationships>"


def make_pptx(*slides, first="1", **members):
    """Slides of these shapes, which the archive has in the opposite order; further members by name, None for none."""
    named = {f"ppt/slides/slide{len(slides) - number}.xml": one for number, one in enumerate(slides)}
    ids = {f"r{number}": ("slide", name.removeprefix("ppt/")) for number, name in enumerate(named)}
    listed = "".join(f'<p:sldId id="{300 - number}" r:id="{key}"/>' for number, key in enumerate(ids))
    parts = {
        "ppt/presentation.xml": f'<p:presentation xmlns:p="p" xmlns:r="r" firstSlideNum="{first}">'
        f"<p:sldIdLst>{listed}</p:sldIdLst></p:presentation>",
        "ppt/_rels/presentation.xml.rels": relationships(**ids),
        **{
            name: f'<p:sld xmlns:p="p" xmlns:r="r" xmlns:dgm="d" {A} {MC}><p:spTree>{one}</p:spTree></p:sld>'
            for name, one in named.items()
        },
        **members,
    }
    return pack({name: content for name, content in parts.items() if content is not None})


def cell(value, place="", kind="n", style=""):
    """A cell of a sheet: a number, text, or a value of another kind (``t``) and style."""
    of = f' r="{place}"' if place else ""
    if isinstance(value, str) and kind == "n":
        return f'<c{of} t="inlineStr"><is><t>{value}</t></is></c>'
    return f'<c{of} t="{kind}" s="{style}"><v>{value}</v></c>'


def sheet_row(number, *cells):
    """A row of a sheet; cells that are no XML are made by ``cell``, and None is an empty one."""
    made = (
        "<c/>" if one is None else one if isinstance(one, str) and one.startswith("<") else cell(one) for one in cells
    )
    return f'<row r="{number}">{"".join(made)}</row>'


def make_xlsx(sheets, *, codes=(), texts=(), merged=(), states=(), settings="", **members):
    """A workbook of sheets, by name, as rows; styles are format codes, by their numbers from 1."""
    formats = "".join(f'<numFmt numFmtId="{200 + n}" formatCode="{code}"/>' for n, code in enumerate(codes))
    styles = "".join(f'<xf numFmtId="{200 + n}"/>' for n in range(len(codes)))
    ranges = "".join(f'<mergeCell ref="{one}"/>' for one in merged)
    named = {f"xl/worksheets/sheet{n}.xml": rows for n, rows in enumerate(sheets.values(), start=1)}
    parts = {f"r{n}": ("worksheet", f"worksheets/sheet{n}.xml") for n in range(1, len(sheets) + 1)}
    parts |= {"s": ("styles", "styles.xml"), "t": ("sharedStrings", "/xl/texts.xml")}
    listed = "".join(
        f'<sheet name="{name}" sheetId="{n}" r:id="r{n}" {"".join(states[n - 1 : n])}/>'
        for n, name in enumerate(sheets, start=1)
    )
    return pack(
        {
            "[Content_Types].xml": "<Types/>",
            "xl/workbook.xml": f'<workbook xmlns="x" xmlns:r="r"><workbookPr {settings}/>{listed}</workbook>',
            "xl/_rels/workbook.xml.rels": relationships(**parts),
            "xl/styles.xml": f'<styleSheet><numFmts>{formats}</numFmts><cellStyleXfs><xf numFmtId="9"/></cellStyleXfs>'
            f'<cellXfs><xf numFmtId="0"/>{styles}</cellXfs></styleSheet>',
            "xl/texts.xml": f"<sst>{''.join(f'<si>{one}</si>' for one in texts)}</sst>",
            **{
                name: f'<worksheet xmlns="x"><sheetData>{rows}</sheetData><mergeCells>{ranges}</mergeCells></worksheet>'
                for name, rows in named.items()
            },
            **members,
        }
    )


OPF = """<package xmlns="http://www.idpf.org/2007/opf" xmlns:dc="http://purl.org/dc/elements/1.1/"><metadata>
<dc:title>A book</dc:title><dc:creator>Ann</dc:creator><dc:creator>Bob</dc:creator><dc:language>de</dc:language>
</metadata><manifest><item id="b" href="text/two%20b.xhtml" media-type="application/xhtml+xml"/>
<item id="a" href="text/../text/one.xhtml" media-type="application/xhtml+xml"/>
<item id="n" href="nav.xhtml" properties="scripted nav" media-type="application/xhtml+xml"/>
<item id="c" href="x.css" media-type="text/css"/>
<item id="m" href="gone.xhtml" media-type="application/xhtml+xml"/></manifest><spine>
<itemref idref="n" linear="no"/>
<itemref idref="a"/><itemref idref="c"/><itemref idref="b"/><itemref idref="a"/><itemref idref="m"/>
</spine></package>"""


def make_epub(**changes):
    """A book of two chapters; members by name that differ, None for one that is not there."""
    chapter = '<?xml version="1.0"?><html><head><title/></head><body><h1>{0}</h1><p>Text of {0}.</p></body></html>'
    members = {
        "mimetype": "application/epub+zip",
        "META-INF/container.xml": '<container><rootfiles><rootfile full-path="OEBPS/a.opf"/></rootfiles></container>',
        "OEBPS/a.opf": OPF,
        "OEBPS/text/one.xhtml": chapter.format("One"),
        "OEBPS/text/two b.xhtml": chapter.format("Two"),
        "OEBPS/nav.xhtml": "contents",
        **changes,
    }
    return pack({name: content for name, content in members.items() if content is not None})
