"""Write a vector index to files and read it back; what is not exactly what was written is refused.

Three files: FAISS's own, the rows that say which chunk and document each position holds, and a label, which has the
SHA-256 of each block of the other two and of itself. FAISS gets no byte of a block that was not compared, so that a
damaged file is rebuilt and not parsed. The lists of an IVF index stay in its file, mapped, until they change: they
are not copied when it is opened, and processes share their memory.
It is no protection against somebody who writes the files on purpose: delete ``vectors*`` in a folder from others first.
"""

from __future__ import annotations

import io
import os
import time
from pathlib import Path
from typing import ClassVar, Literal

import faiss
import numpy as np

from latechunk.ann.checked_file import BLOCK, CheckedReader, hash_blocks, require_blocks
from latechunk.ann.faiss_ops import SearchParams, map_lists, own_lists
from latechunk.ann.spec import FaissSpec, IndexSpec
from latechunk.ann.vector_index import Tuning, VectorIndex
from latechunk.errors import IndexDamagedError, LateChunkError
from latechunk.storage.store import Commit
from latechunk.validation import Sealed

_OPEN_FILES = Path("/dev/fd")  # names of the files that the process has open; there is no such thing on Windows
_REPLACED = 0.05  # seconds after which the label is that of the other files


class CacheLabel(Sealed):
    """What the files of a vector index hold.

    Attributes:
        layout: Version of the files.
        wanted: What the user asked for.
        held: What FAISS made of it.
        params: How hard to search.
        tuning: What was learnt at training; None for an exact index.
        commit: The state of the store that it holds.
        index_blocks: SHA-256 of each block of FAISS's file.
        rows_blocks: Those of the file of rows.
    """

    error: ClassVar[type[LateChunkError]] = IndexDamagedError
    subject: ClassVar[str] = "its label"

    layout: Literal[4] = 4
    wanted: IndexSpec
    held: FaissSpec
    params: SearchParams
    tuning: Tuning | None
    commit: Commit
    index_blocks: tuple[str, ...] = ()
    rows_blocks: tuple[str, ...] = ()


def file_names(granularity: int) -> tuple[str, str, str]:
    """Names of FAISS's file, of the rows and of the label."""
    stem = "vectors" if granularity == 0 else f"vectors-{granularity}"
    return f"{stem}.faiss", f"{stem}.npy", f"{stem}.json"


def write_cache(index: VectorIndex, folder: Path, granularity: int, spec: IndexSpec) -> int:
    """Write to files in ``folder``, each replaced whole, the label last. Returns their bytes.

    The index is in the state of the store that ``index.commit`` names. OSError if the disk does not take the files;
    what was there before is then stale or does not fit its label.
    """
    if index.commit is None:
        raise ValueError("an index that is in no state of the store cannot be written")
    names = file_names(granularity)
    new = [folder / f"{name}.new" for name in names]
    try:
        _write_index(index.index, new[0])
        with new[1].open("wb") as rows:
            np.save(rows, np.stack([index.numbers, index.documents, index.alive]), allow_pickle=False)
        with new[0].open("rb") as held, new[1].open("rb") as rows:
            label = CacheLabel(
                wanted=spec,
                held=index.spec,
                params=index.params,
                tuning=index.tuning,
                commit=index.commit,
                index_blocks=hash_blocks(held),
                rows_blocks=hash_blocks(rows),
            )
        new[2].write_text(label.sealed().model_dump_json(), encoding="utf-8")
        for path, name in zip(new, names, strict=True):
            os.replace(path, folder / name)
    finally:
        for path in new:
            path.unlink(missing_ok=True)
    return sum((folder / name).stat().st_size for name in names)


def read_label(folder: Path, granularity: int) -> CacheLabel:
    """Read what the files say they hold, unseen; IndexDamagedError if there is no label, or none of this version."""
    path = folder / file_names(granularity)[2]
    try:
        return CacheLabel.from_json(path.read_bytes())
    except OSError as error:
        raise IndexDamagedError(f"{path} cannot be read: {error}") from error


def read_cache(folder: Path, granularity: int, dims: int, spec: IndexSpec | None) -> VectorIndex:
    """Read what ``write_cache`` wrote for this specification, or for any where it is None.

    Raises:
        IndexDamagedError: If it is missing, incomplete, altered or of another specification; build a new one instead.
    """
    try:
        label = read_label(folder, granularity)
        while True:
            try:
                return _read_cache(folder, granularity, dims, spec, label)
            except (OSError, ValueError, RuntimeError, IndexDamagedError):
                # Another process may be replacing the files, of which the next label tells.
                time.sleep(_REPLACED)
                before, label = label, read_label(folder, granularity)
                if label == before:
                    raise
    except (OSError, ValueError, RuntimeError, IndexDamagedError) as error:
        raise IndexDamagedError(f"{folder / file_names(granularity)[0]} cannot be used: {error}") from error


def _read_cache(folder: Path, granularity: int, dims: int, spec: IndexSpec | None, label: CacheLabel) -> VectorIndex:
    if spec not in (None, label.wanted):
        raise IndexDamagedError(f"it holds {label.held.factory!r} for {label.wanted}, and {spec} is wanted")
    name, rows_name, _ = file_names(granularity)
    # Through handles that stay open, since another process may replace the files at any moment.
    with (folder / name).open("rb") as held, (folder / rows_name).open("rb") as rows:
        if label.sha256 != label.checksum():
            raise IndexDamagedError("its label is not the one that was written")
        index = _read_index(held, label)
        numbers, documents, alive = np.lib.format.read_array(CheckedReader(rows, label.rows_blocks), allow_pickle=False)
    if index.d != label.held.dims or index.d > dims:
        raise IndexDamagedError(f"it holds vectors of {index.d} numbers, and {dims} are wanted")
    cache = VectorIndex(label.held, index)
    cache.params, cache.tuning, cache.commit = label.params, label.tuning, label.commit
    cache.fill(numbers, documents, alive.astype(np.bool_))
    return cache


def _read_index(file: io.BufferedReader, label: CacheLabel) -> faiss.Index:
    if label.held.n_lists and _OPEN_FILES.exists():
        require_blocks(file, label.index_blocks)
        file.seek(0)  # where a name of an open file shares its position
        return map_lists(str(_OPEN_FILES / str(file.fileno())))
    return faiss.read_index(faiss.PyCallbackIOReader(CheckedReader(file, label.index_blocks).read, BLOCK))


def _write_index(index: faiss.Index, path: Path) -> None:
    own_lists(index)  # of mapped ones FAISS would write no more than the name of their file
    try:
        with path.open("wb") as file:  # FAISS itself takes no path that is not UTF-8
            faiss.write_index(index, faiss.PyCallbackIOWriter(file.write, BLOCK))
    except RuntimeError as error:  # FAISS's own error of a full disk
        raise OSError(f"FAISS could not write {path}: {error}") from error
