"""Find the units of a text as it is laid out: headings, paragraphs, items, rows, and lines where lines are the unit."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple, TypeAlias

from latechunk.chunking.cuts import is_small
from latechunk.types import Block

UnitKind: TypeAlias = Literal["heading", "part", "block", "line", "row"]

_BLANK = re.compile(r"\n(?:[ \t\f]*\n)+")
_CAPTION = re.compile(
    r"[*_]{0,2}(?:table|figure|fig\.|listing|tabelle|tab\.|abb\.|abbildung|tableau|tabla|tabella|tabela|figura|quadro|tabel"
    r"|tabell|figur|tabulka|obr\.|rysunek|rys\.|таблица|таблиця|рисунок|рис\.|πίνακας|εικόνα|tablo|şekil|bảng|hình|جدول"
    r"|الجدول|شكل|الشكل|شکل|טבלה|איור|तालिका|चित्र|ตารางที่|ภาพที่|รูปที่|[表图圖図]|표|그림)\s*\d",
    re.I,
)
_MOST_CAPTION = 300  # characters
_MOST_TITLE, _MOST_WORDS = 60, 10
# One question, perhaps with a number; a story has longer ones, and other sentences before them.
_QUESTION = re.compile(
    r"(\d{1,3}[.)]\s+|Q\d*[.:]\s+)?(?:(?![.!]\s)[^\n。！]){1,120}(?:[?？؟፧\u037e]|(?<=[\u0370-\u03ff]);|՞[^\n։]{0,60}[։:])"
)
_QUESTION_ENDS = "?？؟፧\u037e;։:"

# What begins an item, a turn or an entry.
_MARKER = re.compile(
    r"\s*(?:[-*+•‣–—]\s|\(?(?:\d{1,3}(?:\.\d{1,3})*|[A-Za-z]|[ivxIVX]{1,5})[.)]\s|[QA][.:]\s|\||"
    r"[\[(<]?(?:\d{4}-\d\d-\d\d|\d{1,2}/\d{1,2}/\d{2,4}|\d{1,2}:\d\d)|"
    r"[^\W\d_][^\W_]{0,20}(?:[ .'-]{1,2}[^\W_]{1,20}){0,3}: )"
)
_TIME = re.compile(
    r"[\[(<]?(?:\d{4}[-/.]\d\d[-/.]\d\d|\d\d[-/.]\d\d[-/.]\d{2,4}|\d\d:\d\d:\d\d|[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:)"
)
_LEAST_ENTRIES = 3  # of a log
_TRACE = re.compile(r"[ \t]+\S|(?:[\w$]+\.)*\w+(?:Error|Exception)\b|Caused by:|Traceback \(")
# What ends a part of code, or goes on in it, at the indentation that the part began with.
_CLOSING = re.compile(
    r"[)\]}*]|(?:end|fi|done|esac|else|elif|elsif|elseif|except|finally|catch|begin|then|do)\b|[{(]\s*$|\$\$"
    r"|#\s*(?:ifn?def|if|else|elif|endif)\b",
    re.I,
)
_SECTION = re.compile(r"\[\[?[^\[\]\n]+\]\]?\s*(?:[#;]|$)", re.M)  # of INI and TOML
_DELIMITERS = "\t|;,=:"
_MOST_UNSPACED = 8  # characters of a word
_LEAST_DELIMITERS = 6  # of a paragraph; prose has the same few commas in two or three lines by chance


class Unit(NamedTuple):
    """A part of a text up to the next unit; cuts before units are better than cuts inside.

    Attributes:
        start: Its first character, the first of a line.
        kind: A heading, a part of code (a function, a table of settings, an entry of a log), the start of a block
            (paragraph, list, table, code), a further line or item of one, or a further row of a table that fits.
        is_whole: It is not to be cut at sentences if it fits a chunk.
        is_bound: It says nothing without what follows it.
    """

    start: int
    kind: UnitKind
    is_whole: bool = False
    is_bound: bool = False


def find_units(text: str, outline: Sequence[Block], fits: Callable[[int, int], bool]) -> list[Unit]:
    r"""Find the units of a text, whose lines end with ``\n``, in order; the first starts at 0.

    The outline has headings, tables and code; lists are found by their items. ``fits`` says whether a range of
    characters fits a chunk.
    """
    units: list[Unit] = []
    place = 0
    for block in outline:
        start = text.rfind("\n", 0, block.start) + 1
        if block.kind == "list" or start < place:
            continue
        units += _paragraphs(text, place, start, block.kind)
        place = text.find("\n", block.end - 1) + 1 or len(text)
        if block.kind == "heading":
            units.append(Unit(start, "heading", is_whole=True, is_bound=True))
        elif block.kind == "table":
            units += _rows(text, start, place, fits(start, place))
        elif fits(start, place):
            units.append(Unit(start, "block", is_whole=True))
        else:
            units += _code_lines(text, start, place)
    units += _paragraphs(text, place, len(text), "")
    return [Unit(0, units[0].kind, *units[0][2:]), *units[1:]] if units else [Unit(0, "block")]


def _paragraphs(text: str, start: int, end: int, following: str) -> Iterator[Unit]:
    """Units of what stands between two blocks of the outline; ``following`` is the kind of the second."""
    if not text[start:end].strip():
        return
    bounds = _paragraph_bounds(text, start, end)
    titles = [_is_title(text[first:last]) for first, last in bounds]
    questions = [_is_question(text[first:last]) for first, last in bounds]
    for number, (first, last) in enumerate(bounds):
        is_last = number == len(bounds) - 1
        paragraph = text[first:last]
        is_title = any(
            alike[number] and not (following == "heading" if is_last else alike[number + 1])
            for alike in (titles, questions)
        )
        if is_title or (is_last and following in ("table", "code") and _is_caption(paragraph)):
            yield Unit(first, "block", is_whole=True, is_bound=True)
        elif "\n" in paragraph:
            yield from _lines(paragraph, first)
        else:
            yield Unit(first, "block")


def _paragraph_bounds(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """Where paragraphs begin and end, without the blank lines around them."""
    skipped = re.compile(r"(?:[ \t\f]*\n)*").match(text, start, end)
    starts, ends = [skipped.end() if skipped else start], []
    for blank in _BLANK.finditer(text, starts[0], end):
        ends.append(blank.start())
        starts.append(blank.end())
    bounds = list(zip(starts, [*ends, end], strict=True))
    return [(first, first + len(text[first:last].rstrip())) for first, last in bounds if text[first:last].strip()]


def _is_title(paragraph: str) -> bool:
    """Whether it is one short line that ends like no sentence, as headings of plain text and labels do."""
    line = paragraph.strip()
    return (
        len(line) <= _MOST_TITLE
        and "\n" not in line
        and len(line.split()) <= _MOST_WORDS
        and (
            line[-1].isalnum() or line[-1] in ":：*_)]#" or unicodedata.category(line[-1])[0] == "M" or _is_quoted(line)
        )
        and not _is_marked(line + " ")
    )


def _is_quoted(line: str) -> bool:
    """Whether it ends with what Chinese or Japanese puts in brackets, and no sentence with it."""
    return line[-1] in "）】」』" and line[-2:-1] not in ("。", "！", "？", "…")


def _is_question(paragraph: str) -> bool:
    """Whether it is a question alone on its line, which what follows it answers."""
    line = paragraph.strip()
    question = _QUESTION.fullmatch(line) if line[-1] in _QUESTION_ENDS else None
    return question is not None and (question[1] is not None or not _is_marked(line))


def _is_caption(paragraph: str) -> bool:
    return len(paragraph) <= _MOST_CAPTION and _CAPTION.match(paragraph.lstrip()) is not None


def _lines(paragraph: str, start: int) -> Iterator[Unit]:
    """Units of a paragraph of several lines: each line, each item, or the whole."""
    lines = paragraph.split("\n")
    is_marked = [_is_marked(line) for line in lines]
    entries = _log_entries(lines)
    is_trace = [bool(entries) and _TRACE.match(line) is not None for line in lines]
    is_unit = [any(own) for own in zip(is_marked, is_trace, strict=True)]
    are_units = are_lines_units(lines, is_marked)
    questions = [*(bool(line.strip()) and _is_question(line) for line in lines), True]  # nothing follows the last line
    begins = [number == 0 or are_units or own or (number == 1 and questions[0]) for number, own in enumerate(is_unit)]
    place = start
    for number, line in enumerate(lines):
        if begins[number]:
            is_one_line = number + 1 == len(lines) or begins[number + 1]
            kind: UnitKind = "part" if number in entries else "line" if number else "block"
            is_asked = is_one_line and questions[number] and not questions[number + 1]
            is_whole = is_asked or (is_one_line and (are_units or is_unit[number]))
            yield Unit(place, kind, is_whole=is_whole, is_bound=is_asked)
        place += len(line) + 1


def _is_marked(line: str) -> bool:
    # Most lines of wrapped prose begin with a small letter and are not worth a look.
    return (
        not (is_small(line[:1]) and line[1:2].isalpha() and line[4:5] not in ".)") and _MARKER.match(line) is not None
    )


def are_lines_units(lines: Sequence[str], is_marked: Sequence[bool]) -> bool:
    """Whether lines end where the author wanted, not where the width of the page did.

    In wrapped prose the first word of the next line would not have fitted the line, and most lines begin with a small
    letter. Where every line has as many delimiters, or a mark that begins it, lines are rows.
    """
    unmarked = [number for number in range(1, len(lines)) if not is_marked[number]]
    if not unmarked:
        return True
    if any(_is_in_all(one, lines) for one in _DELIMITERS):
        return True
    lengths = [len(line) for line in lines]
    width = sorted(lengths)[(len(lines) - 1) * 9 // 10]
    n_small = sum(is_small(lines[number].lstrip()[:1]) for number in unmarked)
    n_fitting = sum(lengths[number - 1] + 1 + _first_word(lines[number]) <= width for number in unmarked)
    is_narrow = width < 40
    return 5 * n_fitting >= 2 * len(unmarked) and (5 * n_small <= len(unmarked) or is_narrow)


def _is_in_all(delimiter: str, lines: Sequence[str]) -> bool:
    """Whether every line has it, and as often as any other."""
    count = lines[0].count(delimiter)
    return (
        len(lines) > 2
        and count * len(lines) >= _LEAST_DELIMITERS
        and all(line.count(delimiter) == count for line in lines)
    )


def _first_word(line: str) -> int:
    """How many characters its first word has; where no spaces part words, as in Chinese or Thai, so many as most."""
    word = next(iter(line.split(None, 1)), "")
    return min(len(word), _MOST_UNSPACED) if word[:1] >= "\u0e00" else len(word)


def _rows(text: str, start: int, end: int, is_fitting: bool) -> Iterator[Unit]:
    """The rows of a table; its header and the row of dashes are bound to the first row."""
    starts = _line_starts(text, start, end)
    for number, place in enumerate(starts):
        line = text[place : text.find("\n", place) if number + 1 < len(starts) else end]
        is_header = number + 1 < len(starts) and (number == 0 or (number == 1 and not re.search(r"[^-=:|+\s]", line)))
        yield Unit(
            place, "row" if number and is_fitting else "line" if number else "block", is_whole=True, is_bound=is_header
        )


def _code_lines(text: str, start: int, end: int) -> Iterator[Unit]:
    """The lines of code that does not fit; those after a blank line begin a block of it, and some of them a part."""
    starts = _line_starts(text, start, end)
    is_fenced = text.startswith(("```", "~~~"), start + len(text[start:end]) - len(text[start:end].lstrip()))
    if is_fenced and len(starts) > 2:
        starts.pop()  # the fence that closes it stays with the last line
    parts = _code_parts([text[place:after] for place, after in pairwise([*starts, end])], int(is_fenced))
    for number, place in enumerate(starts):
        is_block = number == 0 or text.count("\n", starts[number - 1], place) > 1
        kind: UnitKind = "part" if number in parts else "block" if is_block else "line"
        yield Unit(place, kind, is_whole=True, is_bound=is_fenced and number == 0)


def _code_parts(lines: Sequence[str], first: int) -> set[int]:
    """Which lines begin a part: a function or the like at the least indentation, ``[section]``, or an entry of a log.

    Lines hold the blank ones after them; those before ``first`` are none.
    """
    if entries := _log_entries(lines):
        return entries
    indents = [len(line) - len(line.lstrip()) for line in lines]
    least = min(indents[first:], default=0)
    is_closing = [_CLOSING.match(line.lstrip()) is not None for line in lines]
    return {
        number
        for number in range(first + 1, len(lines))
        if indents[number] == least
        and not is_closing[number]
        and (
            indents[number - 1] > least
            or is_closing[number - 1]
            or lines[number - 1].count("\n") > 1
            or _SECTION.match(lines[number])
        )
    }


def _log_entries(lines: Sequence[str]) -> set[int]:
    """Lines that begin the entries of a log, if any of them holds more lines, such as the trace of an error."""
    entries = {number for number, line in enumerate(lines) if _TIME.match(line)}
    is_log = len(entries) >= _LEAST_ENTRIES and 10 * len(entries) >= len(lines) and any(map(_TRACE.match, lines))
    return entries if is_log else set()


def _line_starts(text: str, start: int, end: int) -> list[int]:
    """Starts of the lines that are not blank."""
    return [line.start() for line in re.compile(r"^[^\n]*\S[^\n]*", re.MULTILINE).finditer(text, start, end)]
