"""CSV and TSV files: a document of lines ``cell | cell``, or a document for each row."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from latechunk.errors import DocumentError
from latechunk.readers.reader import Problem, Reader, Reading, SourceFile, read_text
from latechunk.readers.rows import row_document
from latechunk.types import Block, Document

_DELIMITERS = ",;\t|"  # of .csv files; the one that the header has most of


def _read(file: SourceFile, reading: Reading) -> Iterator[Document]:
    text = read_text(file, reading)
    rows = _rows(text, "\t" if file.path.suffix.lower() == ".tsv" else _find_delimiter(text))
    yield from _row_documents(rows, file, reading) if reading.rows else [_table_document(rows, file)]


def _rows(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The rows that have a cell with text, each with the number of its first line."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    line = 1
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                yield line, [cell.strip() for cell in row]
            line = reader.line_num + 1
    except csv.Error as error:
        raise DocumentError(f"line {reader.line_num}: {error}; is a quotation mark left open?") from error


def _find_delimiter(text: str) -> str:
    header = text.lstrip().partition("\n")[0]
    return max(_DELIMITERS, key=header.count)


def _table_document(rows: Iterator[tuple[int, list[str]]], file: SourceFile) -> Document:
    lines: list[str] = []
    for line, row in rows:
        lines += [""] * (line - 1 - len(lines))  # so that a row is cited by its line of the file
        lines.append(" | ".join(" ".join(cell.split()) for cell in row))
    text = "\n".join(lines)
    return Document(file.name, text, file.metadata, outline=(Block("table", 0, len(text)),) if text else ())


def _row_documents(rows: Iterator[tuple[int, list[str]]], file: SourceFile, reading: Reading) -> Iterator[Document]:
    _, header = next(rows, (0, []))
    if repeated := sorted({name for name in header if header.count(name) > 1}):
        raise DocumentError(f"its first row must name the columns, and {', '.join(map(repr, repeated))} repeats")
    for number, (line, row) in enumerate(rows, start=1):
        place = f"{file.path}:{line}"
        if len(row) > len(header):
            reading.on_problem(Problem(place, f"a row of {len(row)} cells under a header of {len(header)}"))
            continue
        try:
            fields = dict(zip(header, row, strict=False))  # cells that are missing at the end are not there
            yield row_document(fields, file, number, partial(reading.on_note, place))
        except DocumentError as error:
            reading.on_problem(Problem(place, str(error)))


def _count(path: Path, rows: bool) -> int:
    if not rows:
        return 1
    try:
        with path.open("rb") as lines:
            return max(0, sum(bool(line.strip()) for line in lines) - 1)
    except OSError:
        return 0  # read_documents says why


TABLE = Reader(suffixes=(".csv", ".tsv"), read=_read, count=_count)
