"""An index to one file and back, so that it moves between machines and versions without encoding anything again."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from latechunk.errors import IndexDamagedError, InputError, LateChunkError, StoreError, TransferError
from latechunk.maintenance.jsonl import LinesReader, write_lines
from latechunk.maintenance.records import Header, Reader, Record
from latechunk.manifest import IndexManifest
from latechunk.storage.directory import STORE, as_folder, new_store, require_index, require_vacant
from latechunk.storage.store import Counts, Store

_BATCH_DOCUMENTS = 64
_BATCH_BYTES = 2**25
_SUFFIXES = (".jsonl", ".parquet")


def export_index(path: str | os.PathLike[str], target: str | os.PathLike[str]) -> Counts:
    """Write all that an index holds to a file, in one state of it; loads no model.

    Args:
        path: The folder of the index.
        target: The file to make, which must not exist: ``.jsonl`` as :mod:`latechunk.maintenance.jsonl` describes, or
            ``.parquet`` as :mod:`latechunk.maintenance.parquet` does. Both hold everything, vectors to the bit.

    Returns:
        How much is in the file.

    Raises:
        InputError: If the name of the file says no format, or there is such a file.
        IndexMissingError: If there is nothing at ``path``.
        IndexDamagedError: If a document is no longer what was stored; no file is made then.
        MissingDependencyError: If Parquet is wanted and pyarrow is not installed.
        StoreError: If the disk does not take it.
    """
    folder, file = as_folder(path), _as_file(target)
    require_index(folder)
    if file.exists() or file.is_symlink():
        raise InputError(f"{file} exists already; choose another name, or remove it first")
    new = file.with_name(f"{file.name}.new-{secrets.token_hex(8)}")
    try:
        with contextlib.closing(Store.open(folder / STORE, read_only=True)) as store, store.snapshot():
            header = Header(IndexManifest.read(store.settings()).settings(), store.counts())
            _write(new, file.suffix, header, _records_of(store))
        _sync(new)
        os.replace(new, file)
    except OSError as error:
        if isinstance(error, LateChunkError):
            raise
        raise StoreError(f"{file} could not be written: {error}") from error
    finally:
        new.unlink(missing_ok=True)
    return header.counts


def import_index(source: str | os.PathLike[str], path: str | os.PathLike[str]) -> Counts:
    """Make an index of an exported file; loads no model.

    Everything is checked: types, spans, lengths of vectors, checksums, counts, that no id comes twice. If anything is
    wrong, no index is made.

    Args:
        source: A ``.jsonl`` or ``.parquet`` file that :func:`export_index` made.
        path: The folder to make; must not exist, or be empty.

    Returns:
        How much the index holds.

    Raises:
        TransferError: If the file is not a whole and sound export; the message says in which line or row.
        InputError: If the name of the file says no format.
        IndexExistsError: If there is something at ``path`` already.
        MissingDependencyError: If it is Parquet and pyarrow is not installed.
        StoreError: If the disk does not take it.
    """
    file, folder = _as_file(source), as_folder(path)
    require_vacant(folder)
    with _open_export(file) as reader, new_store(folder) as new:
        Store.create(new, reader.header.settings)
        with contextlib.closing(Store.open(new, read_only=False)) as store:
            for batch in _batches(reader.records()):
                _put(store, batch)
            counts = store.counts()
        if counts != reader.header.counts:
            raise TransferError(
                f"{file} is not whole: it should hold {reader.header.counts}, and holds {counts}; export the index anew"
            )
    return counts


def _as_file(path: str | os.PathLike[str]) -> Path:
    file = as_folder(path)
    if file.suffix not in _SUFFIXES:
        raise InputError(f"an export is a file whose name ends in {' or '.join(_SUFFIXES)}, got {str(path)!r:.200}")
    return file


def _write(file: Path, suffix: str, header: Header, records: Iterable[Record]) -> None:
    if suffix == ".jsonl":
        with file.open("xb") as lines:
            write_lines(lines, header, records)
    else:
        from latechunk.maintenance.parquet import write_parquet

        write_parquet(file, header, records)


def _records_of(store: Store) -> Iterator[Record]:
    for document_id in store.document_ids():
        stored = store.stored(document_id)
        if stored is None:
            raise IndexDamagedError(f"document {document_id!r} cannot be found by its id; see `latechunk verify`")
        yield Record(stored, store.checksums([document_id])[document_id])


@contextlib.contextmanager
def _open_export(file: Path) -> Iterator[Reader]:
    """Open a file for reading; errors in it name it."""
    try:
        if file.suffix == ".jsonl":
            with _open(file) as lines:
                yield LinesReader(lines)
        else:
            from latechunk.maintenance.parquet import ParquetReader, open_parquet

            with open_parquet(file) as opened:
                yield ParquetReader(opened)
    except TransferError as error:
        raise TransferError(f"{file} cannot be imported: {error}") from error


def _open(file: Path) -> BinaryIO:
    try:
        return file.open("rb")
    except OSError as error:
        raise TransferError(f"it cannot be read: {error}") from error


def _batches(records: Iterator[tuple[str, Record]]) -> Iterator[list[tuple[str, Record]]]:
    batch: list[tuple[str, Record]] = []
    n_bytes = 0
    for where, record in records:
        batch.append((where, record))
        n_bytes += len(record.stored.document.text) + record.stored.vectors.nbytes
        if len(batch) == _BATCH_DOCUMENTS or n_bytes >= _BATCH_BYTES:
            yield batch
            batch, n_bytes = [], 0
    if batch:
        yield batch


def _put(store: Store, batch: list[tuple[str, Record]]) -> None:
    """Store documents that are new, and see that what is stored has the checksums that were exported."""
    ids = [record.stored.document.id for _, record in batch]
    taken = set(store.checksums(ids))
    for where, record in batch:
        document_id = record.stored.document.id
        if document_id in taken:
            raise TransferError(f"{where}: the document id {document_id!r:.80} comes twice")
        taken.add(document_id)
    store.put([record.stored for _, record in batch])
    checksums = store.checksums(ids)
    for where, record in batch:
        document_id = record.stored.document.id
        if checksums[document_id] != record.vectors_sha256:
            raise TransferError(
                f"{where}: the chunks and vectors of document {document_id!r:.80} are not those that were exported: "
                f"their SHA-256 differs"
            )


def _sync(file: Path) -> None:
    with file.open("rb+") as opened:
        os.fsync(opened.fileno())
