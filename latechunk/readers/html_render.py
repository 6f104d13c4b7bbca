"""Render a tree of HTML as text with an outline."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from latechunk.readers.structured import StructuredText

if TYPE_CHECKING:
    from selectolax.lexbor import LexborNode

_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_BLOCKS = frozenset({
    *("p", "div", "section", "article", "main", "header", "footer", "aside", "blockquote", "figure", "figcaption"),
    *("address", "details", "summary", "dl", "dt", "dd", "form", "fieldset", "legend", "hr", "center", "body", "html"),
    *("hgroup", "search", "caption", "thead", "tbody", "tfoot", "menu", "dir", "option"),
})  # fmt: skip
_LISTS = frozenset({"ul", "ol"})
_CELLS = frozenset({"td", "th"})
_SKIPPED = frozenset({
    *("head", "nav", "script", "style", "noscript", "template", "iframe", "svg", "object", "embed", "canvas", "audio"),
    *("video", "select", "button", "textarea", "input", "dialog", "datalist", "rt", "rp", "-comment"),
})  # fmt: skip
_STEPS = 100_000
_MARGINS = frozenset({"header", "footer", "aside"})
_PERMALINKS = frozenset({"", "#", "¶", "§", "🔗", "\uf0c1"})  # what generators of documentation put beside each heading
_UNSEEN = " \t\n\r\u200b\ufeff"
_TEX = 'annotation[encoding="application/x-tex"]'
_SECTIONS = frozenset({"article", "section"})
_MARGIN_ROLES = frozenset({"navigation", "banner", "contentinfo", "search", "complementary"})
_HIDDEN = re.compile(r"display\s*:\s*none", re.I)
_SPACE = re.compile(r"[ \t\n\r\f]+")
_BREAK = "\x0b"  # what stands for <br> until white space is collapsed
_BROKEN = re.compile(rf" ?{_BREAK} ?")


def render(root: LexborNode, tick: Callable[[], None], *, drop_margins: bool) -> StructuredText:
    """Write what a reader of the page sees, without navigation, and without headers, footers and asides if so asked.

    ``tick`` is called at least once for every 100,000 nodes.
    """
    renderer = _Renderer(_layout_tables(root, tick), drop_margins)
    _walk(root, renderer.enter, renderer.leave, tick)
    renderer.end_line()
    return renderer.out


def _walk(
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


def _layout_tables(root: LexborNode, tick: Callable[[], None]) -> frozenset[int]:
    """Tables that lay out a page and hold no data: those that hold headings or other tables, or say so.

    So does one that holds code in its only row, which is a listing with the numbers of its lines in the first cell.
    """
    found: set[int] = set()
    tables: list[_Table] = []

    def enter(node: LexborNode) -> bool:
        if tables:
            if node.tag in _HEADINGS or node.tag == "table":
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
        _walk(root, enter, leave, tick)
    return frozenset(found)


def _are_line_numbers(text: str) -> bool:
    numbers = text.split()
    if not all(number.isdecimal() and len(number) < 10 for number in numbers):
        return False
    return all(int(other) == int(one) + 1 for one, other in pairwise(numbers))


def _is_permalink(node: LexborNode) -> bool:
    """Whether this is the link to itself that generators of documentation put beside a heading."""
    if "#" not in (node.attributes.get("href") or ""):
        return False
    return (node.text() or "").strip(_UNSEEN) in _PERMALINKS


def _is_formula(node: LexborNode) -> bool:
    """Whether this holds what an image shows, as in Wikipedia."""
    return node.child is not None and node.child.tag == "math"


class _Renderer:
    """Takes the elements of a page as they begin and end, and writes the text."""

    def __init__(self, layout: frozenset[int], drop_margins: bool) -> None:
        self.out = StructuredText()
        self._layout = layout
        self._drop_margins = drop_margins
        self._line: list[str] = []
        self._level = 0  # of the heading that is open
        self._counters: list[int | None] = []  # of the lists that are open; None for one without numbers
        self._mark = ""  # of the item that was begun and has no line yet
        self._tables: list[bool] = []  # whether each table that is open holds data
        self._cells: list[str] = []
        self._in_cell = False
        self._open: Counter[str] = Counter()  # articles and sections

    def enter(self, node: LexborNode) -> bool:
        """Take the start of a node; whether it is to be read on."""
        tag = node.tag or ""
        if tag == "-text":
            self._line.append((node.text_content or "").replace(_BREAK, " "))
            return False
        if self._is_skipped(node, tag) or self._is_hidden(node, tag):
            return False
        if tag == "pre":
            self._take_code(node)
            return False
        if tag == "math" and (tex := node.css_first(_TEX)):
            self._line.append(tex.text())
            return False
        self._begin(node, tag)
        return True

    def _begin(self, node: LexborNode, tag: str) -> None:
        self._open[tag] += tag in _SECTIONS
        if tag == "br":
            self._line.append(_BREAK)
        elif tag in _HEADINGS:
            self.end_line()
            self._level = _HEADINGS[tag]
        elif tag in _LISTS:
            self._begin_list(node, tag)
        elif tag == "li":
            self._begin_item()
        elif tag == "table":
            self._begin_table(node)
        elif tag in _CELLS and self._holds_data():
            self._in_cell, self._line = True, []
        elif tag in _BLOCKS or tag in _CELLS or tag == "tr":
            self.end_line()

    def leave(self, node: LexborNode) -> None:
        """Take the end of a node."""
        tag = node.tag or ""
        self._open[tag] -= tag in _SECTIONS
        if tag in _CELLS and self._holds_data():
            self._cells.append(" ".join(_collapse(self._line).split()))
            self._in_cell, self._line = False, []
        elif tag == "tr" and self._holds_data():
            self.out.row(self._cells)
            self._cells, self._line = [], []
        elif tag in _HEADINGS or tag in _BLOCKS or tag in _CELLS or tag in ("li", "tr"):
            self.end_line()
            self._level = 0 if tag in _HEADINGS else self._level
            self._mark = "" if tag == "li" else self._mark
        elif tag in _LISTS and self._counters:
            self.end_line()
            self._counters.pop()
            if not self._in_cell:
                self.out.end()
        elif tag == "table" and self._tables:
            self.end_line()
            if self._tables.pop():
                self.out.end()

    def end_line(self) -> None:
        """Write the line that is open, as what it is; within a cell it only ends a word."""
        if self._in_cell:
            self._line.append(" ")
            return
        text = _collapse(self._line)
        self._line = []
        if not text:
            return
        if self._level:
            self.out.heading(" ".join(text.split()), self._level)
        elif self._counters:
            depth = len(self._counters)
            self.out.item(text, depth, self._mark or "  ")
            self._mark = ""
        else:
            self.out.paragraph(text)

    def _is_skipped(self, node: LexborNode, tag: str) -> bool:
        if tag == "button":  # in a heading it is what opens the section
            return not self._level
        return tag in _SKIPPED or (tag == "a" and _is_permalink(node))

    def _is_hidden(self, node: LexborNode, tag: str) -> bool:
        if self._drop_margins and tag in _MARGINS and self._is_margin(node, tag):
            return True
        attributes: Mapping[str, str | None] = node.attributes
        if not attributes:
            return False
        role = attributes.get("role")
        return (
            "hidden" in attributes
            or attributes.get("aria-hidden") == "true"
            or (role in _MARGIN_ROLES and (self._drop_margins or role == "navigation"))
            or (bool(_HIDDEN.search(attributes.get("style") or "")) and not _is_formula(node))
        )

    def _is_margin(self, node: LexborNode, tag: str) -> bool:
        """Whether a header, footer or aside is of the page: what has its title is not, nor is that of an article."""
        titles = "h1, h2, h3, h4, h5, h6" if tag == "header" and self._open["section"] else "h1"
        return not self._open["article"] and node.css_first(titles) is None

    def _holds_data(self) -> bool:
        return bool(self._tables) and self._tables[-1]

    def _begin_table(self, node: LexborNode) -> None:
        self.end_line()
        holds_data = node.mem_id not in self._layout
        self._tables.append(holds_data)
        if holds_data:
            self.out.begin("table")

    def _begin_list(self, node: LexborNode, tag: str) -> None:
        self.end_line()
        start = node.attributes.get("start") or "1"
        first = int(start) if start.isdecimal() and len(start) < 10 else 1
        self._counters.append(first if tag == "ol" else None)
        if not self._in_cell:
            self.out.begin("list")

    def _begin_item(self) -> None:
        self.end_line()
        number = self._counters[-1] if self._counters else None
        self._mark = "- " if number is None else f"{number}. "
        if number is not None:
            self._counters[-1] = number + 1

    def _take_code(self, node: LexborNode) -> None:
        parts = []
        for inner in node.traverse(include_text=True):
            if inner.tag == "-text":
                parts.append(inner.text_content or "")
            elif inner.tag == "br":
                parts.append("\n")
        text = "".join(parts).strip("\r\n").rstrip()
        if self._tables and not self._tables[-1] and _are_line_numbers(text):
            return
        if self._in_cell:
            self._line += [" ", text, " "]
            return
        self.end_line()
        if text.strip():
            self.out.code(text)


def _collapse(parts: list[str]) -> str:
    text = _SPACE.sub(" ", "".join(parts)).strip(" ")
    return "\n".join(line for line in _BROKEN.split(text) if line.strip())
