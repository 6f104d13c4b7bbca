"""LangChain documents in, latechunk documents out, checked; and an index of its own for those who name no path."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence

from langchain_core.documents import Document

import latechunk
from langchain_latechunk.passages import name_chunk, split_chunk_id
from langchain_latechunk.presplit import require_whole
from latechunk import Index
from latechunk.errors import DocumentError, InputError
from latechunk.protocols import Chunker, SpanEncoder


def to_latechunk(documents: Sequence[Document], ids: Sequence[str | None] | None) -> list[latechunk.Document]:
    """Whole LangChain documents as latechunk's.

    ``ids`` come before those that they have themselves; where neither says one, ``latechunk.name_documents`` does.
    """
    if not isinstance(documents, Sequence) or not all(isinstance(one, Document) for one in documents):
        raise InputError("documents must be a list of langchain_core.documents.Document; for strings use add_texts")
    if ids is not None and len(ids) != len(documents):
        raise InputError(f"ids must be as many as the documents, {len(documents)}, got {len(ids)}")
    first = ids or [None] * len(documents)
    given = [one.id if name is None else name for name, one in zip(first, documents, strict=True)]
    require_whole(documents, given)
    pairs = zip(given, documents, strict=True)
    named = latechunk.name_documents(pairs, lambda pair: (pair[0], pair[1].page_content, pair[1].metadata))
    names = [name for name, _ in named]
    for name, count in Counter(names).items():
        if count > 1:
            raise DocumentError(
                f"the id {name!r} comes {count} times in one call: a document replaces the one with the same id, so "
                f"only one would be left. Give each whole document an id of its own"
            )
    return [
        latechunk.Document(name, one.page_content, one.metadata) for name, one in zip(names, documents, strict=True)
    ]


def require_unambiguous(index: Index, names: Sequence[str]) -> None:
    """Raise DocumentError where a new document would have the id of a chunk of another document.

    What is looked for is ``"a#1"`` beside a document ``"a"`` that has such a chunk, and ``"a"`` beside a document
    ``"a#0"`` or ``"a#1"``.
    """
    new = set(names)
    for name in names:
        parts = split_chunk_id(name)
        if parts is not None:
            n_chunks = len(index.chunks(parts[0]))
            if parts[0] in new or parts[1] < n_chunks != 1:  # a document's only chunk has the document's id
                raise DocumentError(_explain_collision(name, parts[0]))
        for other in (name_chunk(name, 0), name_chunk(name, 1)):
            if other in index:
                raise DocumentError(_explain_collision(other, name))


def make_index(path: str | os.PathLike[str] | None, encoder: SpanEncoder | None, chunker: Chunker | None) -> Index:
    """A new index at ``path``, or a temporary one."""
    if path is None:
        return Index.temporary(encoder=encoder, chunker=chunker)
    return Index.create(path, encoder=encoder, chunker=chunker)


@contextlib.contextmanager
def closed_on_error(index: Index) -> Iterator[None]:
    """Within this, an error closes the index."""
    try:
        yield
    except BaseException:
        index.close()
        raise


def _explain_collision(name: str, document_id: str) -> str:
    return (
        f"{name!r} is the id of a chunk of document {document_id!r}, so no other document can have it. If it is a "
        f"piece of that document, add the whole one instead; else choose another id"
    )
