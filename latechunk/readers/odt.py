"""Texts of LibreOffice (.odt): paragraphs, headings, lists and tables.

Insertions are read and deletions are not. Text boxes and notes come after the paragraph that they belong to. Headers,
footers and comments are left out, as are numbers, which such files do not hold.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from latechunk.errors import DocumentError
from latechunk.readers.archive import Archive
from latechunk.readers.html_tables import TableRows
from latechunk.readers.notation import MOST_SPAN
from latechunk.readers.office import join_runs, read_metadata
from latechunk.readers.parsed import Parsed, ParserOptions
from latechunk.readers.reader import parsed_reader
from latechunk.readers.structured import StructuredText

_CONTENT, _META, _MANIFEST = "content.xml", "meta.xml", "META-INF/manifest.xml"
_METADATA = {"title": "title", "initial-creator": "author", "creator": "author", "creation-date": "created"}
_SKIPPED = {"tracked-changes", "annotation", "note-citation", "forms", "title", "desc", "ruby-text"}
_TEXTS = ("p", "h", "span", "a")  # a title within these is the text's, where it says it, and no picture's
_SIGNS = {"tab": "\t", "line-break": "\n"}
_MOST_SPACES = 100
_SPACE = re.compile(r"[ \t\r\n]+")


def parse(path: Path, options: ParserOptions) -> Parsed:  # noqa: ARG001
    """Read a text; see ``ParserProcess.parse``."""
    with Archive(path) as archive:
        if _MANIFEST in archive and archive.values(_MANIFEST, "encryption-data", "checksum"):
            raise DocumentError("it is encrypted; save it without a password")
        body = _Body()
        archive.parse(_CONTENT, body.start, body.end, body.text)
        return Parsed(str(body.out), outline=body.out.outline, metadata=read_metadata(archive, _META, _METADATA))


@dataclass(slots=True)
class _Paragraph:
    level: int = 0  # of a heading
    parts: list[str] = field(default_factory=list)
    boxes: list[_Paragraph] = field(default_factory=list)  # and notes


@dataclass(slots=True)
class _Cell:
    n_columns: int
    n_rows: int
    texts: list[str] = field(default_factory=list)


class _Body:
    """Takes the events of the content, and writes the text."""

    def __init__(self) -> None:
        self.out = StructuredText()
        self._skipping = 0
        self._outer = [""]
        self._paragraphs: list[_Paragraph] = []  # the last one is a text box or note within those before it
        self._n_lists = self._n_tables = 0
        self._is_first = False  # of its item
        self._rows = TableRows()
        self._cell: _Cell | None = None

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        """Take the start of an element."""
        is_said = tag == "title" and self._outer[-1] in _TEXTS
        self._outer.append(tag)
        if self._skipping or (tag in _SKIPPED and not is_said):
            self._skipping += 1
        elif tag in ("p", "h"):
            level = attributes.get("outline-level", "1") if tag == "h" else "0"
            self._paragraphs.append(_Paragraph(int(level) if level.isdecimal() and len(level) < 3 else 1))
        elif self._paragraphs and (tag == "s" or tag in _SIGNS):
            self._paragraphs[-1].parts.append(_SIGNS.get(tag) or " " * _number(attributes, "c", _MOST_SPACES))
        elif tag == "list" and not self._is_inside():
            self._n_lists += 1
            self.out.begin("list")
        elif tag == "list-item":
            self._is_first = True
        elif tag == "table" and not self._paragraphs:
            self._n_tables += 1
            if self._n_tables == 1:
                self._rows = TableRows()
                self.out.begin("table")
        elif tag == "table-cell" and self._n_tables == 1 and not self._paragraphs:
            n_columns, n_rows = (_number(attributes, f"number-{one}-spanned", MOST_SPAN) for one in ("columns", "rows"))
            self._cell = _Cell(n_columns, n_rows)

    def end(self, tag: str) -> None:
        """Take the end of an element."""
        self._outer.pop()
        if self._skipping:
            self._skipping -= 1
        elif tag in ("p", "h") and self._paragraphs:
            paragraph = self._paragraphs.pop()
            if self._paragraphs:
                self._paragraphs[-1].boxes.append(paragraph)
            else:
                self._write(paragraph)
        elif tag == "list" and not self._is_inside():
            self._n_lists -= 1
            self.out.end()
        elif tag == "table-cell" and self._cell and self._n_tables == 1 and not self._paragraphs:
            text = " ".join(" ".join(self._cell.texts).split())
            self._rows.add(text, n_columns=self._cell.n_columns, n_rows=self._cell.n_rows)
            self._cell = None
        elif tag == "table-row" and self._n_tables == 1 and not self._paragraphs:
            self.out.row(self._rows.end(), is_head="table-header-rows" in self._outer or None)
        elif tag == "table" and not self._paragraphs:
            self._n_tables -= 1
            if not self._n_tables:
                self.out.end()

    def text(self, text: str) -> None:
        """Take text, in which white space is one space; others are elements."""
        if self._paragraphs and not self._skipping:
            parts = self._paragraphs[-1].parts
            plain = _SPACE.sub(" ", text)
            if parts and parts[-1].endswith(" "):
                plain = plain.removeprefix(" ")
            parts += [plain] if plain else []

    def _is_inside(self) -> bool:
        """Whether this is within a text box, a note or a cell, whose lists are lines."""
        return bool(self._paragraphs or self._n_tables)

    def _write(self, paragraph: _Paragraph) -> None:
        text = join_runs(paragraph.parts)
        if self._cell:
            self._cell.texts.append(text)
        elif text and paragraph.level:
            self.out.heading(" ".join(text.split()), paragraph.level)
        elif text and self._n_lists:
            self.out.item(text, self._n_lists, "- " if self._is_first else "  ")
            self._is_first = False
        elif text:
            self.out.paragraph(text)
        for box in paragraph.boxes:
            self._write(box)


def _number(attributes: Mapping[str, str], name: str, most: int) -> int:
    """A number from 1 to the most."""
    value = attributes.get(name, "")
    return min(max(int(value), 1), most) if value.isdecimal() and len(value) < 9 else 1


ODT = parsed_reader(__name__, ".odt", ".ott")
