"""Spreadsheets (.xlsx, .xlsm): the cells of all sheets as they are shown.

Hidden sheets, rows and columns are read; sheets that programs alone can show are not, nor are charts, pictures and
comments. Formulas are read as the values that the file holds of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from latechunk.errors import DocumentError
from latechunk.readers.archive import Archive
from latechunk.readers.number_formats import BUILT_IN, show_number
from latechunk.readers.office import Relationship, find_main_part, read_metadata, read_relationships
from latechunk.readers.parsed import Parsed, ParserOptions
from latechunk.readers.sheets import Cell, Merged, Row, repeat_merged, sheet_reader, to_parsed

_MAIN = "xl/workbook.xml"
_BINARY = "xl/workbook.bin"
_SHEETS = "xl/worksheets/"
_LETTERS = 26
_MOST_COLUMNS = 16_384
_MOST_ROWS = 1_048_576
_ROWS_PER_TICK = 1_000
_PLACE = re.compile(r"\$?([A-Z]{1,3})\$?([1-9]\d{0,6})", re.I | re.ASCII)
_ESCAPE = re.compile(r"_x(00[01][0-9A-Fa-f]|005F)_")  # a control character, or a bar that would begin an escape
_ROW_END = b"row>"
_UNKNOWN = "formulas whose values the file does not hold are left out; open it in a spreadsheet program and save it"


def parse(path: Path, options: ParserOptions) -> Parsed:
    """Read a workbook; see ``ParserProcess.parse``."""
    with Archive(path) as archive:
        book, sheets = _open(archive)
        found, problems, n_unknown = list[tuple[str, Sequence[Row]]](), list[tuple[str, str]](), 0
        for name, part in sheets:
            options.tick()
            sheet = _Sheet(book, options)
            try:
                archive.parse(part, sheet.start, sheet.end, sheet.text)
            except DocumentError as error:
                problems.append((f"sheet {name}", str(error)))
                continue
            found.append((name, [*repeat_merged(sheet.rows, sheet.merged)]))
            n_unknown += sheet.n_unknown
        notes = [_UNKNOWN] if n_unknown else []
        return to_parsed(found, read_metadata(archive), notes, problems, rows=options.rows)


@dataclass(slots=True)
class _Book:
    """What the sheets of a workbook share.

    Attributes:
        texts: Of the cells that refer to one.
        codes: Format codes by the styles of cells.
        from_1904: Whether dates count from 1904.
    """

    texts: list[str] = field(default_factory=list)
    codes: list[str] = field(default_factory=list)
    from_1904: bool = False


def _open(archive: Archive) -> tuple[_Book, list[tuple[str, str]]]:
    """What the sheets share, and name and part of each in their order."""
    main = find_main_part(archive, _MAIN)
    if main is None:
        kind = "it is a binary workbook (.xlsb); save it as .xlsx" if _BINARY in archive else f"it lacks {_MAIN}"
        raise DocumentError(f"it is no .xlsx file: {kind}")
    book = _Book()
    listed: list[tuple[str, str]] = []

    def start(tag: str, attributes: Mapping[str, str]) -> None:
        if tag == "sheet" and attributes.get("state") != "veryHidden":
            listed.append((attributes.get("name", ""), attributes.get("id", "")))
        elif tag == "workbookPr":
            book.from_1904 = attributes.get("date1904") in ("1", "true")

    archive.parse(main, start)
    parts = read_relationships(archive, main)
    for kind, target in parts.values():
        if kind == "sharedStrings":
            book.texts = _read_texts(archive, target)
        elif kind == "styles":
            book.codes = _read_codes(archive, target)
    lost = Relationship("worksheet", "the part of this sheet")
    found = [(name, parts.get(key, lost)) for name, key in listed]
    return book, [(name, part.target) for name, part in found if part.kind == "worksheet"]  # and no chart alone


class _Texts:
    """Takes the events of texts: all that ``t`` holds, apart from how it is spoken (``rPh``)."""

    def __init__(self, ends: str) -> None:
        self.found: list[str] = []
        self._ends = ends
        self._parts: list[str] = []
        self._is_text = self._is_spoken = False

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:  # noqa: ARG002
        if tag == "rPh":
            self._is_spoken = True
        elif tag == "t":
            self._is_text = not self._is_spoken

    def end(self, tag: str) -> None:
        if tag == "t":
            self._is_text = False
        elif tag == "rPh":
            self._is_spoken = False
        elif tag == self._ends:
            self.found.append(_unescape("".join(self._parts)))
            self._parts = []

    def text(self, text: str) -> None:
        if self._is_text:
            self._parts.append(text)


def _unescape(text: str) -> str:
    return _ESCAPE.sub(lambda found: "_" if found[1].upper() == "005F" else " ", text) if "_x" in text else text


def _read_texts(archive: Archive, part: str) -> list[str]:
    texts = _Texts("si")
    archive.parse(part, texts.start, texts.end, texts.text)
    return texts.found


def _read_codes(archive: Archive, part: str) -> list[str]:
    """The format code of each style that cells have."""
    codes, numbers = dict(BUILT_IN), list[int]()
    is_of_cells = False

    def start(tag: str, attributes: Mapping[str, str]) -> None:
        nonlocal is_of_cells
        if tag == "cellXfs":
            is_of_cells = True
        elif tag == "numFmt":
            codes[_to_int(attributes.get("numFmtId", ""))] = attributes.get("formatCode", "")
        elif tag == "xf" and is_of_cells:
            numbers.append(_to_int(attributes.get("numFmtId", "")))

    def end(tag: str) -> None:
        nonlocal is_of_cells
        is_of_cells = is_of_cells and tag != "cellXfs"

    archive.parse(part, start, end)
    return [codes.get(number, "") for number in numbers]


def _to_int(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 10 else -1


def _to_place(name: str) -> tuple[int, int] | None:
    """Column and row of a cell such as B7, from 1; None if there is none of this name."""
    found = _PLACE.fullmatch(name)
    if not found:
        return None
    column = 0
    for letter in found[1].upper():
        column = _LETTERS * column + ord(letter) - ord("A") + 1
    return (column, int(found[2])) if column <= _MOST_COLUMNS and int(found[2]) <= _MOST_ROWS else None


class _Sheet:
    """Takes the events of a sheet, and keeps the cells that have text."""

    def __init__(self, book: _Book, options: ParserOptions) -> None:
        self.merged: list[Merged] = []
        self.n_unknown = 0
        self._book = book
        self._tick = options.tick
        self._rows: dict[int, dict[int, Cell]] = {}
        self._row = self._column = self._n_rows = 0
        self._type = self._style = ""
        self._is_cell = self._is_value = self._is_formula = False
        self._parts: list[str] = []
        self._inline = _Texts("is")

    @property
    def rows(self) -> list[Row]:
        """The rows that have text, in their order."""
        return [(number, self._rows[number]) for number in sorted(self._rows) if self._rows[number]]

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        """Take the start of an element."""
        if tag == "c":
            place = _to_place(attributes.get("r", ""))
            self._column, self._row = place or (self._column + 1, self._row)
            self._type, self._style = attributes.get("t", "n"), attributes.get("s", "")
            self._is_cell, self._is_formula, self._parts = True, False, []
            self._inline.found.clear()
        elif tag == "row":
            number = _to_int(attributes.get("r", ""))
            self._row, self._column = number if 0 < number <= _MOST_ROWS else self._row + 1, 0
            self._n_rows += 1
            if not self._n_rows % _ROWS_PER_TICK:
                self._tick()
        elif tag == "mergeCell":
            self._take_merged(attributes.get("ref", ""))
        elif self._is_cell and tag == "f":
            self._is_formula = True
        elif self._is_cell and tag == "v":
            self._is_value = True
        elif self._is_cell:
            self._inline.start(tag, attributes)

    def end(self, tag: str) -> None:
        """Take the end of an element."""
        if tag == "c":
            self._is_cell = False
            self._take_cell()
        elif tag == "v":
            self._is_value = False
        elif self._is_cell:
            self._inline.end(tag)

    def text(self, text: str) -> None:
        """Take text."""
        if self._is_value:
            self._parts.append(text)
        elif self._is_cell:
            self._inline.text(text)

    def _take_merged(self, reference: str) -> None:
        first, last = (_to_place(one) for one in (*reference.split(":"), "")[:2])
        if first and last and last[1] > first[1]:
            self.merged.append(Merged(first[0], first[1], last[1]))

    def _take_cell(self) -> None:
        cell = self._to_cell("".join(self._parts))
        if cell.text.strip() and self._row:
            self._rows.setdefault(self._row, {})[self._column] = cell
        elif self._is_formula and self._type != "str":
            self.n_unknown += 1

    def _to_cell(self, value: str) -> Cell:
        """A cell of this type and style; see ``CT_Cell`` of ISO/IEC 29500-1."""
        if self._type == "inlineStr":
            return Cell(self._inline.found[0] if self._inline.found else _unescape(value))
        if self._type == "s":
            number = _to_int(value.strip())
            if value and not 0 <= number < len(self._book.texts):
                raise DocumentError(f"row {self._row} refers to text {value!r:.20} of {len(self._book.texts)}")
            return Cell(self._book.texts[number] if value else "")
        if self._type == "b":
            return Cell({"1": "TRUE", "0": "FALSE"}.get(value.strip(), value))
        if self._type == "d":
            return Cell(value.replace("T", " ").removesuffix("Z").removesuffix(".000").removesuffix(" 00:00:00"))
        if self._type == "n":
            style = _to_int(self._style)
            code = self._book.codes[style] if 0 <= style < len(self._book.codes) else ""
            return Cell(*show_number(value.strip(), code, from_1904=self._book.from_1904))
        return Cell(_unescape(value), is_error=self._type == "e")


def _count(path: Path, rows: bool) -> int:
    """How many rows have ends; none is counted of a file that cannot be read, which reading it will tell."""
    if not rows:
        return 1
    n_rows = 0
    try:
        with Archive(path) as archive:
            for name in archive.names:
                rest = b""
                for chunk in archive.chunks(name) if name.lower().startswith(_SHEETS) else ():
                    n_rows += (rest + chunk).count(_ROW_END)
                    rest = chunk[1 - len(_ROW_END) :]
    except (OSError, DocumentError):
        return 0
    return n_rows


XLSX = sheet_reader(__name__, ".xlsx", ".xlsm", count=_count)
