"""Joins indexes, or other sources of embedded documents, into one; loads no model."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence

from latechunk.chunking.places import with_outline
from latechunk.errors import IndexMismatchError, InputError, TransferError
from latechunk.maintenance.export import BATCH, BATCH_BYTES, stored_documents
from latechunk.manifest import IndexManifest
from latechunk.storage.directory import STORE, as_folder, new_store, require_index, require_vacant
from latechunk.storage.rows import Fingerprint
from latechunk.storage.store import Counts, Store, StoredDocument
from latechunk.storage.vectors import Precision


def merge_indexes(
    paths: Sequence[str | os.PathLike[str]], out: str | os.PathLike[str], *, precision: Precision | None = None
) -> Counts:
    """Make one index of several whose vectors were made with the same settings; they stay as they are.

    A document that several hold alike comes once. The new index is searched as the first is set.

    Args:
        paths: The folders of the indexes.
        out: The folder to make; must not exist, or be empty.
        precision: Of the stored vectors, see ``latechunk.Index.create``; None for that of the first index.

    Returns:
        How much the new index holds.

    Raises:
        InputError: If there is no index given.
        IndexMismatchError: If their settings differ; the message names what.
        TransferError: If two hold different documents of one id.
        IndexMissingError: If there is nothing at one of the paths.
        IndexExistsError: If there is something at ``out`` already.
        IndexDamagedError: If a document is no longer what was stored.
        StoreError: If the disk does not take it.

    Examples:
        >>> merge_indexes(["january", "february"], "winter")  # doctest: +SKIP
        Counts(n_documents=6, n_chunks=240, n_tokens=18082)
    """
    folders, folder = [as_folder(one) for one in paths], as_folder(out)
    require_vacant(folder)
    if not folders:
        raise InputError("merge needs at least one index")
    for one in folders:
        require_index(one)
    with contextlib.ExitStack() as stack:
        sources = [stack.enter_context(contextlib.closing(Store.open(one / STORE, read_only=True))) for one in folders]
        for source in sources:
            stack.enter_context(source.snapshot())
        first, *others = (IndexManifest.read(source.settings()) for source in sources)
        for path, manifest in zip(folders[1:], others, strict=True):
            if differing := manifest.differences(first):
                raise IndexMismatchError(
                    f"the index at {path} was made with other settings than the one at {folders[0]}, which is yours "
                    f"here: {'; '.join(differing)}. Indexes of the same settings can be merged"
                )
        settings = first.stored_in(precision).settings()
        new = stack.enter_context(new_store(folder))
        Store.create(new, settings)
        with contextlib.closing(Store.open(new, read_only=False)) as store:
            joined = Joined(store)
            for path, source in zip(folders, sources, strict=True):
                joined.begin_source(str(path))
                for document in stored_documents(source):
                    joined.add(document)
            joined.flush()
            return store.counts()


class Joined:
    """Enters documents from several sources into a new store, in batches.

    What is there alike already is passed over. A source may have runs, of which a later one replaces what an earlier
    one gave. Anything else that comes twice is an error: nobody can tell which is right.
    """

    def __init__(self, store: Store) -> None:
        """Begin with an empty store."""
        self._store = store
        self._name = ""
        self._batch: dict[str, StoredDocument] = {}
        self._n_bytes = 0
        self._last = self._before_run = self._before_source = 0  # numbers of documents

    def begin_source(self, name: str) -> None:
        """What follows is from another source, and its first run."""
        self.begin_run()
        self._name, self._before_source = name, self._last

    def begin_run(self) -> None:
        """What follows is from the next run of the source."""
        self.flush()
        self._before_run = self._last

    def add(self, stored: StoredDocument) -> None:
        """Take a document; TransferError if another of its id came in this run, or from another source."""
        if stored.document.id in self._batch:
            self.flush()
        self._batch[stored.document.id] = stored
        self._n_bytes += len(stored.document.text) + len(stored.document.metadata_json) + stored.vectors.nbytes
        if len(self._batch) >= BATCH or self._n_bytes >= BATCH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Store what was taken."""
        known = self._store.fingerprints(list(self._batch))
        new = []
        for document_id, stored in self._batch.items():
            if document_id in known:
                if known[document_id] == Fingerprint.of(with_outline(stored.document)):
                    continue
                self._require_replaceable(document_id)
            new.append(stored)
        if new:
            self._store.put(new)
            (self._last,) = self._store.numbers_of_ids([new[-1].document.id])
        self._batch, self._n_bytes = {}, 0

    def _require_replaceable(self, document_id: str) -> None:
        (number,) = self._store.numbers_of_ids([document_id])
        if not self._before_source < number <= self._before_run:
            where = "comes twice" if number > self._before_run else "is in an earlier one, too"
            raise TransferError(
                f"{self._name}: the document {document_id!r:.80} {where}, with another text or metadata; ids must "
                f"differ, so embed one of the two under another id, or leave it out"
            )
