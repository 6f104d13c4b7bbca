"""PDF files: the text of all pages as one document, with page labels and headings. Read by PDFium, in its process.

Text comes in the order in which the file has it, which is the order of reading in what programs write, columns too.
"""

from __future__ import annotations

import ctypes
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latechunk.errors import DocumentError, MissingDependencyError
from latechunk.printing import how_to_install
from latechunk.readers.limits import require_length
from latechunk.readers.parsed import Parsed, ParserOptions
from latechunk.readers.pdf_headings import Line, find_headings
from latechunk.readers.pdf_hyphens import BROKEN, join_words
from latechunk.readers.pdf_letters import Place, order_letters
from latechunk.readers.pdf_margins import PageLine, is_far, is_other, usual_distance, without_margins
from latechunk.readers.reader import parsed_reader
from latechunk.types import Page

if TYPE_CHECKING:
    import pypdfium2

MAX_PAGES = 20_000

_HYPHENS = f"{BROKEN}\x02"  # what PDFium has in place of a hyphen and the line end after it
_SOFT = "\u2010\u00ad"  # hyphens that break a word alone
_LINE_END = re.compile(rf"[{_SOFT}]?\r?\n|[{_HYPHENS}]")
_BROWSER = "Skia/PDF"  # the producer in what browsers and Google Docs write, whose own hyphens are soft ones
_SAME_LINE = 0.1  # sizes of type that what stands on one line may differ in height
_RAISED = 0.5  # sizes of type by which a number may stand above its footnote
_SAMPLE = 100  # letters of a page that say how it is turned
_MOST_STAMP = 120  # characters
_LEAST_OF_SCAN = 0.5  # of the page
_PASSWORD_ERROR = 4  # FPDF_ERR_PASSWORD
_DYNAMIC = 2  # FORMTYPE_XFA_FULL, whose page says "Please wait" and no more
_EAST_ASIAN = "\u2e80"  # the first character of such scripts
_WORD = re.compile(r"[^\W\d_]{2,8}")
_LEADERS = re.compile(r"\s*(?:[.·…]\s?){5,}\s*")  # from a title in a table of contents to its page
_DATE = re.compile(r"(?:D:)?(\d{4})(\d\d)?(\d\d)?(?:(\d\d)(\d\d)(\d\d)?)?")
_METADATA = {"Title": "title", "Author": "author"}


def parse(path: Path, options: ParserOptions) -> Parsed:
    """Read a PDF file; see ``ParserProcess.parse``."""
    document = _open(path, options.password)
    n_pages = len(document)
    if n_pages > MAX_PAGES:
        raise DocumentError(
            f"it has {n_pages:,} pages, and at most {MAX_PAGES:,} are read; split it into several files"
        )
    pages: list[list[PageLine]] = []
    problems: list[tuple[str, str]] = []
    n_images = n_characters = 0
    for number in range(n_pages):
        options.tick()
        try:
            lines, is_image = _read_page(_open_page(document, number))
        except RuntimeError as error:  # PdfiumError is one
            lines, is_image = [], False
            problems.append((f"page {number + 1}", f"the page is damaged: {error}"))
        pages.append(lines)
        n_images += is_image
        n_characters += sum(len(line.text) for line in lines)
        require_length(n_characters)
    text = _Text(is_hard=_is_from_browser(document))
    damaged = {place for place, _ in problems}
    for number, lines in enumerate(without_margins(pages)):
        is_damaged = f"page {number + 1}" in damaged
        text.add_lines(lines, None if is_damaged else document.get_page_label(number) or None)
    return _to_parsed(document, text, n_images, problems)


def _open(path: Path, password: str | None) -> pypdfium2.PdfDocument:
    try:
        import pypdfium2
    except ImportError as error:
        raise MissingDependencyError(f"PDF files need pypdfium2; {how_to_install('documents')}") from error
    try:
        document = pypdfium2.PdfDocument(path, password=password)
    except pypdfium2.PdfiumError as error:
        if error.err_code != _PASSWORD_ERROR:
            raise DocumentError(f"it is no PDF file, or damaged: {error}") from error
        what = "its password is another one" if password else "it is encrypted, and needs its password"
        raise DocumentError(f"{what} (--password)") from error
    if document.get_formtype() == _DYNAMIC:
        raise DocumentError("it is a form (dynamic XFA) that only programs of Adobe show; print it as a PDF there")
    return document


def _to_parsed(document: pypdfium2.PdfDocument, text: _Text, n_images: int, problems: list[tuple[str, str]]) -> Parsed:
    n_pages = len(text.pages)
    if len(problems) == n_pages:
        raise DocumentError(f"{problems[0][0]}: {problems[0][1]}; no other page can be read either")
    if not text.length:
        what = "its pages are images without text; recognise the text (OCR) first" if n_images else "it holds no text"
        raise DocumentError(what)
    notes = ["pages that are images with hardly any text, which OCR could recognise"] if n_images else []
    whole, moved = join_words("".join(text.parts), is_hard=text.is_hard)
    pages = tuple(Page(moved(page.start), moved(page.end), page.label) for page in text.pages)
    lines = [replace(line, start=moved(line.start), end=moved(line.end)) for line in text.lines]
    outline = find_headings(whole, lines, _bookmarks(document))
    return Parsed(whole, pages, outline or None, _metadata(document), tuple(notes), tuple(problems))


def _open_page(document: pypdfium2.PdfDocument, number: int) -> pypdfium2.PdfPage:
    """Open a page with what was filled in or typed upon it as a part of its text."""
    import pypdfium2.raw as pdfium

    page = document[number]
    if not any(_is_typed(page, place) for place in range(pdfium.FPDFPage_GetAnnotCount(page))):
        return page
    pdfium.FPDFPage_Flatten(page, pdfium.FLAT_NORMALDISPLAY)  # in memory; it holds from the next opening on
    page.close()
    return document[number]


def _is_typed(page: pypdfium2.PdfPage, place: int) -> bool:
    """Whether this annotation of a page is a field of a form, or text that was put on the page."""
    import pypdfium2.raw as pdfium

    annotation = pdfium.FPDFPage_GetAnnot(page, place)
    kind = pdfium.FPDFAnnot_GetSubtype(annotation)
    pdfium.FPDFPage_CloseAnnot(annotation)
    return kind in (pdfium.FPDF_ANNOT_WIDGET, pdfium.FPDF_ANNOT_FREETEXT, pdfium.FPDF_ANNOT_STAMP)


class _Text:
    """The text of the pages so far, and where its pages and lines are.

    ``is_hard`` says that a hyphen at a line end is always the word's own, unless it is a soft one.
    """

    def __init__(self, *, is_hard: bool) -> None:
        self.is_hard = is_hard
        self.parts: list[str] = []
        self.pages: list[Page] = []
        self.lines: list[Line] = []
        self.length = 0

    def add_lines(self, lines: list[PageLine], label: str | None) -> None:
        """Add a page of these lines."""
        if lines and self.length:  # a sentence may go on over the page, but not from a footnote
            below, above = self.lines[-1].size, lines[0].size
            self._write("\n\n" if below < above and is_other(below, above) else "\n")
        start = self.length
        usual = usual_distance(lines)
        for number, line in enumerate(lines):
            if number:
                self._write(_between(lines[number - 1], line, usual, is_hard=self.is_hard))
            self.lines.append(Line(len(self.pages), self.length, self.length + len(line.text), line.size, line.y))
            self._write(line.text)
        self.pages.append(Page(start, self.length, label))

    def _write(self, text: str) -> None:
        self.parts.append(text)
        self.length += len(text)
        require_length(self.length)


def _read_page(page: pypdfium2.PdfPage) -> tuple[list[PageLine], bool]:
    """The lines of a page, and whether it is an image with hardly any text."""
    try:
        text_page = _open_text(page)
        try:
            lines = _order_columns(list(_read_lines(text_page)))
        finally:
            text_page.close()
        return lines, _is_image(page, sum(len(line.text) for line in lines))
    finally:
        page.close()


def _read_lines(page: pypdfium2.PdfTextPage) -> Iterator[PageLine]:
    """The lines of a page that have text."""
    text = page.get_text_range()
    is_wide = not text.isascii() and max(text) > "\uffff"  # PDFium counts in UTF-16
    start = place = 0
    before = 0.0
    while start < len(text):
        found = _LINE_END.search(text, start)
        end, after = found.span() if found else (len(text), len(text))
        source = text[start:end]
        if line := source.strip():
            blank = len(source) - len(source.lstrip())
            x, y, size, is_note = _measure_line(page, place + blank, line, before)
            before = size
            # Only East Asian lines are asked for their ends, since that takes as long as all the rest.
            end_x, end_y, _ = _measure(page, place + blank + len(line) - 1) if line[0] > _EAST_ASIAN else (x, y, 0)
            is_vertical = y - end_y > abs(x - end_x)
            if not is_wide and not line.isascii():
                line = order_letters(line, partial(_place_of_letter, page, place + blank))
            sign = found[0][0] if found else ""
            is_soft = sign != "" and sign in _SOFT
            has_hyphen = is_soft or (sign != "" and sign in _HYPHENS)
            line = _LEADERS.sub(" … ", line).strip()
            yield PageLine(line, x, y, size, has_hyphen, is_soft, is_vertical, is_note)
        place += len(text[start:after].encode("utf-16-le")) // 2 if is_wide else after - start
        start = after


def _open_text(page: pypdfium2.PdfPage) -> pypdfium2.PdfTextPage:
    """The text of a page that is turned so that most of it stands upright.

    PDFium takes lines that run down the page as it is shown from the last to the first, and cells of a row that stands
    on its head from right to left.
    """
    text_page = page.get_textpage()
    rotation = _upright_rotation(text_page)
    if rotation in (None, page.get_rotation()):
        return text_page
    text_page.close()
    page.set_rotation(rotation)
    return page.get_textpage()


def _upright_rotation(page: pypdfium2.PdfTextPage) -> int | None:
    """By how many degrees a page must be turned for most of its letters to stand upright; None if it has none."""
    import pypdfium2.raw as pdfium

    n_characters = page.count_chars()
    angles = Counter(
        -round(pdfium.FPDFText_GetCharAngle(page, index) / (math.pi / 2)) * 90 % 360
        for index in range(0, n_characters, 1 + n_characters // _SAMPLE)
        if not pdfium.FPDFText_IsGenerated(page, index)
    )
    return max(angles, key=angles.__getitem__, default=None)


def _order_columns(lines: list[PageLine]) -> list[PageLine]:
    """Put vertical lines that PDFium gives from left to right into their order, from right to left."""
    if not any(line.is_vertical for line in lines):
        return lines
    ordered: list[PageLine] = []
    run: list[PageLine] = []
    for line in lines:
        if not line.is_vertical or (run and line.x <= run[-1].x):
            ordered += reversed(run)
            run = []
        (run if line.is_vertical else ordered).append(line)
    return ordered + run[::-1]


def _measure(page: pypdfium2.PdfTextPage, place: int) -> tuple[float, float, float]:
    """The origin and the height of the character at this place of the text, as if its line ran from left to right."""
    import pypdfium2.raw as pdfium

    index = pdfium.FPDFText_GetCharIndexFromTextIndex(page, place)
    x, y, box = ctypes.c_double(), ctypes.c_double(), pdfium.FS_RECTF()
    if index < 0 or not pdfium.FPDFText_GetCharOrigin(page, index, x, y):
        return 0.0, 0.0, 0.0
    pdfium.FPDFText_GetLooseCharBox(page, index, box)
    width, height = abs(box.right - box.left), abs(box.top - box.bottom)
    angle = pdfium.FPDFText_GetCharAngle(page, index)  # clockwise, as tables that are turned on their sides have it
    if angle <= 0:
        return x.value, y.value, round(height, 1)
    sine, cosine = math.sin(angle), math.cos(angle)
    is_upright = abs(sine) < abs(cosine)
    across, up = x.value * cosine - y.value * sine, x.value * sine + y.value * cosine
    return across, up, round(height if is_upright else width, 1)


def _measure_line(
    page: pypdfium2.PdfTextPage, place: int, line: str, before: float
) -> tuple[float, float, float, bool]:
    """As ``_measure``, of a line that starts here; and whether it begins with the raised number or sign of a note.

    It may begin with a bullet or some letters of another size than its own, which most often is that of the line
    ``before``.
    """
    x, y, first = _measure(page, place)
    if not is_other(first, before) or not (word := _WORD.search(line)):
        return x, y, first, False
    _, y_of_word, size = _measure(page, place + word.end() - 1)
    if first < size and is_other(first, size) and y - y_of_word > _SAME_LINE * size:
        return x, y_of_word, size, True
    if is_other(size, before):
        rest = [_WORD.search(line, len(line) * quarter // 4) for quarter in (2, 3)]
        sizes = [_measure(page, place + one.start())[2] for one in rest if one]
        size = before if sizes and not any(is_other(one, before) for one in sizes) else size
    return x, y, size, False


def _place_of_letter(page: pypdfium2.PdfTextPage, start: int, at: int) -> Place:
    """The origin and the left edge of the character at this place of the line that starts here."""
    import pypdfium2.raw as pdfium

    index = pdfium.FPDFText_GetCharIndexFromTextIndex(page, start + at)
    x, y, left, other = ctypes.c_double(), ctypes.c_double(), ctypes.c_double(), ctypes.c_double()
    pdfium.FPDFText_GetCharOrigin(page, index, x, y)
    pdfium.FPDFText_GetCharBox(page, index, left, other, other, other)
    return x.value, left.value


def _between(line: PageLine, following: PageLine, usual: float, *, is_hard: bool) -> str:
    """What stands between two lines: a break or a hyphen in a word, a line end, or a blank line between paragraphs."""
    if line.has_hyphen:
        is_one_word = line.text[-1].isalpha() and following.text[0].islower()
        if is_one_word and line.is_soft and is_hard:
            return ""
        return BROKEN if is_one_word else "-"
    distance = line.y - following.y
    is_other_size = is_other(line.size, following.size)
    is_raised = line.size < following.size and is_other_size and 0 < distance < _RAISED * following.size
    if (is_raised or abs(distance) < _SAME_LINE * line.size) and following.x > line.x and not line.is_vertical:
        return " "  # cells of a row that were drawn one by one, or the number of a footnote before it
    is_apart = following.is_note or (usual > 0 and is_far(distance, usual, min(line.size, following.size)))
    return "\n\n" if is_apart or (distance > 0 and is_other_size) else "\n"


def _is_image(page: pypdfium2.PdfPage, n_characters: int) -> bool:
    """Whether a page is an image and no more than a stamp, such as courts put on scans, or a title is its text."""
    import pypdfium2.raw as pdfium

    if n_characters > _MOST_STAMP:
        return False
    images = page.get_objects(filter=[pdfium.FPDF_PAGEOBJ_IMAGE], max_depth=3)
    if not n_characters:
        return next(images, None) is not None
    bounds = (one.get_bounds() for one in images)
    area: float = sum((right - left) * (top - bottom) for left, bottom, right, top in bounds)
    return bool(area > _LEAST_OF_SCAN * page.get_width() * page.get_height())


def _bookmarks(document: pypdfium2.PdfDocument) -> Iterator[tuple[int, str, int]]:
    """Page, title and level, from 1, of each entry of the table of contents that leads to a page."""
    for entry in document.get_toc():
        target = entry.get_dest()
        page = target.get_index() if target else None
        if page is not None:
            yield page, entry.get_title(), entry.level + 1


def _is_from_browser(document: pypdfium2.PdfDocument) -> bool:
    return str(document.get_metadata_dict().get("Producer", "")).startswith(_BROWSER)


def _metadata(document: pypdfium2.PdfDocument) -> dict[str, Any]:
    given = document.get_metadata_dict()
    metadata = {name: value.strip() for key, name in _METADATA.items() if (value := given.get(key, "")).strip()}
    if date := _DATE.match(given.get("CreationDate", "")):
        year, month, day, hour, minute, second = date.groups()
        time = f"T{hour}:{minute}:{second or '00'}" if hour and day else ""
        metadata["created"] = "-".join(part for part in (year, month, day) if part) + time
    return metadata


PDF = parsed_reader(__name__, ".pdf")
