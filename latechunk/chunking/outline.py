"""Find the headings, tables, code and lists that a text shows by itself, as spans."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from html import unescape
from itertools import pairwise
from typing import TYPE_CHECKING

from latechunk.chunking.plain_headings import SENTENCE_END, WIKI, find_plain_headings
from latechunk.types import Block, BlockKind

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

# The parser takes 60 ms for a megabyte of prose, as long as it takes to cut it, so a text without a line that can begin
# a Markdown block is not given to it. Possessive: a megabyte of white space that is tried at every length takes hours.
_MARKDOWN = re.compile(
    r"\n[ \t>]*+(?:#{1,6}[ \t]|```|~~~|(?:=+|-+)[ \t]*(?:\n|\Z)|(?:[-*+]|\d{1,9}[.)])[ \t]+\S|\|?[ \t]*:?-+:?[ \t]*\|"
    r"|<[hH][1-6][ \t>])"
)
_DASHES = re.compile(r"\n[ \t>]*(?:\|[ \t]*)?:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*(?:\|[ \t]*)?(?=\n|\Z)")
# What begins or ends HTML that goes on over blank lines: comments, scripts, what is preformatted. All after a comment
# whose end the parser is not shown would be a part of it.
_HTML = re.compile(r"<(?:[!?]|/?(?:script|pre|style|textarea)\b)|(?:--|\?|\]\])>", re.I)
_HTML_HEADING = re.compile(r"<h([1-6])(?:\s[^<>]{0,200})?>(.{1,500}?)</h\1\s*>", re.I | re.S)
_HTML_OTHER = re.compile(r"<!--.*?(?:-->|\Z)|<(pre|script|style|textarea)\b.*?(?:</\1\s*>|\Z)", re.I | re.S)
_LATEX = re.compile(r"\\[a-z]+\*?(?:\[[^\]\n]*\])?\{(.*)\}", re.S)
_LATEX_COMMAND = re.compile(r"\\(?:label\{[^{}]*\}|[A-Za-z]+\*?\{([^{}]*)\})")  # its words, as those of \emph{}
_TAG = re.compile(r"<[^<>]*>")
_KINDS: dict[str, BlockKind] = {
    "heading_open": "heading",
    "paragraph_open": "table",  # one that has a row of dashes; the parser's own tables take 500 bytes for each cell
    "fence": "code",
    "bullet_list_open": "list",
    "ordered_list_open": "list",
}
_ITEM = re.compile(r"\n[ \t>]*(?:[-*+]|\d{1,9}[.)])[ \t]")
_MOST_ITEMS = 20_000  # an item of a list takes the parser 45 us and 2 KB; lists of more are not looked for
_ESCAPED = re.compile(r"\\([!-/:-@\[-`{-~])")
_MOST_TITLE = 200  # characters; more than that is a paragraph

# The lines over and under a title: "=" and "-" in Markdown, any sign three times in reStructuredText.
_SIGN = r"([!-/:-@\[-`{-~])"
_ADORNMENTS = re.compile(rf"\A{_SIGN}\1{{2,}}[ \t]*[\r\n]+\s*|\s*[\r\n]+[ \t]*(?:=+|-+|{_SIGN}\2{{2,}})\Z")


def find_outline(text: str) -> tuple[Block, ...]:
    r"""Find what the text itself shows of its structure.

    Headings (ATX, setext and, at the start of a line, HTML), fenced code, tables and lists are those of CommonMark and
    GitHub's tables. An indented paragraph is a paragraph, a heading inside a quotation or a list is no heading of the
    document, and code whose fence is never closed is text. A text without such headings has ``== Wiki ==``, or else
    those that stand alone between blank lines: ``Chapter 3``, ``ACT I``, ``第一章``, ``§ 3a``, ``3.2 Scope``.

    Returns:
        Sorted by start, the longer first of those that start together. A heading is its lines without the white space
        around them; ``heading_title`` takes the marks off.

    Examples:
        >>> find_outline("# Pumps\n\nCheck them weekly.")
        (Block(kind='heading', start=0, end=7, level=1),)
    """
    text = text.replace("\r\n", " \n").replace("\r", "\n")  # of the same length
    text = text.replace("\ufeff", " ")  # the mark of an encoding, at the start of each file that was joined
    blocks = list(_markdown_blocks(text)) if _MARKDOWN.search("\n" + text) else []
    if not any(block.kind == "heading" for block in blocks):
        blocks += find_plain_headings(text)
    return tuple(sorted(blocks, key=lambda block: (block.start, -block.end)))


def heading_title(text: str, heading: Block) -> str:
    r"""The words of a heading, without the marks of Markdown, reStructuredText and LaTeX around them.

    Examples:
        >>> text = "## Refunds, **quickly** ##\n\nWe pay them back."
        >>> heading_title(text, find_outline(text)[0])
        'Refunds, quickly'
    """
    title = _ADORNMENTS.sub("", text[heading.start : heading.end].strip())
    if found := _HTML_HEADING.fullmatch(title):
        return " ".join(unescape(_TAG.sub("", found[2])).split())
    title = re.sub(r"\A#{1,6}[ \t]+|(?:[ \t]+#+)?(?:[ \t]*\{[#.][^{}]*\})?\Z", "", title)
    if latex := _LATEX.fullmatch(title):
        title = _LATEX_COMMAND.sub(r"\1", latex[1])
    wiki = WIKI.match("\n" + title)
    title = wiki.group(3) if wiki else re.sub(r"\A={1,6}[ \t]+", "", title)  # of a wiki, or AsciiDoc
    title = re.sub(r"!?\[([^\[\]]*)\]\([^()\s]*\)", r"\1", title)  # links
    title = re.sub(r"(?<![\w\\])(\*\*|__|\*|_|`+)(?=\S)(.+?)(?<=\S)\1(?!\w)", r"\2", title)
    return " ".join(_ESCAPED.sub(r"\1", title).split())


@cache
def _parser(has_lists: bool) -> MarkdownIt:
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark").disable(["code", "reference", *([] if has_lists else ["list"])])
    parser.core.ruler.enableOnly(["normalize", "block"])
    return parser


def _markdown_blocks(text: str) -> Iterator[Block]:
    skeleton, lines = _skeleton(text)
    tokens = _parser(len(_ITEM.findall(skeleton)) <= _MOST_ITEMS).parse(skeleton)
    comments = _find_comments(tokens)
    for number, token in enumerate(tokens):
        if token.type == "html_block" and token.map and token.level == 0 and not _HTML.match(token.content.lstrip()):
            yield from _html_headings(text, *(lines[min(line, len(lines) - 1)] for line in token.map))
        kind = _KINDS.get(token.type)
        if kind is None or token.map is None or number in comments:
            continue
        start, end = (lines[min(line, len(lines) - 1)] for line in token.map)
        source = text[start:end].rstrip()
        if token.type == "paragraph_open":
            header = _find_table(source)
            if header is None:
                continue
            start, source = start + header, source[header:]
        indent = len(source) - len(source.lstrip())
        block = Block(kind, start + indent, start + len(source), int(token.tag[1]) if kind == "heading" else 0)
        if kind == "heading":
            is_meant = (
                token.level == 0 and indent < 4 and _is_title(token, tokens[number + 1].content.strip(), text, block)
            )
        elif kind == "code":
            is_meant = source.endswith(token.markup) and token.map[1] - token.map[0] > 1
        else:
            is_meant = kind == "table" or _n_items(tokens, number) > 1
        if is_meant:
            yield block


def _html_headings(text: str, start: int, end: int) -> Iterator[Block]:
    """The headings of HTML with a title, as pages of code begin with to centre them; none of comments and code."""
    shown = _HTML_OTHER.sub(lambda other: " " * len(other[0]), text[start:end])
    for found in _HTML_HEADING.finditer(shown):
        if any(map(str.isalnum, title := _TAG.sub("", found[2]))) and len(title) <= _MOST_TITLE:
            yield Block("heading", start + found.start(), start + found.end(), int(found[1]))


def _skeleton(text: str) -> tuple[str, list[int]]:
    """What the parser needs to see, and where each line of that starts in the text, and the text's end.

    The parser takes 10 us a line. Of paragraphs without a mark, wherever they stand, the beginning is enough, and of
    several that are not indented the first one.
    """
    kept, starts, place, is_plain = [], [], 0, False
    bounds = [(blank.start(), blank.end()) for blank in re.finditer(r"\n(?:[ \t]*\n)+", text)]
    for end, following in [*bounds, (len(text), len(text))]:
        is_marked = any(marks.search("\n" + text[place:end]) for marks in (_MARKDOWN, _HTML))
        was_plain, is_plain = is_plain, not is_marked and not text[place : place + 1].isspace()
        if not (was_plain and is_plain):
            own = text[place:end].split("\n") if is_marked else [text[place : min(end, place + 40)].partition("\n")[0]]
            kept += [*own, ""]
            for line in own:
                starts.append(place)
                place += len(line) + 1
            starts.append(end)
        place = following
    return "\n".join(kept), [*starts, len(text)]


def _find_table(paragraph: str) -> int | None:
    """Where the header of a table begins: the line over a row of dashes, both with a column's border."""
    for dashes in _DASHES.finditer(paragraph) if "|" in paragraph else ():
        header = paragraph.rfind("\n", 0, dashes.start()) + 1
        if "|" in dashes.group() and "|" in paragraph[header : dashes.start()]:
            return header
    return None


def _is_title(token: Token, title: str, text: str, block: Block) -> bool:
    """Whether a heading of Markdown is one: not blank, no paragraph over a line of dashes, no front matter."""
    if not title or len(title) > _MOST_TITLE or token.markup.startswith("#"):
        return 0 < len(title) <= _MOST_TITLE
    return not (
        "\n" in title or SENTENCE_END.search(title) or text[max(0, block.start - 9) : block.start].strip() == "---"
    )


def _find_comments(tokens: list[Token]) -> set[int]:
    """The headings that touch one of the same level: lines of a script or a configuration that begin with #."""
    headings = [(number, token) for number, token in enumerate(tokens) if token.type == "heading_open" and token.map]
    return {
        number
        for (before, one), (after, other) in pairwise(headings)
        if one.map and other.map and one.map[1] == other.map[0] and one.tag == other.tag
        for number in (before, after)
    }


def _n_items(tokens: list[Token], number: int) -> int:
    """How many items the list has that begins with this token, as far as it matters: at most two."""
    level, n_items = tokens[number].level, 0
    for place in range(number + 1, len(tokens)):
        token = tokens[place]
        if token.level <= level or n_items == 2:
            break
        n_items += token.type == "list_item_open" and token.level == level + 1
    return n_items
