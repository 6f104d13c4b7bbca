"""What a folder of embedded documents holds: compare documents with it, and read some of them back."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Collection, Iterator, Set
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pyarrow as arrow

from latechunk.chunking.places import with_outline
from latechunk.distributed.folder import EmbeddedFolder, explained, read_rows
from latechunk.distributed.rows import LABELS
from latechunk.errors import DocumentError
from latechunk.indexing import must_be_cut_again
from latechunk.readers.files import ONE_FOLDER, find_place
from latechunk.readers.origin import find_row, is_of_another_file
from latechunk.storage.rows import Fingerprint
from latechunk.storage.store import StoredDocument
from latechunk.types import Document


class Known:
    """What a folder held when this was made; takes about 250 bytes of memory for each document."""

    def __init__(self, folder: EmbeddedFolder) -> None:
        """Look through the folder, without the vectors."""
        self._folder = folder
        self._parts = folder.parts()
        self._rows: dict[str, tuple[bytes, int, int]] = {}
        self._last: tuple[int, int, arrow.Table | None] = (-1, 0, None)  # part, first row, a group of rows
        for number, part in enumerate(self._parts):
            with explained(part):
                self._look_through(number, part)

    def _look_through(self, number: int, part: Path) -> None:
        row = 0
        for table in read_rows(part, ["id", *LABELS]):
            for document_id, text_sha256, *rest in zip(*(one.to_pylist() for one in table.columns), strict=True):
                digest = _digest(Fingerprint(bytes.fromhex(text_sha256), *rest))
                self._rows[document_id] = (digest, number, row)
                row += 1

    @property
    def ids(self) -> Set[str]:
        """Of all documents."""
        return self._rows.keys()

    def digests(self) -> Iterator[tuple[str, bytes]]:
        """The id of each document, with what differs if its text, metadata, pages or outline do."""
        return ((name, digest) for name, (digest, _, _) in self._rows.items())

    def metadata(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The id and metadata of each document."""
        for number, part in enumerate(self._parts):
            row = 0
            for rows in read_rows(part, ["id", "metadata"]):
                for document_id, metadata in zip(*(one.to_pylist() for one in rows.columns), strict=True):
                    if self._rows[document_id][1:] == (number, row):
                        yield document_id, json.loads(metadata)
                    row += 1

    def read(self, ids: Collection[str]) -> Iterator[StoredDocument]:
        """Those of these documents that are there, in the order of the files."""
        wanted: dict[int, set[int]] = {}
        for name in ids:
            if name in self._rows:
                _, part, row = self._rows[name]
                wanted.setdefault(part, set()).add(row)
        for part in sorted(wanted):
            rows = itertools.chain.from_iterable(self._folder.documents(self._parts[part]))
            yield from (one for row, one in enumerate(rows) if row in wanted[part])

    def find(self, document: Document) -> StoredDocument | Literal["unchanged"] | None:
        """What of a document is there: all, its vectors with other metadata or pages, which are replaced, or nothing.

        Like ``latechunk.Index.add``: a document is encoded again if its text, its language or its outline is new.

        Raises:
            DocumentError: If one of another file, which is still there, has its id.
        """
        if document.id not in self._rows:
            return None
        digest, part, row = self._rows[document.id]
        if digest == _digest(Fingerprint.of(with_outline(document))):
            return "unchanged"
        stored = self._read_row(part, row)
        if is_of_another_file(document, stored.document):
            is_row = any(find_row(one.metadata) for one in (document, stored.document))
            raise DocumentError(
                f"its id {document.id} is that of {find_place(stored.document)} in {self._folder.path}; "
                f"{'give it another id' if is_row else ONE_FOLDER}"
            )
        before = Fingerprint.of(stored.document)
        if must_be_cut_again(document, before):
            return None
        now = document.with_outline(stored.document.outline or ())
        return "unchanged" if Fingerprint.of(now) == before else replace(stored, document=now)

    def _read_row(self, part: int, row: int) -> StoredDocument:
        """A document, from the group of rows that was read last, if it is in it."""
        known, first, rows = self._last
        if rows is None or known != part or not first <= row < first + rows.num_rows:
            first, rows = self._folder.rows_around(self._parts[part], row)
            self._last = part, first, rows
        (found,) = self._folder.sound_documents(self._parts[part], rows.slice(row - first, 1))
        return found


def _digest(fingerprint: Fingerprint) -> bytes:
    digest = hashlib.sha256(fingerprint.text_sha256)
    for one in (fingerprint.metadata, fingerprint.pages, fingerprint.outline):
        digest.update(b"\0" + one.encode())
    return digest.digest()[:16]
