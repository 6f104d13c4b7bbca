"""A folder of embedded documents: a manifest, part files with their rows, and files with the documents that failed.

``manifest.json`` holds the settings that made the vectors. Each run, of which there may be many, adds files
``part-<run>-<hash>.parquet`` with rows as ``latechunk.distributed.rows`` has them, and ``errors-<run>-<hash>.parquet``
with the columns ``id`` and ``reason``. A file appears whole or not at all. Of two rows of one id that of the later run
counts, and a part file of which more than half of the rows do not count is written again without them. When a run ends,
it writes the names of all part files into ``manifest.json``, and a folder that lacks one of them is refused. A run that
is killed leaves parts that are not named yet, which count as the others do.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import pyarrow as arrow
import pyarrow.parquet as parquet

from latechunk.distributed.rows import LABELS, REPEATED, from_rows
from latechunk.errors import IndexDamagedError, IndexMismatchError, InputError, StoreError, TransferError
from latechunk.manifest import IndexManifest
from latechunk.storage.directory import as_folder, has_store, hold_write_lock, new_file
from latechunk.storage.store import StoredDocument

_MANIFEST = "manifest.json"
_PARTS = "parts"  # its field of the names of part files
_PART = re.compile(r"part-(\d{6,})-[0-9a-f]{16}\.parquet")
_BUSY = "run this again when it is done, or embed into another folder: `latechunk import` takes several"
_ROWS_READ = 64
_GROUP_BYTES = 2**25  # of a group of rows, which is read at once
_ERRORS = arrow.schema([("id", arrow.string()), ("reason", arrow.string())])


class EmbeddedFolder:
    """The folder, to be read; within ``writing`` also to be written."""

    def __init__(self, path: Path, manifest: IndexManifest) -> None:
        """Use ``open`` or ``prepare``."""
        self.path = path
        self.manifest = manifest

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Self:
        """Open a folder; InputError if it is none, TransferError if its manifest is damaged."""
        folder = as_folder(path)
        settings, _ = _read_manifest(folder)
        try:
            return cls(folder, IndexManifest.read(settings))
        except IndexDamagedError as error:
            raise TransferError(f"{folder / _MANIFEST} cannot be read: {error}") from error

    @classmethod
    def prepare(cls, path: str | os.PathLike[str], manifest: IndexManifest) -> Self:
        """Make a folder, or open one with vectors of the same settings.

        Raises:
            IndexMismatchError: If other settings made its vectors; the message names them.
            InputError: If there is something else.
            StoreError: If the disk does not take it.
        """
        if found := cls.find(path, manifest):
            return found
        folder = as_folder(path)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{folder} cannot be made: {error}") from error
        made = cls(folder, manifest)
        made._write_manifest([])
        return made

    @classmethod
    def find(cls, path: str | os.PathLike[str], manifest: IndexManifest) -> Self | None:
        """What ``prepare`` would open, with its errors; None if it would make a folder."""
        folder = as_folder(path)
        if (folder / _MANIFEST).exists():
            found = cls.open(folder)
            found.require_same(manifest, "to embed documents in another way, choose another folder")
            return found
        if folder.exists() and not (folder.is_dir() and all(map(_is_left_over, folder.iterdir()))):
            raise InputError(f"{folder} exists, and is no folder of embedded documents; choose another one")
        return None

    def require_same(self, manifest: IndexManifest, remedy: str) -> None:
        """Raise an IndexMismatchError, which names the settings, unless a manifest is of vectors of the same kind."""
        differing = self.manifest.differences(manifest)
        if differing:
            raise IndexMismatchError(f"{self.path} was embedded with other settings: {'; '.join(differing)}; {remedy}")

    @contextlib.contextmanager
    def writing(self) -> Iterator[int]:
        """Be the only writer within this; gives the number of the run, whose errors replace those of earlier ones."""
        with hold_write_lock(self.path, 0, _BUSY):
            run = 1 + max((run_of(part) for part in self.parts()), default=0)
            for pattern in ("errors-*.parquet", "*.parquet.new-*", f"{_MANIFEST}.new-*"):
                for old in self.path.glob(pattern):
                    old.unlink()  # what a killed run left half-written, too
            try:
                yield run
                self._drop_replaced()
            finally:
                self._write_manifest(self.parts())

    def parts(self) -> list[Path]:
        """The part files, those of the first run first; a TransferError if one is gone that a run has recorded."""
        before: tuple[list[str], set[Path]] | None = None
        while (now := self._list_parts()) != before:  # a run that ends may give parts other names meanwhile
            before = now
        recorded, found = now
        gone = sorted(set(recorded) - {one.name for one in found})
        if gone:
            raise TransferError(
                f"{self.path} is not whole: it lacks {len(gone):,} of its part files, such as {gone[0]}; bring them "
                f"back, or take their names out of its {_MANIFEST} and embed their documents again"
            )
        return sorted(found, key=lambda part: (run_of(part), part.name))

    def _list_parts(self) -> tuple[list[str], set[Path]]:
        """The names that the manifest has, and the part files that are there."""
        _, recorded = _read_manifest(self.path)
        return recorded, {one for one in self.path.iterdir() if _PART.fullmatch(one.name)}

    def _write_manifest(self, parts: Sequence[Path]) -> None:
        """Record that these part files belong to the folder."""
        fields = {**self.manifest.settings(), _PARTS: [one.name for one in parts]}
        with new_file(self.path / _MANIFEST) as new:
            new.write_text(json.dumps(fields, ensure_ascii=False, indent=2), encoding="utf-8")

    def write_part(self, run: int, rows: arrow.Table) -> Path:
        """Write rows as a file whose name is made of them, so that a second try replaces the first."""
        digest = hashlib.sha256()
        for pair in zip(rows.column("id").to_pylist(), rows.column("text_sha256").to_pylist(), strict=True):
            digest.update("\0".join(pair).encode())
        part = self.path / f"part-{run:06d}-{digest.hexdigest()[:16]}.parquet"
        with new_file(part) as new:
            size = max(1, min(_ROWS_READ, rows.num_rows * _GROUP_BYTES // max(1, rows.nbytes)))
            parquet.write_table(
                rows,
                new,
                row_group_size=size,
                compression="zstd",
                use_dictionary=REPEATED,  # of vectors it would make half as much again of the file
                write_page_checksum=True,
            )
        return part

    def write_errors(self, run: int, errors: Sequence[tuple[str, str]]) -> None:
        """Write documents that failed, by their ids, with the reasons."""
        rows = arrow.Table.from_pylist([dict(zip(_ERRORS.names, one, strict=True)) for one in errors], schema=_ERRORS)
        name = hashlib.sha256(repr(errors).encode("utf-8", "surrogatepass")).hexdigest()[:16]
        with new_file(self.path / f"errors-{run:06d}-{name}.parquet") as new:
            parquet.write_table(rows, new)

    def remove(self, ids: Collection[str]) -> None:
        """Remove documents: each part file that has one is written again without it, or goes.

        If it is killed, some of them are still there, and nothing else is lost.

        Raises:
            IndexBusyError: If another process is writing there.
        """
        with hold_write_lock(self.path, 0, _BUSY):
            gone = frozenset(ids)
            stays = {part: [name not in gone for name in _ids_of(part)] for part in self.parts()}
            self._keep_rows({part: rows for part, rows in stays.items() if not all(rows)})

    def _drop_replaced(self) -> None:
        """Write part files again, or remove them, of which more than half of the rows count no more.

        So are those of which a row has a twin in its own run: one that was killed left it.
        """
        owner: dict[str, int] = {}  # run of the row that counts
        stays: dict[Path, list[bool]] = {}
        for part in reversed(self.parts()):
            run, rows, has_twin = run_of(part), [], False
            for name in reversed(_ids_of(part)):
                rows.append(name not in owner)
                has_twin |= owner.setdefault(name, run) == run and not rows[-1]
            if has_twin or 2 * sum(rows) < len(rows):
                stays[part] = rows[::-1]
        if stays:
            self._keep_rows(stays)

    def _keep_rows(self, stays: Mapping[Path, Sequence[bool]]) -> None:
        """Write part files again with some of their rows, or remove them; if it is killed, rows may be in two files."""
        self._write_manifest([part for part in self.parts() if part not in stays])
        written = set[Path]()
        try:
            for part, rows in stays.items():
                if part in written:  # of what is left of another one
                    continue
                with explained(part):
                    left = parquet.read_table(part, page_checksum_verification=True).filter(arrow.array(rows))
                if left.num_rows:
                    written.add(self.write_part(run_of(part), left))
                part.unlink()
        finally:
            self._write_manifest(self.parts())

    def drop_twins(self, run: int, n_kept: Mapping[str, int]) -> list[str]:
        """Keep of the rows that a run wrote of these ids the first one or none; gives the ids of others that differ."""
        kept: dict[str, list[tuple[str, ...]]] = {name: [] for name in n_kept}
        differing, written = set(), set[Path]()
        for part in self.parts() if n_kept else []:
            if run_of(part) != run or part in written:  # a worker wrote the same rows alone, too
                continue
            with explained(part):
                rows = parquet.read_table(part, page_checksum_verification=True)
            stays = []
            for name, *labels in zip(*(rows.column(one).to_pylist() for one in ["id", *LABELS]), strict=True):
                stays.append(name not in n_kept or len(kept[name]) < n_kept[name])
                if name in n_kept:
                    if not stays[-1] and tuple(labels) not in kept[name]:
                        differing.add(name)
                    kept[name].append(tuple(labels))
            if not all(stays):
                left = rows.filter(arrow.array(stays))
                if left.num_rows:
                    written.add(self.write_part(run, left))
                part.unlink()
        return sorted(differing)

    def sizes(self, run: int) -> dict[str, tuple[int, int]]:
        """Numbers of chunks and of tokens of each document that a run wrote, by its id."""
        sizes = {}
        for part in self.parts():
            if run_of(part) == run:
                table = parquet.ParquetFile(part).read(["id", "n_tokens", "chunks.list.element.start"])
                n_chunks = table.column("chunks").combine_chunks().value_lengths().to_pylist()
                rows = zip(table.column("id").to_pylist(), n_chunks, table.column("n_tokens").to_pylist(), strict=True)
                sizes.update({name: (chunks, tokens) for name, chunks, tokens in rows})
        return sizes

    def errors(self) -> list[tuple[str, str]]:
        """The documents that failed in the last run, by their ids, with the reasons; TransferError if it is damaged."""
        failed: list[tuple[str, str]] = []
        for one in sorted(self.path.glob("errors-*.parquet")):
            with explained(one):
                failed += [(row["id"], row["reason"]) for row in parquet.read_table(one).to_pylist()]
        return failed

    def documents(self, part: Path) -> Iterator[list[StoredDocument]]:
        """The documents of a part file, up to 64 at a time; a TransferError says what is wrong with it."""
        with explained(part):
            for rows in read_rows(part):
                yield self.sound_documents(part, rows)

    def rows_around(self, part: Path, row: int) -> tuple[int, arrow.Table]:
        """The group of rows of a part file that holds a row, and the number of the first of them."""
        with explained(part):
            file = parquet.ParquetFile(part, page_checksum_verification=True)
            first = 0
            for group in range(file.num_row_groups):
                n_rows = file.metadata.row_group(group).num_rows
                if row < first + n_rows:
                    return first, file.read_row_group(group, use_threads=False)
                first += n_rows
            raise TransferError(f"it has {first:,} rows, and had more")

    def sound_documents(self, part: Path, rows: arrow.Table) -> list[StoredDocument]:
        """The documents of rows of a part file; a TransferError says what is wrong with it."""
        with explained(part):
            if set(rows.column("fingerprint").to_pylist()) != {self.manifest.fingerprint}:
                raise TransferError("it holds vectors of other settings than its folder's manifest says")
            return list(from_rows(rows, self.manifest.dims))


def _is_left_over(file: Path) -> bool:
    """Whether a run that was killed at once left this file."""
    return file.suffix == ".lock" or file.name.startswith(f"{_MANIFEST}.new-")


def run_of(part: Path) -> int:
    """The number of the run that wrote a part file."""
    return int(part.name.split("-")[1])


def _read_manifest(folder: Path) -> tuple[dict[str, Any], list[str]]:
    """The settings that a folder records, and the names of its part files."""
    try:
        fields = json.loads((folder / _MANIFEST).read_bytes())
        recorded = fields.pop(_PARTS, [])
    except OSError as error:
        reason = "it is an index" if has_store(folder) else error
        raise InputError(
            f"{folder} is no folder of embedded documents, as `latechunk embed` makes it: {reason}"
        ) from error
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise TransferError(f"{folder / _MANIFEST} cannot be read: {error}") from error
    if not isinstance(recorded, list) or not all(isinstance(name, str) for name in recorded):
        raise TransferError(f"{folder / _MANIFEST}: {_PARTS} must be a list of names of files, got {recorded!r:.80}")
    return fields, recorded


def _ids_of(part: Path) -> list[str]:
    """The id of each row of a part file."""
    with explained(part):
        ids: list[str] = parquet.read_table(part, columns=["id"]).column("id").to_pylist()
    return ids


@contextlib.contextmanager
def explained(part: Path) -> Iterator[None]:
    """Say of what is raised which file it is of, as a TransferError."""
    try:
        yield
    except TransferError as error:
        if str(error).startswith(f"{part}: "):
            raise
        raise TransferError(f"{part}: {error}") from error
    except FileNotFoundError as error:
        raise TransferError(
            f"{part} is gone since its folder was looked through, as a run of `latechunk embed` writes parts again at "
            f"its end: try again"
        ) from error
    except (arrow.ArrowException, OSError, LookupError, ValueError) as error:
        raise TransferError(f"{part} cannot be read: {error}") from error


def read_rows(part: Path, columns: list[str] | None = None) -> Iterator[arrow.Table]:
    """Up to 64 rows at a time, whose checksums are right."""
    file = parquet.ParquetFile(part, page_checksum_verification=True)
    for group in range(file.num_row_groups):  # see latechunk.maintenance.parquet
        batches = file.iter_batches(_ROWS_READ, row_groups=[group], columns=columns, use_threads=False)
        for batch in batches:
            yield arrow.Table.from_batches([batch])
