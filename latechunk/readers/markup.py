"""reStructuredText, AsciiDoc and LaTeX files: one document each, with its headings, code and tables.

The text is as it is, but for the rows of long tables, which have the names of their columns.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from latechunk.readers.markup_tables import Rows, asciidoc_rows, name_columns, rst_rows
from latechunk.readers.reader import Reader, Reading, SourceFile, read_text
from latechunk.types import Block, BlockKind, Document

_LINE = re.compile(r"[^\n]+\n?|\n")
_ADORNMENT = re.compile(r"""([!-/:-@[-`{-~])\1{2,}$""")
_BORDER = re.compile(r"=+(?: +=+)+$")  # of a simple table
_DIRECTIVE = re.compile(r"\.\. (?:code|code-block|sourcecode|parsed-literal)::")
_ASCIIDOC_HEADING = re.compile(r"(={1,6}|#{1,6})[ \t]+\S")
_ASCIIDOC_FENCES: dict[str, BlockKind | None] = {
    **dict.fromkeys(("----", "....", "```", "++++"), "code"),
    "|===": "table",
    "////": None,  # a comment
}
_LATEX_LEVELS = ("part", "chapter", "section", "subsection", "subsubsection", "paragraph", "subparagraph")
_LATEX_HEADING = re.compile(
    rf"[ \t]*\\({'|'.join(_LATEX_LEVELS)})\*?(?:\[[^\]\n]*\])?\{{(?:[^{{}}\n]|\n(?![ \t\r]*\n)|\{{[^{{}}\n]*\}})*+\}}"
)
_LATEX_BEGIN = re.compile(
    r"[ \t]*\\begin\{((?:verbatim|lstlisting|minted|equation|align|gather|tikzpicture|tabular)\*?)\}"
)


@dataclass(frozen=True, slots=True)
class _Line:
    start: int
    text: str  # without its end

    @property
    def end(self) -> int:
        return self.start + len(self.text)

    @property
    def is_indented(self) -> bool:
        return self.text[:1] in (" ", "\t")


def outline_rst(text: str) -> tuple[Block, ...]:
    """Find titles with their adornments, literal blocks and tables.

    A title's level is the place of its adornment among those so far.
    """
    lines = _lines(text)
    last_like = {line.text: number for number, line in enumerate(lines)}
    blocks: list[Block] = []
    styles: list[tuple[str, bool]] = []
    number = 0
    while number < len(lines):
        line = lines[number]
        if line.text.startswith("+-"):
            number = _extend(lines, number, blocks, "table", lambda one: one.text[:1] in ("+", "|"))
        elif _BORDER.match(line.text):
            last = _last_border(lines, number, last_like[line.text])
            blocks.append(Block("table", line.start, lines[last].end))
            number = last + 1
        elif _DIRECTIVE.match(line.text) or (line.text.endswith("::") and not line.text.startswith(".. ")):
            is_part = lambda one: one.is_indented or not one.text  # noqa: E731
            number = _extend(lines, number + 1, blocks, "code", is_part)
        elif style := _title_style(lines, number):
            if style not in styles:
                styles.append(style)
            above = lines[number - 1] if style[1] else line
            blocks.append(Block("heading", above.start, lines[number + 1].end, styles.index(style) + 1))
            number += 2
        else:
            number += 1
    return tuple(blocks)


def outline_asciidoc(text: str) -> tuple[Block, ...]:
    """Find titles, listing and literal blocks, and tables."""
    lines = _lines(text)
    last_like = {line.text: number for number, line in enumerate(lines)}  # what is not closed is not looked for
    blocks: list[Block] = []
    number = 0
    while number < len(lines):
        line = lines[number]
        fence = next((one for one in _ASCIIDOC_FENCES if line.text.startswith(one)), None)
        if fence and (fence == "```" or set(line.text) <= set(fence)):
            mark = "```" if fence == "```" else line.text
            if last_like.get(mark, 0) > number:
                close = next(at for at in range(number + 1, len(lines)) if lines[at].text == mark)
                if kind := _ASCIIDOC_FENCES[fence]:
                    blocks.append(Block(kind, line.start, lines[close].end))
                number = close
        elif found := _ASCIIDOC_HEADING.match(line.text):
            blocks.append(Block("heading", line.start, line.end, len(found[1])))
        number += 1
    return tuple(blocks)


def outline_latex(text: str) -> tuple[Block, ...]:
    """Find sections, and the environments of code, formulas and tables, which count as code."""
    lines = _lines(text)
    last_like = {line.text.strip(): number for number, line in enumerate(lines)}  # as above
    blocks: list[Block] = []
    number = 0
    while number < len(lines):
        line = lines[number]
        start = line.start + len(line.text) - len(line.text.lstrip())
        if begun := _LATEX_BEGIN.match(line.text):
            close = f"\\end{{{begun[1]}}}"
            if last_like.get(close, 0) > number:
                number = next(at for at in range(number + 1, len(lines)) if lines[at].text.strip() == close)
                blocks.append(Block("code", start, lines[number].end))
        elif found := _LATEX_HEADING.match(text, line.start):
            blocks.append(Block("heading", start, found.end(), _LATEX_LEVELS.index(found[1]) + 1))
        number += 1
    return tuple(blocks)


def _lines(text: str) -> list[_Line]:
    return [_Line(found.start(), found[0].rstrip()) for found in _LINE.finditer(text)]


def _title_style(lines: Sequence[_Line], number: int) -> tuple[str, bool] | None:
    """The adornment of the title on this line, and whether it is also above it; None if there is none."""
    line = lines[number]
    under = lines[number + 1].text if number + 1 < len(lines) else ""
    adornment = _ADORNMENT.match(under)
    if not adornment or not line.text.strip() or _ADORNMENT.match(line.text) or len(under) < len(line.text.strip()):
        return None
    is_overlined = number > 0 and lines[number - 1].text == under
    if line.is_indented and not is_overlined:
        return None
    return adornment[1], is_overlined


def _last_border(lines: Sequence[_Line], number: int, last: int) -> int:
    """The border that ends the simple table of this one: the first like it before a blank line, or the last one."""
    for place in range(number + 1, last):
        if lines[place].text == lines[number].text and not lines[place + 1].text:
            return place
    return last


def _extend(
    lines: Sequence[_Line], number: int, blocks: list[Block], kind: BlockKind, is_part: Callable[[_Line], bool]
) -> int:
    """Add the block of the lines from this one on that are part of it; the number of the line after it."""
    end = number
    while end < len(lines) and is_part(lines[end]):
        end += 1
    held = [line for line in lines[number:end] if line.text]
    if held:
        blocks.append(Block(kind, held[0].start, held[-1].end))
    return max(end, number)


def _reader(
    outline: Callable[[str], tuple[Block, ...]],
    *suffixes: str,
    find_rows: Callable[[Sequence[str]], tuple[Rows, int | None] | None] = lambda _: None,
) -> Reader:
    def read(file: SourceFile, reading: Reading) -> Iterator[Document]:
        text = read_text(file, reading)
        named, blocks = name_columns(text, outline(text), find_rows)
        yield Document(file.name, named, file.metadata, outline=blocks)

    return Reader(suffixes, read)


RST = _reader(outline_rst, ".rst", find_rows=rst_rows)
ASCIIDOC = _reader(outline_asciidoc, ".adoc", ".asciidoc", find_rows=asciidoc_rows)
LATEX = _reader(outline_latex, ".tex")
