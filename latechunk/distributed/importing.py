"""Folders of embedded documents to an index; loads no model."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from itertools import groupby

from latechunk.distributed.folder import EmbeddedFolder, run_of
from latechunk.errors import InputError
from latechunk.maintenance.merge import Joined
from latechunk.storage.directory import as_folder, new_store, require_vacant
from latechunk.storage.store import Counts, Store
from latechunk.storage.vectors import Precision


def import_folders(
    folders: Sequence[str | os.PathLike[str]], path: str | os.PathLike[str], *, precision: Precision = "float32"
) -> Counts:
    """Make an index of folders that ``embed_folder`` or ``embed_dataset`` filled, a batch of documents at a time.

    Checksums, spans and vectors are checked. Where an id comes twice in a folder, the row of the later run counts. If
    anything is wrong, no index is made.

    Args:
        folders: Any number, all embedded with the same settings.
        path: The folder of the index to make; must not exist, or be empty.
        precision: Of the stored vectors, see ``latechunk.Index.create``.

    Returns:
        How much the index holds.

    Raises:
        InputError: If one of them is no such folder, or there is none.
        IndexMismatchError: If their settings differ; the message names what.
        TransferError: If a file is damaged or missing, or two folders hold different documents of one id.
        IndexExistsError: If there is something at ``path`` already.
        StoreError: If the disk does not take it.

    Examples:
        >>> import_folders(["embedded"], "imported")  # doctest: +SKIP
        Counts(n_documents=2, n_chunks=2, n_tokens=28)
    """
    target = as_folder(path)
    require_vacant(target)
    if not folders:
        raise InputError("import needs at least one folder of embedded documents")
    first, *others = sources = [EmbeddedFolder.open(one) for one in folders]
    for other in others:
        other.require_same(first.manifest, f"an index holds vectors of one kind, here those of {first.path}")
    settings = first.manifest.stored_in(precision).settings()
    with new_store(target) as new:
        Store.create(new, settings)
        with contextlib.closing(Store.open(new, read_only=False)) as store:
            joined = Joined(store)
            for source in sources:
                joined.begin_source(str(source.path))
                for _, parts in groupby(source.parts(), key=run_of):
                    joined.begin_run()
                    for part in parts:
                        for documents in source.documents(part):
                            for one in documents:
                                joined.add(one)
            joined.flush()
            return store.counts()
