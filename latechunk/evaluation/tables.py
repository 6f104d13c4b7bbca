"""Read rows from files: lines of JSON, and tables with commas, semicolons or tabs; each with the place it is from."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from latechunk.errors import InputError
from latechunk.readers.table import with_long_cells


def read_lines(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Lines of a .jsonl file, each with its place."""
    number = 0
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    row = json.loads(line)
                    if not isinstance(row, dict):
                        raise TypeError(f"needed is a JSON object, got {line.strip():.60}")
                    yield f"{path}:{number}", row
    except OSError as error:
        raise _unreadable(path, error) from error
    except (ValueError, TypeError, RecursionError) as error:
        raise InputError(f"{path}:{max(number, 1)}: this cannot be read as lines of JSON in UTF-8: {error}") from error


def field_of(place: str, row: Mapping[str, Any], name: str, kind: type) -> Any:
    """A field of a row; InputError with its place if it is not there, blank or of another type."""
    value = row.get(name)
    if not isinstance(value, kind) or value == "":
        raise InputError(f"{place}: needed is a field {name!r} ({kind.__name__}), got {value!r:.60}")
    return value


def name_of(place: str, row: Mapping[str, Any], name: str) -> str:
    """A field of a row that is text or a whole number, as text; InputError with its place if it is neither or blank."""
    value = row.get(name)
    if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip():
        raise InputError(f"{place}: needed is a field {name!r}, text or a whole number, got {value!r:.60}")
    return str(value)


def read_table(
    path: Path, columns: Sequence[str] | None = None, said: str = ""
) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Rows of a table by the columns' names in lower case, each with the line that it ends on.

    Args:
        path: A file in UTF-8.
        columns: Names that the first line must have, with commas, semicolons or tabs between them; None for a table of
            BEIR's, which has tabs, and quotes that mean nothing.
        said: What an error calls them.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            delimiter = "\t" if columns is None else _find_delimiter(path, file.readline(), columns, said)
            file.seek(0)
            quoting: Literal[0, 3] = csv.QUOTE_NONE if columns is None else csv.QUOTE_MINIMAL
            # A double quote that is not closed would swallow rows up to the next one.
            reader = csv.DictReader(file, delimiter=delimiter, quoting=quoting, strict=True)
            for row in with_long_cells(reader):
                _require_fitting(f"{path}:{reader.line_num}", row, delimiter)
                named = {str(name).strip().lower(): value for name, value in row.items() if name}
                yield f"{path}:{reader.line_num}", {name: value for name, value in named.items() if value is not None}
    except OSError as error:
        raise _unreadable(path, error) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} cannot be read as a table in UTF-8: {error}; save it as UTF-8") from error
    except csv.Error as error:
        raise InputError(
            f"{path}:{reader.reader.line_num}: the row that ends or breaks off here cannot be read: {error}; put texts "
            f"that begin with a double quote between double quotes, and double those in them"
        ) from error


def _unreadable(path: Path, error: OSError) -> InputError:
    return InputError(f"{path} cannot be read: {error.strerror or error}")


def _require_fitting(place: str, row: Mapping[Any, Any], delimiter: str) -> None:
    """Raise for fields beyond the named columns: a text with the delimiter in it was cut there."""
    beyond = [field for field in row.get(None, ()) if field.strip()]
    if beyond:
        raise InputError(
            f"{place}: this row has more fields than the first line names columns, from {beyond[0]!r:.60} on; put "
            f"texts with {delimiter!r} in them between double quotes"
        )


def _find_delimiter(path: Path, header: str, columns: Sequence[str], said: str) -> str:
    """Comma, semicolon or tab: the one that parts the header's columns."""
    for delimiter in (",", ";", "\t"):
        if {*columns} <= {name.strip().strip('"').lower() for name in header.split(delimiter)}:
            return delimiter
    raise InputError(
        f"{path}: the first line must name the columns {said}, with commas, semicolons or tabs between them, got "
        f"{header.strip():.80}"
    )
