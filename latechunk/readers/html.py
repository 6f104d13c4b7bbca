"""HTML files: the main text with headings, lists, tables and code. Nothing is run, and no link is followed."""

from __future__ import annotations

import re
from collections.abc import Callable
from email import message_from_bytes
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latechunk.errors import DocumentError, MissingDependencyError
from latechunk.printing import how_to_install
from latechunk.readers.decoding import decode_declared
from latechunk.readers.html_render import render
from latechunk.readers.limits import read_whole
from latechunk.readers.mime import part_bytes, part_charset
from latechunk.readers.parsed import Parsed, ParserOptions
from latechunk.readers.reader import parsed_reader
from latechunk.readers.structured import StructuredText

if TYPE_CHECKING:
    from selectolax.lexbor import LexborHTMLParser, LexborNode

_CHARSET = re.compile(
    rb"""<(?:meta\b[^>]{0,300}?charset|\?xml\b[^>]{0,300}?encoding)\s*=\s*["']?\s*([\w:.-]{1,40})""", re.I
)
_HEAD = 4_096
# In XML an empty element may be written like this; HTML takes it for the begin of one.
_EMPTY = re.compile(
    r"<(title|script|style|textarea|iframe|a|b|i|em|strong|span|div|p|h[1-6]|li|td|th)(\s[^<>]*)?/>", re.I
)
SAVED = (".mht", ".mhtml")
"""Suffixes of files in which browsers save a page with its pictures."""
_MAIN = "main, [role=main]"
_DATES = ("article:published_time", "date", "dc.date", "dcterms.created", "dcterms.date")


def parse(path: Path, options: ParserOptions) -> Parsed:
    """Read an HTML file; see ``ParserProcess.parse``."""
    data, declared, cut_off = read_whole(path), "", None
    if path.suffix.lower() in SAVED:
        data, declared, cut_off = unpack_saved(data)
    text, metadata, note = parse_html(data, options, declared=declared)
    notes = tuple(one for one in (cut_off, note) if one)
    return Parsed(str(text), outline=text.outline, metadata=metadata, notes=notes)


def unpack_saved(data: bytes) -> tuple[bytes, str, str | None]:
    """The page in a file in which a browser saved it with its pictures, as a message, its encoding, and a note."""
    for part in message_from_bytes(data.lstrip()).walk():
        if part.get_content_type() == "text/html":
            page, note = part_bytes(part)
            return page, part_charset(part), note
    raise DocumentError("it holds no page")


def parse_html(
    data: bytes, options: ParserOptions, *, whole: bool = False, declared: str = ""
) -> tuple[StructuredText, dict[str, Any], str | None]:
    """The main text of a page, what it says of itself, and a note where its encoding was guessed.

    ``whole`` takes all of its text for the main text: the asides of a book are its notes, and no margins.
    ``declared`` is the encoding that a message declares, which counts more than what the page does.
    """
    try:
        from selectolax.lexbor import LexborHTMLParser
    except ImportError as error:
        raise MissingDependencyError(f"HTML and EPUB need selectolax; {how_to_install('documents')}") from error
    source, guess = _decode(data, options.encoding, declared)
    if source[:200].lstrip().startswith("<?xml"):
        source = _EMPTY.sub(r"<\1\2></\1>", source)
    page = LexborHTMLParser(source.replace("\0", "\ufffd"))
    options.tick()
    note = f"read as {guess}, which was guessed (--encoding says it)" if guess else None
    return _read_page(page, options.tick, whole), _read_metadata(page), note


def _decode(data: bytes, encoding: str | None, said: str) -> tuple[str, str | None]:
    """Decode by a mark, as UTF-8, by ``encoding``, by what the page declares, or by a guess, which is told."""
    declared = _CHARSET.search(data[:_HEAD])
    return decode_declared(data, said or (declared[1].decode("ascii") if declared else ""), encoding)


def _read_page(page: LexborHTMLParser, tick: Callable[[], None], whole: bool) -> StructuredText:
    body = page.body or page.root
    for root in [] if whole else _main_parts(page):
        text = render(root, tick, drop_margins=False)
        if str(text):
            return text
    if body is None:
        return StructuredText()
    text = render(body, tick, drop_margins=not whole)
    return text if str(text) else render(body, tick, drop_margins=False)


def _main_parts(page: LexborHTMLParser) -> list[LexborNode]:
    """What the page marks as its main part; an article beside the heading of the page is none, but a teaser."""
    articles = page.css("article")
    is_main = len(articles) == 1 and (page.css_first("h1") is None or articles[0].css_first("h1") is not None)
    return [*page.css(_MAIN)[:1], *(articles if is_main else [])]


def _read_metadata(page: LexborHTMLParser) -> dict[str, Any]:
    said: dict[str, str] = {}
    for node in page.css("meta[name], meta[property]"):
        name = (node.attributes.get("name") or node.attributes.get("property") or "").casefold()
        said.setdefault(name, _plain(node.attributes.get("content") or ""))
    title = page.css_first("head > title")
    root = page.css_first("html")
    metadata = {
        "title": _plain(title.text() or "") if title else said.get("og:title", ""),
        "author": said.get("author", ""),
        "created": next((said[name] for name in _DATES if said.get(name)), ""),
        "lang": _plain((root.attributes.get("lang") or root.attributes.get("xml:lang") or "") if root else ""),
    }
    return {name: value for name, value in metadata.items() if value}


def _plain(text: str) -> str:
    return " ".join(text.split())


HTML = parsed_reader(__name__, ".html", ".htm", ".xhtml", *SAVED)
