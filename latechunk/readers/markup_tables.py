"""Tables of reStructuredText and AsciiDoc that are longer than a chunk: rows with the names of their columns.

See ``row_lines``. Tables whose cells take several columns or rows stay as they are, as do those that need no names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from unicodedata import combining, east_asian_width

from latechunk.readers.limits import require_length
from latechunk.readers.named_rows import row_lines
from latechunk.types import Block

Rows = list[tuple[int, list[str]]]
"""Each row as the number of its first line and its cells."""

_UNDERLINE = re.compile(r"-[- ]*\Z")
_BAR = re.compile(r"(?<!\\)\|")
_SPEC = re.compile(r"(?:\A|\s)[\d.*+<^>]*[*+<^>aehlmsv]\Z")  # of the cell after it, such as "2+|"


def name_columns(
    text: str, outline: Sequence[Block], find_rows: Callable[[Sequence[str]], tuple[Rows, int | None] | None]
) -> tuple[str, tuple[Block, ...]]:
    """The text and its outline with the names of columns in the rows of its tables, which stay on their lines.

    Args:
        text: Of the file.
        outline: Its blocks, none within another.
        find_rows: Gives the rows of the lines of a table and how many name the columns, as ``row_lines`` takes it.
    """
    parts, blocks, end, length = list[str](), list[Block](), 0, 0
    for block in outline:
        table = text[block.start : block.end]
        written = _write(table, find_rows) if block.kind == "table" else table
        parts += [text[end : block.start], written]
        start = length + block.start - end
        end, length = block.end, start + len(written)
        require_length(length)
        first, last = length - len(written.lstrip("\n")), start + len(written.rstrip("\n"))
        blocks.append(Block(block.kind, first, last, block.level))
    return "".join([*parts, text[end:]]), tuple(blocks)


def _write(table: str, find_rows: Callable[[Sequence[str]], tuple[Rows, int | None] | None]) -> str:
    lines = [line.rstrip() for line in table.split("\n")]
    rows, n_head = find_rows(lines) or ([], None)
    written, length = [""] * len(lines), 0  # the names may make it many times as long
    for (place, _), line in zip(rows, row_lines((cells for _, cells in rows), n_head), strict=True):
        written[place] = line
        length += len(line)
        require_length(length)
    is_named = any(written[place] != " | ".join(cells) for place, cells in rows)
    return "\n".join(written) if is_named else table


def rst_rows(lines: Sequence[str]) -> tuple[Rows, int] | None:
    """The rows of a grid or a simple table; None if its cells do not stand in columns."""
    is_grid = lines[0].startswith("+")
    columns = _grid_columns(lines[0]) if is_grid else _simple_columns(lines[0])
    borders = [place for place, _ in columns if is_grid or place >= 0]
    rows: list[tuple[int, list[list[str]]]] = []  # of each cell its lines
    n_head, n_rules, is_new = 0, 0, True
    for number, line in enumerate(lines):
        if not line:
            is_new = True
        elif line.startswith("+") if is_grid else line == lines[0]:
            n_rules += 1
            is_below_head = "=" in line if is_grid else n_rules == 2 and lines.count(line) > 2
            n_head, is_new = len(rows) if is_below_head else n_head, True
        elif _is_ragged(line, borders, "|" if is_grid else " "):
            return None
        else:
            cells = [line[begin + 1 : end].strip() for begin, end in columns]
            if is_new or (not is_grid and cells[0]):
                rows.append((number, [[] for _ in columns]))
            for said, cell in zip(rows[-1][1], cells, strict=True):
                said.extend(filter(None, [cell]))
            is_new = False
    return [(number, [" ".join(said) for said in cells]) for number, cells in rows], n_head


def _grid_columns(border: str) -> list[tuple[int, int | None]]:
    """Where the border before each column stands, and the one after it."""
    return list(pairwise(sign.start() for sign in re.finditer(r"\+", border)))


def _simple_columns(border: str) -> list[tuple[int, int | None]]:
    """Where the space before each column stands, and the next column; the last has no end."""
    starts = [rule.start() for rule in re.finditer("=+", border)]
    return [(start - 1, after) for start, after in zip(starts, [*starts[1:], None], strict=True)]


def _is_ragged(line: str, borders: Sequence[int], border: str) -> bool:
    """Whether a line does not have the border at these places, or signs that take no place or two of them."""
    is_uneven = not line.isascii() and any(east_asian_width(sign) in "WF" or combining(sign) for sign in line)
    return is_uneven or bool(_UNDERLINE.match(line)) or any(line[at : at + 1] not in ("", border) for at in borders)


def asciidoc_rows(lines: Sequence[str]) -> tuple[Rows, int | None] | None:
    """The rows of a table whose first line holds a whole row; None if a cell takes several lines, columns or rows."""
    body = [(number, line) for number, line in enumerate(lines[1:-1], start=1) if line]
    found = [(number, cell) for number, line in body for cell in _BAR.split(line)[1:]]
    is_plain = all(line.startswith("|") for _, line in body) and not any(_SPEC.search(cell) for _, cell in found)
    width = sum(number == found[0][0] for number, _ in found) if found else 0
    if not is_plain or width < 2 or len(found) % width:
        return None
    starts = range(0, len(found), width)
    rows = [(found[at][0], [cell.strip() for _, cell in found[at : at + width]]) for at in starts]
    if len({number for number, _ in rows}) < len(rows):
        return None
    return rows, 1 if not lines[found[0][0] + 1] else None
