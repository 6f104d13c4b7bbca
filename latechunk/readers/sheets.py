"""Sheets of workbooks: one document with each sheet as a section, or a document for each row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median_high
from typing import Any, NamedTuple

from latechunk.errors import DocumentError
from latechunk.readers.limits import require_length
from latechunk.readers.notation import MOST_REPEATED, column_letters
from latechunk.readers.parsed import Parsed, Sheet
from latechunk.readers.reader import Problem, Reader, Reading, SourceFile, parse_file, with_source
from latechunk.readers.rows import row_document
from latechunk.readers.structured import StructuredText
from latechunk.readers.table import MANY_ROWS, OWN_KEYS, SHORT
from latechunk.types import Document

_TITLES = "rows above the names of the columns, such as titles, are left out with --rows"
_EMPTY = "its sheets hold no text; charts and pictures are not read"


class Cell(NamedTuple):
    """What a cell shows, and its number if it is one; an error of a formula such as ``#N/A`` is no text of its own."""

    text: str
    number: float | None = None
    is_error: bool = False


Row = tuple[int, dict[int, Cell]]
"""The number of a row, from 1, and its cells that have text by their columns, from 1."""


class Merged(NamedTuple):
    """A cell of several rows: its column, its first and its last row."""

    column: int
    first: int
    last: int


def repeat_merged(rows: Sequence[Row], merged: Sequence[Merged]) -> Iterator[Row]:
    """The rows, where the short text of a cell of several rows stands in each of them that has text."""
    by_row: dict[int, list[Merged]] = {}
    for one in merged:
        by_row.setdefault(one.first, []).append(one)
    open_cells: dict[int, tuple[int, Cell]] = {}
    for number, cells in rows:
        for column in [column for column, (last, _) in open_cells.items() if last < number]:
            del open_cells[column]
        repeated = {column: cell for column, (_, cell) in open_cells.items() if column not in cells}
        for one in by_row.get(number, ()):
            if one.column in cells and len(cells[one.column].text) <= MOST_REPEATED:
                open_cells[one.column] = (one.last, cells[one.column])
        yield number, {**cells, **repeated}


def to_parsed(
    sheets: Sequence[tuple[str, Sequence[Row]]],
    metadata: Mapping[str, Any],
    notes: Sequence[str],
    problems: Sequence[tuple[str, str]],
    *,
    rows: bool,
) -> Parsed:
    """Make of sheets, by name, what a parser tells: a text, or rows with the names of their columns."""
    if not any(lines for _, lines in sheets):
        raise DocumentError(": ".join(problems[0]) if problems else _EMPTY)
    require_length(sum(len(cell.text) for _, lines in sheets for _, cells in lines for cell in cells.values()))
    if rows:
        return _to_rows(sheets, notes, problems)
    out = StructuredText()
    for name, lines in sheets:
        if lines:
            out.heading(name, 1)
        for block in _blocks(lines):
            _write(out, block)
    is_long = any(len(lines) > SHORT for _, lines in sheets)
    return Parsed(str(out), (), out.outline, metadata, (*notes, *([MANY_ROWS] if is_long else [])), tuple(problems))


def _blocks(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Rows that no empty row parts."""
    block: list[Row] = []
    for row in rows:
        if block and row[0] > block[-1][0] + 1:
            yield block
            block = []
        block.append(row)
    if block:
        yield block


def _write(out: StructuredText, block: Sequence[Row]) -> None:
    """Write a table without its empty columns; lines if it has one column alone."""
    columns = sorted({column for _, cells in block for column in cells})
    if len(columns) == 1:
        out.paragraph("\n".join(_in_line(cells[columns[0]].text) for _, cells in block))
        return
    with out.group("table"):
        for _, cells in block:
            last = max(cells)
            out.row([_in_line(cells[one].text) if one in cells else "" for one in columns if one <= last])


def _in_line(text: str) -> str:
    return " ".join(text.split())


def _to_rows(
    sheets: Sequence[tuple[str, Sequence[Row]]], notes: Sequence[str], problems: Sequence[tuple[str, str]]
) -> Parsed:
    found, failed, has_titles = list[Sheet](), [*problems], False
    for name, rows in sheets:
        at = _find_header(rows)
        has_titles = has_titles or at > 0
        try:
            found.append(_to_sheet(name, rows[at:]))
        except DocumentError as error:
            failed.append((f"sheet {name}", str(error)))
    return Parsed("", (), (), {}, (*notes, *([_TITLES] if has_titles else [])), tuple(failed), tuple(found))


def _find_header(rows: Sequence[Row]) -> int:
    """The place of the names of columns: below titles, which are narrower than the largest table.

    They are the first row with more than half as many cells as rows of that usually have, in the first table with a
    row of as many.
    """
    blocks = [*_blocks(rows)]
    largest = max(blocks, key=lambda block: sum(len(cells) - 1 for _, cells in block), default=[])
    usual = median_high(len(cells) for _, cells in largest) if largest else 0
    n_above = 0
    for block in blocks:
        widths = [len(cells) for _, cells in block]
        if max(widths) >= usual:
            return n_above + next(at for at, width in enumerate(widths) if 2 * width > usual)
        n_above += len(block)
    return 0


def _to_sheet(name: str, rows: Sequence[Row]) -> Sheet:
    """Rows below the names of their columns; a column without a name has its letters."""
    columns = sorted({column for _, cells in rows for column in cells})
    named = {column: _in_line(cell.text) for column, cell in rows[0][1].items()} if rows else {}
    names = {one: named[one] if one in named else column_letters(one, named.values()) for one in columns}
    if repeated := sorted(one for one, n_columns in Counter(names.values()).items() if n_columns > 1):
        raise DocumentError(
            f"the first row of its table must name the columns, and {', '.join(map(repr, repeated))} repeats"
        )
    numeric = [one for one in columns if names[one] not in OWN_KEYS and _is_numeric(rows[1:], one)]
    table = []
    for number, cells in rows[1:]:
        fields = {names[one]: cells[one].text.strip() for one in columns if one in cells}
        numbers = {names[one]: _plain(cells[one].number) for one in numeric if one in cells}
        table.append((number, fields, numbers))
    return Sheet(name, tuple(table))


def _is_numeric(rows: Sequence[Row], column: int) -> bool:
    """Whether all that stands in a column are numbers, apart from errors of formulas."""
    cells = [cells[column] for _, cells in rows if column in cells and not cells[column].is_error]
    return bool(cells) and all(cell.number is not None for cell in cells)


def _plain(number: float | None) -> float | int | None:
    return int(number) if number is not None and number.is_integer() else number


def sheet_reader(module: str, *suffixes: str, count: Callable[[Path, bool], int]) -> Reader:
    """A reader whose files are parsed by ``module.parse``, in a process of its own, to what ``to_parsed`` makes."""

    def read(file: SourceFile, reading: Reading) -> Iterator[Document]:
        parsed = parse_file(module, file, reading)
        if reading.rows:
            for sheet in parsed.sheets:
                yield from _row_documents(sheet, file, reading)
        else:
            yield Document(file.name, parsed.text, with_source(parsed.metadata, file), outline=parsed.outline)

    return Reader(suffixes, read, count)


def _row_documents(sheet: Sheet, file: SourceFile, reading: Reading) -> Iterator[Document]:
    for number, fields, numbers in sheet.rows:
        place = f"{file.path}, {sheet.name}, row {number}"
        try:
            note = partial(reading.on_note, place)
            yield row_document(fields, file, number, note, numbers=numbers, sheet=sheet.name)
        except DocumentError as error:
            reading.on_problem(Problem(place, str(error)))
