"""Embed documents into a folder of part files, by this process or the processes of a ``DevicePool``."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Self

from latechunk.chunking.registry import to_chunker
from latechunk.distributed.folder import EmbeddedFolder
from latechunk.distributed.known import Known
from latechunk.distributed.outcomes import EmbedReport, Outcome, count, embed
from latechunk.distributed.rows import to_table
from latechunk.embedding import Embedding, Progress, choose_embedding
from latechunk.embedding.progress import progress_shown
from latechunk.embedding.stream import load_encoder, require_documents
from latechunk.manifest import IndexManifest, SearchSettings, name_chunkers
from latechunk.protocols import Chunker, SpanEncoder
from latechunk.readers import Problem
from latechunk.storage.store import StoredDocument
from latechunk.types import Document, Mode
from latechunk.validation import require_function

# What a part file holds, and what a kill may cost, whichever comes first.
_PART_DOCUMENTS = 1_000
_PART_BYTES = 2**27
_PART_SECONDS = 60.0


def embed_folder(
    documents: Iterable[Document | Problem],
    out: str | os.PathLike[str],
    *,
    encoder: SpanEncoder | str | None = None,
    chunker: Chunker | str | None = None,
    mode: Mode | None = None,
    late_weight: float | None = None,
    on_outcome: Callable[[Outcome], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    show_progress: bool = False,
) -> EmbedReport:
    """Embed documents into a folder of Parquet files, of which ``import_folders`` makes an index without a model.

    A row holds a document with its chunks, their vectors and all else that an index needs, as
    ``latechunk.distributed.rows`` describes. Run again with the same ``out``, it encodes only what is new, and goes on
    where it was killed: at most the last minute's documents are encoded twice. A document that cannot be embedded
    becomes a row of the folder's ``errors`` files with the reason, and the others are embedded.

    Args:
        documents: Any number of them; ids must differ. A ``latechunk.readers.Problem`` among them becomes a failure.
        out: The folder, new or of the same settings.
        encoder: As ``latechunk.embed_documents`` has it; a ``DevicePool`` for several devices.
        chunker: Likewise.
        mode: Likewise.
        late_weight: Likewise.
        on_outcome: Called with what became of each document.
        on_progress: Called now and then.
        show_progress: Show a bar on stderr, or a line now and then where that is no terminal.

    Raises:
        InputError: If a setting is out of range, or ``out`` is something else.
        IndexMismatchError: If the vectors in ``out`` were made with other settings; the message names them.
        TransferError: If ``out`` lacks a part file that an earlier run wrote.
        IndexBusyError: If another process is writing there.
        ModelError: If the model cannot be loaded, or gives unusable vectors.
        StoreError: If the disk does not take it.

    Examples:
        >>> embed_folder(documents, "embedded")
        EmbedReport(n_embedded=2, n_relabelled=0, n_unchanged=0, n_failed=0, n_chunks=2, n_tokens=30)
    """
    require_documents("embed_folder", documents)
    require_function("on_outcome", on_outcome)
    require_function("on_progress", on_progress)
    cut, loaded = to_chunker(chunker), load_encoder(encoder)
    embedding = choose_embedding(loaded, mode, late_weight)
    folder = EmbeddedFolder.prepare(out, make_manifest(loaded, cut, embedding))
    with folder.writing() as run, progress_shown(documents, on_progress, show_progress) as tell:
        with _PartWriter(folder, run, on_outcome) as writer:
            embed(documents, loaded, cut, embedding, Known(folder), writer.take, tell)
        return EmbedReport(**writer.counts)


def make_manifest(encoder: SpanEncoder, chunker: Chunker, embedding: Embedding) -> IndexManifest:
    """The manifest of a folder, and of an index that is made of it."""
    search = SearchSettings.of_user(words=True, vectors="auto", first_pass_dims=None, precision="float32")
    return IndexManifest.make(encoder, name_chunkers(chunker, None), embedding, search)


class _PartWriter:
    """Collects outcomes and writes them part by part; what was taken is written even if an error ends the run."""

    def __init__(self, folder: EmbeddedFolder, run: int, on_outcome: Callable[[Outcome], None] | None) -> None:
        self.counts: Counter[str] = Counter()
        self._folder, self._run, self._tell = folder, run, on_outcome
        self._documents: list[StoredDocument] = []
        self._errors: list[tuple[str, str]] = []
        self._n_bytes = 0
        self._begun = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._write_part()
        if self._errors:
            self._folder.write_errors(self._run, self._errors)

    def take(self, outcome: Outcome) -> None:
        """Take an outcome; a part that is full is written."""
        self.counts += count(outcome)
        if outcome.status == "failed":
            self._errors.append((outcome.id, outcome.reason))
        if outcome.stored:
            self._documents.append(outcome.stored)
            document = outcome.stored.document
            self._n_bytes += outcome.stored.vectors.nbytes + len(document.text) + len(document.metadata_json)
        if (
            len(self._documents) >= _PART_DOCUMENTS
            or self._n_bytes >= _PART_BYTES
            or time.monotonic() - self._begun >= _PART_SECONDS
        ):
            self._write_part()
        if self._tell:
            self._tell(outcome)

    def _write_part(self) -> None:
        if self._documents:
            manifest = self._folder.manifest
            self._folder.write_part(self._run, to_table(self._documents, manifest.dims, manifest.fingerprint))
        self._documents, self._n_bytes, self._begun = [], 0, time.monotonic()
