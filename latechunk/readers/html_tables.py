"""Tables of HTML: which of them lay out the page, and rows of cells, some of which take several columns and rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from latechunk.readers.notation import MOST_REPEATED

if TYPE_CHECKING:
    from selectolax.lexbor import LexborNode

HEADINGS = {f"h{level}": level for level in range(1, 7)}

_STEPS = 100_000


class TableRows:
    """Puts each cell into its column, which cells of the rows above may have moved.

    A short cell of several rows is repeated in each of them, as each may be found alone.

    Examples:
        >>> rows = TableRows()
        >>> rows.add("Rome", n_rows=2), rows.add("1"), rows.end()
        (None, None, ['Rome', '1'])
        >>> rows.add("2"), rows.end()
        (None, ['Rome', '2'])
    """

    def __init__(self) -> None:
        self._cells: list[str] = []
        self._has_text = False  # whether a cell of the row has
        self._gap = 0  # columns before the next cell that the one before it takes, too
        self._spans: dict[int, tuple[int, str]] = {}  # by column: of how many further rows a cell is, and its text

    def add(self, text: str, *, n_columns: int = 1, n_rows: int = 1) -> None:
        """Add a cell to the row."""
        self._cells += [""] * self._gap
        self._add_spanning()
        if n_rows > 1:
            first = len(self._cells)
            below = text if len(text) <= MOST_REPEATED else ""
            for column in range(first, first + n_columns):
                self._spans[column] = (n_rows - 1, below if column == first else "")
        self._cells.append(text)
        self._gap = n_columns - 1
        self._has_text = self._has_text or bool(text)

    def end(self) -> list[str]:
        """End the row; its cells, none if those that were added have no text."""
        n_own, n_taken = len(self._cells), len(self._cells) + self._gap
        self._cells += [""] * self._gap
        self._add_spanning()
        cells = self._cells if len(self._cells) > n_taken else self._cells[:n_own]
        if not self._has_text:
            cells = []
        self._cells, self._gap, self._has_text = [], 0, False
        return cells

    def end_group(self) -> None:
        """End the head, a body or the foot of the table, at which all cells end."""
        self._spans = {}

    def _add_spanning(self) -> None:
        """Add the cells of rows above that reach down to the next columns of this one."""
        while len(self._cells) in self._spans:
            n_rows, text = self._spans.pop(len(self._cells))
            if n_rows > 1:
                self._spans[len(self._cells)] = (n_rows - 1, text)
            self._cells.append(text)


def walk(
    root: LexborNode,
    enter: Callable[[LexborNode], bool],
    leave: Callable[[LexborNode], None],
    tick: Callable[[], None],
) -> None:
    """Call ``enter`` and ``leave`` of each node, of those within it in between, unless ``enter`` says no."""
    stack: list[tuple[LexborNode, bool]] = [(root, False)]
    n_steps = 0
    while stack:  # by hand, since documents nest deeper than Python recurses
        n_steps += 1
        if not n_steps % _STEPS:
            tick()
        node, is_done = stack.pop()
        if is_done:
            leave(node)
        elif enter(node):
            stack.append((node, True))
            child = node.last_child
            while child is not None:
                stack.append((child, False))
                child = child.prev


@dataclass(slots=True)
class _Table:
    mem_id: int
    n_rows: int = 0
    has_code: bool = False


def layout_tables(root: LexborNode, tick: Callable[[], None]) -> frozenset[int]:
    """Tables that lay out a page and hold no data: those that hold headings or other tables, or say so.

    So does one that holds code in its only row, which is a listing with the numbers of its lines in the first cell.
    """
    found: set[int] = set()
    tables: list[_Table] = []

    def enter(node: LexborNode) -> bool:
        if tables:
            if node.tag in HEADINGS or node.tag == "table":
                found.add(tables[-1].mem_id)
            tables[-1].n_rows += node.tag == "tr"
            tables[-1].has_code |= node.tag == "pre"
        if node.tag == "table":
            tables.append(_Table(node.mem_id))
            if node.attributes.get("role") in ("presentation", "none"):
                found.add(node.mem_id)
        return True

    def leave(node: LexborNode) -> None:
        if node.tag == "table":
            table = tables.pop()
            if table.has_code and table.n_rows == 1:
                found.add(table.mem_id)

    if root.css_first("table") is not None:
        walk(root, enter, leave, tick)
    return frozenset(found)
