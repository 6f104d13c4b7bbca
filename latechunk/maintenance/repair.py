"""Mends a damaged index as far as can be, and says what was done, what was lost, and what is still wrong."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from latechunk.embedding import embed_batch
from latechunk.embedding.stream import Pace, take_batches
from latechunk.errors import DocumentError, LateChunkError, StoreError
from latechunk.index import Index
from latechunk.maintenance.dump import dump_documents
from latechunk.maintenance.mending import rebuild_words, remove_orphans, replace_documents
from latechunk.maintenance.problems import Mending, Problem
from latechunk.maintenance.verify import verify
from latechunk.protocols import Chunker, SpanEncoder
from latechunk.storage.directory import STORE, as_folder, hold_write_lock, require_index
from latechunk.storage.fields import rebuild_fields
from latechunk.storage.store import Store, StoredDocument
from latechunk.types import Document

if TYPE_CHECKING:
    from latechunk.models.device import Dtype

_CACHES = [f"vectors*.{suffix}{new}" for suffix in ("faiss", "npy", "json") for new in ("", ".new")]
_MENDED_IN_PLACE: set[Mending] = {"references", "fields", "words", "rewrite", "encode", "drop"}


@dataclass(frozen=True, slots=True)
class RepairReport:
    """What ``repair`` did.

    Attributes:
        found: What was wrong.
        remaining: What is still wrong.
        done: What was done about it, in words, in order.
        lost: What is no longer in the index, in words; what was left of it is in the files.
        files: What was left of documents that were taken out, or of all in a database that cannot be mended.
    """

    found: Sequence[Problem]
    remaining: Sequence[Problem]
    done: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)

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
    lock_timeout: float = 10.0,
) -> RepairReport:
    """Mend what ``latechunk.maintenance.verify.verify`` finds, under the writer's lock.

    Vector caches are deleted, the lexical index is rebuilt. A document whose text is intact and whose chunks or vectors
    are not is encoded again; the model is loaded only if there is one. Where pages of the database are damaged, nothing
    is changed: all documents that can still be read are written to a file ``salvaged-<time>.jsonl`` in the folder.
    Searching goes on meanwhile. A repair that is interrupted can be run again.

    Args:
        path: The folder of the index.
        drop: Also remove documents that cannot be mended; what is left of them is saved first, to a file
            ``salvaged-<time>.jsonl`` in the folder.
        encoder: What made the index, if it is the user's own.
        chunkers: Likewise, by name.
        device: Where the encoder runs; see ``latechunk.Encoder.load``.
        dtype: What it computes in.
        lock_timeout: Seconds to wait for another writer.

    Raises:
        IndexMissingError: If there is nothing at ``path``.
        IndexFormatError: If it is something else than an index, or one of another format.
        IndexBusyError: If another writer does not finish in time.
        StoreError: If the disk does not take it.

    Examples:
        >>> report = repair("my-index")  # doctest: +SKIP
        >>> report.is_whole  # doctest: +SKIP
        True
    """
    folder = as_folder(path)
    require_index(folder)
    with hold_write_lock(folder, lock_timeout):
        found = verify(folder)
        report = RepairReport(found, found)
        needs = {one.mending for one in found}
        if not found:
            return report
        if needs & {"dump", "none"}:
            _dump(folder, report)
            return report
        if needs & _MENDED_IN_PLACE:
            with (
                Index.open(
                    folder, encoder=encoder, chunkers=chunkers, read_only=True, device=device, dtype=dtype
                ) as index,
                closing(Store.open(folder / STORE, read_only=False)) as store,
            ):
                _mend(store, index, report, drop=drop)
        _delete_caches(folder, report)
        return dataclasses.replace(report, remaining=verify(folder))


def _dump(folder: Path, report: RepairReport) -> None:
    """Write what can still be read of a database that cannot be mended."""
    path, n_saved = dump_documents(folder)
    if path is None:
        report.done.append("nothing was changed; no document can be read any more")
        return
    report.files.append(path)
    report.done.append(
        f"nothing was changed; the {n_saved:,} documents that can still be read are in {path.name}: make a new "
        f"index of them with `latechunk index NEW_INDEX {path}`"
    )


def _mend(store: Store, index: Index, report: RepairReport, *, drop: bool) -> None:
    """Mend what is damaged in a database whose pages are sound."""
    needs = {one.mending for one in report.found}
    damaged, rewritable = _documents(report, "drop", "encode"), _documents(report, "rewrite")
    encodable = _documents(report, "encode")
    if encodable and not _can_encode(index, report):
        encodable = {}
    if "references" in needs:
        report.done.append(
            f"removed {remove_orphans(store)} chunks and vectors that belonged to nothing, and began a new history "
            f"of changes"
        )
    if "fields" in needs:
        with store.change() as connection:
            rebuild_fields(connection)
        report.done.append("made the rows by which filters find documents again")
    if needs & {"references", "words"}:
        rebuild_words(store)
        report.done.append("rebuilt the lexical index")
    for number, document_id in rewritable.items():
        document = store.document(document_id)
        if document is not None and number not in encodable:
            store.put((), [document])
            report.done.append(f"wrote the metadata of document {document_id!r} again")
    failed = _encode(store, index, encodable, report)
    unmended = {number: one for number, one in damaged.items() if number not in encodable or number in failed}
    if drop and unmended:
        _remove(store, index.path, unmended, report)


def _documents(report: RepairReport, *mendings: Mending) -> dict[int, str]:
    """Ids of the documents that need one of these, by their numbers."""
    return {one.number or 0: one.document or "" for one in report.found if one.mending in mendings}


def _can_encode(index: Index, report: RepairReport) -> bool:
    try:
        _ = index.encoder, index.chunkers
    except LateChunkError as error:
        report.done.append(f"no document was encoded again: {error}")
        return False
    return True


def _delete_caches(folder: Path, report: RepairReport) -> None:
    """Delete the FAISS files, which the next opening rebuilds where they are needed."""
    files = sorted(file for pattern in _CACHES for file in folder.glob(pattern))
    for file in files:
        file.unlink(missing_ok=True)
    if files:
        names = ", ".join(file.name for file in files)
        report.done.append(f"deleted {names}; the next opening rebuilds what it needs")


def _encode(store: Store, index: Index, documents: Mapping[int, str], report: RepairReport) -> set[int]:
    """Encode documents again; returns the numbers of those that cannot be."""
    numbers = {document_id: number for number, document_id in documents.items()}
    failed: set[int] = set()

    def note(document: Document, error: DocumentError) -> None:
        failed.add(numbers[document.id])
        report.done.append(f"could not encode document {document.id!r} again: {error}")

    found = (store.document(document_id) for document_id in documents.values())
    for batch in take_batches((one for one in found if one), Pace()):
        chunkers, embedding = list(index.chunkers.values()), index.manifest.embedding
        embedded = embed_batch(index.encoder, chunkers, embedding, batch.documents, note)
        stored = [StoredDocument(one.document, len(one.tokens), one.chunkings, vectors) for one, vectors in embedded]
        replace_documents(store, [numbers[one.document.id] for one in stored], stored)
        report.done.extend(f"encoded document {one.document.id!r} again" for one in stored)
    return failed


def _remove(store: Store, folder: Path, documents: Mapping[int, str], report: RepairReport) -> None:
    """Save what is left of documents, and take them out."""
    path, n_saved = dump_documents(folder, documents)
    if path is None or n_saved < len(documents):
        raise StoreError(f"only {n_saved} of {len(documents)} documents could be saved, so none was removed")
    replace_documents(store, list(documents))
    report.files.append(path)
    report.lost.extend(f"document {one!r}; what is left of it is in {path.name}" for one in documents.values())
