"""Tables of Markdown: the rows of one that is longer than a chunk get the names of their columns, see ``row_lines``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from latechunk.readers.limits import require_length
from latechunk.readers.named_rows import row_lines

_FENCE = re.compile(r"[ \t>]*+(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)?(`{3,}(?=[^`]*\Z)|~{3,})")
_DASHES = re.compile(r"[ \t>]*+\|?[ \t]*+:?-++:?[ \t]*+(?:\|[ \t]*+:?-++:?[ \t]*+)*+\|?\s*\Z")
_BAR = re.compile(r"(?<!\\)\|")


def name_columns(text: str) -> str:
    r"""Write ``name: cell`` in the long tables of a text, outside of code; each row stays on its line.

    Raises:
        DocumentError: If the text so has more characters than a document may have.

    Examples:
        >>> table = "| City | Area |\n| --- | --- |" + "\n| Rome | 1285 |" * 50
        >>> name_columns(table).splitlines()[-1]
        '| City: Rome | Area: 1285 |'
    """
    named, length = [], 0
    for line in _named_lines(text.split("\n")):
        named.append(line)
        length += len(line) + 1
        require_length(length)
    return "\n".join(named)


def _named_lines(lines: Sequence[str]) -> Iterator[str]:
    number, fence = 0, ""
    while number < len(lines):
        line = lines[number]
        yield line
        number += 1
        if mark := _FENCE.match(line):
            if not fence:
                fence = mark[1]
            elif mark[1].startswith(fence) and not line[mark.end() :].strip():
                fence = ""
        elif number > 1 and not fence and _are_head(lines[number - 2], line):
            end = next((at for at in range(number, len(lines)) if "|" not in lines[at]), len(lines))
            yield from _named_rows(lines[number - 2], lines[number:end])
            number = end


def _are_head(header: str, line: str) -> bool:
    """Whether these two lines begin a table: the second is dashes for each cell of the first."""
    return "|" in line and _DASHES.match(line) is not None and len(_split(header)) == len(_split(line))


def _named_rows(header: str, lines: Sequence[str]) -> Iterator[str]:
    """The rows below a header and a line of dashes."""
    cells = [_split(line) for line in lines]
    named = row_lines([[name.strip("*") for name in _split(header)], *cells], 1)
    next(named)
    for line, row, said in zip(lines, cells, named, strict=True):
        if said == " | ".join(row):
            yield line
        else:
            begin = len(line) - len(line.lstrip(" \t>"))
            yield f"{line[:begin]}| {said} |{line[len(line.rstrip()) :]}"


def _split(row: str) -> Sequence[str]:
    cells = [cell.strip() for cell in _BAR.split(row.strip(" \t\r>"))]
    return cells[not cells[0] : len(cells) - (len(cells) > 1 and not cells[-1])]
