"""Folders of embedded documents into a vector database, so that it holds what they hold; loads no model."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from latechunk.databases.protocol import ChunkDatabase
from latechunk.databases.record import read_record, to_record
from latechunk.databases.rows import to_digest, to_rows
from latechunk.distributed.folder import EmbeddedFolder
from latechunk.distributed.reading import Current
from latechunk.embedding import Progress
from latechunk.errors import IndexMismatchError, InputError
from latechunk.storage.store import StoredDocument
from latechunk.types.batches import in_batches
from latechunk.validation import require_function

_BATCH_ROWS = 2_000  # written together, and lost to a kill
_BATCH_BYTES = 2**25
_DELETED_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class PushReport:
    """What ``push_folders`` did, or would do.

    Attributes:
        n_written: Documents that are new there, or were replaced.
        n_unchanged: Documents that were there already.
        n_deleted: Documents that were removed, since the folders have them no more.
        n_gone: Documents that the folders have no more, and that were left there.
        n_chunks: Of the documents written.
    """

    n_written: int = 0
    n_unchanged: int = 0
    n_deleted: int = 0
    n_gone: int = 0
    n_chunks: int = 0


def push_folders(
    folders: Sequence[str | os.PathLike[str]],
    database: ChunkDatabase,
    *,
    prune: bool = False,
    dry_run: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
) -> PushReport:
    """Make a vector database hold what folders of embedded documents hold, chunk by chunk.

    Documents that are there unchanged are not written again, so it can be run again at any time, also after it was
    killed. A table that is not there yet is made, and records what made the vectors.

    Args:
        folders: What ``embed_folder`` or ``embed_dataset_to`` filled, all with the same settings.
        database: What ``open_database`` gives, or one of your own.
        prune: Whether documents that the folders have no more are removed.
        dry_run: Only say what would be done.
        on_progress: Called now and then with the documents written since the last call.

    Raises:
        InputError: If one of the folders is none, or there is none.
        IndexMismatchError: If the settings of the folders, or of what the table holds, differ; the message names what.
        IndexFormatError: If the table is something else's.
        TransferError: If a file is damaged or missing, or two folders hold different documents of one id.
        StoreError: If the database cannot be reached or refuses.

    Examples:
        >>> from latechunk.databases import open_database
        >>> database = open_database("lancedb:vectors")
        >>> push_folders(["embedded"], database)  # doctest: +SKIP
        PushReport(n_written=2, n_unchanged=0, n_deleted=0, n_gone=0, n_chunks=2)
    """
    require_function("on_progress", on_progress)
    if not folders:
        raise InputError("a push needs at least one folder of embedded documents")
    current = Current([EmbeddedFolder.open(one) for one in folders])
    is_made = _holds_the_same(database, current)
    there = dict(database.documents()) if is_made else {}
    digests = {name: to_digest(name, digest) for name, digest in current.digests.items()}
    changed = {name for name, digest in digests.items() if there.get(name) != digest}
    gone = [name for name in there if name not in digests]
    counts = {"n_unchanged": len(digests) - len(changed), "n_deleted" if prune else "n_gone": len(gone)}
    if dry_run:
        n_chunks = sum(len(one.vectors) for one in current.documents(changed))
        return PushReport(n_written=len(changed), n_chunks=n_chunks, **counts)
    if not is_made:
        database.prepare(to_record(current.manifest), current.manifest.dims)
        _holds_the_same(database, current)  # which another push may have made
    n_chunks = 0
    for documents in in_batches(current.documents(changed), _weight, _BATCH_BYTES):
        rows = [row for one in documents for row in to_rows(one, digests[one.document.id])]
        database.write(rows, [one.document.id for one in documents if one.document.id in there])
        n_chunks += len(rows)
        if on_progress:
            on_progress(Progress(len(documents), 0))
    if prune:
        for begin in range(0, len(gone), _DELETED_AT_ONCE):
            database.delete(gone[begin : begin + _DELETED_AT_ONCE])
    database.finish()
    return PushReport(n_written=len(changed), n_chunks=n_chunks, **counts)


def _holds_the_same(database: ChunkDatabase, current: Current) -> bool:
    """Whether there is a table; IndexMismatchError if its vectors are of other settings than those of the folders."""
    recorded = read_record(database)
    if recorded is not None and (differing := recorded.differences(current.manifest)):
        raise IndexMismatchError(
            f"{database.name} holds vectors of other settings than {current.folders[0].path}, which is yours here: "
            f"{'; '.join(differing)}; choose another table"
        )
    return recorded is not None


def _weight(stored: StoredDocument) -> int:
    """What a document counts in a batch of about 2,000 rows and 32 MB."""
    vectors, document = stored.vectors, stored.document
    of_row = len(document.metadata_json) + _BATCH_BYTES // _BATCH_ROWS  # each row has the metadata of its document
    return len(document.text) + vectors.nbytes + len(vectors) * of_row
