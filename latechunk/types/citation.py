"""How a passage is cited: its source, pages, row, headings or line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple

from latechunk.types.metadata import RECORD_FILE, TABLE_ROW, TABLE_SHEET

_MOST_NAMED = 3  # sections that begin in a passage
_MOST_SECTIONS = 16
ELLIPSIS = "…"  # stands for the sections between the first and the last


class PageNumber(NamedTuple):
    """A page on which a passage stands: its place among the document's pages, from 0, and its label."""

    number: int
    label: str | None


def cite(
    document_id: str,
    metadata: Mapping[str, Any],
    pages: Sequence[PageNumber],
    headings: Sequence[str],
    sections: Sequence[str],
    line: int | None,
) -> str:
    """The place of a passage as people cite it; see ``latechunk.Chunk.citation``."""
    source = _name_source(document_id, metadata)
    row = cite_row(metadata)
    is_elsewhere = RECORD_FILE in metadata  # a row of a file other than the source
    parts = [_cite_pages(pages), "" if is_elsewhere else row, " > ".join(headings)]
    if not any(parts) and line is not None and not row:
        source = f"{source}:{line}"
    parts[-1] = _cite_headings(headings, sections)
    return ", ".join(part for part in (source, *parts) if part)


def _name_source(document_id: str, metadata: Mapping[str, Any]) -> str:
    """The file as it is named where it is, or its name alone where that is a place of one machine; else the id."""
    given = (metadata.get(key) for key in ("source", "file_path", "file_name"))
    source = next((one for one in given if isinstance(one, str) and one.strip()), document_id)
    name = without_row(document_id, metadata)
    if source.endswith(f"/{name}"):  # the id is the path from the folder that was indexed
        source = name
    return file_name(source)


def file_name(path: str) -> str:
    """The name alone of a file at a path or ``file://`` address of one machine; any other path as it is."""
    local = path.removeprefix("file://")
    for flavour in (PurePosixPath, PureWindowsPath):
        if flavour(local).is_absolute():
            return flavour(local).name or path
    return path


def without_row(document_id: str, metadata: Mapping[str, Any]) -> str:
    """The id that the file of a row has, ``a.csv`` for ``a.csv#7`` or ``a.xlsx#Sheet#7``; any other id as it is."""
    sheet = f"#{metadata[TABLE_SHEET]}" if TABLE_SHEET in metadata else ""
    return document_id.removesuffix(f"{sheet}#{metadata.get(TABLE_ROW)}")


def cite_row(metadata: Mapping[str, Any]) -> str:
    """The row that a document is, and its sheet if it has one, as ``Sales, row 7``; nothing if it is no row."""
    row, sheet = metadata.get(TABLE_ROW), metadata.get(TABLE_SHEET)
    if type(row) is not int:
        return ""
    return f"{sheet}, row {row}" if isinstance(sheet, str) and sheet else f"row {row}"


def _cite_headings(headings: Sequence[str], sections: Sequence[str]) -> str:
    """The path to where a passage begins, and the sections that begin after that, of many the first and the last."""
    further = sections[_count_shared(headings, sections) :]
    named = further if len(further) <= _MOST_NAMED else [further[0], ELLIPSIS, further[-1]]
    return "; ".join([*([" > ".join(headings)] if headings else []), *named])


def elide(sections: Sequence[str]) -> tuple[str, ...]:
    """Titles as a passage keeps them: of more than 16 the first and the last, with an ellipsis between them."""
    return tuple(sections) if len(sections) <= _MOST_SECTIONS else (sections[0], ELLIPSIS, sections[-1])


def join_sections(one: Sequence[str], other: Sequence[str], *, overlap: bool) -> tuple[str, ...]:
    """The sections of a passage and of one that follows; those that begin where they overlap are named by both.

    Where titles repeat there, like "Notes" under each of several, some may be named once only.
    """
    joined = elide([*one, *other[_count_shared(one, other) if overlap else 0 :]])
    return joined if ELLIPSIS not in joined else (joined[0], ELLIPSIS, joined[-1])


def _count_shared(one: Sequence[str], other: Sequence[str]) -> int:
    """With how many titles one sequence ends and the other begins, at most."""
    most = min(len(one), len(other))
    return next((n for n in range(most, 0, -1) if tuple(one[-n:]) == tuple(other[:n])), 0)


def _cite_pages(pages: Sequence[PageNumber]) -> str:
    named = [str(page.number + 1) if page.label is None else page.label for page in pages]
    return "" if not named else f"p. {named[0]}" if named[0] == named[-1] else f"pp. {named[0]}-{named[-1]}"
