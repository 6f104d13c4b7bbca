"""Convert LangChain documents to latechunk's, checked; make an index for those who name no path."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from pathlib import Path
from typing import Literal, TypeAlias, Unpack

from langchain_core.documents import Document

import latechunk
from langchain_latechunk.arguments import require_list
from langchain_latechunk.passages import from_latechunk, owner_of
from langchain_latechunk.presplit import require_whole
from latechunk import Index, IndexKeywords, error_handler
from latechunk.errors import DocumentError, InputError
from latechunk.protocols import SpanEncoder

OnError: TypeAlias = Literal["raise", "skip"] | Callable[[Document, DocumentError], None]

_NEEDED = "documents must be a list of langchain_core.documents.Document (for strings there is add_texts)"
_BYTES_REMEDY = (
    "load it with a loader of its format, PDF with PyPDFLoader, for which install langchain-community and pypdf"
)


def join_pages(documents: Iterable[Document]) -> list[Document]:
    """Make one document of the pages of each file, as ``PyPDFLoader`` and other loaders give them.

    Pages are neighbours of one ``source`` with a ``page``, a whole number. They are joined in its order, whatever their
    ids; the document's id is the source. It keeps the metadata that its pages share, and under ``latechunk_pages`` a
    table of them, of which the index makes ``Document.pages``. So each passage has the ``page`` and ``page_label`` on
    which it begins, and ``last_page`` and ``last_page_label`` if it ends on another.

    The store and the retriever join pages themselves, unless they have ids of their own. LangChain's ``index()`` gives
    ids to what it hands on, and hands on only what changed: give it ``join_pages(loader.load())``.

    Examples:
        >>> from langchain_core.documents import Document
        >>> one, two = ({"source": "a.pdf", "page": page} for page in (0, 1))
        >>> join_pages([Document("Berlin is", metadata=one), Document("big.", metadata=two)])[0].id
        'a.pdf'
    """
    return list(joined(documents, sure=True))


def joined(documents: Iterable[Document], *, sure: bool = False) -> Iterator[Document]:
    """See ``join_pages``; unless ``sure`` pages with ids of their own are warned about, and come as they are."""
    return latechunk.join_pages(
        only_documents(documents),
        lambda one: (one.id, one.page_content, one.metadata),
        lambda _, name, text, metadata: Document(text, id=name, metadata=metadata),
        source_keys=("source",),
        sure=sure,
    )


def only_documents(documents: object) -> Iterator[Document]:
    """The same, with InputError at the first that is something else."""
    if isinstance(documents, str | Document) or not isinstance(documents, Iterable):
        raise InputError(f"{_NEEDED}, got {type(documents).__name__}")
    for number, one in enumerate(documents):
        if not isinstance(one, Document):
            raise InputError(f"{_NEEDED}, got {type(one).__name__} as number {number}")
        yield one


class Failures:
    """What is done with documents that cannot be indexed, as ``on_error`` says, and which they were."""

    def __init__(self, on_error: OnError) -> None:
        self._handle = error_handler(on_error)
        self.left_out: list[tuple[str, str]] = []
        self.for_index: latechunk.OnError = "raise" if on_error == "raise" else self._take

    def note(self, document: Document, error: DocumentError) -> None:
        """Do it, and go on if it does not raise."""
        self._handle(document, error)
        self.left_out.append((str(document.id), str(error)))

    def _take(self, one: latechunk.Document, error: DocumentError) -> None:
        self.note(from_latechunk(one), error)


def to_latechunk(
    documents: Sequence[Document], ids: Sequence[str | None] | None, failures: Failures
) -> list[latechunk.Document]:
    """LangChain documents as latechunk's, whole ones and pages, which are joined.

    ``ids`` come before those that they have themselves; where neither says one, ``latechunk.name_documents`` does.
    """
    if not isinstance(documents, Sequence):
        raise InputError(f"{_NEEDED}, got {type(documents).__name__}")
    documents = list(only_documents(documents))
    if ids is not None:
        require_list("ids", ids, "ids")
        if len(ids) != len(documents):
            raise InputError(f"ids must be as many as the documents, {len(documents)}, got {len(ids)}")
    first = ids or [None] * len(documents)
    given = [one.id if name is None else name for name, one in zip(first, documents, strict=True)]
    require_whole(documents, given)
    named = [one.model_copy(update={"id": name}) for name, one in zip(given, documents, strict=True)]
    return list(convert(named, failures))


def convert(documents: Iterable[Document], failures: Failures) -> Iterator[latechunk.Document]:
    """Join pages, give ids, and turn documents into latechunk's; what cannot be stored goes to ``failures``."""
    seen: set[str] = set()
    for name, one in latechunk.name_documents(joined(documents), lambda one: (one.id, one.page_content, one.metadata)):
        try:
            if name in seen:
                raise DocumentError(
                    f"the id {name!r} comes twice in one call: a document replaces the one with the same id, so only "
                    f"one would be left. Give each whole document an id of its own"
                )
            document = latechunk.unpack_document(name, one.page_content, one.metadata, bytes_remedy=_BYTES_REMEDY)
        except DocumentError as error:
            failures.note(one, error)
        else:
            seen.add(name)
            yield document


def only_unambiguous(
    index: Index, documents: Sequence[latechunk.Document], failures: Failures
) -> list[latechunk.Document]:
    """Those that can be added; one whose id a passage has, or may come to have, goes to ``failures``.

    A document ``"a#1"`` or ``"a#0:5"`` is refused where there is, or comes with it, a document ``"a"``, and ``"a"``
    where there is one of those: how many chunks a document has may change.
    """
    new = {one.id for one in documents}
    accepted = []
    for one in documents:
        try:
            _require_unambiguous(index, one.id, new)
        except DocumentError as error:
            failures.note(from_latechunk(one), error)
        else:
            accepted.append(one)
    return accepted


def _require_unambiguous(index: Index, name: str, new: Set[str]) -> None:
    owner = owner_of(name)
    if owner is not None and (owner in new or owner in index):
        raise DocumentError(_explain_collision(name, owner))
    for other in index.ids(prefix=f"{name}#"):
        if owner_of(other) == name:
            raise DocumentError(_explain_collision(other, name))


@contextlib.contextmanager
def new_index(
    path: str | os.PathLike[str] | None, encoder: SpanEncoder | None, **settings: Unpack[IndexKeywords]
) -> Iterator[Index]:
    """A new index at ``path``, or a temporary one. An error within this closes it.

    If nothing is stored by then, the index goes as well, so that the corrected call finds the path free; with
    ``exist_ok``, which does not need that, it stays, since another process may have opened it.
    """
    was_there = isinstance(path, str | os.PathLike) and Path(path).is_dir()
    if path is None:
        index = Index.temporary(encoder=encoder, **settings)
    else:
        index = Index.create(path, encoder=encoder, **settings)
    try:
        yield index
    except BaseException:
        with contextlib.closing(index):
            is_empty = not len(index)
        if path is not None and is_empty and not settings.get("exist_ok"):
            folder = index.path.resolve()  # rmtree follows no link
            shutil.rmtree(folder, ignore_errors=True)
            if was_there:
                folder.mkdir(exist_ok=True)
        raise


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
        f"{name!r} is the form of the ids that passages of document {document_id!r} have, so no index can hold both as "
        f"documents. If the first is a piece of the second, add the whole one alone; else choose another id for one"
    )
