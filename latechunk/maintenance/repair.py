"""Mends a damaged index as far as can be, and says what was done, what was lost, and what is still wrong."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from latechunk.embedding import embed_batch
from latechunk.errors import DocumentError, LateChunkError, StoreError
from latechunk.index import Index
from latechunk.maintenance.dump import dump_documents
from latechunk.maintenance.export import in_batches
from latechunk.maintenance.mending import rebuild_words, remove_orphans, replace_documents
from latechunk.maintenance.problems import Findings, Mending, Problem
from latechunk.maintenance.verify import examine
from latechunk.protocols import Chunker, SpanEncoder
from latechunk.storage.directory import STORE, as_folder, hold_write_lock, require_index
from latechunk.storage.store import Store, StoredDocument
from latechunk.types import Document

if TYPE_CHECKING:
    from latechunk.models.device import Attention, Dtype

_MOST_CHARACTERS = 400_000
_CACHES = [f"vectors*.{suffix}{new}" for suffix in ("faiss", "npy", "json") for new in ("", ".new")]
_MENDED_IN_PLACE: set[Mending] = {"references", "words", "rewrite", "encode", "drop"}


@dataclass(frozen=True, slots=True)
class RepairReport:
    """What ``repair`` did.

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
        attention: How its layers attend.
        lock_timeout: Seconds to wait for another writer.

    Returns:
        What was found, done and lost, and what remains.

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
        work = _Work(folder, drop=drop)
        findings = examine(folder)
        found = findings.problems
        if findings.needs & {"dump", "none"}:
            work.dump()
            return RepairReport(found, work.done, work.lost, found, work.files)
        if findings.needs & _MENDED_IN_PLACE:
            with Index.open(
                folder,
                encoder=encoder,
                chunkers=chunkers,
                read_only=True,
                device=device,
                dtype=dtype,
                attention=attention,
            ) as index:
                work.mend(findings, index)
        if found:
            work.delete_cache()
        remaining = examine(folder).problems if found else []
    return RepairReport(found, work.done, work.lost, remaining, work.files)


@dataclass(slots=True)
class _Work:
    """A repair under way."""

    folder: Path
    drop: bool
    done: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)

    def dump(self) -> None:
        """Write what can still be read of a database that cannot be mended."""
        path, n_saved = dump_documents(self.folder)
        if path is None:
            self.done.append("nothing was changed; no document can be read any more")
            return
        self.files.append(path)
        self.done.append(
            f"nothing was changed; the {n_saved:,} documents that can still be read are in {path.name}: make a new "
            f"index of them with `latechunk index NEW_INDEX {path}`"
        )

    def mend(self, findings: Findings, index: Index) -> None:
        """Mend what is damaged in a database whose pages are sound."""
        with closing(Store.open(self.folder / STORE, read_only=False)) as store:
            encodable = dict(findings.encode)
            reason = _find_obstacle(index) if encodable else None
            if reason is not None:
                self.done.append(f"no document was encoded again: {reason}")
                encodable = {}
            kept = {**findings.drop, **findings.encode}
            removed = set(kept) if self.drop else set(encodable)
            if "references" in findings.needs:
                self.done.append(
                    f"removed {remove_orphans(store)} chunks and vectors that belonged to nothing, and began a new "
                    f"history of changes"
                )
            # First of all, so that it never names a chunk that is no longer there.
            if findings.needs & {"references", "words", "encode", "drop"}:
                self._refill(store, removed)
            self._rewrite(store, {n: one for n, one in findings.rewrite.items() if n not in encodable})
            failed = self._encode(store, index, encodable) if encodable else {}
            unmended = {n: one for n, one in kept.items() if n not in encodable or n in failed}
            if self.drop and unmended:
                self._remove(store, unmended)
            elif failed:
                self._refill(store, set())

    def delete_cache(self) -> None:
        """Delete the FAISS files, which the next opening rebuilds where they are needed."""
        files = sorted(file for pattern in _CACHES for file in self.folder.glob(pattern))
        for file in files:
            file.unlink(missing_ok=True)
        if files:
            self.done.append(
                f"deleted {', '.join(file.name for file in files)}; the next opening rebuilds what it needs"
            )

    def _refill(self, store: Store, without: set[int]) -> None:
        rebuild_words(store, without)
        self.done.append("rebuilt the lexical index")

    def _rewrite(self, store: Store, documents: Mapping[int, str]) -> None:
        for document_id in documents.values():
            document = store.document(document_id)
            if document is not None:
                store.put((), [document])
                self.done.append(f"wrote the metadata of document {document_id!r} again")

    def _encode(self, store: Store, index: Index, documents: Mapping[int, str]) -> dict[int, str]:
        """Encode documents again; returns those that cannot be."""
        numbers = {document_id: number for number, document_id in documents.items()}
        failed: dict[int, str] = {}

        def note(document: Document, error: DocumentError) -> None:
            failed[numbers[document.id]] = document.id
            self.done.append(f"could not encode document {document.id!r} again: {error}")

        found = (store.document(document_id) for document_id in documents.values())
        for batch in in_batches((one for one in found if one), lambda one: len(one.text), _MOST_CHARACTERS):
            embedded = embed_batch(index.encoder, list(index.chunkers.values()), index.manifest.embedding, batch, note)
            stored = [
                StoredDocument(one.document, len(one.tokens), one.chunkings, vectors) for one, vectors in embedded
            ]
            replace_documents(store, [numbers[one.document.id] for one in stored], stored)
            self.done += [f"encoded document {one.document.id!r} again" for one in stored]
        return failed

    def _remove(self, store: Store, documents: Mapping[int, str]) -> None:
        """Save what is left of documents, and take them out."""
        path, n_saved = dump_documents(self.folder, documents)
        if path is None or n_saved < len(documents):
            raise StoreError(f"only {n_saved} of {len(documents)} documents could be saved, so none was removed")
        replace_documents(store, list(documents))
        self.files.append(path)
        self.lost += [f"document {one!r}; what is left of it is in {path.name}" for one in documents.values()]


def _find_obstacle(index: Index) -> str | None:
    """Why documents cannot be encoded, or None if they can."""
    try:
        _ = index.encoder, index.chunkers
    except LateChunkError as error:
        return str(error)
    return None
