"""The documented ways from other tools' documents to ours, on what those tools make without models."""

import sys
from types import ModuleType, SimpleNamespace

import pytest

from latechunk import Document, Span
from latechunk.chunking.places import make_chunks, with_outline
from tests.documentation import ROOT, blocks


def example(word):
    """The block of the documentation that imports this."""
    return next(block.code for block in blocks(ROOT / "docs/command-line.md") if f"from {word}" in block.code)


def test_the_documented_way_from_docling_keeps_pages_and_headings(monkeypatch):
    docling = pytest.importorskip("docling_core.types.doc")
    origin = docling.BoundingBox(l=0, t=0, r=1, b=1)
    on_page = lambda number: docling.ProvenanceItem(page_no=number, bbox=origin, charspan=(0, 1))  # noqa: E731
    converted = docling.DoclingDocument(name="scan")
    for number in (1, 2, 3):
        converted.add_page(page_no=number, size=docling.Size(width=600, height=800))
    converted.add_title("Pump_7 & more", prov=on_page(1))
    converted.add_heading("Care", level=1, prov=on_page(1))
    over = converted.add_text(docling.DocItemLabel.TEXT, "Oil <it>.", prov=on_page(1))
    over.prov.append(on_page(2))
    converted.add_code("pump --start", prov=on_page(3))
    converter = SimpleNamespace(convert=lambda path: SimpleNamespace(document=converted))
    monkeypatch.setitem(sys.modules, "docling", ModuleType("docling"))
    monkeypatch.setitem(sys.modules, "docling.document_converter", SimpleNamespace(DocumentConverter=lambda: converter))
    names = {}

    exec(example("docling"), names)

    scan = with_outline(names["scan"])
    first = "# Pump_7 & more\n\n## Care\n\nOil <it>."
    assert [scan.text[page.start : page.end] for page in scan.pages] == [first, "", "```\npump --start\n```"]
    (chunk,) = make_chunks(scan, [Span(scan.text.index("Oil"), len(first))])
    assert chunk.citation == "scan.pdf, p. 1, Pump_7 & more > Care"

    converted.pages.clear()
    exec(example("docling"), names)
    assert names["scan"].text.startswith(f"{first}\n\n```")


def test_the_documented_way_from_markitdown_keeps_headings_and_tables(tmp_path, monkeypatch):
    pytest.importorskip("markitdown")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "offer.html").write_text("<h1>Pumps &amp; more</h1><table><tr><th>day</th></tr></table><p>Oil</p>")
    names = {"Document": Document}

    exec(example("markitdown").replace("offer.msg", "offer.html"), names)

    mail = with_outline(names["mail"])
    assert [(block.kind, mail.text[block.start : block.end]) for block in mail.outline] == [
        ("heading", "# Pumps & more"),
        ("table", "| day |\n| --- |"),
    ]
