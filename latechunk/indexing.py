"""Adding documents to an index: compared with the store, embedded in batches, committed batch by batch."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, fields

from latechunk.chunking.languages import said_language
from latechunk.embedding import ChunkedDocument, Embedding, Progress, chunk_documents, embed_chunks
from latechunk.embedding.stream import Batch, OnError, Pace, error_handler, prepare_ahead, take_batches
from latechunk.embedding.unread_languages import UnreadLanguages
from latechunk.errors import DocumentError, LateChunkError
from latechunk.protocols import Chunker, SpanEncoder
from latechunk.storage.store import Fingerprint, Store, StoredDocument
from latechunk.types import Document, Page
from latechunk.types.json_form import list_blocks, list_pages, parse_pages, to_json


@dataclass(frozen=True, slots=True)
class AddReport:
    """What ``latechunk.Index.add`` did: numbers of documents, and of chunks and tokens encoded for them.

    Examples:
        >>> index.add(documents)
        AddReport(n_added=0, n_updated=0, n_unchanged=2, ...)

    Attributes:
        left_out: Of each document that failed its id, and why.
        unread_languages: Of each language that the model does not read its ISO 639 code, and how many of the documents
            that were encoded are surely in it.
    """

    n_added: int = 0
    n_updated: int = 0
    n_unchanged: int = 0
    n_failed: int = 0
    n_chunks: int = 0
    n_tokens: int = 0
    left_out: tuple[tuple[str, str], ...] = ()
    unread_languages: tuple[tuple[str, int], ...] = ()

    def __add__(self, other: AddReport) -> AddReport:
        """The report of two calls."""
        languages = Counter(dict(self.unread_languages)) + Counter(dict(other.unread_languages))
        sums = {one.name: getattr(self, one.name) + getattr(other, one.name) for one in fields(self)}
        return AddReport(**{**sums, "unread_languages": tuple(languages.most_common())})


@dataclass(slots=True)
class _Work:
    """A batch on its way: what the store needs of it, and, once prepared, the documents to encode."""

    failures: list[tuple[Document, DocumentError]]  # cannot be indexed
    stored_ids: set[str]  # of documents that the store knew before
    changed: list[Document] = field(default_factory=list)  # the text is new, or its outline, by which it may be cut
    relabelled: list[Document] = field(default_factory=list)  # only metadata and pages are
    n_unchanged: int = 0
    chunked: list[ChunkedDocument] = field(default_factory=list)  # the changed ones, cut


def add_documents(
    store: Store,
    load: Callable[[], tuple[SpanEncoder, Sequence[Chunker]]],
    embedding: Embedding,
    documents: Iterable[Document],
    on_error: OnError,
    on_progress: Callable[[Progress], None] | None,
) -> AddReport:
    """Do what ``latechunk.Index.add`` says, under the writer's lock.

    While one batch is encoded, the next is tokenised and cut in a thread of its own. ``load`` gives the encoder and the
    chunkers; it is not called unless a text is new, since it may load a model. If an error is raised, the batches
    before are committed, and a note on it says how many documents. A list is looked through first, so that there are
    none unless the error shows only in the encoding.
    """
    handle = error_handler(on_error)
    left_out: list[tuple[str, str]] = []

    def leave_out(document: Document, error: DocumentError) -> None:
        handle(document, error)
        left_out.append((document.id, str(error)))

    done: Counter[str] = Counter()
    pace = Pace()
    unread = UnreadLanguages()
    prepare = lambda batch: _prepare(store, load, embedding, batch, unread)  # noqa: E731
    try:
        if on_error == "raise" and isinstance(documents, Sequence):
            for _, error in (one for batch in take_batches(documents, pace) for one in _compare(store, batch).failures):
                raise error
        with closing(prepare_ahead(take_batches(documents, pace), prepare)) as batches:
            for work in batches:
                begin = time.monotonic()
                done += _commit(store, load, embedding, work, leave_out, on_progress)
                pace.note(sum(len(one.document.text) for one in work.chunked), time.monotonic() - begin)
    except LateChunkError as error:
        n_done = done["n_added"] + done["n_updated"] + done["n_unchanged"]
        error.add_note(f"{n_done} documents of this call were stored before the error")
        raise
    unread.say()
    return AddReport(**done, left_out=tuple(left_out), unread_languages=tuple(unread.counts.most_common()))


def _prepare(
    store: Store,
    load: Callable[[], tuple[SpanEncoder, Sequence[Chunker]]],
    embedding: Embedding,
    batch: Batch,
    unread: UnreadLanguages,
) -> _Work:
    """Compare a batch with the store, and cut the documents whose text is new."""
    work = _compare(store, batch)
    if work.changed:
        note = lambda document, error: work.failures.append((document, error))  # noqa: E731
        encoder, chunkers = load()
        unread.note(encoder, work.changed)
        work.chunked = chunk_documents(encoder, chunkers, embedding, work.changed, note)
    return work


def _compare(store: Store, batch: Batch) -> _Work:
    known = store.fingerprints([one.id for one in batch.documents])
    work = _Work(batch.failures, set(known))
    for document in batch.documents:
        stored = known.get(document.id)
        if stored is None:
            work.changed.append(document)
        elif have_no_page_in_common(parse_pages(json.loads(stored.pages)), document.pages):
            work.failures.append((document, _explain_parts(document)))
        elif must_be_cut_again(document, stored):
            work.changed.append(document)
        elif (stored.metadata, stored.pages) != (document.metadata_json, to_json(list_pages(document.pages))):
            work.relabelled.append(document)
        else:
            work.n_unchanged += 1
    return work


def must_be_cut_again(document: Document, stored: Fingerprint) -> bool:
    """Whether the text or its language is new, or an outline that is given; an outline of None claims nothing."""
    if document.text_sha256 != stored.text_sha256:
        return True
    if said_language(json.loads(stored.metadata)) != said_language(document.metadata):
        return True
    return document.outline is not None and to_json(list_blocks(document.outline)) != stored.outline


def _explain_parts(document: Document) -> DocumentError:
    return DocumentError(
        f"document {document.id!r} is stored with other pages, which these would replace: pass all pages of a file in "
        f"one call; if the file has changed so much, delete the document first"
    )


def _commit(
    store: Store,
    load: Callable[[], tuple[SpanEncoder, Sequence[Chunker]]],
    embedding: Embedding,
    work: _Work,
    on_error: Callable[[Document, DocumentError], None],
    on_progress: Callable[[Progress], None] | None,
) -> Counter[str]:
    """Encode a batch and store it in one transaction; what was done, by the names of ``AddReport``."""
    for document, error in work.failures:  # here, in the caller's thread
        on_error(document, error)
    chunked = work.chunked
    n_done = len(work.relabelled) + work.n_unchanged
    if on_progress and (n_done or work.failures):
        on_progress(Progress(n_done, 0, left_out=len(work.failures)))
    if chunked:
        vectors = embed_chunks(load()[0], embedding, chunked, on_progress)
        pairs = zip(chunked, vectors, strict=True)
        stored = [StoredDocument(one.document, len(one.tokens), one.chunkings, matrix) for one, matrix in pairs]
        store.put(stored, work.relabelled)
    elif work.relabelled:
        store.put([], work.relabelled)
    n_replaced = sum(one.document.id in work.stored_ids for one in chunked)
    return Counter(
        n_added=len(chunked) - n_replaced,
        n_updated=n_replaced + len(work.relabelled),
        n_unchanged=work.n_unchanged,
        n_failed=len(work.failures),
        n_chunks=sum(len(one.spans) for one in chunked),
        n_tokens=sum(len(one.tokens) for one in chunked),
    )


def have_no_page_in_common(one: Sequence[Page], other: Sequence[Page]) -> bool:
    """Whether two versions of a document hold different pages of a file, so that both are parts of it.

    Whole files have numbers in common, and labels, too, where all pages have one.
    """
    first, second = (
        {number: page.label for number, page in enumerate(pages) if page.start < page.end} for pages in (one, other)
    )
    labels, others = {*first.values()}, {*second.values()}
    has_common = first.keys() & second.keys() and (None in labels | others or labels & others)
    return bool(first and second) and not has_common
