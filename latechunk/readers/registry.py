"""Which reader reads a file: by its suffix, and by its content where that says more."""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from pathlib import Path

from latechunk.readers.decoding import marked_encoding
from latechunk.readers.docx import DOCX
from latechunk.readers.eml import EML
from latechunk.readers.epub import EPUB
from latechunk.readers.html import HTML
from latechunk.readers.jsonfile import JSON
from latechunk.readers.jsonl import JSONL
from latechunk.readers.markdown import MARKDOWN
from latechunk.readers.markup import ASCIIDOC, LATEX, RST
from latechunk.readers.mbox import MBOX
from latechunk.readers.notebook import NOTEBOOK
from latechunk.readers.odt import ODT
from latechunk.readers.pdf import PDF
from latechunk.readers.pptx import PPTX
from latechunk.readers.reader import Reader
from latechunk.readers.subtitles import SUBTITLES
from latechunk.readers.table import TABLE
from latechunk.readers.text import CODE, RTF, TEXT
from latechunk.readers.xlsx import XLSX

READERS: Mapping[str, Reader] = {
    suffix: reader
    for reader in (
        TEXT,
        SUBTITLES,
        MARKDOWN,
        RST,
        ASCIIDOC,
        LATEX,
        NOTEBOOK,
        TABLE,
        JSONL,
        JSON,
        PDF,
        DOCX,
        ODT,
        PPTX,
        XLSX,
        EML,
        MBOX,
        EPUB,
        HTML,
    )
    for suffix in reader.suffixes
}
"""By suffix. A new format is a module in this package and an entry here."""
BINARY = (PDF, DOCX, ODT, PPTX, XLSX, EPUB)
"""Those whose files are no text, whatever they hold."""

_HEAD = 8_192
_MEMBER = re.compile(rb"PK\x03\x04.{26}(word|ppt|xl)/", re.S)  # the header of a member of a zip archive, and its name
_OFFICE = {b"word": DOCX, b"ppt": PPTX, b"xl": XLSX}
_PAGE = re.compile(rb"\s*<(?:!doctype html|html|head|meta|style|body|table)\b", re.I)
# As Thunderbird has it, under names without a suffix; with the day, since a note may begin "From Rome at 10:00".
_MAILBOX = re.compile(rb"From \S+ +(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),? .*\d:\d\d.*\r?\n[!-9;-~]+:")
_CONTROLS = re.compile(rb"[\x00-\x08\x0e-\x19\x1c-\x1f\x7f]")  # which any 200 bytes that are no text have
_SHEETS = (".xlsx", ".xlsm", ".xls")
"""Names under which programs also give out pages and tables of text."""
_PICTURES = (".svg", ".eps", ".ps")
"""Text that nobody reads: coordinates, thousands of chunks of a few diagrams."""


def find_reader(path: Path) -> Reader | None:
    """The reader of a file; None if it is of no known format and holds no text.

    A PDF, book, or file of Word, slides or sheets is one under any name, and a page of HTML under the name of such a
    file, as failed downloads have it, or without a suffix. Text under the name of a workbook is a table, and a mailbox
    one under any name that is no format's. What is of no known suffix is text if its first 8 KB are: UTF-8 without the
    byte 0, or with a mark, or of another encoding, without control characters.
    """
    suffix = path.suffix.lower()
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if found := _find_by_content(head, suffix):
        return found
    if suffix in READERS:
        return READERS[suffix]
    return (CODE if suffix else TEXT) if suffix not in _PICTURES and _is_text(head) else None


def _find_by_content(head: bytes, suffix: str) -> Reader | None:
    if head.startswith(b"%PDF-"):
        return PDF
    if head.startswith(b"{\\rtf"):
        return RTF
    if suffix not in READERS and _MAILBOX.match(head):
        return MBOX
    if head.startswith(b"PK\x03\x04"):
        if b"application/epub+zip" in head[:100]:
            return EPUB
        if b"application/vnd.oasis.opendocument.text" in head[:100]:
            return ODT
        member = _MEMBER.search(head)
        return _OFFICE[member[1]] if member else None
    is_page = _PAGE.match(head.removeprefix(codecs.BOM_UTF8))
    if is_page and (not suffix or suffix in _SHEETS or READERS.get(suffix) in BINARY):
        return HTML
    is_table = suffix in _SHEETS and _is_text(head) and not head.lstrip().startswith(b"<")
    return TABLE if is_table else None


def _is_text(head: bytes) -> bool:
    if marked_encoding(head):
        return True
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        if len(head) < _HEAD or error.start < _HEAD - 3:  # else a character may be cut
            return not _CONTROLS.search(head)
    return bool(head) and b"\0" not in head
