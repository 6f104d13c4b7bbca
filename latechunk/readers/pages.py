"""Join documents that are the pages of one file, and carry pages and outlines through documents of other kinds.

Loaders give a document for each page. Late chunking needs the whole text, and people want to cite the page, so pages
are joined. A document of a framework has no place for its pages but its metadata, where a table says where each of them
stands; ``unpack_document`` makes them ``Document.pages``.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Generic, TypeVar

from latechunk.errors import DocumentError
from latechunk.types import Chunk, Document
from latechunk.types.json_form import list_blocks, list_pages, parse_blocks, parse_pages

PAGES = "latechunk_pages"
"""The metadata key of the pages of a document that has no other place for them: for each page ``[start, end, label]``.

``text[start:end]`` is the page's text, to the character, and empty if the page is blank or was not given; ``label`` is
what is printed on the page, or None.
"""
OUTLINE = "latechunk_outline"
"""The metadata key of its outline: for each block ``[kind, start, end, level]``, as in ``latechunk.Block``."""

_MOST_PAGES = 100_000  # of one file; a number above it counts something else
_SEPARATOR = "\n"  # a sentence may go on over the page
_PAGE_KEYS = ("page", "page_label")
_HEAD = 1_024  # characters; a NUL is among the first of Word files, spreadsheets and pictures

Original = TypeVar("Original")


class PagesWarning(UserWarning):
    """Documents look like the pages of one file, and are not joined; the message says why and what to do."""


def join_pages(
    documents: Iterable[Original],
    read: Callable[[Original], tuple[str | None, str, Mapping[str, Any]]],
    make: Callable[[Sequence[Original], str, str, dict[str, Any]], Original],
    *,
    source_keys: Sequence[str],
    sure: bool = False,
) -> Iterator[Original]:
    r"""Join the pages of each file into one document; any other document comes as it is, in its place.

    Pages are neighbours that have the same source and, in their metadata, a ``page`` (a whole number) or a
    ``page_label``. They are joined in the order of ``page``, or as they come if they have none. Blank ones leave no
    trace in the text. This is for adapters, which have functions of their own for their documents.

    Args:
        documents: Of any kind, one by one.
        read: Tells a document's id, None if nobody chose one, its text and its metadata.
        make: Makes a document of pages, and of the id, which is their source, the text and the metadata that they give.
        source_keys: Where the metadata name the file, the first that is there.
        sure: Join also pages that have ids of their own, labels that repeat, or other metadata that differ; what
            differs is then left out. Without it a ``PagesWarning`` says why they are not joined.

    Examples:
        >>> pages = [("Berlin is", {"source": "a.pdf", "page": 0}), ("big.", {"source": "a.pdf", "page": 1})]
        >>> read, make = lambda page: (None, *page), lambda pages, id, text, metadata: (text, metadata)
        >>> list(join_pages(pages, read, make, source_keys=["source"]))
        [('Berlin is\nbig.', {'source': 'a.pdf', 'latechunk_pages': [[0, 9, None], [10, 14, None]]})]
    """
    parts = (_Part(document, *read(document)) for document in documents)
    for source, run in groupby(parts, lambda part: _source_of(part.metadata, source_keys)):
        pages = list(run)
        doubt = source and _find_doubt(pages, sure)
        if doubt and (len(pages) > 1 or pages[0].metadata.get("total_pages", 1) != 1):
            warnings.warn(
                f"{len(pages)} of the documents look like pages of {source!r:.200}, and are not joined, since {doubt}: "
                f"no passage will see beyond its page. If they are its pages, join_pages(documents) makes them one "
                f"document, before they are added or handed to an indexing pipeline",
                PagesWarning,
                stacklevel=2,
            )
        if source is None or doubt:
            yield from (page.original for page in pages)
        else:
            yield make([page.original for page in pages], source, *_join(pages))


def unpack_document(
    document_id: str, text: str, metadata: Mapping[str, Any], *, bytes_remedy: str | None = None
) -> Document:
    """Make a document whose pages and outline stand in its metadata, which is for adapters.

    Loaders that cannot read PDF, Word files or pictures give the bytes of the file as its text. With ``bytes_remedy``,
    which says how such files are read where the document is from, these texts are refused.

    Raises:
        DocumentError: If they are not what ``pack_metadata`` and ``join_pages`` write, or no index can hold the
            document.

    Examples:
        >>> unpack_document("a.pdf", "Berlin", {"latechunk_pages": [[0, 6, "i"]]}).pages
        (Page(start=0, end=6, label='i'),)
    """
    is_pdf = text.startswith("%PDF-")
    if bytes_remedy is not None and (is_pdf or "\0" in text[:_HEAD]):
        seen = (
            "begins with '%PDF-', so it is the bytes of a PDF file"
            if is_pdf
            else "has a NUL near its beginning, so it is the bytes of a file"
        )
        raise DocumentError(
            f"the text of document {document_id!r} {seen}, and not what is written in it: {bytes_remedy}"
        )
    rest = {key: value for key, value in metadata.items() if key not in (PAGES, OUTLINE)}
    pages = parse_pages(metadata.get(PAGES, []))
    outline = parse_blocks(metadata[OUTLINE]) if OUTLINE in metadata else None
    return Document(document_id, text, rest, pages=pages, outline=outline)


def pack_metadata(document: Document) -> dict[str, Any]:
    """A document's metadata with its pages and outline among them, for ``unpack_document``.

    Examples:
        >>> pack_metadata(Document("a.pdf", "Berlin", {"year": 1237}, pages=(Page(0, 6, "i"),)))
        {'year': 1237, 'latechunk_pages': [[0, 6, 'i']]}
    """
    packed = dict(document.metadata)
    if document.pages:
        packed[PAGES] = list_pages(document.pages)
    if document.outline is not None:
        packed[OUTLINE] = list_blocks(document.outline)
    return packed


def page_metadata(chunk: Chunk) -> dict[str, Any]:
    """A passage's metadata with the pages on which it stands, for adapters.

    ``page`` counts from 0. ``page_label`` is what is printed there, or counts from 1 where the document does not say,
    as PDF readers do. ``last_page`` and ``last_page_label`` are there if the passage ends on another page.

    Examples:
        >>> page_metadata(index.chunks("berlin")[0])
        {'country': 'Germany'}
    """
    metadata = dict(chunk.metadata)
    ends = dict.fromkeys(chunk.pages[:1] + chunk.pages[-1:])
    for prefix, (number, label) in zip(("", "last_"), ends, strict=False):
        metadata[f"{prefix}page"] = number
        metadata[f"{prefix}page_label"] = str(number + 1) if label is None else label
    return metadata


@dataclass(frozen=True, slots=True)
class _Part(Generic[Original]):
    original: Original
    id: str | None
    text: str
    metadata: Mapping[str, Any]


def _source_of(metadata: Mapping[str, Any], keys: Sequence[str]) -> str | None:
    """The file of which this is a page, or None."""
    source = next((metadata[key] for key in keys if key in metadata), None)
    is_page = _number_of(metadata) is not None or type(metadata.get("page_label")) in (str, int)
    return source if is_page and isinstance(source, str) and source else None


def _number_of(metadata: Mapping[str, Any]) -> int | None:
    number = metadata.get("page")
    return number if type(number) is int and 0 <= number < _MOST_PAGES else None


def _find_doubt(pages: Sequence[_Part[Original]], sure: bool) -> str | None:
    """Why these should not be joined, or None."""
    numbers = [_number_of(page.metadata) for page in pages]
    labels = [page.metadata.get("page_label") for page in pages]
    if any(number is not None for number in numbers):
        if None in numbers or len(set(numbers)) < len(pages):
            return "their page numbers repeat or are missing"
    elif not sure and len(set(labels)) < len(pages):
        return "their page labels repeat"
    if sure:
        return None
    if any(page.id is not None for page in pages):
        return "they have ids of their own"
    differing = sorted(map(repr, _keys(pages) - _common(pages).keys() - {*_PAGE_KEYS}))
    return f"their metadata differ in {', '.join(differing)}" if differing else None


def _join(pages: Sequence[_Part[Original]]) -> tuple[str, dict[str, Any]]:
    numbered = [(_number_of(page.metadata), page) for page in pages]
    by_place = {order if number is None else number: page for order, (number, page) in enumerate(numbered)}
    texts: list[str] = []
    table: list[list[Any]] = []
    position = 0
    for place in range(max(by_place) + 1):
        page = by_place.get(place)
        text = page.text if page and page.text.strip() else ""
        table.append([position, position + len(text), _label_of(page.metadata) if page else None])
        if text:
            texts.append(text)
            position += len(text) + len(_SEPARATOR)
    metadata = {key: value for key, value in _common(pages).items() if key not in _PAGE_KEYS}
    whole = _SEPARATOR.join(texts)
    for one in table:  # blank ones at the end
        one[:2] = min(one[0], len(whole)), min(one[1], len(whole))
    return whole, {**metadata, PAGES: table}


def _label_of(metadata: Mapping[str, Any]) -> str | None:
    label = metadata.get("page_label")
    return None if label is None else str(label)


def _keys(pages: Sequence[_Part[Original]]) -> set[str]:
    return {key for page in pages for key in page.metadata}


def _common(pages: Sequence[_Part[Original]]) -> dict[str, Any]:
    """The metadata that all pages share."""
    first, *others = (page.metadata for page in pages)
    return {key: value for key, value in first.items() if all(key in other and other[key] == value for other in others)}
