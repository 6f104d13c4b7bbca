"""The index: documents in, hits out. Joins encoder, chunker, store and vector cache."""

from __future__ import annotations

import contextlib
import math
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from latechunk.ann.spec import IndexSpec
from latechunk.ann.synced import OptimizeReport, SyncedIndex
from latechunk.embedding import ChunkedDocument, Embedding, chunk_documents, embed_chunks
from latechunk.errors import (
    DocumentError,
    IndexBusyError,
    IndexMismatchError,
    IndexReadOnlyError,
    InputError,
    LateChunkError,
    QueryError,
)
from latechunk.indexing import Pace, prepare_ahead, take_batches
from latechunk.manifest import (
    choose_embedding,
    name_chunkers,
    package_versions,
    read_settings,
    rebuild,
    rebuild_chunkers,
    require_fitting,
    require_same,
    require_same_chunkers,
    require_settings,
    to_vector_kind,
)
from latechunk.models.catalogue import Mode
from latechunk.protocols import Chunker, ReportsRuntime, Reranker, SpanEncoder
from latechunk.search.options import Fusion, SearchMode, SearchOptions
from latechunk.search.searcher import Searcher
from latechunk.storage.directory import (
    STORE,
    as_folder,
    create_folder,
    folder_size,
    hold_write_lock,
    require_index,
    require_vacant,
)
from latechunk.storage.fulltext import Words, check_words
from latechunk.storage.schema import FORMAT
from latechunk.storage.store import DocumentContent, Store, StoredDocument
from latechunk.types import (
    Chunk,
    Document,
    FloatArray,
    Hit,
    Settings,
    encode_metadata,
    find_lone_surrogate,
    require_text,
)

if TYPE_CHECKING:
    from latechunk.models.device import Attention, Dtype


@dataclass(frozen=True, slots=True)
class AddReport:
    """What :meth:`Index.add` did: numbers of documents, and of chunks and tokens that were encoded for them."""

    n_added: int = 0
    n_updated: int = 0
    n_unchanged: int = 0
    n_failed: int = 0
    n_chunks: int = 0
    n_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """What was done since the last report: documents (a fraction while one is under way) and content tokens."""

    documents: float
    tokens: int


@dataclass(frozen=True, slots=True)
class IndexInfo:
    """What an index is and holds.

    ``size_bytes`` is what its folder takes on disk, ``chunker`` the first of ``chunkers``, ``n_chunks`` counts those of
    all granularities.
    """

    path: str
    format: int
    n_documents: int
    n_chunks: int
    n_tokens: int
    size_bytes: int
    encoder: Settings
    chunker: Settings
    chunkers: Mapping[str, Settings]
    search: Settings
    embedding: Settings
    made: Settings


class Index:
    """Long documents, searchable by late-chunk vectors, in a folder.

    Make one with :meth:`create` or :meth:`open`, and close it, or use it in a ``with`` statement. Threads may share
    one; processes may each open the same folder, of which one writes at a time. What :meth:`add` and :meth:`delete`
    have returned from survives a kill or a power cut at any moment.
    """

    def __init__(
        self,
        path: Path,
        store: Store,
        *,
        encoder: SpanEncoder | None,
        chunkers: Mapping[str, Chunker],
        options: _Options,
    ) -> None:
        """Internal; use :meth:`create` or :meth:`open`."""
        self.path = path
        self._store = store
        self._options = options
        self._recorded = read_settings(store)
        self._embedding = rebuild(path, "embedding", lambda settings: Embedding(**settings), self._recorded)
        self._encoder = encoder
        self._chunkers = dict(chunkers)
        if encoder is not None:
            require_same("encoder", path, self._recorded["encoder"], encoder.settings)
        require_same_chunkers(path, self._recorded["chunkers"], chunkers)
        kind = rebuild(path, "search", to_vector_kind, self._recorded)
        dims = int(self._recorded["encoder"]["dims"])
        self._mirrors = [
            SyncedIndex(path, store, dims, granularity=number, spec=kind)
            for number in range(len(self._recorded["chunkers"]))
        ]
        self._searcher = Searcher(
            store, self._mirrors, list(self._recorded["chunkers"]), self._recorded["search"]["words"]
        )
        self._changed = self._closed = False
        self._write_lock = threading.Lock()
        self._writer: int | None = None
        self._encoder_lock = threading.Lock()

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        *,
        encoder: SpanEncoder | None = None,
        chunker: Chunker | None = None,
        chunkers: Mapping[str, Chunker] | None = None,
        mode: Mode | None = None,
        late_weight: float | None = None,
        words: Words | None = "unicode61",
        vectors: str = "auto",
        first_pass_dims: int | None = None,
        lock_timeout: float = 10.0,
    ) -> Self:
        """Make an empty index.

        Args:
            path: The folder to make; must not exist, or be empty.
            encoder: None for ``Encoder.load()``, the default model.
            chunker: None for ``SentenceChunker()``.
            chunkers: Several granularities by name, in place of ``chunker``: the same documents cut in several ways,
                each encoded once for all. The first is the one that is searched where nothing else is said.
            mode: ``"late"``, ``"naive"`` or ``"blend"``; see :class:`latechunk.embedding.Embedding`. None for what
                the encoder recommends, which was measured to be best with its model or adapters, else ``"late"``.
            late_weight: Share of the late vector in a blend; None for what the encoder recommends, else 0.5.
            words: How lexical search takes texts apart: ``"unicode61"`` into words, ``"trigram"`` into any three
                characters in a row, for languages without spaces; None for no lexical search.
            vectors: How vectors are searched: ``"flat"`` compares all, ``"hnsw"`` and ``"ivf"`` only likely ones,
                ``"auto"`` chooses by their number; or a FAISS factory string for inner products, such as
                ``"IVF1024,PQ48"``. What is found is always re-scored with the exact vectors.
            first_pass_dims: Of a Matryoshka model, how many numbers of each vector the first comparison takes.
            lock_timeout: Seconds that a change waits for another writer to finish.

        Raises:
            IndexExistsError: If there is something at ``path`` already.
            InputError: If a setting is out of range.
            StoreError: If the disk does not take it.
        """
        folder = as_folder(path)
        require_vacant(folder)
        named = name_chunkers(chunker, chunkers)
        check_words(words)
        encoder = _load_default_encoder() if encoder is None else encoder
        recorded = require_settings("encoder", encoder.settings)
        embedding = choose_embedding(encoder, mode, late_weight)
        kind = IndexSpec(kind=vectors, first_pass_dims=first_pass_dims)
        require_fitting(kind, recorded)
        settings = {
            "encoder": recorded,
            "chunkers": {name: require_settings("chunker", one.settings) for name, one in named.items()},
            "embedding": embedding.settings,
            "search": {"words": words, "vectors": kind.kind, "first_pass_dims": kind.first_pass_dims},
            "made": {
                "at": datetime.now(UTC).isoformat(timespec="seconds"),
                **package_versions(),
                "on": require_settings("runtime", encoder.runtime) if isinstance(encoder, ReportsRuntime) else {},
            },
        }
        create_folder(folder, settings)
        return cls.open(folder, encoder=encoder, chunkers=named, lock_timeout=lock_timeout)

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        encoder: SpanEncoder | None = None,
        chunker: Chunker | None = None,
        chunkers: Mapping[str, Chunker] | None = None,
        read_only: bool = False,
        device: str = "auto",
        dtype: Dtype = "auto",
        attention: Attention = "auto",
        lock_timeout: float = 10.0,
    ) -> Self:
        """Open an index. It loads its encoder, from what is on this machine, when it is first needed.

        Args:
            path: The folder.
            encoder: What made the index, if it is loaded already, must be downloaded, or is the user's own.
            chunker: Likewise, where there is one granularity.
            chunkers: Likewise by name, where there are several.
            read_only: Refuse changes and write nothing into the folder.
            device: Where the encoder runs; see :meth:`latechunk.Encoder.load`.
            dtype: What it computes in; does not have to be what the index was made with.
            attention: How its layers attend; likewise.
            lock_timeout: Seconds that a change waits for another writer to finish.

        Raises:
            IndexMissingError: If there is nothing at ``path``.
            IndexFormatError: If it is something else, incomplete, of a newer format, or of an older one and to be read
                only; opened for writing, an index of an older format is brought to this one.
            IndexDamagedError: If the database is damaged.
            IndexMismatchError: If ``encoder`` or ``chunker`` is not what made the index.
        """
        folder = as_folder(path)
        require_index(folder)
        if not isinstance(lock_timeout, int | float) or not 0 <= lock_timeout < math.inf:
            raise InputError(f"lock_timeout must be a number of seconds of at least 0, got {lock_timeout!r}")
        store = Store.open(folder / STORE, read_only=read_only)
        try:
            options = _Options(device=device, dtype=dtype, attention=attention, lock_timeout=lock_timeout)
            return cls(folder, store, encoder=encoder, chunkers=_given(store, chunker, chunkers), options=options)
        except BaseException:
            store.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close(write_vectors=error is None)

    def __len__(self) -> int:
        """Number of documents."""
        return self._store.counts().n_documents

    def __contains__(self, document_id: object) -> bool:
        """Whether a document of this id is stored."""
        if not isinstance(document_id, str) or find_lone_surrogate(document_id) is not None:
            return False
        return bool(self._store.fingerprints([document_id]))

    @property
    def encoder(self) -> SpanEncoder:
        """What makes the vectors; loaded now if it was not yet.

        Raises:
            ModelError: If the model is not on this machine.
            IndexMismatchError: If it is not the one that made the index.
        """
        with self._encoder_lock:
            if self._encoder is None:
                encoder = _load_encoder(self.path, self._recorded["encoder"], self._options)
                require_same("encoder", self.path, self._recorded["encoder"], encoder.settings)
                self._encoder = encoder
            return self._encoder

    @property
    def chunker(self) -> Chunker:
        """What cuts the documents into the chunks that are searched where nothing else is said.

        Raises:
            IndexMismatchError: If it is the user's own and was not passed to :meth:`open`.
        """
        return next(iter(self.chunkers.values()))

    @property
    def chunkers(self) -> Mapping[str, Chunker]:
        """What cuts the documents, by the names of the granularities.

        Raises:
            IndexMismatchError: If one is the user's own and was not passed to :meth:`open`.
        """
        if len(self._chunkers) < len(self._recorded["chunkers"]):
            self._chunkers = rebuild_chunkers(self.path, self._recorded["chunkers"], self._chunkers)
        return self._chunkers

    def add(
        self,
        documents: Iterable[Document],
        *,
        on_error: Callable[[Document, DocumentError], None] | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> AddReport:
        """Add documents, each in place of the one with the same id.

        Documents are encoded and committed in batches, so any number of them may be streamed in. One whose text is
        stored already is not encoded again.

        Args:
            documents: What to add; ids must differ.
            on_error: Called for each document that cannot be indexed, which is then left out. None to raise the error.
            on_progress: Called now and then.

        Returns:
            What was done.

        Raises:
            DocumentError: If a document cannot be indexed or an id comes twice. The batches before are stored (a note
                on the error says how many documents), this batch is not.
            IndexBusyError: If another writer does not finish in time.
            StoreError: If the disk does not take it; the batch under way is then not stored.
        """
        if isinstance(documents, Document | str) or not isinstance(documents, Iterable):
            raise InputError(f"add takes an iterable of documents, got {type(documents).__name__}: pass [document]")
        handle = on_error or _raise
        report = AddReport()
        pace = Pace()
        with self._writing():
            try:
                with closing(prepare_ahead(self._sorted_batches(documents, pace), self._cut)) as batches:
                    for batch in batches:
                        begin = time.monotonic()
                        report = _sum_reports(report, self._add_batch(batch, handle, on_progress))
                        pace.note(sum(len(cut.document.text) for cut in batch.cuts), time.monotonic() - begin)
            except LateChunkError as error:
                n_done = report.n_added + report.n_updated + report.n_unchanged
                error.add_note(f"{n_done} documents of this call were stored before the error")
                raise
        return report

    def delete(self, ids: Sequence[str]) -> int:
        """Delete documents, in one transaction; unknown ids are passed over. Returns how many were there.

        Raises:
            InputError: If ``ids`` is not a sequence of strings.
            IndexBusyError: If another writer does not finish in time.
        """
        if isinstance(ids, str) or not isinstance(ids, Sequence) or not all(isinstance(one, str) for one in ids):
            raise InputError(f"delete takes a list of ids, got {ids!r:.80}")
        for one in ids:
            require_text(one, "a document id", InputError)
        with self._writing():
            return self._store.delete(ids)

    def get(self, document_id: str) -> Document | None:
        """Read a document back, to the character, or None if there is none of this id.

        Raises:
            InputError: If ``document_id`` cannot be an id.
            IndexDamagedError: If the text is no longer what was stored.
        """
        require_text(document_id, "a document id", InputError)
        return self._store.document(document_id)

    def chunks(self, document_id: str, *, granularity: str | None = None) -> list[Chunk]:
        """The chunks of a document, in the order of their starts; none if there is no document of this id.

        Args:
            document_id: Which document.
            granularity: Which of its chunkings, by name; None for the first.

        Raises:
            InputError: If ``document_id`` cannot be an id, or there is no such granularity.
        """
        require_text(document_id, "a document id", InputError)
        number = self._searcher.number_of("granularity", granularity)
        with self._store.snapshot():
            return self._store.chunks(self._store.rows_of_document(document_id, number))

    def neighbours(self, passages: Sequence[Chunk]) -> list[tuple[Chunk | None, Chunk | None]]:
        """The chunks before and behind passages, as :meth:`search` gives them: single chunks, or several joined.

        Args:
            passages: In any order.

        Returns:
            For each the chunk before its first and the chunk behind its last, None where there is none. Both are None
            if the document was changed since, so that the passage is no longer in it.
        """
        with self._store.snapshot():
            return [self._neighbours_of(one) for one in passages]

    def _neighbours_of(self, passage: Chunk) -> tuple[Chunk | None, Chunk | None]:
        granularity = self._searcher.number_of("granularity", passage.granularity)
        for document in self._store.numbers_of_ids([passage.document_id]):
            own, before, behind = self._store.rows_beside(document, granularity, passage.number, passage.end)
            rows = [row for row in (own, before, behind) if row]
            chunks = dict(zip(rows, self._store.chunks(rows), strict=True))
            if own and own.start == passage.start and passage.text.startswith(chunks[own].text):
                return chunks[before] if before else None, chunks[behind] if behind else None
        return None, None

    def stored(self, document_id: str) -> StoredDocument | None:
        """All that is stored of a document: text, metadata, spans and vectors; None if there is none of this id.

        Raises:
            InputError: If ``document_id`` cannot be an id.
            IndexDamagedError: If any of it is no longer what was stored.
        """
        require_text(document_id, "a document id", InputError)
        return self._store.stored(document_id)

    def ids(self) -> list[str]:
        """Ids of all documents, the one added or replaced last at the end."""
        return self._store.document_ids()

    def search(
        self,
        query: str,
        k: int = 10,
        *,
        mode: SearchMode = "dense",
        filter: Mapping[str, Any] | None = None,  # noqa: A002  as users of vector stores know it
        document_ids: Sequence[str] | None = None,
        granularity: str | None = None,
        fusion: Fusion = "rrf",
        dense_weight: float = 0.5,
        score_threshold: float | None = None,
        rerank: Reranker | None = None,
        mmr: float | None = None,
        candidates: int | None = None,
        per_document: bool = False,
        within: str | None = None,
        expand: int = 0,
    ) -> list[Hit]:
        """Find the passages that answer a query best.

        Args:
            query: A question or a description, of any length.
            k: How many hits; all chunks come back if there are fewer.
            mode: ``"dense"`` compares vectors, ``"lexical"`` words (BM25) and loads no model, ``"hybrid"`` fuses both.
            filter: Only documents whose metadata meet this; see :func:`latechunk.search.filters.compile_filter`.
            document_ids: Only these documents; unknown ids are passed over.
            granularity: Which chunks to search, by name; None for the first.
            fusion: ``"rrf"``, reciprocal rank fusion, or ``"weighted"``, a sum of scores each stretched to [0, 1].
            dense_weight: Share of the dense side in a fusion, from 0 to 1.
            score_threshold: Leave out hits with a lower score, which is a cosine, a BM25 score, a fused score, or what
                ``rerank`` gives.
            rerank: Orders the candidates anew; :class:`latechunk.CrossEncoderReranker` or any function of a question
                and texts.
            mmr: Maximal marginal relevance: 1 for relevance alone, 0 for difference from better hits alone.
            candidates: How many chunks are fused, re-ranked or thinned; None for ``max(4 * k, 50)``.
            per_document: Only the best chunk of each document.
            within: Give back the chunks of this granularity that the found ones lie in, each once.
            expand: Give back each hit with so many neighbours on either side; passages that touch become one, so that
                there may be fewer than ``k``.

        Returns:
            ``min(k, number of what matches)`` hits, best first; fewer where a threshold or ``expand`` says so, and in
            lexical search where fewer chunks hold a word of the query.

        Raises:
            QueryError: If the query holds no token.
            FilterError: If the filter is not one.
            InputError: If another argument is out of range, or contradicts the index.
        """
        if not isinstance(query, str):
            raise QueryError(f"the query must be a string, got {type(query).__name__}; search_by_vector takes a vector")
        require_text(query, "the query", QueryError)
        options = SearchOptions(
            k=k,
            mode=mode,
            filter=filter,
            document_ids=document_ids,
            granularity=granularity,
            fusion=fusion,
            dense_weight=dense_weight,
            score_threshold=score_threshold,
            rerank=rerank,
            mmr=mmr,
            candidates=candidates,
            per_document=per_document,
            within=within,
            expand=expand,
        )
        return self._searcher.search(query, options, lambda: self.encoder)

    def search_by_vector(
        self,
        vector: FloatArray,
        k: int = 10,
        *,
        filter: Mapping[str, Any] | None = None,  # noqa: A002
        document_ids: Sequence[str] | None = None,
        granularity: str | None = None,
        score_threshold: float | None = None,
        mmr: float | None = None,
        candidates: int | None = None,
        per_document: bool = False,
        within: str | None = None,
        expand: int = 0,
    ) -> list[Hit]:
        """Find the passages whose vectors are nearest to a vector, shape ``(dims,)``; else as :meth:`search`.

        Raises:
            InputError: If the vector is of another length, zero or not finite, or another argument is out of range.
        """
        options = SearchOptions(
            k=k,
            filter=filter,
            document_ids=document_ids,
            granularity=granularity,
            score_threshold=score_threshold,
            mmr=mmr,
            candidates=candidates,
            per_document=per_document,
            within=within,
            expand=expand,
        )
        dims = int(self._recorded["encoder"]["dims"])
        return self._searcher.search(_check_query_vector(vector, dims), options, lambda: self.encoder)

    def optimize(self, *, vectors: str | None = None, first_pass_dims: int | None = None) -> list[OptimizeReport]:
        """Train and tune the search structure anew, compact it and the database; nothing stored changes.

        Args:
            vectors: Change how vectors are searched, see :meth:`create`; None to keep it.
            first_pass_dims: Goes with ``vectors``.

        Returns:
            What came of it, for each granularity.

        Raises:
            InputError: If there is no such kind.
            IndexBusyError: If another writer does not finish in time.
        """
        if vectors is None and first_pass_dims is not None:
            raise InputError("first_pass_dims needs vectors, the kind that it is for")
        if vectors is not None:
            self._change_kind(IndexSpec(kind=vectors, first_pass_dims=first_pass_dims))
        with self._writing():
            self._store.compact()
        reports = [self._train(number) for number in range(len(self._mirrors))]
        self._reload_vectors()
        return reports

    def update_vectors(self, on_step: Callable[[str, int, int], None] | None = None) -> list[OptimizeReport]:
        """Write the search structure as the documents are now, trained where that is due; `latechunk index` ends so.

        It is due where ``vectors`` asks for another structure for so many chunks, where there are four times as many
        as when it was trained, or where a fifth of what it holds was deleted. Until then every chunk added since is
        found, too; a structure that was never trained is searched exactly, which takes longer the more there is.

        Args:
            on_step: Called with "sample", "train", "add" or "tune", and how much of that is done of how much.

        Returns:
            What was trained.

        Raises:
            IndexBusyError: If another writer does not finish in time.
        """
        if self._store.read_only:
            raise IndexReadOnlyError(f"{self.path} is open for reading only; open it with read_only=False to change it")
        reports = []
        for number in range(len(self._mirrors)):
            with self._apart(number) as synced:
                reports.append(synced.update(on_step, lock_timeout=self._options.lock_timeout))
        self._reload_vectors()
        return [one for one in reports if one]

    def info(self) -> IndexInfo:
        """What the index is and holds; loads no model."""
        counts = self._store.counts()
        return IndexInfo(
            path=str(self.path),
            format=FORMAT,
            n_documents=counts.n_documents,
            n_chunks=counts.n_chunks,
            n_tokens=counts.n_tokens,
            size_bytes=folder_size(self.path),
            encoder=self._recorded["encoder"],
            chunker=next(iter(self._recorded["chunkers"].values())),
            chunkers=self._recorded["chunkers"],
            search=self._recorded["search"],
            embedding=self._recorded["embedding"],
            made=self._recorded["made"],
        )

    def close(self) -> None:
        """Close the database, after changes with the vector cache written for the next opening; trains nothing."""
        self._close(write_vectors=True)

    def _close(self, *, write_vectors: bool) -> None:
        with self._searcher.alone():
            if self._closed:
                return
            try:
                if self._changed and write_vectors:
                    for mirror in self._mirrors:
                        mirror.write()
            finally:
                self._closed = True
                self._store.close()

    def _change_kind(self, kind: IndexSpec) -> None:
        require_fitting(kind, self._recorded["encoder"])
        search = {**self._recorded["search"], "vectors": kind.kind, "first_pass_dims": kind.first_pass_dims}
        with self._writing(), self._searcher.alone():
            self._store.change_setting("search", search)
            self._recorded["search"] = search
            for mirror in self._mirrors:
                mirror.change_spec(kind)

    def _train(self, granularity: int) -> OptimizeReport:
        with self._apart(granularity) as synced:
            return synced.optimize(lock_timeout=self._options.lock_timeout)

    @contextlib.contextmanager
    def _apart(self, granularity: int) -> Iterator[SyncedIndex]:
        """A vector index over a connection of its own, so that this index is searched and changed meanwhile."""
        kind = to_vector_kind(self._recorded["search"])
        dims = int(self._recorded["encoder"]["dims"])
        with closing(Store.open(self.path / STORE, read_only=True)) as own:
            yield SyncedIndex(self.path, own, dims, granularity=granularity, spec=kind)

    def _reload_vectors(self) -> None:
        with self._searcher.alone():
            for mirror in self._mirrors:
                mirror.reload()

    def _sorted_batches(self, documents: Iterable[Document], pace: Pace) -> Iterator[_Sorted]:
        """Batches of a stream, each compared with what is stored."""
        for documents_of_batch, repeated in take_batches(documents, pace):
            known = self._store.fingerprints([one.id for one in documents_of_batch])
            changed, relabelled, n_unchanged = _sort_out(documents_of_batch, known)
            yield _Sorted(changed, relabelled, repeated, known.keys(), n_unchanged)

    def _cut(self, batch: _Sorted) -> _Prepared:
        """Tokenise and cut what is to be encoded; runs beside the encoding of the batch before."""
        failures: list[tuple[Document, DocumentError]] = [(one, _explain_repetition(one)) for one in batch.repeated]
        cuts = (
            chunk_documents(
                self.encoder,
                list(self.chunkers.values()),
                self._embedding,
                batch.changed,
                lambda document, error: failures.append((document, error)),
            )
            if batch.changed
            else []
        )
        return _Prepared(batch, cuts, failures)

    def _add_batch(
        self,
        batch: _Prepared,
        on_error: Callable[[Document, DocumentError], None],
        on_progress: Callable[[Progress], None] | None,
    ) -> AddReport:
        for document, error in batch.failures:
            on_error(document, error)
        cuts, origin = batch.cuts, batch.origin
        n_done = len(origin.relabelled) + origin.n_unchanged + len(batch.failures) - len(origin.repeated)
        if on_progress and n_done:
            on_progress(Progress(n_done, 0))
        vectors = embed_chunks(self.encoder, self._embedding, cuts, _progress_of(cuts, on_progress)) if cuts else []
        stored = [
            StoredDocument(cut.document, len(cut.tokens), cut.chunkings, matrix)
            for cut, matrix in zip(cuts, vectors, strict=True)
        ]
        if stored or origin.relabelled:
            self._store.put(stored, origin.relabelled)
        n_replaced = sum(cut.document.id in origin.known for cut in cuts)
        return AddReport(
            n_added=len(cuts) - n_replaced,
            n_updated=n_replaced + len(origin.relabelled),
            n_unchanged=origin.n_unchanged,
            n_failed=len(batch.failures),
            n_chunks=sum(len(cut.spans) for cut in cuts),
            n_tokens=sum(len(cut.tokens) for cut in cuts),
        )

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        if self._store.read_only:
            raise IndexReadOnlyError(f"{self.path} is open for reading only; open it with read_only=False to change it")
        timeout = self._options.lock_timeout
        if self._writer == threading.get_ident():
            raise InputError(
                "an index cannot be changed from within a change of it, such as from on_error or the stream"
            )
        if not self._write_lock.acquire(timeout=timeout):
            raise IndexBusyError(f"{self.path} is being written by another thread; waited {timeout:g} s (lock_timeout)")
        try:
            self._writer = threading.get_ident()
            self._store.require_in_place()
            with hold_write_lock(self.path, timeout):
                self._changed = True
                yield
        finally:
            self._writer = None
            self._write_lock.release()


@dataclass(frozen=True, slots=True)
class _Sorted:
    """A batch as compared with the store: documents to encode, to relabel, and met before in the stream."""

    changed: Sequence[Document]
    relabelled: Sequence[Document]
    repeated: Sequence[Document]
    known: AbstractSet[str]
    n_unchanged: int


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A batch ready to be encoded, with what cannot be indexed."""

    origin: _Sorted
    cuts: Sequence[ChunkedDocument]
    failures: Sequence[tuple[Document, DocumentError]]


@dataclass(frozen=True, slots=True)
class _Options:
    """How to run, as against what was recorded."""

    device: str
    dtype: Dtype
    attention: Attention
    lock_timeout: float


def _given(store: Store, chunker: Chunker | None, chunkers: Mapping[str, Chunker] | None) -> Mapping[str, Chunker]:
    """The chunkers that :meth:`Index.open` was given, by name."""
    if chunker is None:
        return chunkers or {}
    if chunkers is not None:
        raise InputError("chunker and chunkers both say how to cut: pass chunker for one way, chunkers for several")
    names = list(read_settings(store)["chunkers"])
    if len(names) > 1:
        raise InputError(f"the index has several chunkers, {names}: pass chunkers={{name: chunker}}")
    return {names[0]: chunker}


def _check_query_vector(vector: FloatArray, dims: int) -> FloatArray:
    """Let only a unit vector of the index's length pass; what is nearly one is made one."""
    if not isinstance(vector, np.ndarray) or vector.shape != (dims,) or vector.dtype.kind not in "fiu":
        got = f"shape {vector.shape}" if isinstance(vector, np.ndarray) else type(vector).__name__
        raise InputError(f"the vector must be a numpy array of {dims} numbers, shape ({dims},), got {got}")
    peak = float(np.abs(vector.astype(np.float64)).max())
    if not (math.isfinite(peak) and peak > 0):
        raise InputError(f"the vector must be finite and not zero, got numbers of up to {peak}")
    scaled = vector.astype(np.float64) / peak  # so that no square overflows
    return np.asarray(scaled / np.linalg.norm(scaled), dtype=np.float32)


def _raise(_: Document, error: DocumentError) -> None:
    raise error


def _load_default_encoder() -> SpanEncoder:
    from latechunk.encoding.encoder import Encoder

    return Encoder.load()


def _load_encoder(path: Path, recorded: Settings, options: _Options) -> SpanEncoder:
    from latechunk.encoding.encoder import KIND, Encoder

    if recorded.get("kind") != KIND:
        raise IndexMismatchError(
            f"the index at {path} was made with an encoder of your own, {dict(recorded)}: "
            f"pass it as Index.open(..., encoder=...)"
        )
    return Encoder.from_settings(recorded, device=options.device, dtype=options.dtype, attention=options.attention)


def _explain_repetition(document: Document) -> DocumentError:
    return DocumentError(
        f"the document id {document.id!r} comes twice in one call of add; ids must differ, since each document "
        f"replaces the one with the same id"
    )


def _sort_out(
    documents: Sequence[Document], known: Mapping[str, tuple[bytes, str]]
) -> tuple[list[Document], list[Document], int]:
    """Part documents into those to encode, those of which only the metadata changed, and the number of unchanged."""
    changed, relabelled, n_unchanged = [], [], 0
    for document in documents:
        digest, metadata = known.get(document.id, (None, None))
        if digest is None or digest != DocumentContent(document).text_sha256:
            changed.append(document)
        elif metadata != encode_metadata(document.metadata, document.id):
            relabelled.append(document)
        else:
            n_unchanged += 1
    return changed, relabelled, n_unchanged


def _progress_of(
    cuts: Sequence[ChunkedDocument], on_progress: Callable[[Progress], None] | None
) -> Callable[[int, int], None] | None:
    """Turn tokens done of one document into a share of it.

    A chunk that is read alone may tokenise a little differently, so a document's shares add up to 1 within a percent.
    """
    if on_progress is None:
        return None

    def report(number: int, n_tokens: int) -> None:
        on_progress(Progress(n_tokens / len(cuts[number].tokens), n_tokens))

    return report


def _sum_reports(left: AddReport, right: AddReport) -> AddReport:
    return replace(
        left, **{name: getattr(left, name) + getattr(right, name) for name in AddReport.__dataclass_fields__}
    )
