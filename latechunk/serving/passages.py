"""What clients see of indexes: passages with citations, documents, outlines; exact to the character."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import chain, zip_longest
from typing import Any

from pydantic import BaseModel, Field

from latechunk.chunking.outline import heading_title
from latechunk.errors import InputError
from latechunk.index import Index
from latechunk.search.options import SearchOptions
from latechunk.serving.errors import RequestError
from latechunk.serving.served import Served
from latechunk.types import RECORD_FILE, Chunk, Document, Hit
from latechunk.types.citation import file_name

# Where loaders, and latechunk itself, write the place of a file.
_FILE_KEYS = ("source", "file_path", "file_name", "file_directory", "path", RECORD_FILE)
_EXPLAINED = '{0!r} is a whole path, of which answers show the name alone: ask by {{"{0}": {{"$like": "%/NAME"}}}}'


class Passage(BaseModel):
    """Characters `start` to `end` of a document, exactly as they stand there."""

    index: str
    document_id: str
    citation: str = Field(description="How to cite it: file, page and headings, or line.")
    start: int
    end: int
    text: str
    headings: list[str] = Field(default_factory=list, description="Those it stands under, outermost first.")
    pages: list[str] = Field(default_factory=list, description="Labels of its pages.")
    line: int | None = None


class FoundPassage(Passage):
    """A passage that answers a question, with how well."""

    score: float = Field(description="More is better; comparable within one index and question.")
    dense: float | None = Field(None, description="Cosine of its vector with the question's.")
    lexical: float | None = Field(None, description="BM25 score of its words.")
    metadata: dict[str, Any] = Field(default_factory=dict, description="Of its document.")
    is_cut: bool = Field(False, description="Whether the passage is longer than the text that is given.")
    before: str = Field("", description="Text of the chunk before it, where that was asked for.")
    after: str = Field("", description="Text of the chunk after it, where that was asked for.")


class SearchResult(BaseModel):
    """What was found, best first."""

    passages: list[FoundPassage]
    note: str | None = Field(None, description="Where filter or ids leave nothing to find: that, or what looks wrong.")


class DocumentInfo(BaseModel):
    """A document's id and metadata."""

    index: str
    document_id: str
    metadata: dict[str, Any] = Field(default_factory=dict)


class DocumentPage(BaseModel):
    """Some of the documents of an index."""

    documents: list[DocumentInfo]
    n_documents: int = Field(description="How many there are in all.")
    page: int
    n_pages: int


class Heading(BaseModel):
    """A heading, and where it begins."""

    level: int
    title: str
    start: int


class Outline(BaseModel):
    """How a document is built."""

    index: str
    document_id: str
    n_characters: int
    n_pages: int = Field(description="0 if it has none.")
    headings: list[Heading]
    n_headings: int = Field(description="How many there are in all.")
    metadata: dict[str, Any] = Field(default_factory=dict)


class ReadPassage(Passage):
    """A part of a document, and where the next one begins."""

    n_characters: int = Field(description="Of the whole document.")
    next_start: int | None = Field(description="Where to read on; null at the end of the document.")


def search(
    served: Served,
    question: str,
    options: SearchOptions,
    *,
    index: str | None,
    most_characters: int | None = None,
    neighbours: bool = False,
) -> SearchResult:
    """Find passages in one index, or in all: then the best of each, the second of each and so on.

    A passage of more than ``most_characters`` is cut; ``neighbours`` asks for the chunks before and after each.
    """
    asked = _choose_indexes(served, index)
    found = []
    for name, opened in asked.items():
        hits = opened.search_with(question, options)
        beside = _beside(opened, hits) if neighbours else [("", "")] * len(hits)
        found.append([_to_passage(name, hit, most_characters, *two) for hit, two in zip(hits, beside, strict=True)])
    best = [one for one in chain.from_iterable(zip_longest(*found)) if one is not None][: options.k]
    return SearchResult(passages=best, note=None if best else _note(asked.values(), options))


def _choose_indexes(served: Served, index: str | None) -> dict[str, Index]:
    """The index of this name, or for None all; RequestError if there is none."""
    return dict(served.indexes) if index is None and served.indexes else {str(index): served.index(index)}


def _note(indexes: Collection[Index], options: SearchOptions) -> str | None:
    """Say what looks like a mistake in a filter or ids, or that they leave no document."""
    mistakes = dict.fromkeys(chain.from_iterable(index.find_mistakes(options) for index in indexes))
    if mistakes:
        return "; ".join(mistakes)
    given = [name for name in ("filter", "document_ids") if getattr(options, name) is not None]
    wanted = None if options.document_ids is None else set(options.document_ids)
    left = (one for index in indexes for one in index.ids(filter=options.filter) if wanted is None or one in wanted)
    if not given or next(left, None) is not None:
        return None
    n_documents = sum(len(index) for index in indexes)
    chosen = "the filter leaves" if given == ["filter"] else f"{' and '.join(given)} leave"
    hidden = [f"; {_EXPLAINED.format(key)}" for key in _FILE_KEYS if key in (options.filter or {})]
    return f"{chosen} none of the {n_documents:,} documents{''.join(hidden[:1])}"


def list_documents(
    served: Served, *, index: str | None, metadata: Mapping[str, Any] | None, page: int, per_page: int
) -> DocumentPage:
    """One page, from 1, of the documents of one index, or of all, that meet a filter of metadata."""
    asked = _choose_indexes(served, index)
    ids = [(name, one) for name, opened in asked.items() for one in opened.ids(filter=metadata)]
    n_pages = -(-len(ids) // per_page)
    shown = ids[(page - 1) * per_page : page * per_page]
    documents: list[DocumentInfo] = []
    for name in dict.fromkeys(name for name, _ in shown):
        known = asked[name].metadata([one for owner, one in shown if owner == name])
        documents += [
            DocumentInfo(index=name, document_id=one, metadata=public_metadata(given)) for one, given in known.items()
        ]
    return DocumentPage(documents=documents, n_documents=len(ids), page=page, n_pages=n_pages)


def read(
    served: Served, document_id: str, *, index: str | None, start: int, end: int | None, most_characters: int
) -> ReadPassage:
    """Characters of a document from ``start`` on, to ``end`` or as many as may be read at a time."""
    name, document = find_document(served, document_id, index)
    n_characters = len(document.text)
    if not 0 <= start < n_characters:
        raise InputError(f"start must be 0 to {n_characters - 1}, since the document has {n_characters} characters")
    wanted = n_characters if end is None else min(end, n_characters)
    if wanted <= start:
        raise InputError(f"end must be above start, which is {start}, got {end}")
    stop = min(wanted, start + most_characters)
    chunk = served.index(name).passage(document_id, start, stop)
    if chunk is None:
        raise RequestError(404, f"document {document_id!r:.200} was changed; read it again")
    next_start = stop if stop < n_characters else None
    return ReadPassage(**_place(name, chunk), text=chunk.text, n_characters=n_characters, next_start=next_start)


def outline(served: Served, document_id: str, *, index: str | None, most_headings: int) -> Outline:
    """Length, pages and the first headings of a document."""
    name, document = find_document(served, document_id, index)
    headings = [one for one in document.outline or () if one.kind == "heading"]
    return Outline(
        index=name,
        document_id=document_id,
        n_characters=len(document.text),
        n_pages=len(document.pages),
        headings=[
            Heading(level=one.level, title=heading_title(document.text, one), start=one.start)
            for one in headings[:most_headings]
        ],
        n_headings=len(headings),
        metadata=public_metadata(document.metadata),
    )


def find_document(served: Served, document_id: str, index: str | None) -> tuple[str, Document]:
    """A document, and the name of the index that it is in.

    Raises:
        RequestError: If there is none of this id, or several indexes have one and none is named.
    """
    asked = _choose_indexes(served, index)
    holders = [name for name, opened in asked.items() if document_id in opened]
    if len(holders) > 1:
        raise RequestError(
            400, f"{document_id!r:.200} is in several indexes, {', '.join(holders)}; name one", field="index"
        )
    document = asked[holders[0]].get(document_id) if holders else None
    if document is None:
        raise RequestError(
            404, f"there is no document {document_id!r:.200}; documents lists the ids", code="document_not_found"
        )
    return holders[0], document


def public_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata in which the place of a file on this machine is its name alone."""
    return {
        key: file_name(value) if key in _FILE_KEYS and isinstance(value, str) else value
        for key, value in metadata.items()
    }


def _to_passage(name: str, hit: Hit, most_characters: int | None, before: str, after: str) -> FoundPassage:
    chunk = hit.chunk
    text = chunk.text[:most_characters]
    return FoundPassage(
        **_place(name, chunk) | {"end": chunk.start + len(text)},
        text=text,
        score=hit.score,
        dense=hit.dense,
        lexical=hit.lexical,
        metadata=public_metadata(chunk.metadata),
        is_cut=len(text) < len(chunk.text),
        before=before,
        after=after,
    )


def _place(name: str, chunk: Chunk) -> dict[str, Any]:
    return {
        "index": name,
        "document_id": chunk.document_id,
        "citation": chunk.citation,
        "start": chunk.start,
        "end": chunk.end,
        "headings": list(chunk.headings),
        "pages": [str(page.number + 1) if page.label is None else page.label for page in chunk.pages],
        "line": chunk.line,
    }


def _beside(index: Index, hits: Sequence[Hit]) -> list[tuple[str, str]]:
    pairs = index.neighbours([hit.chunk for hit in hits])
    return [(before.text if before else "", after.text if after else "") for before, after in pairs]
