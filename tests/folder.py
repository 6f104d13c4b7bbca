"""A folder of 200 files of every format, some of them broken, for the tests and for benchmarks/readers.py."""

from __future__ import annotations

import json
from pathlib import Path

from tests.documents import PEOPLE, STYLES, make_docx, make_epub, pack, paragraph
from tests.pdfs import IMAGE, make_pdf, write_lines

SENTENCE = "The pump of hall {0} must be checked each week by a trained person."


def _pdf(number: int) -> bytes:
    lines = [SENTENCE.format(number), *(f"Line {line} of hall {number}." for line in range(30))]
    return make_pdf([write_lines(lines) for _ in range(4)], labels="0 << /S /r >> 2 << /S /D >>")


def _docx(number: int) -> bytes:
    heading = '<w:pStyle w:val="berschrift2"/>'
    body = paragraph(f"Hall {number}", heading) + paragraph(SENTENCE.format(number)) * 20
    return make_docx(body, styles=STYLES)


def _html(number: int) -> bytes:
    rows = "".join(f"<tr><td>part {row}<td>{row}</tr>" for row in range(20))
    return f"<!doctype html><h1>Hall {number}</h1><p>{SENTENCE.format(number)}</p><table>{rows}</table>".encode()


def _markdown(number: int) -> bytes:
    front = f"---\ntitle: Hall {number}\n---\n"
    return f"{front}# Hall {number}\n\n{SENTENCE.format(number)}\n\n```\nx = {number}\n```\n".encode()


def _epub(number: int) -> bytes:
    names = ("text/one.xhtml", "text/two b.xhtml", "gone.xhtml")
    return make_epub(**{f"OEBPS/{name}": _html(number) for name in names})


def _notebook(number: int) -> bytes:
    cells = [{"cell_type": "markdown", "source": SENTENCE.format(number)}, {"cell_type": "code", "source": "x = 1"}]
    return json.dumps({"cells": cells}).encode()


_GOOD = {
    "pdf": _pdf,
    "docx": _docx,
    "html": _html,
    "md": _markdown,
    "ipynb": _notebook,
    "csv": lambda number: f"{PEOPLE}{SENTENCE.format(number)}\n".encode(),
    "epub": _epub,
    "rst": lambda number: f"Hall {number}\n========\n\n{SENTENCE.format(number)}\n".encode(),
    "json": lambda number: json.dumps([{"text": SENTENCE.format(number)}]).encode(),
    "py": lambda number: f"# {SENTENCE.format(number)}\nx = {number}\n".encode(),
}
_BAD = {
    "truncated.pdf": (make_pdf([write_lines(["x"])])[:150], "it is no PDF file, or damaged"),
    "scanned.pdf": (make_pdf([IMAGE] * 3), "its pages are images without text"),
    "noise.pdf": (bytes(range(256)) * 20, "it is no PDF file, or damaged"),
    "bomb.docx": (pack({"word/document.xml": f"<w>{' ' * 5_000_000}</w>"}), "as only bombs do"),
    "truncated.docx": (_docx(1)[:-40], "it is no zip archive"),
    "entities.docx": (pack({"word/document.xml": '<!DOCTYPE d [<!ENTITY a "ha">]><d>&a;</d>'}), "declares entities"),
    "empty.epub": (pack({"mimetype": "application/epub+zip"}), "it lacks META-INF/container.xml"),
    "empty.ipynb": (b'{"cells": []}', "no cell with text"),
    "broken.ipynb": (b'{"cells": [', "a notebook must be JSON"),
    "latin.txt": (b"caf\xe9", "not UTF-8"),
}


def make_folder(folder: Path) -> tuple[dict[str, int], dict[str, str]]:
    """Write 190 good files and 10 bad ones: names and numbers of the good, names and reasons of the bad."""
    good = {f"part{number % 7}/{number:03}.{kind}": number for number, kind in enumerate([*_GOOD] * 19)}
    for name, number in good.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(_GOOD[name.rpartition(".")[2]](number))
    for name, (content, _) in _BAD.items():
        (folder / name).write_bytes(content)
    return good, {name: reason for name, (_, reason) in _BAD.items()}
