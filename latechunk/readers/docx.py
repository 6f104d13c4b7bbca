"""Word files (.docx): paragraphs, headings, lists and tables, with their numbers.

Insertions are read, and pages of HTML within the file; deletions and hidden text are not. Text boxes and notes come
after the paragraph that they belong to. Headers, footers and comments are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path, PurePosixPath

from latechunk.errors import DocumentError
from latechunk.readers.archive import Archive
from latechunk.readers.docx_numbers import Numbering
from latechunk.readers.docx_signs import to_sign
from latechunk.readers.docx_styles import Style, find_hidden, is_on, read_styles, to_depth, to_level, with_bases
from latechunk.readers.html import SAVED, parse_html, unpack_saved
from latechunk.readers.notation import MOST_REPEATED, MOST_SPAN, raise_signs
from latechunk.readers.office import Relationship, find_main_part, join_runs, read_metadata, read_relationships
from latechunk.readers.office_math import Formulas
from latechunk.readers.parsed import Parsed, ParserOptions
from latechunk.readers.reader import parsed_reader
from latechunk.readers.structured import StructuredText

_MAIN = "word/document.xml"
_NOTES = ("word/footnotes.xml", "word/endnotes.xml")
_REFERENCES = {"footnoteReference": "footnote", "endnoteReference": "endnote"}

# What is deleted, a second form of what stands before it, ruby, former settings, and places of tabs.
_SKIPPED = {"del", "moveFrom", "Fallback", "rt", "pPrChange", "rPrChange", "tabs", "instrText", "delText"}
_CELL_TAGS = ("tr", "tblHeader", "gridBefore", "tc", "gridSpan", "vMerge")
_SIGNS = {"tab": "\t", "ptab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "\u2011", "softHyphen": "\u00ad"}


_PAGES = (".htm", ".html", ".xhtml", *SAVED)


def parse(path: Path, options: ParserOptions) -> Parsed:
    """Read a Word file; see ``ParserProcess.parse``."""
    with Archive(path) as archive:
        main = find_main_part(archive, _MAIN)
        if main is None:
            raise DocumentError(f"it is no Word file: it lacks {_MAIN}")
        problems: list[tuple[str, str]] = []
        parts = cache(partial(read_relationships, archive, main))

        def read_page(key: str) -> StructuredText:
            try:
                return _read_page(archive, parts().get(key), options)
            except DocumentError as error:
                problems.append(("a file within it", str(error)))
                return StructuredText()

        body = _Body(read_styles(archive), Numbering(archive), read_page)
        for part in (*(one for one in _NOTES if one in archive), main):
            archive.parse(part, body.start, body.end, body.text)
        body.close()
        metadata = read_metadata(archive)
        return Parsed(str(body.out), outline=body.out.outline, metadata=metadata, problems=tuple(problems))


def _read_page(archive: Archive, part: Relationship | None, options: ParserOptions) -> StructuredText:
    """A page of HTML that programs put into a file for Word to convert; other files within it are not read."""
    suffix = PurePosixPath(part.target).suffix.lower() if part else ""
    if part is None or suffix not in _PAGES:
        raise DocumentError(f"a file of {suffix or 'no'} format; open it in Word and save it")
    data, declared = archive.read(part.target), ""
    if suffix in SAVED:
        data, declared, _ = unpack_saved(data)
    text, _, _ = parse_html(data, options, declared=declared, whole=True)
    return text


@dataclass(slots=True)
class _Paragraph:
    style: str = ""
    level: int | None = None
    numbering: str | None = None
    depth: int | None = None
    has_deletion: bool = False
    parts: list[str] = field(default_factory=list)
    boxes: list[_Paragraph] = field(default_factory=list)  # and notes

    @property
    def text(self) -> str:
        return join_runs(self.parts)


@dataclass(slots=True)
class _Cell:
    texts: list[str] = field(default_factory=list)
    n_columns: int = 1
    is_below: bool = False  # whether it is a further row of the cell above it

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


class _Body:
    """Takes the events of notes and then of the main part, and writes the text."""

    def __init__(
        self, styles: Mapping[str, Style], numbering: Numbering, read_page: Callable[[str], StructuredText]
    ) -> None:
        self.out = StructuredText()
        self._read_page = read_page
        self._styles = styles
        self._hidden = find_hidden(styles)
        self._numbering = numbering
        self._formulas = Formulas()
        self._skipping = 0
        self._takes_text = False
        self._is_raised = self._is_hidden = False
        self._paragraphs: list[_Paragraph] = []  # the last one is a text box within those before it
        self._n_tables = 0
        self._cells: list[_Cell] = []
        self._is_head: bool | None = None  # whether the row that is open says that it names the columns
        self._above: dict[int, str] = {}  # by column: the cell that those below it may be rows of
        self._in_list = False
        self._note: tuple[str, str] | None = None  # the one that is open, as its kind and number
        self._notes: dict[tuple[str, str], list[_Paragraph]] = {}  # that no text has referred to yet

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        """Take the start of an element."""
        if self._skipping or tag in _SKIPPED:
            self._skipping += 1
            if tag == "del" and self._paragraphs:
                self._paragraphs[-1].has_deletion = True
        elif tag == "p":
            self._paragraphs.append(_Paragraph())
        elif tag in _REFERENCES.values():
            self._note = (tag, attributes.get("id", ""))
        elif tag == "tbl" and not self._note:
            self._begin_table()
        elif tag == "altChunk" and not self._paragraphs:
            self._take_page(attributes.get("id", ""))
        elif tag in _CELL_TAGS and self._n_tables == 1:
            self._take_cell(tag, attributes.get("val", ""))
        elif self._paragraphs and not self._formulas.start(tag, attributes, self._paragraphs[-1].parts):
            self._take_run(self._paragraphs[-1], tag, attributes)

    def end(self, tag: str) -> None:
        """Take the end of an element."""
        if self._skipping:
            self._skipping -= 1
        elif tag == "p" and self._paragraphs:
            self._end_paragraph()
        elif tag == "t":
            self._takes_text = False
        elif tag in _REFERENCES.values():
            self._note = None
        elif tag == "tbl" and not self._note:
            self._n_tables -= 1
            if not self._n_tables:
                self.out.end()
        elif tag == "tr" and self._n_tables == 1:
            self.out.row(self._place_cells(), is_head=self._is_head)
        elif self._paragraphs:
            self._formulas.end(tag, self._paragraphs[-1].parts)

    def text(self, text: str) -> None:
        """Take text."""
        if self._takes_text and not self._skipping and not self._is_hidden and self._paragraphs:
            self._paragraphs[-1].parts.append(raise_signs(text) if self._is_raised else text)

    def close(self) -> None:
        """Write the notes that nothing refers to."""
        for note in self._notes.values():
            for paragraph in note:
                self._emit(paragraph)
        self._end_list()

    def _end_list(self) -> None:
        if self._in_list:
            self.out.end()
        self._in_list = False

    def _take_cell(self, tag: str, value: str) -> None:
        """Take the start of a row or cell, or what is said of one."""
        if tag == "tr":
            self._cells, self._is_head = [], None
        elif tag == "tblHeader":
            self._is_head = is_on(value) or None
        elif tag == "gridBefore" and value != "0":
            self._cells.append(_Cell(n_columns=_to_span(value)))
        elif tag == "tc":
            self._cells.append(_Cell())
        elif self._cells and tag == "gridSpan":
            self._cells[-1].n_columns = _to_span(value)
        elif self._cells:
            self._cells[-1].is_below = value in ("", "continue")

    def _take_run(self, paragraph: _Paragraph, tag: str, attributes: Mapping[str, str]) -> None:
        """Take what is within a line: text, raised or not, and signs."""
        if tag == "t":
            self._takes_text = True
        elif tag == "r":
            self._is_raised, self._is_hidden = False, paragraph.style in self._hidden
        elif tag == "rStyle":
            self._is_hidden = self._is_hidden or attributes.get("val") in self._hidden
        elif tag == "vanish":
            self._is_hidden = is_on(attributes.get("val"))
        elif tag == "vertAlign":
            self._is_raised = attributes.get("val") == "superscript"
        elif tag == "sym":
            paragraph.parts.append(to_sign(attributes.get("font", ""), attributes.get("char", "")))
        elif tag in _SIGNS:
            paragraph.parts.append(_SIGNS[tag])
        else:
            self._set(paragraph, tag, attributes)

    def _set(self, paragraph: _Paragraph, tag: str, attributes: Mapping[str, str]) -> None:
        value = attributes.get("val", "")
        if tag == "pStyle":
            paragraph.style = value
        elif tag == "outlineLvl":
            paragraph.level = to_level(value)
        elif tag == "numId":
            paragraph.numbering = value
        elif tag == "ilvl":
            paragraph.depth = to_depth(value)
        elif tag in _REFERENCES:
            paragraph.boxes += self._notes.pop((_REFERENCES[tag], attributes.get("id", "")), [])

    def _place_cells(self) -> list[str]:
        """The cells of the row in their columns; a short one of several rows stands in each; none if none has text."""
        placed: list[str] = []
        n_columns = 0
        for cell in self._cells:
            placed += [""] * (n_columns - len(placed))
            if not cell.is_below:
                self._above[n_columns] = cell.text if len(cell.text) <= MOST_REPEATED else ""
            placed.append(cell.text or (self._above.get(n_columns, "") if cell.is_below else ""))
            n_columns += cell.n_columns
        return placed if any(cell.text for cell in self._cells) else []

    def _take_page(self, key: str) -> None:
        page = self._read_page(key)
        if self._cells and self._n_tables:
            self._cells[-1].texts.append(str(page))
        else:
            self._end_list()
            self.out.append(page)

    def _begin_table(self) -> None:
        self._n_tables += 1
        if self._n_tables == 1:
            self._above = {}
            self._end_list()
            self.out.begin("table")

    def _end_paragraph(self) -> None:
        paragraph = self._paragraphs.pop()
        if self._paragraphs:
            self._paragraphs[-1].boxes.append(paragraph)
        elif self._note:
            self._notes.setdefault(self._note, []).append(paragraph)
        else:
            self._emit(paragraph)

    def _emit(self, paragraph: _Paragraph) -> None:
        style = self._find_style(paragraph)
        is_item = style.numbering not in (None, "0")
        is_counted = is_item and (paragraph.text or not paragraph.has_deletion)
        mark = self._numbering.count(style.numbering or "", style.depth or 0) if is_counted else ""
        if self._n_tables and self._cells:
            self._cells[-1].texts.append(f"{mark} {paragraph.text}")
        elif paragraph.text:
            self._write(paragraph.text, style, mark, is_item)
        for box in paragraph.boxes:
            self._emit(box)

    def _write(self, text: str, style: Style, mark: str, is_item: bool) -> None:
        if style.level or not is_item:
            self._end_list()
        if style.level:
            self.out.heading(" ".join(f"{mark} {text}".split()), style.level)
        elif is_item:
            if not self._in_list:
                self.out.begin("list")
            self._in_list = True
            self.out.item(text, 1 + (style.depth or 0), f"{mark or '-'} ")
        else:
            self.out.paragraph(text)

    def _find_style(self, paragraph: _Paragraph) -> Style:
        """What holds for a paragraph: its own settings come first, then those of its style and of what that is like."""
        found = Style("", paragraph.level, paragraph.numbering, paragraph.depth)
        for style in with_bases(self._styles, paragraph.style):
            found.level = style.level if found.level is None else found.level
            found.numbering = style.numbering if found.numbering is None else found.numbering
            found.depth = style.depth if found.depth is None else found.depth
        return found


def _to_span(value: str) -> int:
    return min(max(int(value), 1), MOST_SPAN) if value.isdecimal() and len(value) < 9 else 1


DOCX = parsed_reader(__name__, ".docx", ".docm")
