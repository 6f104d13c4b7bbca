"""What folders of embedded documents hold now: of each document the row that counts; loads no model."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from latechunk.chunking.places import make_chunks
from latechunk.distributed.folder import EmbeddedFolder
from latechunk.distributed.known import Known
from latechunk.embedding import EmbeddedDocument
from latechunk.errors import TransferError
from latechunk.storage.store import StoredDocument


class Current:
    """The documents of folders of the same settings; takes about 250 bytes of memory for each."""

    def __init__(self, folders: Sequence[EmbeddedFolder]) -> None:
        """Look through the folders, without the vectors.

        Raises:
            IndexMismatchError: If their settings differ.
            TransferError: If two hold different documents of one id, or a file is damaged or missing.
        """
        first, *others = self.folders = list(folders)
        self.manifest = first.manifest
        for other in others:
            other.require_same(first.manifest, f"push folders of one kind together, here those of {first.path}")
        self._known = [Known(one) for one in self.folders]
        self.digests: Mapping[str, bytes] = self._join()

    def _join(self) -> dict[str, bytes]:
        digests: dict[str, bytes] = {}
        for folder, known in zip(self.folders, self._known, strict=True):
            for name, digest in known.digests():
                if digests.setdefault(name, digest) != digest:
                    raise TransferError(
                        f"{folder.path} and another folder hold different documents of the id {name!r}; give documents "
                        f"ids that differ"
                    )
        return digests

    def documents(self, ids: Collection[str]) -> Iterator[StoredDocument]:
        """These documents, each once, in the order of the files; TransferError if a file is damaged."""
        left = set(ids)
        for known in self._known:
            yield from known.read(left)
            left -= known.ids


def remove_documents(
    path: str | os.PathLike[str], choose: Callable[[Iterator[tuple[str, dict[str, Any]]]], Collection[str]]
) -> list[str]:
    """Remove documents from a folder that ``embed_folder`` filled; part files that have them are written again.

    If it is killed, some of them are still there, and nothing else is lost.

    Args:
        path: The folder.
        choose: Given the ids and metadata of all documents, one by one, says which ids are to go.

    Returns:
        The ids of those that were there, sorted.

    Raises:
        InputError: If there is no such folder.
        IndexBusyError: If another process is writing there.
        TransferError: If a file is damaged or missing.

    Examples:
        >>> remove_documents("embedded", lambda stored: [name for name, metadata in stored if metadata.get("old")])
        []
    """
    folder = EmbeddedFolder.open(path)
    known = Known(folder)
    gone = sorted(known.ids & set(choose(known.metadata())))
    if gone:
        folder.remove(gone)
    return gone


def read_embedded(path: str | os.PathLike[str]) -> Iterator[EmbeddedDocument]:
    """Read a folder that ``latechunk embed`` filled, for a vector store of your own; loads no model.

    Needs the extra ``parquet``.

    Returns:
        An iterator over the documents with their chunks and vectors, in the order of the files.

    Raises:
        InputError: If there is no such folder, at once.
        TransferError: If a file is damaged or missing.

    Examples:
        >>> for one in read_embedded("embedded"):  # doctest: +SKIP
        ...     rows = list(zip([chunk.text for chunk in one.chunks], one.vectors.tolist()))
    """
    return _read(Current([EmbeddedFolder.open(path)]))


def _read(current: Current) -> Iterator[EmbeddedDocument]:
    for one in current.documents(current.digests):
        chunks = make_chunks(one.document, one.chunkings[0])
        yield EmbeddedDocument(one.document, one.n_tokens, chunks, one.vectors)
