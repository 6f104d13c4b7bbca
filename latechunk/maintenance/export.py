"""Writes an index to one file and reads it back, so that it moves between machines and versions without a model.

A ``.jsonl`` file has a header in its first line and a document in each other, as ``latechunk.maintenance.records``
describes them; ``numpy.frombuffer(base64.urlsafe_b64decode(vectors), "<f4").reshape(-1, dims)`` gives the vectors.
A ``.parquet`` file has a chunk in each row, as ``latechunk.maintenance.parquet`` describes.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from latechunk.errors import IndexDamagedError, InputError, TransferError
from latechunk.maintenance.records import ExportedDocument, ExportHeader
from latechunk.manifest import IndexManifest
from latechunk.storage.directory import STORE, as_folder, new_file, new_store, require_index, require_vacant
from latechunk.storage.store import Counts, Store, StoredDocument
from latechunk.storage.vectors import Precision
from latechunk.types.batches import in_batches
from latechunk.types.json_form import to_json

BATCH = 512  # documents; with 64 an import of documents of one chunk takes a third more of a core
BATCH_BYTES = 2**25
_SUFFIXES = (".jsonl", ".parquet")


def export_index(path: str | os.PathLike[str], target: str | os.PathLike[str]) -> Counts:
    """Write all that an index holds to a file, in one state of it; loads no model.

    Args:
        path: The folder of the index.
        target: The file to make, which must not exist: ``.jsonl`` or ``.parquet``. Both hold everything, vectors to the
            bit.

    Returns:
        How much is in the file.

    Raises:
        InputError: If the name of the file says no format, or there is such a file.
        IndexMissingError: If there is nothing at ``path``.
        IndexDamagedError: If a document is no longer what was stored; no file is made then.
        MissingDependencyError: If Parquet is wanted and pyarrow is not installed.
        StoreError: If the disk does not take it.

    Examples:
        >>> export_index("my-index", "my-index.parquet")  # doctest: +SKIP
        Counts(n_documents=3, n_chunks=120, n_tokens=9041)
    """
    folder, file = as_folder(path), _as_file(target)
    require_index(folder)
    if file.exists() or file.is_symlink():
        raise InputError(f"{file} exists already; choose another name, or remove it first")
    with (
        new_file(file) as new,
        contextlib.closing(Store.open(folder / STORE, read_only=True)) as store,
        store.snapshot(),
    ):
        header = ExportHeader.of(store)
        documents = (ExportedDocument.of(one, store.granularities) for one in stored_documents(store))
        _write(new, file.suffix, header, documents)
    return header.counts


def import_index(
    source: str | os.PathLike[str], path: str | os.PathLike[str], *, precision: Precision | None = None
) -> Counts:
    """Make an index of an exported file; loads no model.

    Everything is checked: types, spans, lengths of vectors, checksums, counts, that no id comes twice. If anything is
    wrong, no index is made.

    Args:
        source: A ``.jsonl`` or ``.parquet`` file that ``export_index`` made.
        path: The folder to make; must not exist, or be empty.
        precision: Of the stored vectors, see ``latechunk.Index.create``; None for what was exported.

    Returns:
        How much the index holds.

    Raises:
        TransferError: If the file is not a whole and sound export; the message says in which line or row.
        InputError: If the name of the file says no format.
        IndexExistsError: If there is something at ``path`` already.
        MissingDependencyError: If it is Parquet and pyarrow is not installed.
        StoreError: If the disk does not take it.

    Examples:
        >>> import_index("my-index.parquet", "copy-of-my-index")  # doctest: +SKIP
        Counts(n_documents=3, n_chunks=120, n_tokens=9041)
    """
    file, folder = _as_file(source), as_folder(path)
    require_vacant(folder)
    try:
        return _import(file, folder, precision)
    except TransferError as error:
        raise TransferError(f"{file} cannot be imported: {error}") from error


def _as_file(path: str | os.PathLike[str]) -> Path:
    file = as_folder(path)
    if file.suffix not in _SUFFIXES:
        raise InputError(f"an export is a file whose name ends in {' or '.join(_SUFFIXES)}, got {str(path)!r:.200}")
    return file


def stored_documents(store: Store) -> Iterator[StoredDocument]:
    """All that a store holds, document by document; IndexDamagedError if one is no longer what was stored."""
    for document_id in store.document_ids():
        stored = store.stored(document_id)
        if stored is None:
            raise IndexDamagedError(f"document {document_id!r} cannot be found by its id; see `latechunk verify`")
        yield stored


def _weight(document: ExportedDocument, n_copies: int = 1) -> int:
    """What a document, with so many copies of its metadata, counts in a batch of up to 512 documents, or 32 MB."""
    metadata = n_copies * len(to_json(document.metadata))
    return len(document.text) + metadata + len(document.vectors) + BATCH_BYTES // BATCH


def _weight_of_rows(document: ExportedDocument) -> int:
    """The same where each chunk is a row, which has the metadata of its document."""
    return _weight(document, sum(map(len, document.chunks.values())))


def _write(file: Path, suffix: str, header: ExportHeader, documents: Iterable[ExportedDocument]) -> None:
    if suffix == ".parquet":
        from latechunk.maintenance.parquet import write_parquet

        write_parquet(file, header, in_batches(documents, _weight_of_rows, BATCH_BYTES))
        return
    with file.open("x", encoding="utf-8", newline="\n") as lines:
        lines.write(header.model_dump_json() + "\n")
        for document in documents:
            lines.write(document.model_dump_json() + "\n")


def _import(file: Path, folder: Path, precision: Precision | None) -> Counts:
    with contextlib.ExitStack() as stack:
        header_json, documents = _read(file, stack)
        header = ExportHeader.from_json(header_json)
        header.require_sound()
        settings = IndexManifest.read(header.settings).stored_in(precision).settings()
        new = stack.enter_context(new_store(folder))
        Store.create(new, settings)
        with contextlib.closing(Store.open(new, read_only=False)) as store:
            for batch in in_batches(documents, lambda item: _weight(item[1]), BATCH_BYTES):
                _put(store, batch, header)
            counts = store.counts()
        if counts != header.counts:
            wanted, found = _word(header.counts), _word(counts)
            raise TransferError(f"it is not whole: it should hold {wanted}, and holds {found}; export it again")
    return counts


def _word(counts: Counts) -> str:
    return f"{counts.n_documents:,} documents, {counts.n_chunks:,} chunks and {counts.n_tokens:,} tokens"


def _read(file: Path, stack: contextlib.ExitStack) -> tuple[bytes, Iterator[tuple[str, ExportedDocument]]]:
    """The header as JSON, and each document with the place where it stands."""
    if file.suffix == ".parquet":
        from latechunk.maintenance.parquet import open_parquet

        return open_parquet(file)
    try:
        lines = stack.enter_context(file.open("rb"))
    except OSError as error:
        raise TransferError(f"it cannot be read: {error}") from error
    return lines.readline(), _parse_lines(lines)


def _parse_lines(lines: Iterable[bytes]) -> Iterator[tuple[str, ExportedDocument]]:
    for number, line in enumerate(lines, start=2):
        try:
            yield f"line {number}", ExportedDocument.from_json(line)
        except TransferError as error:
            raise TransferError(f"line {number}: {error}") from error


def _put(store: Store, batch: Sequence[tuple[str, ExportedDocument]], header: ExportHeader) -> None:
    """Store documents, all of which must be new."""
    seen = set(store.fingerprints([document.id for _, document in batch]))
    stored = []
    for where, document in batch:
        try:
            stored.append(document.to_stored(header))
        except InputError as error:
            raise TransferError(f"{where}: document {document.id!r:.80}: {error}") from error
        if document.id in seen:
            raise TransferError(f"{where}: the document id {document.id!r:.80} comes twice")
        seen.add(document.id)
    store.put(stored)
