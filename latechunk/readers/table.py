"""CSV and TSV files: a document of lines, see ``row_lines``, or a document for each row."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import re
from collections import Counter, deque
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from itertools import chain, islice
from operator import length_hint
from pathlib import Path
from threading import Lock
from typing import Literal, TypeVar

from latechunk.errors import DocumentError
from latechunk.readers.limits import MAX_BYTES, count_lines, require_length
from latechunk.readers.named_rows import row_lines
from latechunk.readers.notation import column_letters
from latechunk.readers.reader import Problem, Reader, Reading, SourceFile, read_text
from latechunk.readers.rows import row_document
from latechunk.types import FIRST_LINE, TABLE_ROW, TABLE_SHEET, Block, Document

Row = TypeVar("Row")

_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?", re.ASCII)
_MOST_DIGITS = 15
OWN_KEYS = (TABLE_ROW, TABLE_SHEET, FIRST_LINE, "source", "file_path", "file_name")
"""Columns by which passages are cited, which stay as they are."""
SHORT = 50
"""Rows of a table that is read as one document without a note."""
MANY_ROWS = "one document of many rows (--rows makes one of each)"
_DELIMITERS = "\t;|,"  # of .csv files; a comma is the likeliest within a cell
_SAMPLE = 20  # rows
_HEAD = 100_000  # characters that these may have
_SAID = re.compile(r'"?sep=([^\r\n"])"?[ \t]*(?=\r|\n|\Z)')  # a first line that tells Excel the delimiter


_LIMIT = Lock()  # of those who change the limit of csv
if hasattr(os, "register_at_fork"):  # no child inherits it from a thread that holds it
    os.register_at_fork(before=_LIMIT.acquire, after_in_parent=_LIMIT.release, after_in_child=_LIMIT.release)


def _read(file: SourceFile, reading: Reading) -> Iterator[Document]:
    text = read_text(file, reading)
    said = _SAID.match(text)
    if said:
        text = text[said.end() :]  # its line end stays, so that lines are those of the file
    delimiter = said[1] if said else "\t" if file.path.suffix.lower() == ".tsv" else _find_delimiter(text)
    quotes = delimiter != "\t" or _has_quotes(text)
    if reading.rows:
        numeric = _find_numeric(_rows(text, delimiter, quotes=quotes))
        yield from _row_documents(_rows(text, delimiter, quotes=quotes), file, reading, numeric)
    else:
        document, n_rows = _table_document(_rows(text, delimiter, quotes=quotes), file)
        if n_rows > SHORT:
            reading.on_note(str(file.path), MANY_ROWS)
        yield document


def _has_quotes(text: str) -> bool:
    """Whether quotation marks hold cells of a table of tabs together, as Excel writes them; else they are text."""
    try:
        deque(with_long_cells(csv.reader(io.StringIO(text, newline=""), delimiter="\t", strict=True)), maxlen=0)
    except csv.Error:
        return False
    return True


def _rows(text: str, delimiter: str, *, quotes: bool = True) -> Iterator[tuple[int, list[str]]]:
    """The rows that have a cell with text, each with the number of its first line."""
    ends = iter(['"' if quotes else ""])  # a row of its own, unless a quotation mark before it was left open
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE
    reader = csv.reader(chain(io.StringIO(text, newline=""), ends), delimiter=delimiter, quoting=quoting)
    line = 1
    try:
        for row in with_long_cells(reader):
            if quotes and row != [""] and not length_hint(ends):
                raise DocumentError(f"line {line}: a quotation mark is left open; end the cell with one")
            if any(cell.strip() for cell in row):
                yield line, [cell.strip() for cell in row]
            line = reader.line_num + 1
    except csv.Error as error:
        raise DocumentError(f"line {reader.line_num}: {error}; is a quotation mark left open?") from error


def with_long_cells(rows: Iterator[Row]) -> Iterator[Row]:
    """The rows of a reader of ``csv``, whose limit of 131,072 characters is one of the process, and stays as it is."""
    while True:
        with _LIMIT:
            limit = csv.field_size_limit(MAX_BYTES)
            try:
                row = next(rows, None)
            finally:
                csv.field_size_limit(limit)
        if row is None:
            return
        yield row


def _find_delimiter(text: str) -> str:
    """The one that cuts most of the first rows into as many cells, and then into the most."""
    return max(_DELIMITERS, key=lambda delimiter: _count_alike(text[:_HEAD], delimiter))


def _count_alike(text: str, delimiter: str) -> tuple[int, int]:
    """Of the first rows that are cut, how many have as many cells as most of them, and how many cells these are."""
    widths: Counter[int] = Counter()
    with contextlib.suppress(DocumentError):  # which reading the rows will tell
        for _, row in islice(_rows(text, delimiter), _SAMPLE):
            widths[len(row)] += len(row) > 1
    return max(((count, width) for width, count in widths.items()), default=(0, 0))


def _table_document(rows: Iterator[tuple[int, list[str]]], file: SourceFile) -> tuple[Document, int]:
    """All rows as one document, and how many there are."""
    lines: list[str] = []
    places: list[int] = []  # the line of the file where each row begins
    length = 0  # of the rows, which the names of columns may make many times as long

    def cells() -> Iterator[list[str]]:
        for line, row in rows:
            places.append(line)
            yield [" ".join(cell.split()) for cell in row]

    for number, row in enumerate(row_lines(cells())):
        lines += [""] * (places[number] - 1 - len(lines))  # so that a row is cited by its line of the file
        lines.append(row)
        length += len(row)
        require_length(length)
    text = "\n".join(lines)
    return Document(file.name, text, file.metadata, outline=(Block("table", 0, len(text)),) if text else ()), len(
        places
    )


def _name_columns(names: Sequence[str]) -> list[str]:
    """The names of columns; one without a name, as spreadsheets and pandas write them, has its letters."""
    return [name or column_letters(number, names) for number, name in enumerate(names, start=1)]


def _n_cells(row: Sequence[str]) -> int:
    """How many cells a row has without empty ones at its end."""
    return max((number for number, cell in enumerate(row, start=1) if cell), default=0)


def _find_numeric(rows: Iterator[tuple[int, list[str]]]) -> set[str]:
    """The columns in which every cell that is not empty is a number as JSON writes it: ``007`` is a code.

    Where some end in zeros, all that have decimals must have as many: ``49.90`` beside ``129.00`` is a price, ``1.10``
    beside ``1.1`` a version, and as numbers these would be the same.
    """
    columns: dict[int, set[tuple[int, bool]]] = {}
    with contextlib.suppress(DocumentError):  # which reading the rows will tell
        _, names = next(rows, (0, []))
        header = _name_columns(names)
        columns = {place: set() for place, name in enumerate(header) if name not in OWN_KEYS}
        for _, row in rows:
            for place, cell in enumerate(row if _n_cells(row) <= len(header) else []):
                if not cell or place not in columns:
                    continue
                if not _NUMBER.fullmatch(cell) or len(cell.strip("-").replace(".", "")) > _MOST_DIGITS:
                    del columns[place]
                    continue
                decimals = cell.partition(".")[2]
                columns[place].add((len(decimals), decimals.endswith("0")))
    return {header[place] for place, seen in columns.items() if _is_one_spelling(seen)}


def _is_one_spelling(seen: set[tuple[int, bool]]) -> bool:
    """Whether different cells are different numbers, from how many decimals they have and whether these end in 0."""
    widths = {n for n, _ in seen if n}
    return bool(seen) and (len(widths) <= 1 or not any(ends_in_zero for _, ends_in_zero in seen))


def _row_documents(
    rows: Iterator[tuple[int, list[str]]], file: SourceFile, reading: Reading, numeric: Collection[str]
) -> Iterator[Document]:
    _, names = next(rows, (0, []))
    header = _name_columns(names)
    if repeated := sorted({name for name in header if header.count(name) > 1}):
        raise DocumentError(f"its first row must name the columns, and {', '.join(map(repr, repeated))} repeats")
    for number, (line, row) in enumerate(rows, start=1):
        place = f"{file.path}:{line}"
        if _n_cells(row) > len(header):
            reading.on_problem(Problem(place, f"a row of {_n_cells(row)} cells under a header of {len(header)}"))
            continue
        try:
            cells = zip(header, names, row, strict=False)  # cells that are missing at the end are not there
            fields = {key: cell for key, name, cell in cells if name or cell}
            numbers = {key: json.loads(fields[key]) if fields[key] else None for key in numeric if key in fields}
            yield row_document(fields, file, number, partial(reading.on_note, place), numbers=numbers)
        except DocumentError as error:
            reading.on_problem(Problem(place, str(error)))


def _count(path: Path, rows: bool) -> int:
    return max(0, count_lines(path) - 1) if rows else 1


TABLE = Reader(suffixes=(".csv", ".tsv"), read=_read, count=_count)
