"""Put headings, paragraphs, lists, tables and code together as one text with an outline."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from latechunk.readers.limits import require_length
from latechunk.readers.named_rows import row_lines
from latechunk.types import Block, BlockKind

_MOST_INDENT = 8  # levels of a list that are shown; beyond that indents would outgrow the text
_MOST_LEVELS = 9  # of headings


@dataclass(slots=True)
class _Group:
    kind: BlockKind
    start: int | None = None  # of its first line; None as long as it has none


class StructuredText:
    r"""A text that grows by paragraphs and knows where its headings, lists, tables and code are.

    A blank line stands between two paragraphs, and none between the lines of a list or a table.

    Examples:
        >>> text = StructuredText()
        >>> text.heading("Pumps", 1)
        >>> with text.group("list"):
        ...     text.item("Check them.", 1)
        >>> str(text)
        'Pumps\n\n- Check them.'
    """

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._blocks: list[Block] = []
        self._groups: list[_Group] = []
        self._n_open: Counter[BlockKind] = Counter()
        self._length = 0
        self._rows: list[tuple[Sequence[str], bool | None]] = []  # of the table that is open, not yet written
        self._n_waiting = 0  # characters of these

    def __str__(self) -> str:
        return "".join(self._parts)

    @property
    def outline(self) -> tuple[Block, ...]:
        """All blocks so far, sorted as ``Document.outline`` is."""
        return tuple(sorted(self._blocks, key=lambda block: (block.start, -block.end)))

    def paragraph(self, text: str) -> int:
        """Add lines; the place of their first character."""
        self._write_rows()
        if self._length:
            self._write("\n" if self._groups and self._groups[0].start is not None else "\n\n")
        start = self._length
        self._write(text)
        for group in reversed(self._groups):  # one that has begun is within others that have
            if group.start is not None:
                break
            group.start = start
        return start

    def heading(self, text: str, level: int) -> None:
        """Add a heading; its level counts from 1, the outermost."""
        self.mark_heading(self.paragraph(text), self._length, level)

    def mark_heading(self, start: int, end: int, level: int) -> None:
        """Make lines that were added a heading."""
        self._blocks.append(Block("heading", start, end, min(level, _MOST_LEVELS)))

    def code(self, text: str) -> None:
        """Add lines of code as they are."""
        start = self.paragraph(text)
        self._blocks.append(Block("code", start, self._length))

    def item(self, text: str, depth: int, mark: str = "- ") -> None:
        """Add an item of a list, whose depth counts from 1."""
        self.paragraph("  " * min(depth - 1, _MOST_INDENT) + mark + text)

    def row(self, cells: Sequence[str], *, is_head: bool | None = None) -> None:
        """Add a row of a table, unless all its cells are empty; ``is_head`` says whether it names the columns.

        The rows are written when the table ends, as ``row_lines`` writes them.
        """
        if any(cells):
            self._rows.append((cells, is_head))
            self._n_waiting += sum(map(len, cells)) + len(cells)
            require_length(self._length + self._n_waiting)

    def begin(self, kind: Literal["list", "table"]) -> None:
        """Begin a list or table, perhaps within another."""
        self._groups.append(_Group(kind))
        self._n_open[kind] += 1

    def end(self) -> None:
        """End the innermost list or table. One within another of its kind is part of that."""
        self._write_rows()
        group = self._groups.pop()
        self._n_open[group.kind] -= 1
        if group.start is not None and not self._n_open[group.kind]:
            self._blocks.append(Block(group.kind, group.start, self._length))

    @contextmanager
    def group(self, kind: Literal["list", "table"]) -> Iterator[None]:
        """Within it, what is added is a list or table."""
        self.begin(kind)
        try:
            yield
        finally:
            self.end()

    def append(self, other: StructuredText) -> tuple[int, int]:
        """Add all of another text; where it begins and ends."""
        if not other._length:
            return self._length, self._length
        start = self.paragraph(str(other))
        self._blocks += [Block(one.kind, start + one.start, start + one.end, one.level) for one in other._blocks]
        return start, self._length

    def _write_rows(self) -> None:
        if not self._rows:
            return
        rows, self._rows, self._n_waiting = self._rows, [], 0
        heads = [is_head for _, is_head in rows]
        n_head = None if heads[:1] == [None] else next((n for n, one in enumerate(heads) if not one), len(heads))
        for line in row_lines((cells for cells, _ in rows), n_head):
            self.paragraph(line)

    def _write(self, text: str) -> None:
        self._parts.append(text)
        self._length += len(text)
        require_length(self._length)
