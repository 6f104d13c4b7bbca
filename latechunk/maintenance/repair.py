"""A damaged index in, a sound one out as far as can be: what was done, what was lost, and what is still wrong."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from latechunk.embedding import embed_batch
from latechunk.errors import DocumentError, IndexDamagedError, InputError, LateChunkError, StoreError
from latechunk.index import Index
from latechunk.maintenance.leftovers import save_leftovers
from latechunk.maintenance.mending import rebuild_words, remove_orphans, replace_documents
from latechunk.maintenance.problems import Findings, Mending, Problem
from latechunk.maintenance.salvage import Salvaged, salvage, save_texts
from latechunk.maintenance.tables import reading
from latechunk.maintenance.vector_files import delete_cache
from latechunk.maintenance.verify import examine
from latechunk.protocols import Chunker, SpanEncoder
from latechunk.storage.directory import STORE, as_folder, hold_write_lock, require_index
from latechunk.storage.store import Store, StoredDocument
from latechunk.types import Document

if TYPE_CHECKING:
    from latechunk.models.device import Attention, Dtype

_BATCH_DOCUMENTS = 64
_MOST_CHARACTERS = 400_000
_MENDED_IN_PLACE: set[Mending] = {"references", "words", "rewrite", "encode", "drop"}


@dataclass(frozen=True, slots=True)
class RepairReport:
    """What :func:`repair` did.

    Attributes:
        found: What was wrong.
        done: What was done about it, in words, in order.
        lost: What is no longer in the index, in words; what was left of it is in the files.
        remaining: What is still wrong.
        files: What was kept: the damaged database, and what was left of documents that were taken out.
    """

    found: Sequence[Problem]
    done: Sequence[str]
    lost: Sequence[str]
    remaining: Sequence[Problem]
    files: Sequence[Path]

    @property
    def is_whole(self) -> bool:
        """Whether nothing was lost and nothing is wrong any more."""
        return not self.lost and not self.remaining


def repair(
    path: str | os.PathLike[str],
    *,
    drop: bool = False,
    encoder: SpanEncoder | None = None,
    chunkers: Mapping[str, Chunker] | None = None,
    device: str = "auto",
    dtype: Dtype = "auto",
    attention: Attention = "auto",
    lock_timeout: float = 10.0,
) -> RepairReport:
    """Mend what :func:`latechunk.maintenance.verify.verify` finds, under the writer's lock.

    Vector caches are deleted, the lexical index is made anew. A document whose text is sound and whose chunks or
    vectors are not is encoded anew; the model is loaded only if there is one. Where pages of the database are damaged,
    all rows that can still be read go into a new database, and the old file is kept beside it as
    ``store.sqlite3.damaged-<time>``. Searching goes on meanwhile. A repair that is interrupted can be run again.

    Args:
        path: The folder of the index.
        drop: Also remove documents that cannot be mended; what is left of them is saved first, to a file
            ``salvaged-<time>.jsonl`` in the folder.
        encoder: What made the index, if it is the user's own.
        chunkers: Likewise, by name.
        device: Where the encoder runs; see :meth:`latechunk.Encoder.load`.
        dtype: What it computes in.
        attention: How its layers attend.
        lock_timeout: Seconds to wait for another writer.

    Returns:
        What was found, done and lost, and what remains.

    Raises:
        IndexMissingError: If there is nothing at ``path``.
        IndexFormatError: If it is something else than an index, or one of a newer or older format.
        IndexDamagedError: If the settings cannot be read, so that nothing can be mended; texts that can be read are in
            the file that the message names.
        IndexBusyError: If another writer does not finish in time.
        StoreError: If the disk does not take it.
    """
    folder = as_folder(path)
    require_index(folder)
    with hold_write_lock(folder, lock_timeout):
        work = _Work(folder, drop=drop)
        findings = examine(folder)
        found = findings.problems
        if findings.needs & {"salvage", "none"}:
            work.salvage()
            findings = examine(folder)
        options = _Options(encoder, chunkers, device, dtype, attention)
        if findings.needs & _MENDED_IN_PLACE:
            _mend(work, findings, options)
        if found:
            work.note_files(delete_cache(folder))
        remaining = examine(folder).problems if found else []
    return RepairReport(found, work.done, work.lost, remaining, work.files)


@dataclass(frozen=True, slots=True)
class _Options:
    """What :meth:`Index.open` takes."""

    encoder: SpanEncoder | None
    chunkers: Mapping[str, Chunker] | None
    device: str
    dtype: Dtype
    attention: Attention

    def open(self, folder: Path) -> Index:
        return Index.open(
            folder,
            encoder=self.encoder,
            chunkers=self.chunkers,
            read_only=True,
            device=self.device,
            dtype=self.dtype,
            attention=self.attention,
        )


@dataclass(slots=True)
class _Work:
    """A repair under way."""

    folder: Path
    drop: bool
    done: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)

    def salvage(self) -> None:
        """Put a new database in place of one with damaged pages."""
        try:
            salvaged = salvage(self.folder)
        except IndexDamagedError as error:
            raise self._with_texts(error) from error
        self.files.append(salvaged.kept)
        self.done.append(
            f"copied {salvaged.n_documents:,} documents, {salvaged.n_chunks:,} chunks and {salvaged.n_vectors:,} "
            f"vectors into a new database; the damaged one is {salvaged.kept.name}"
        )
        self._note_lost(salvaged)

    def mend(self, findings: Findings, index: Index) -> None:
        """Mend what is damaged within a database whose pages are sound."""
        with closing(Store.open(self.folder / STORE, read_only=False)) as store:
            encodable = dict(findings.encode)
            reason = _find_obstacle(index) if encodable else None
            if reason is not None:
                self.done.append(f"no document was encoded anew: {reason}")
                encodable = {}
            kept = {**findings.drop, **findings.encode}
            doomed = set(kept) if self.drop else set(encodable)
            if "references" in findings.needs:
                self.done.append(
                    f"removed {remove_orphans(store)} chunks and vectors that belonged to nothing, and began the "
                    f"history of changes anew"
                )
            # First of all, so that it never names a chunk that is no longer there.
            if findings.needs & {"references", "words", "encode", "drop"}:
                self._refill(store, doomed)
            self._rewrite(store, {n: one for n, one in findings.rewrite.items() if n not in encodable})
            failed = self._encode(store, index, encodable) if encodable else {}
            unmended = {n: one for n, one in kept.items() if n not in encodable or n in failed}
            if self.drop and unmended:
                self._remove(store, unmended, int(index.info().encoder["dims"]))
            elif failed:
                self._refill(store, set())

    def note_files(self, names: Sequence[str]) -> None:
        """Say which cache files were deleted."""
        if names:
            self.done.append(f"deleted {', '.join(names)}; the next opening builds anew what is needed")

    def _with_texts(self, error: IndexDamagedError) -> IndexDamagedError:
        try:
            path, n_saved = save_texts(self.folder)
        except StoreError:
            path, n_saved = None, 0
        saved = f"; the texts of {n_saved} documents are in {path}, for `latechunk index`" if path else ""
        return IndexDamagedError(f"{error}{saved}")

    def _note_lost(self, salvaged: Salvaged) -> None:
        if salvaged.lost:
            self.lost += [f"documents that could not be copied: {name}" for name in salvaged.lost.values()]
        if salvaged.saved is not None:
            self.files.append(salvaged.saved)

    def _refill(self, store: Store, without: set[int]) -> None:
        rebuild_words(store, without)
        self.done.append("made the lexical index anew")

    def _rewrite(self, store: Store, documents: Mapping[int, str]) -> None:
        for document_id in documents.values():
            document = store.document(document_id)
            if document is not None:
                store.put((), [document])
                self.done.append(f"wrote the metadata of document {document_id!r} anew")

    def _encode(self, store: Store, index: Index, documents: Mapping[int, str]) -> dict[int, str]:
        """Encode documents anew; those that cannot be."""
        numbers = {document_id: number for number, document_id in documents.items()}
        failed: dict[int, str] = {}

        def note(document: Document, error: DocumentError) -> None:
            failed[numbers[document.id]] = document.id
            self.done.append(f"could not encode document {document.id!r} anew: {error}")

        for batch in _batches(store, documents.values()):
            embedded = embed_batch(index.encoder, list(index.chunkers.values()), index.manifest.embedding, batch, note)
            stored = [
                StoredDocument(one.document, len(one.tokens), one.chunkings, vectors) for one, vectors in embedded
            ]
            replace_documents(store, [numbers[one.document.id] for one in stored], stored)
            self.done += [f"encoded document {one.document.id!r} anew" for one in stored]
        return failed

    def _remove(self, store: Store, documents: Mapping[int, str], dims: int) -> None:
        """Save what is left of documents, and take them out."""
        with reading(self.folder / STORE) as connection:
            path, n_saved = save_leftovers(connection, self.folder, documents, dims)
        if path is None or n_saved < len(documents):
            raise StoreError(f"only {n_saved} of {len(documents)} documents could be saved, so none was removed")
        replace_documents(store, list(documents))
        self.files.append(path)
        self.lost += [f"document {one!r}; what is left of it is in {path.name}" for one in documents.values()]


def _mend(work: _Work, findings: Findings, options: _Options) -> None:
    try:
        with options.open(work.folder) as index:
            work.mend(findings, index)
    except IndexDamagedError:
        # FTS5 refuses even to empty an index whose own records are damaged; in a new database it is empty.
        work.salvage()
        with options.open(work.folder) as index:
            work.mend(examine(work.folder), index)


def _find_obstacle(index: Index) -> str | None:
    """Why documents cannot be encoded, or None if they can."""
    try:
        _ = index.encoder, index.chunkers
    except LateChunkError as error:
        return str(error)
    return None


def _batches(store: Store, ids: Iterable[str]) -> Iterator[list[Document]]:
    batch: list[Document] = []
    for document_id in ids:
        document = store.document(document_id)
        if document is None:
            raise InputError(f"document {document_id!r} is gone since it was found to be damaged")
        batch.append(document)
        if len(batch) == _BATCH_DOCUMENTS or sum(len(one.text) for one in batch) >= _MOST_CHARACTERS:
            yield batch
            batch = []
    if batch:
        yield batch
