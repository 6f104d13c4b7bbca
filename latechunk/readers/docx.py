"""Word files (.docx): paragraphs, headings, lists and tables. Insertions are read and deletions are not.

Text boxes and notes come after the paragraph and the text that they belong to. Headers, footers and comments are left
out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from latechunk.errors import DocumentError
from latechunk.readers.archive import Archive
from latechunk.readers.office import find_main_part, read_metadata
from latechunk.readers.parsed import Parsed, ParserOptions
from latechunk.readers.reader import parsed_reader
from latechunk.readers.structured import StructuredText

_MAIN = "word/document.xml"
_NOTES = ("word/footnotes.xml", "word/endnotes.xml")

# What is deleted, a second form of what stands before it, ruby, former settings, and places of tabs.
_SKIPPED = {"del", "moveFrom", "Fallback", "rt", "pPrChange", "rPrChange", "tabs", "instrText", "delText"}
_SIGNS = {"tab": "\t", "ptab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "\u2011", "softHyphen": "\u00ad"}
_BODY_LEVEL = 9  # of an outline level that is none


def parse(path: Path, options: ParserOptions) -> Parsed:  # noqa: ARG001
    """Read a Word file; see ``ParserProcess.parse``."""
    with Archive(path) as archive:
        styles = _read_styles(archive)
        body = _Body(styles)
        main = find_main_part(archive, _MAIN)
        if main is None:
            raise DocumentError(f"it is no Word file: it lacks {_MAIN}")
        for part in (main, *(one for one in _NOTES if one in archive)):
            archive.parse(part, body.start, body.end, body.text)
        body.close()
        return Parsed(str(body.out), outline=body.out.outline, metadata=read_metadata(archive))


@dataclass(slots=True)
class Style:
    """A paragraph style: the level of headings in it, and whether it is of lists; None where its base says it."""

    base: str = ""
    level: int | None = None
    is_item: bool | None = None


@dataclass(slots=True)
class _Paragraph:
    style: str = ""
    level: int | None = None
    is_item: bool | None = None
    depth: int = 1
    parts: list[str] = field(default_factory=list)
    boxes: list[_Paragraph] = field(default_factory=list)

    @property
    def text(self) -> str:
        lines = "".join(self.parts).split("\n")
        return "\n".join(line.strip() for line in lines if line.strip())


class _Body:
    """Takes the events of the main part and of notes, and writes the text."""

    def __init__(self, styles: Mapping[str, Style]) -> None:
        self.out = StructuredText()
        self._styles = styles
        self._skipping = 0
        self._takes_text = False
        self._paragraphs: list[_Paragraph] = []  # the last one is a text box within those before it
        self._n_tables = 0
        self._cells: list[list[str]] = []
        self._in_list = False

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        """Take the start of an element."""
        if self._skipping or tag in _SKIPPED:
            self._skipping += 1
        elif tag == "p":
            self._paragraphs.append(_Paragraph())
        elif tag == "tbl":
            self._begin_table()
        elif tag == "tr" and self._n_tables == 1:
            self._cells = []
        elif tag == "tc" and self._n_tables == 1:
            self._cells.append([])
        elif self._paragraphs:
            self._set(self._paragraphs[-1], tag, attributes.get("val", ""))

    def end(self, tag: str) -> None:
        """Take the end of an element."""
        if self._skipping:
            self._skipping -= 1
        elif tag == "p" and self._paragraphs:
            self._end_paragraph()
        elif tag == "t":
            self._takes_text = False
        elif tag == "tbl":
            self._n_tables -= 1
            if not self._n_tables:
                self.out.end()
        elif tag == "tr" and self._n_tables == 1:
            self.out.row([" ".join(" ".join(cell).split()) for cell in self._cells])

    def text(self, text: str) -> None:
        """Take text."""
        if self._takes_text and not self._skipping and self._paragraphs:
            self._paragraphs[-1].parts.append(text)

    def close(self) -> None:
        """End a list that is open."""
        if self._in_list:
            self.out.end()
        self._in_list = False

    def _set(self, paragraph: _Paragraph, tag: str, value: str) -> None:
        if tag == "t":
            self._takes_text = True
        elif tag in _SIGNS:
            paragraph.parts.append(_SIGNS[tag])
        elif tag == "pStyle":
            paragraph.style = value
        elif tag == "outlineLvl":
            paragraph.level = _to_level(value)
        elif tag == "numId":
            paragraph.is_item = value != "0"
        elif tag == "ilvl" and value.isdecimal():
            paragraph.depth = 1 + int(value)

    def _begin_table(self) -> None:
        self._n_tables += 1
        if self._n_tables == 1:
            self.close()
            self.out.begin("table")

    def _end_paragraph(self) -> None:
        paragraph = self._paragraphs.pop()
        if self._paragraphs:
            self._paragraphs[-1].boxes.append(paragraph)
        else:
            self._emit(paragraph)

    def _emit(self, paragraph: _Paragraph) -> None:
        if self._n_tables and self._cells:
            self._cells[-1].append(paragraph.text)
        elif paragraph.text:
            self._write(paragraph)
        for box in paragraph.boxes:
            self._emit(box)

    def _write(self, paragraph: _Paragraph) -> None:
        level, is_item = self._find_style(paragraph)
        is_item = is_item and not level
        if not is_item:
            self.close()
        if level:
            self.out.heading(" ".join(paragraph.text.split()), level)
        elif is_item:
            if not self._in_list:
                self.out.begin("list")
            self._in_list = True
            self.out.item(paragraph.text, paragraph.depth)
        else:
            self.out.paragraph(paragraph.text)

    def _find_style(self, paragraph: _Paragraph) -> tuple[int, bool]:
        """The level of a heading, 0 for none, and whether it is an item of a list; its own settings come first."""
        level, is_item, name = paragraph.level, paragraph.is_item, paragraph.style
        for _ in range(len(self._styles)):  # styles that are based on each other end as well
            if name not in self._styles or (level is not None and is_item is not None):
                break
            style = self._styles[name]
            level = style.level if level is None else level
            is_item = style.is_item if is_item is None else is_item
            name = style.base
        return level or 0, bool(is_item)


def _read_styles(archive: Archive) -> dict[str, Style]:
    styles: dict[str, Style] = {}
    style = Style()

    def start(tag: str, attributes: Mapping[str, str]) -> None:
        nonlocal style
        value = attributes.get("val", "")
        if tag == "style":
            style = styles[attributes.get("styleId", "")] = Style()
        elif tag == "name":
            style.level = _level_of_name(value)
        elif tag == "basedOn":
            style.base = value
        elif tag == "outlineLvl":
            style.level = _to_level(value)
        elif tag == "numId":
            style.is_item = value != "0"

    if "word/styles.xml" in archive:
        archive.parse("word/styles.xml", start, lambda tag: None, lambda text: None)  # noqa: ARG005
    return styles


def _level_of_name(name: str) -> int | None:
    """Word's own styles have these names in every language."""
    found = re.fullmatch(r"heading ([1-9])", name.casefold())
    return int(found[1]) if found else 1 if name.casefold() == "title" else None


def _to_level(value: str) -> int:
    level = int(value) if value.isdecimal() and len(value) < 3 else _BODY_LEVEL
    return 0 if level >= _BODY_LEVEL else level + 1


DOCX = parsed_reader(__name__, ".docx", ".docm")
