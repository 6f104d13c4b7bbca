"""Slides (.pptx, .pptm): each slide is a page and its title a heading; lists, tables, diagrams and the speaker's notes.

What a slide holds comes as screen readers read it: the title, then the rest in the order of the file; the notes come
after it. Dates, footers and slide numbers, charts, pictures and comments are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from latechunk.errors import DocumentError
from latechunk.readers.archive import Archive
from latechunk.readers.notation import MOST_REPEATED, raise_signs
from latechunk.readers.office import find_main_part, join_runs, read_metadata, read_relationships
from latechunk.readers.office_math import Formulas
from latechunk.readers.parsed import Parsed, ParserOptions
from latechunk.readers.reader import parsed_reader
from latechunk.readers.structured import StructuredText
from latechunk.types import Page

_MAIN = "ppt/presentation.xml"
_TITLES = {"title", "ctrTitle"}
_CONTENT = {"", "body", "obj"}  # placeholders whose paragraphs have bullets unless they say otherwise
_MARGINS = {"dt", "ftr", "hdr", "sldNum", "sldImg"}
_RAISED = set("123456789")  # what a baseline above the line begins with, in hundredths of a percent or as "30%"
_BULLETS = {"buChar": True, "buAutoNum": True, "buBlip": True, "buNone": False}


def parse(path: Path, options: ParserOptions) -> Parsed:
    """Read slides; see ``ParserProcess.parse``."""
    out, pages, problems = StructuredText(), list[Page](), list[tuple[str, str]]()
    with Archive(path) as archive:
        first, slides = _find_slides(archive)
        for number, name in enumerate(slides):
            options.tick()
            slide, failures = StructuredText(), list[DocumentError]()
            try:
                slide = _read_slide(archive, name, failures.append)
            except DocumentError as error:
                failures.append(error)
            problems += [(f"slide {number + 1}", str(error)) for error in failures]
            start, end = out.append(slide)
            pages.append(Page(start, end, str(first + number) if first != 1 else None))
        metadata = read_metadata(archive)
    if not str(out):
        raise DocumentError(
            f"{problems[0][0]}: {problems[0][1]}"
            if problems
            else "its slides hold no text; pictures and charts are not read"
        )
    return Parsed(str(out), tuple(pages), out.outline, metadata, problems=tuple(problems))


def _find_slides(archive: Archive) -> tuple[int, list[str]]:
    """The number of the first slide, and the slides' names in their order."""
    main = find_main_part(archive, _MAIN)
    if main is None:
        raise DocumentError(f"it holds no slides: it lacks {_MAIN}")
    ids: list[str] = []
    first, is_listed = 1, False  # sections list the slides a second time, by other ids

    def start(tag: str, attributes: Mapping[str, str]) -> None:
        nonlocal first
        if tag == "sldId" and not is_listed:
            ids.append(attributes.get("id", ""))
        elif tag == "presentation" and attributes.get("firstSlideNum", "").isdecimal():
            first = int(attributes["firstSlideNum"][:6])

    def end(tag: str) -> None:
        nonlocal is_listed
        is_listed = is_listed or tag == "sldIdLst"

    archive.parse(main, start, end)
    parts = read_relationships(archive, main)
    return first, [parts[one].target if one in parts else f"the slide {one!r:.80} of {main}" for one in ids]


def _read_slide(archive: Archive, name: str, on_problem: Callable[[DocumentError], None]) -> StructuredText:
    """A slide with its diagrams and notes, without those of them that cannot be read."""
    slide = _Shapes()
    archive.parse(name, slide.start, slide.end, slide.text)
    try:
        parts = read_relationships(archive, name)
    except DocumentError as error:
        on_problem(error)
        parts = {}
    diagrams = [(parts[one].target, _Shapes(as_items=True)) for one in slide.diagrams if one in parts]
    notes = [(target, _Shapes(only="body")) for kind, target in parts.values() if kind == "notesSlide"]
    for target, shapes in (*diagrams, *notes):
        try:
            if target in archive:
                archive.parse(target, shapes.start, shapes.end, shapes.text)
                slide.blocks += shapes.blocks
        except DocumentError as error:
            on_problem(error)
    return slide.write()


@dataclass(slots=True)
class _Paragraph:
    depth: int = 1
    is_item: bool | None = None  # None where the slide's layout says it
    parts: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return join_runs(self.parts)


@dataclass(slots=True)
class _Cell:
    is_below: bool  # the cell above it takes its row, too
    parts: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.parts).split())


@dataclass(slots=True)
class _Block:
    """A title, a paragraph, an item or a row, in a shape of its own or one after others of its kind."""

    kind: str
    text: str = ""
    depth: int = 1
    cells: list[str] = field(default_factory=list)
    shape: int = 0


class _Shapes:
    """Takes the events of a slide, of its notes or of a diagram."""

    def __init__(self, *, only: str | None = None, as_items: bool = False) -> None:
        """With ``only`` the text of other placeholders is left out; with ``as_items`` all paragraphs are items."""
        self.blocks: list[_Block] = []
        self.diagrams: list[str] = []
        self._only, self._as_items = only, as_items
        self._skipping = self._shape = 0
        self._placeholder: str | None = None  # of the shape that is open; None if it is none
        self._paragraph: _Paragraph | None = None
        self._formulas = Formulas()
        self._takes_text = self._is_raised = False
        self._cells: list[_Cell] | None = None
        self._above: dict[int, str] = {}  # by column: the cell that those below it may be rows of

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        """Take the start of an element."""
        if self._skipping or tag == "Fallback":  # a second form of what stands before it
            self._skipping += 1
        elif tag in ("sp", "graphicFrame"):
            self._shape, self._placeholder, self._above = self._shape + 1, None, {}
        elif tag == "ph":
            self._placeholder = attributes.get("type", "")
        elif tag == "tr":
            self._cells = []
        elif tag == "tc" and self._cells is not None:
            self._cells.append(_Cell(attributes.get("vMerge") in ("1", "true")))
        elif tag == "relIds" and "dm" in attributes:
            self.diagrams.append(attributes["dm"])
        elif tag == "p":
            self._paragraph = _Paragraph()
        elif self._paragraph is not None and not self._formulas.start(tag, attributes, self._paragraph.parts):
            self._set(self._paragraph, tag, attributes)

    def end(self, tag: str) -> None:
        """Take the end of an element."""
        if self._skipping:
            self._skipping -= 1
        elif tag == "t":
            self._takes_text = False
        elif tag == "p" and self._paragraph is not None:
            self._take(self._paragraph)
            self._paragraph = None
        elif tag == "tr" and self._cells is not None:
            self.blocks.append(_Block("row", cells=self._place_cells(self._cells), shape=self._shape))
            self._cells = None
        elif self._paragraph is not None:
            self._formulas.end(tag, self._paragraph.parts)

    def text(self, text: str) -> None:
        """Take text."""
        if self._takes_text and not self._skipping and self._paragraph is not None:
            self._paragraph.parts.append(raise_signs(text) if self._is_raised else text)

    def write(self) -> StructuredText:
        """All blocks, the title first."""
        out = StructuredText()
        if title := " ".join(" ".join(one.text for one in self.blocks if one.kind == "title").split()):
            out.heading(title, 1)
        group: tuple[str, int] | None = None
        for block in self.blocks:
            wanted = (block.kind, block.shape) if block.kind in ("item", "row") else None
            if group and group != wanted:
                out.end()
            if wanted and group != wanted:
                out.begin("list" if block.kind == "item" else "table")
            group = wanted
            if block.kind == "item":
                out.item(block.text, block.depth)
            elif block.kind == "row":
                out.row(block.cells)
            elif block.kind == "paragraph":
                out.paragraph(block.text)
        if group:
            out.end()
        return out

    def _set(self, paragraph: _Paragraph, tag: str, attributes: Mapping[str, str]) -> None:
        if tag == "t":
            self._takes_text = True
        elif tag in ("r", "fld"):
            self._is_raised = False
        elif tag == "rPr":
            self._is_raised = attributes.get("baseline", "")[:1] in _RAISED
        elif tag == "br":
            paragraph.parts.append("\n")
        elif tag == "pPr" and attributes.get("lvl", "").isdecimal():
            paragraph.depth = 1 + int(attributes["lvl"][:2])
        elif tag in _BULLETS:
            paragraph.is_item = _BULLETS[tag]

    def _take(self, paragraph: _Paragraph) -> None:
        text, placeholder = paragraph.text, self._placeholder
        if self._cells is not None:
            if self._cells:
                self._cells[-1].parts.append(text)
        elif not text or placeholder in _MARGINS or (self._only is not None and placeholder != self._only):
            return
        elif placeholder in _TITLES:
            self.blocks.append(_Block("title", text))
        elif self._as_items or self._is_item(paragraph):
            self.blocks.append(_Block("item", text, paragraph.depth, shape=self._shape))
        else:
            self.blocks.append(_Block("paragraph", text))

    def _place_cells(self, row: Sequence[_Cell]) -> list[str]:
        """The cells of a row; a short one of several rows stands in each; none if none has text."""
        for column, cell in enumerate(row):
            if not cell.is_below:
                self._above[column] = cell.text if len(cell.text) <= MOST_REPEATED else ""
        if not any(cell.text for cell in row):
            return []
        return [cell.text or (self._above.get(column, "") if cell.is_below else "") for column, cell in enumerate(row)]

    def _is_item(self, paragraph: _Paragraph) -> bool:
        if paragraph.is_item is not None:
            return paragraph.is_item
        return self._only is None and self._placeholder in _CONTENT


PPTX = parsed_reader(__name__, ".pptx", ".pptm")
