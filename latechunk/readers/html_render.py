"""Render a tree of HTML as text with an outline."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from string import digits
from typing import TYPE_CHECKING

from latechunk.readers.html_math import write_formula
from latechunk.readers.html_tables import HEADINGS, TableRows, layout_tables, walk
from latechunk.readers.notation import MOST_SPAN, raise_signs, to_letters, to_roman
from latechunk.readers.structured import StructuredText

if TYPE_CHECKING:
    from selectolax.lexbor import LexborNode

_BLOCKS = frozenset({
    *("p", "div", "section", "article", "main", "header", "footer", "aside", "blockquote", "figure", "figcaption"),
    *("address", "details", "summary", "dl", "dt", "dd", "form", "fieldset", "legend", "hr", "center", "body", "html"),
    *("hgroup", "search", "caption", "thead", "tbody", "tfoot", "menu", "dir", "option", "label"),
})  # fmt: skip
_LISTS = frozenset({"ul", "ol"})
_CELLS = frozenset({"td", "th"})
_ROW_GROUPS = frozenset({"thead", "tbody", "tfoot"})
_SKIPPED = frozenset({
    *("head", "nav", "script", "style", "noscript", "template", "iframe", "svg", "object", "embed", "canvas", "audio"),
    *("video", "select", "button", "textarea", "input", "dialog", "datalist", "rt", "rp", "-comment"),
})  # fmt: skip
_MARGINS = frozenset({"header", "footer", "aside"})
# What generators of documentation put beside each heading, and behind a note for the way back.
_PERMALINKS = frozenset({"", "#", "¶", "§", "🔗", "\uf0c1", "↩", "↑", "^"})
_UNSEEN = " \t\n\r\u200b\ufeff\ufe0e\ufe0f"
_EDIT = "mw-editsection"  # the class of links to edit a section of a wiki
_NUMBERS = frozenset({"linenos", "lineno", "linenumber", "line-number"})  # of lines of code, as Pygments has them
_CODE_LINES = frozenset({"div", "p", "li"})
_TEX = 'annotation[encoding="application/x-tex"]'
_SECTIONS = frozenset({"article", "section"})
# Links to the page before and after, as HTML, DocBook and Texinfo mark them, and the blocks that such links stand in.
_TURNING = "a[rel~=prev], a[rel~=previous], a[rel~=next], a[accesskey=p], a[accesskey=n]"
_HOLDERS = frozenset({"p", "div", "table", "ul", "ol", "body"})
_WITHIN_NONE = _HOLDERS | {*HEADINGS, "pre", "section", "article"}
_MOST_BESIDE_LINKS = 120  # characters: "Next: , Previous: ", and the title of the page, which DocBook repeats there
_MARGIN_ROLES = frozenset({"navigation", "banner", "contentinfo", "search", "complementary", "dialog"})
_HIDDEN = re.compile(r"display\s*:\s*none", re.I)
_SPACE = re.compile(r"[ \t\n\r\f]+")
_STYLES = {"lower-alpha": "a", "lower-latin": "a", "upper-alpha": "A", "upper-latin": "A"}
_STYLES |= {"lower-roman": "i", "upper-roman": "I"}
_STYLE = re.compile(r"list-style(?:-type)?\s*:[^;]*?\b((?:lower|upper)-(?:alpha|latin|roman))\b", re.I)
_BREAK = "\x0b"  # what stands for <br> until white space is collapsed
_BROKEN = re.compile(rf" ?{_BREAK} ?")


def render(root: LexborNode, tick: Callable[[], None], *, drop_margins: bool) -> StructuredText:
    """Write what a reader of the page sees, without navigation, and without headers, footers and asides if so asked.

    ``tick`` is called at least once for every 100,000 nodes.
    """
    renderer = _Renderer(layout_tables(root, tick), _find_navigation(root), drop_margins, tick)
    walk(root, renderer.enter, renderer.leave, tick)
    renderer.end_line()
    return renderer.out


def _find_navigation(root: LexborNode) -> frozenset[int]:
    """The blocks of a page that hold links to the one before or after and hardly anything else."""
    holders: dict[int, LexborNode] = {}
    seen: set[int] = set()
    for link in root.css(_TURNING):
        node: LexborNode | None = link
        while node is not None and node.tag not in _HOLDERS and node.mem_id not in seen:
            seen.add(node.mem_id)
            node = node.parent
        if node is not None and node.tag in _HOLDERS and node.tag != "body":
            holders[node.mem_id] = node
    return frozenset(mem_id for mem_id, node in holders.items() if _is_navigation(node))


def _is_navigation(holder: LexborNode) -> bool:
    n_beside, nodes = 0, [holder]
    while nodes:
        node = nodes.pop()
        if node.tag == "-text":
            n_beside += len(" ".join((node.text_content or "").split()))
        elif node.tag != "a":
            child = node.child
            while child is not None:
                nodes.append(child)
                child = child.next
        # What holds other blocks is none, so that each node is looked at once.
        if n_beside > _MOST_BESIDE_LINKS or (node.tag in _WITHIN_NONE and node.mem_id != holder.mem_id):
            return False
    return True


def _are_line_numbers(text: str) -> bool:
    numbers = text.split()
    if not all(number.isdecimal() and len(number) < 10 for number in numbers):
        return False
    return all(int(other) == int(one) + 1 for one, other in pairwise(numbers))


def _is_permalink(node: LexborNode) -> bool:
    """Whether this is a link to a place of its page that is a sign alone."""
    if "#" not in (node.attributes.get("href") or ""):
        return False
    return (node.text() or "").strip(_UNSEEN) in _PERMALINKS


def _is_added(node: LexborNode, classes: Sequence[str]) -> bool:
    """Whether this is no part of the text, but the number of a line of code, or a link to edit the text."""
    if _EDIT in classes:
        return True
    inner = node.child
    is_short = inner is not None and inner.tag == "-text" and inner.next is None
    return is_short and not _NUMBERS.isdisjoint(classes) and not (node.text() or "").strip(_UNSEEN + digits)


def _is_formula(node: LexborNode) -> bool:
    """Whether this holds what an image shows, as in Wikipedia."""
    return node.child is not None and node.child.tag == "math"


class _Renderer:
    """Takes the elements of a page as they begin and end, and writes the text."""

    def __init__(
        self, layout: frozenset[int], navigation: frozenset[int], drop_margins: bool, tick: Callable[[], None]
    ) -> None:
        self.out = StructuredText()
        self._tick = tick
        self._layout = layout
        self._navigation = navigation
        self._drop_margins = drop_margins
        self._line: list[str] = []
        self._level = 0  # of the heading that is open
        self._counters: list[int | None] = []  # of the lists that are open; None for one without numbers
        self._styles: list[str] = []  # of their numbers
        self._raised: list[int] = []  # where in the line each sup begins that is open
        self._mark = ""  # of the item that was begun and has no line yet
        self._tables: list[bool] = []  # whether each table that is open holds data
        self._rows = TableRows()  # of the innermost table that holds data
        self._in_cell = False
        self._is_head = True  # whether all cells with text of the row that is open name columns
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
        if tag == "math":
            tex = node.css_first(_TEX)
            self._line.append(tex.text() if tex else write_formula(node, self._tick))
            return False
        self._begin(node, tag)
        return True

    def _begin(self, node: LexborNode, tag: str) -> None:
        if tag == "br":
            self._line.append(_BREAK)
        elif tag in HEADINGS:
            self.end_line()
            self._level = HEADINGS[tag]
        elif tag in _LISTS:
            self._begin_list(node, tag)
        elif tag == "li":
            self._begin_item(node)
        elif tag == "sup":
            self._raised.append(len(self._line))
        elif tag == "table":
            self._begin_table(node)
        elif tag in _CELLS and self._holds_data():
            self._in_cell, self._line = True, []
        elif tag in _BLOCKS or tag in _CELLS or tag == "tr":
            self.end_line()
            self._open[tag] += tag in _SECTIONS

    def leave(self, node: LexborNode) -> None:
        """Take the end of a node."""
        tag = node.tag or ""
        if tag in _CELLS and self._holds_data():
            text = " ".join(_collapse(self._line).split())
            attributes = node.attributes
            self._is_head = self._is_head and (tag == "th" or not text)
            self._rows.add(text, n_columns=_span(attributes, "colspan"), n_rows=_span(attributes, "rowspan"))
            self._in_cell, self._line = False, []
        elif tag == "tr" and self._holds_data():
            is_head = self._is_head or (node.parent is not None and node.parent.tag == "thead")
            self.out.row(self._rows.end(), is_head=is_head)
            self._line, self._is_head = [], True
        elif tag in _ROW_GROUPS and self._holds_data():
            self._rows.end_group()
        elif tag == "sup":
            self._raise_signs()
        elif tag in HEADINGS or tag in _BLOCKS or tag in _CELLS or tag in ("li", "tr"):
            self.end_line()
            self._level = 0 if tag in HEADINGS else self._level
            self._mark = "" if tag == "li" else self._mark
            self._open[tag] -= tag in _SECTIONS
        elif tag in _LISTS and self._counters:
            self.end_line()
            self._counters.pop()
            self._styles.pop()
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
        if tag == "button":  # that is all of a heading opens its section
            return not self._level or bool(_collapse(self._line))
        return tag in _SKIPPED or (tag == "a" and _is_permalink(node))

    def _is_hidden(self, node: LexborNode, tag: str) -> bool:
        if node.mem_id in self._navigation or (self._drop_margins and tag in _MARGINS and self._is_margin(node, tag)):
            return True
        attributes: Mapping[str, str | None] = node.attributes
        if not attributes:
            return False
        role = attributes.get("role")
        if role == "tabpanel":  # which a click opens
            return False
        return (
            attributes.get("hidden", "until-found") != "until-found"
            or _is_added(node, (attributes.get("class") or "").split())
            or attributes.get("aria-hidden") == "true"
            or (role in _MARGIN_ROLES and (self._drop_margins or role == "navigation"))
            or (bool(_HIDDEN.search(attributes.get("style") or "")) and not _is_formula(node))
        )

    def _is_margin(self, node: LexborNode, tag: str) -> bool:
        """Whether a header, footer or aside is of the page: what has its title is not, nor is that of an article."""
        titles = "h1, h2, h3, h4, h5, h6" if tag == "header" and self._open["section"] else "h1"
        return not self._open["article"] and node.css_first(titles) is None

    def _raise_signs(self) -> None:
        start = self._raised.pop()
        if len(self._line) - start == 1:
            self._line[start] = raise_signs(self._line[start])

    def _holds_data(self) -> bool:
        return bool(self._tables) and self._tables[-1]

    def _begin_table(self, node: LexborNode) -> None:
        self.end_line()
        holds_data = node.mem_id not in self._layout
        self._tables.append(holds_data)
        if holds_data:
            self._rows = TableRows()
            self.out.begin("table")

    def _begin_list(self, node: LexborNode, tag: str) -> None:
        self.end_line()
        said = _STYLE.search(node.attributes.get("style") or "")
        self._styles.append(_STYLES[said[1].casefold()] if said else node.attributes.get("type") or "1")
        self._counters.append(_number(node.attributes, "start", 1) if tag == "ol" else None)
        if not self._in_cell:
            self.out.begin("list")

    def _begin_item(self, node: LexborNode) -> None:
        self.end_line()
        number = self._counters[-1] if self._counters else None
        if number is None:
            self._mark = "- "
            return
        number = _number(node.attributes, "value", number)
        self._mark = f"{_to_mark(number, self._styles[-1])}. "
        self._counters[-1] = number + 1

    def _take_code(self, node: LexborNode) -> None:
        parts: list[str] = []

        def end_line(inner: LexborNode) -> None:
            if inner.tag in _CODE_LINES and parts and not parts[-1].endswith("\n"):
                parts.append("\n")

        def enter(inner: LexborNode) -> bool:
            tag = inner.tag or ""
            end_line(inner)
            parts.extend([inner.text_content or ""] if tag == "-text" else ["\n"] if tag == "br" else [])
            return tag != "-text" and not (tag in _SKIPPED or self._is_hidden(inner, tag))

        walk(node, enter, end_line, self._tick)
        text = "".join(parts).strip("\r\n").rstrip()
        if self._tables and not self._tables[-1] and _are_line_numbers(text):
            return
        if self._in_cell:
            self._line += [" ", text, " "]
            return
        self.end_line()
        if text.strip():
            self.out.code(text)


def _number(attributes: Mapping[str, str | None], name: str, default: int) -> int:
    """The whole number of an attribute."""
    said = (attributes.get(name) or "").strip()
    return int(said) if said.isdecimal() and len(said) < 10 else default


def _span(attributes: Mapping[str, str | None], name: str) -> int:
    return min(max(_number(attributes, name, 1), 1), MOST_SPAN)


def _to_mark(number: int, style: str) -> str:
    """The number of an item, as the type of its list has it."""
    if style.casefold() not in ("a", "i") or not number:
        return str(number)
    mark = to_letters(number) if style in "aA" else to_roman(number)
    return mark if style.islower() else mark.upper()


def _collapse(parts: list[str]) -> str:
    text = _SPACE.sub(" ", "".join(parts)).strip(" ")
    return "\n".join(line for line in _BROKEN.split(text) if line.strip())
