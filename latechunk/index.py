"""The index: add documents, search passages. A facade over store, vector search and indexing."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypedDict, Unpack

import numpy as np

from latechunk.ann.synced import OptimizeReport, SyncedIndex
from latechunk.chunking.places import make_chunks
from latechunk.embedding import OnError, Progress, choose_embedding
from latechunk.embedding.progress import progress_shown
from latechunk.embedding.stream import load_encoder, require_documents
from latechunk.embedding.vectors import to_unit
from latechunk.errors import IndexExistsError, InputError, QueryError
from latechunk.indexing import AddReport, add_documents
from latechunk.manifest import IndexInfo, IndexManifest, SearchSettings, name_chunkers
from latechunk.protocols import Chunker, SpanEncoder
from latechunk.search.filters import select_documents
from latechunk.search.options import SearchKeywords, SearchOptions
from latechunk.search.query import number_of_granularity
from latechunk.search.searcher import Searcher
from latechunk.search.sections import find_neighbours
from latechunk.storage.directory import (
    STORE,
    as_folder,
    folder_size,
    has_store,
    new_store,
    require_index,
    require_timeout,
    require_vacant,
)
from latechunk.storage.schema import FORMAT
from latechunk.storage.store import Store, StoredDocument
from latechunk.storage.vectors import Precision
from latechunk.storage.write_turns import WriteTurns
from latechunk.threads import make_lock
from latechunk.types import Chunk, Document, FloatArray, Hit, Mode, Settings, Span, require_ids, require_text
from latechunk.validation import require_function

if TYPE_CHECKING:
    from latechunk.models.device import Attention, Dtype


class IndexKeywords(TypedDict, total=False):
    """The keywords of ``Index.create`` but the encoder, which documents them, to pass them on with ``Unpack``."""

    chunker: Chunker | str | None
    chunkers: Mapping[str, Chunker | str] | None
    mode: Mode | None
    late_weight: float | None
    words: bool
    vectors: str
    first_pass_dims: int | None
    precision: Precision
    exist_ok: bool
    lock_timeout: float


class Index:
    """Long documents, searchable by late-chunk vectors, in a folder.

    Make one with ``create`` or ``open``, and close it, or use it in a ``with`` statement. Threads may share
    one; processes may each open the same folder, of which one writes at a time. What ``add`` and ``delete``
    have returned from survives a kill or a power cut at any moment.

    Examples:
        >>> with Index.create("notes.latechunk") as notes:
        ...     report = notes.add(documents)
        ...     [hit.chunk.document_id for hit in notes.search("people in Berlin", k=1)]
        ['berlin']
    """

    def __new__(cls, *arguments: object, **_: object) -> Self:
        """Refuse what is no call of ``open``'s."""
        if not isinstance(arguments[-1] if arguments else None, Store):
            raise InputError(
                "an index is made by Index.create(path), and one that is there is opened by Index.open(path)"
            )
        return super().__new__(cls)

    def __init__(
        self,
        path: Path,
        store: Store,
        *,
        encoder: SpanEncoder | None,
        chunker: Chunker | str | None,
        chunkers: Mapping[str, Chunker | str] | None,
        runtime: Settings,
        lock_timeout: float,
    ) -> None:
        """Internal; use ``create`` or ``open``."""
        self.path = path
        self._store = store
        self._runtime = runtime
        self._turns = WriteTurns(store, path, lock_timeout)
        self.manifest = IndexManifest.read(store.settings())
        self._encoder = encoder
        self._chunkers = self.manifest.name_given(chunker, chunkers)
        if encoder is not None:
            self.manifest.require_encoder(f"the index at {path}", encoder.settings)
        self.manifest.require_chunkers(path, self._chunkers)
        self._vectors = [
            SyncedIndex(path, store, self.manifest.dims, granularity=number, spec=self.manifest.search.spec)
            for number in range(len(store.granularities))
        ]
        self._searcher = Searcher(store, self._vectors, self.manifest.languages)
        self._closed = False
        self._remove: Callable[[], object] | None = None
        self._encoder_lock = make_lock()
        # Connections refer to themselves, so Python frees them late. Not at its end, where a change may be under way.
        weakref.finalize(self, store.close).atexit = False

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        *,
        encoder: SpanEncoder | str | None = None,
        chunker: Chunker | str | None = None,
        chunkers: Mapping[str, Chunker | str] | None = None,
        mode: Mode | None = None,
        late_weight: float | None = None,
        words: bool = True,
        vectors: str = "auto",
        first_pass_dims: int | None = None,
        precision: Precision = "float32",
        exist_ok: bool = False,
        lock_timeout: float = 10.0,
    ) -> Self:
        """Make an empty index.

        Args:
            path: The folder to make; must not exist, or be empty, unless ``exist_ok``.
            encoder: An encoder, or the name of a model for ``Encoder.load``; None for the default model.
            chunker: A chunker, or ``"structure"``, ``"sentence"`` or ``"token"``; None for ``StructureChunker()``.
            chunkers: Up to 8 granularities by name, in place of ``chunker``: the same documents cut in several ways,
                each encoded once for all. The first is the one that is searched where nothing else is said.
            mode: ``"late"``, ``"naive"`` or ``"blend"``; see ``latechunk.Embedding``. None for what
                the encoder recommends, which was measured to be best with its model or adapters, else ``"late"``.
            late_weight: Share of the late vector in a blend, and an error without one; None for what the encoder
                recommends, else 0.5.
            words: Whether words are indexed, for lexical and hybrid search.
            vectors: How vectors are searched: ``"flat"`` compares all, ``"hnsw"`` and ``"ivf"`` only likely ones,
                ``"auto"`` chooses by their number; or a FAISS factory string for inner products, such as
                ``"IVF1024,PQ48"``. What is found is always re-scored with the exact vectors.
            first_pass_dims: Of a Matryoshka model, how many numbers of each vector the first comparison takes.
            precision: What the vectors are stored in: ``"float32"`` as they are, ``"float16"`` in half of the space,
                ``"int8"`` in a quarter; see docs/operations.md for what that costs.
            exist_ok: Open the index that is there, if it was made with these settings.
            lock_timeout: Seconds that a change waits for another writer to finish.

        Raises:
            IndexExistsError: If there is something at ``path`` already.
            IndexMismatchError: With ``exist_ok``, if the index there was made with other settings.
            InputError: If a setting is out of range.
            ModelError: If the model cannot be found or used; MissingDependencyError if its package is not installed.
            StoreError: If the disk does not take it.

        Examples:
            >>> with Index.create("handbook.latechunk") as index:
            ...     index.add([Document("berlin", "Berlin is big. It lies on the Spree.")])
        """
        folder = as_folder(path)
        require_timeout(lock_timeout)
        is_there = exist_ok and has_store(folder)
        if not is_there:
            require_vacant(folder)
        named = name_chunkers(chunker, chunkers)
        search = SearchSettings.of_user(words, vectors, first_pass_dims, precision)
        loaded = load_encoder(encoder)
        embedding = choose_embedding(loaded, mode, late_weight)
        manifest = IndexManifest.make(loaded, named, embedding, search)
        manifest.require_searchable()
        try:
            if not is_there:
                with new_store(folder, lock_timeout if exist_ok else 0.0) as new:
                    Store.create(new, manifest.settings())
        except IndexExistsError:
            if not (exist_ok and has_store(folder)):  # another process has made it since
                raise
        if exist_ok:
            with closing(Store.open(folder / STORE, read_only=True)) as store:
                IndexManifest.read(store.settings()).require_made_as(folder, manifest)
        return cls.open(folder, encoder=loaded, chunkers=named, lock_timeout=lock_timeout)

    @classmethod
    def temporary(cls, *, encoder: SpanEncoder | str | None = None, **settings: Unpack[IndexKeywords]) -> Self:
        """Make an empty index in a folder of its own, which ``close`` removes.

        If it is never closed, the folder goes with the last reference to the index, or when the process ends; a
        process that was forked from this one removes nothing. The arguments are those of ``create``.

        Examples:
            >>> with Index.temporary() as index:
            ...     index.add([Document("berlin", "Berlin is big. It lies on the Spree.")])
            ...     index.search("which river?", k=1)
        """
        if "path" in settings:
            raise InputError(
                "a temporary index gets a folder of its own, so it takes no path: to choose one use Index.create"
            )
        folder = Path(tempfile.mkdtemp(prefix="latechunk-"))
        try:
            index = cls.create(folder / "index", encoder=encoder, **settings)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        index._remove = weakref.finalize(index, _remove_temporary, index._store, folder, os.getpid())
        return index

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        encoder: SpanEncoder | str | None = None,
        chunker: Chunker | str | None = None,
        chunkers: Mapping[str, Chunker | str] | None = None,
        read_only: bool = False,
        device: str = "auto",
        dtype: Dtype = "auto",
        attention: Attention = "auto",
        lock_timeout: float = 10.0,
    ) -> Self:
        """Open an index. It loads its encoder, from what is on this machine, when it is first needed.

        Args:
            path: The folder.
            encoder: What made the index, if it is loaded already, must be downloaded, or is the user's own; a name
                loads a model as ``Encoder.load`` does.
            chunker: Likewise, where there is one granularity.
            chunkers: Likewise by name, where there are several.
            read_only: Refuse changes and write nothing into the folder.
            device: Where the encoder runs; see ``latechunk.Encoder.load``.
            dtype: What it computes in; does not have to be what the index was made with.
            attention: How its layers attend; likewise.
            lock_timeout: Seconds that a change waits for another writer to finish.

        Raises:
            IndexMissingError: If there is nothing at ``path``.
            IndexFormatError: If it is something else, incomplete, or of another format.
            IndexDamagedError: If the database is damaged.
            IndexMismatchError: If ``encoder`` or ``chunker`` is not what made the index.
            ModelError: If ``encoder`` names a model that cannot be found or used.

        Examples:
            >>> with Index.open("handbook.latechunk", read_only=True) as index:
            ...     hits = index.search("which river?", k=3)
        """
        folder = as_folder(path)
        require_index(folder)
        require_timeout(lock_timeout)
        runtime: dict[str, Any] = {"device": device, "dtype": dtype, "attention": attention}
        store = Store.open(folder / STORE, read_only=read_only)
        try:
            return cls(
                folder,
                store,
                encoder=None if encoder is None else load_encoder(encoder, **runtime),
                chunker=chunker,
                chunkers=chunkers,
                runtime=runtime,
                lock_timeout=lock_timeout,
            )
        except BaseException:
            store.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._turns.were_taken &= kind is None  # after an exception nothing more is written
        self.close()

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied, as the open database cannot be."""
        raise InputError(
            f"an index cannot be pickled or copied, since it holds an open database: hand on its path, "
            f"{str(self.path)!r}, and open it there by Index.open(path)"
        )

    def __len__(self) -> int:
        """Number of documents."""
        return self._store.counts().n_documents

    def __contains__(self, document_id: object) -> bool:
        """Whether a document of this id is stored."""
        try:
            require_text(document_id, "a document id", InputError)
        except InputError:
            return False
        return bool(self._store.numbers_of_ids([str(document_id)]))

    @property
    def encoder(self) -> SpanEncoder:
        """What makes the vectors; loaded now if it was not yet, which may raise ModelError or IndexMismatchError."""
        with self._encoder_lock:
            if self._encoder is None:
                self._encoder = self.manifest.load_encoder(f"the index at {self.path}", "Index.open", self._runtime)
            return self._encoder

    @property
    def is_in_place(self) -> bool:
        """Whether the folder still holds what was opened; False says that it was removed or replaced: open it again.

        On a read-only file system also False if the index was written from elsewhere, which cannot be followed there.

        Examples:
            >>> index.is_in_place
            True
        """
        return self._store.is_in_place()

    @property
    def chunker(self) -> Chunker:
        """The first of ``chunkers``, whose chunks are searched where nothing else is said."""
        return next(iter(self.chunkers.values()))

    @property
    def chunkers(self) -> Mapping[str, Chunker]:
        """What cuts the documents, by granularity; IndexMismatchError if one of the user's own was not passed."""
        if len(self._chunkers) < len(self.manifest.chunkers):
            self._chunkers = self.manifest.complete_chunkers(self.path, self._chunkers)
        return self._chunkers

    def add(
        self,
        documents: Iterable[Document],
        *,
        on_error: OnError = "raise",
        on_progress: Callable[[Progress], None] | None = None,
        show_progress: bool = False,
    ) -> AddReport:
        """Add documents, each in place of the one with the same id.

        Documents are encoded and committed in batches, so any number of them may be streamed in. One whose text is
        stored already is not encoded again.

        Args:
            documents: What to add; ids must differ.
            on_error: What to do with a document that cannot be indexed: ``"raise"`` the error; ``"skip"`` it, with a
                line in the log; or a function that takes both. What is left out stands in the report.
            on_progress: Called now and then.
            show_progress: Show a bar on stderr, or a line now and then where that is no terminal.

        Raises:
            DocumentError: If a document cannot be indexed or an id comes twice. Of a list nothing is stored then,
                unless the error shows only in the encoding; of a stream the batches before are stored. A note on the
                error says how many documents.
            InputError: If something else than documents comes.
            IndexBusyError: If another writer does not finish in time.
            IndexReadOnlyError: If the index was opened with ``read_only``.
            StoreError: If the disk does not take it; the batch under way is then not stored.

        Examples:
            >>> index.add(documents).n_unchanged  # they are stored already
            2
        """
        require_documents("add", documents)
        load = lambda: (self.encoder, list(self.chunkers.values()))  # noqa: E731
        with self._turns.take(), progress_shown(documents, on_progress, show_progress) as tell:
            return add_documents(self._store, load, self.manifest.embedding, documents, on_error, tell)

    def delete(
        self,
        ids: Sequence[str] | None = None,
        *,
        filter: Mapping[str, Any] | None = None,  # noqa: A002
    ) -> int:
        """Delete the documents of these ids, those that meet a filter, or of these ids those that meet it.

        All of them go in one transaction; unknown ids are passed over. The filter is one of metadata, as a search
        takes it.

        Returns:
            How many were there.

        Raises:
            InputError: If there are no ids, and no filter or one that every document meets, such as ``{}``.
            FilterError: If the filter is not one.
            IndexBusyError: If another writer does not finish in time.
            IndexReadOnlyError: If the index was opened with ``read_only``.

        Examples:
            >>> index.delete(["london"])  # not stored
            0
            >>> index.delete(filter={"country": "Britain"})
            0
        """
        where = None if filter is None else select_documents(filter)
        if ids is None and (where is None or where.is_every_document):
            raise InputError(
                "delete needs ids, or a filter that not every document meets; to empty the index say so: "
                "delete(index.ids())"
            )
        if ids is not None:
            require_ids(ids, "ids")
        with self._turns.take():
            if where is not None:
                meeting = self._store.document_ids(where)
                if not meeting:
                    self._searcher.log_mistakes("delete", SearchOptions(filter=filter))
                ids = meeting if ids is None else sorted(set(ids).intersection(meeting))
            return self._store.delete(ids or [])

    def get(self, document_id: str) -> Document | None:
        """Read a document back, to the character, or None if there is none of this id.

        Its outline is the one that was given, else what was found in the text when it was added.

        Raises:
            IndexDamagedError: If the text is no longer what was stored.

        Examples:
            >>> index.get("berlin").text == documents[0].text
            True
        """
        require_text(document_id, "a document id", InputError)
        return self._store.document(document_id)

    def metadata(self, ids: Sequence[str]) -> dict[str, Mapping[str, Any]]:
        """Metadata of those of these documents that are stored, by their ids, in that order; reads no text.

        Examples:
            >>> index.metadata(["berlin", "london"])
            {'berlin': {'country': 'Germany'}}
        """
        require_ids(ids, "ids")
        found = self._store.metadata(ids)
        return {one: found[one] for one in ids if one in found}

    def chunks(self, document_id: str, *, granularity: str | None = None, number: int | None = None) -> list[Chunk]:
        """The chunks of a document, in the order of their starts; none if there is no document of this id.

        Those of the first granularity, unless another is named. With ``number`` the one of this number alone, if there
        is one; the others are not read.

        Examples:
            >>> [(chunk.start, chunk.end) for chunk in index.chunks("paris")]
            [(0, 59)]
        """
        require_text(document_id, "a document id", InputError)
        if number is not None and (type(number) is not int or not 0 <= number < 2**63):
            raise InputError(f"number must be that of a chunk, a whole number from 0, got {number!r:.80}")
        which = number_of_granularity(self._store, "granularity", granularity)
        with self._store.snapshot():
            return self._store.chunks(self._store.rows_of_document(document_id, which, number))

    def passage(self, document_id: str, start: int, end: int) -> Chunk | None:
        """Any range of a document's characters as a chunk, number 0, with its headings and pages.

        None if there is no document of this id, or it is shorter.

        Raises:
            SpanError: If the range is empty or starts before 0.

        Examples:
            >>> index.passage("berlin", 0, 6).text
            'Berlin'
        """
        span = Span(start, end)
        document = self.get(document_id)
        if document is None or end > len(document.text):
            return None
        return make_chunks(document, [span])[0]

    def neighbours(self, passages: Sequence[Chunk]) -> list[tuple[Chunk | None, Chunk | None]]:
        """For each passage that ``search`` gives, the chunk before its first and the one after its last.

        Each is None where there is none; both are if the passage is a section, or the document was changed since, so
        that the passage is not in it.

        Examples:
            >>> index.neighbours(index.chunks("berlin"))  # the document is one chunk
            [(None, None)]
        """
        if not isinstance(passages, Sequence) or not all(isinstance(one, Chunk) for one in passages):
            raise InputError(
                f"passages must be a list of chunks, such as [hit.chunk for hit in hits], got {passages!r:.80}"
            )
        with self._store.snapshot():
            return find_neighbours(self._store, passages)

    def stored(self, document_id: str) -> StoredDocument | None:
        """All that is stored of a document, or None; IndexDamagedError if any of it is no longer what was stored."""
        require_text(document_id, "a document id", InputError)
        return self._store.stored(document_id)

    def ids(self, *, filter: Mapping[str, Any] | None = None, prefix: str | None = None) -> list[str]:  # noqa: A002
        """Ids of all documents, or of those that meet a filter, the one added or replaced last at the end.

        With a ``prefix`` only those that begin with it, sorted; the time depends on their number alone.

        Raises:
            FilterError: If the filter is not one; InputError if the prefix is no text.

        Examples:
            >>> index.ids()
            ['berlin', 'paris']
            >>> index.ids(filter={"country": "France"})
            ['paris']
            >>> index.ids(prefix="ber")
            ['berlin']
        """
        where = None if filter is None else select_documents(filter)
        if prefix is None:
            return self._store.document_ids(where)
        require_text(prefix, "prefix", InputError)
        begin = self._store.ids_that_begin_with(prefix)
        if where is None or not begin:
            return begin
        return sorted(set(begin).intersection(self._store.document_ids(where)))

    def search(self, query: str, k: int = 10, **options: Unpack[SearchKeywords]) -> list[Hit]:
        """Find the passages that answer a query best.

        The options are the fields of ``latechunk.SearchOptions``, which documents them.

        Returns:
            ``min(k, number of what matches)`` hits, best first; fewer where a threshold or ``expand`` says so, and in
            lexical search where fewer chunks hold a word of the query.

        Raises:
            QueryError: If the query holds no token.
            InputError: If an option is unknown, out of range, or contradicts another or the index.

        Examples:
            >>> for hit in index.search("how many people live there?", k=3):
            ...     print(hit.score, hit.chunk.document_id, hit.chunk.text)
        """
        if not isinstance(query, str):
            raise QueryError(f"the query must be a string, got {type(query).__name__}; search_by_vector takes a vector")
        return self.search_with(query, SearchOptions(k=k, **options))

    def find_mistakes(self, options: SearchOptions) -> list[str]:
        """Say what looks like a mistake in a filter or ids of which a search found nothing; a search logs it, too.

        That is a key that no document has, a value of another type than all documents have, an operator without ``$``,
        ids that no document has. An empty list says that there may just be no such document.

        Examples:
            >>> index.find_mistakes(SearchOptions(filter={"contry": "Germany"}))
            ["no document has a plain value for the key 'contry': did you mean 'country'?"]
        """
        return self._searcher.find_mistakes(options.require_filter())

    def check_options(self, options: SearchOptions) -> None:
        """Raise now what a search for a text with these options would raise of them.

        Raises:
            InputError: If the index has no such granularity, or no words, or two options contradict each other.
            FilterError: If the filter is not one.

        Examples:
            >>> index.check_options(SearchOptions(k=5, within="section"))
        """
        self._searcher.check_options(options.require_filter())

    def search_many(self, queries: Sequence[str], k: int = 10, **options: Unpack[SearchKeywords]) -> list[list[Hit]]:
        """Find the passages that answer each of several queries; else as ``search``, whose hits it gives.

        The queries are encoded together, which is where most of the time of a search goes with a model on a CPU.

        Examples:
            >>> questions = ["how many people live there?", "which river?"]
            >>> [hits[0].chunk.document_id for hits in index.search_many(questions, k=1)]
            ['berlin', 'paris']
        """
        if isinstance(queries, str) or not isinstance(queries, Sequence):
            raise QueryError(f"search_many takes a list of queries, got {queries!r:.80}; search takes one")
        for one in queries:
            require_text(one, "a query", QueryError)
        return self._searcher.search(queries, SearchOptions(k=k, **options), lambda: self.encoder)

    def search_by_vector(self, vector: FloatArray, k: int = 10, **options: Unpack[SearchKeywords]) -> list[Hit]:
        """Find the passages whose vectors are nearest to a vector, shape ``(dims,)``; else as ``search``.

        Raises:
            InputError: If the vector is of another length, zero or not finite, or an option needs a text: ``mode``
                other than ``"dense"``, or ``rerank``.

        Examples:
            >>> index.search_by_vector(encoder.encode_query("people in Berlin"), k=1)[0].chunk.document_id
            'berlin'
        """
        return self._search_by_vector(vector, SearchOptions(k=k, **options))

    def search_with(self, question: str | FloatArray, options: SearchOptions) -> list[Hit]:
        """Find passages as ``search`` does for a text, and ``search_by_vector`` for a vector.

        Examples:
            >>> options = SearchOptions(k=3, filter={"lang": "en"})
            >>> hits = index.search_with("which river?", options)
        """
        if isinstance(question, np.ndarray):
            return self._search_by_vector(question, options)
        require_text(question, "the query", QueryError)
        (hits,) = self._searcher.search([question], options, lambda: self.encoder)
        return hits

    def _search_by_vector(self, vector: FloatArray, options: SearchOptions) -> list[Hit]:
        unit = to_unit(vector, self.manifest.dims)
        if options.mode not in (None, "dense") or options.rerank is not None:
            raise InputError('a search by vector has no text: leave out rerank, and any mode but "dense"')
        return self._searcher.search_by_vector(unit, options)

    def optimize(self, *, vectors: str | None = None, first_pass_dims: int | None = None) -> list[OptimizeReport]:
        """Train and tune the search structure again, compact it and the database; nothing stored changes.

        ``vectors`` with ``first_pass_dims`` changes how vectors are searched, see ``create``; None keeps it.

        Returns:
            What came of it, for each granularity.

        Raises:
            InputError: If there is no such kind, or ``first_pass_dims`` comes without one.
            IndexBusyError: If another writer does not finish in time.
            IndexReadOnlyError: If the index was opened with ``read_only``.

        Examples:
            >>> index.optimize(vectors="flat")[0].kind
            'Flat'
        """
        if vectors is None and first_pass_dims is not None:
            raise InputError("first_pass_dims needs vectors, the kind that it is for")
        if vectors is not None:
            kept = self.manifest.search
            search = SearchSettings.of_user(kept.words, vectors, first_pass_dims, kept.precision)
            manifest = self.manifest.model_copy(update={"search": search})
            manifest.require_searchable()
            with self._turns.take(), self._searcher.alone():
                self._store.change_search(search.model_dump())
                self.manifest = manifest
                for one in self._vectors:
                    one.change_spec(search.spec)
        with self._turns.take():
            self._store.compact()
        return self._upkeep(lambda vectors: vectors.optimize(lock_timeout=self._turns.timeout))

    def update_vectors(self, on_step: Callable[[str, int, int], None] | None = None) -> list[OptimizeReport]:
        """Write the search structure as the documents are now, trained where that is due; `latechunk index` ends so.

        It is due where ``vectors`` asks for another structure for so many chunks, where there are four times as many
        as when it was trained, or where a fifth of what it holds was deleted. Until then every chunk added since is
        found, too; a structure that was never trained is searched exactly, which takes longer the more there is.

        Args:
            on_step: Called with "sample", "train", "add" or "tune", and how much of that is done of how much.

        Returns:
            What was trained.
        """
        require_function("on_step", on_step)
        self._turns.require_writable()
        return self._upkeep(lambda vectors: vectors.update(on_step, lock_timeout=self._turns.timeout))

    def info(self) -> IndexInfo:
        """What the index is and holds; loads no model.

        Examples:
            >>> index.info().n_chunks
            2
        """
        counts = self._store.counts()
        settings = self.manifest.settings()
        return IndexInfo(
            path=str(self.path),
            format=FORMAT,
            n_documents=counts.n_documents,
            n_chunks=counts.n_chunks,
            n_tokens=counts.n_tokens,
            size_bytes=folder_size(self.path),
            chunker=next(iter(self.manifest.chunkers.values())),
            **settings,
        )

    def close(self) -> None:
        """Close the database, after changes with the vector index written for the next opening; train nothing."""
        with self._searcher.alone():
            if self._closed:
                return
            try:
                if self._turns.were_taken:
                    for one in self._vectors:
                        one.write()
            finally:
                self._closed = True
                self._store.close()
                if self._remove is not None:
                    self._remove()

    def _upkeep(self, task: Callable[[SyncedIndex], OptimizeReport | None]) -> list[OptimizeReport]:
        """Do it to each granularity over a connection of its own; this index is searched and changed meanwhile."""
        self._store.require_in_place()
        reports = []
        for number in range(len(self._vectors)):
            with closing(Store.open(self.path / STORE, read_only=True)) as own:
                manifest = IndexManifest.read(own.settings())  # of which another process may have changed the search
                spec = manifest.search.spec
                reports.append(task(SyncedIndex(self.path, own, manifest.dims, granularity=number, spec=spec)))
        with self._searcher.alone():
            self.manifest = IndexManifest.read(self._store.settings())
            for one in self._vectors:
                one.change_spec(self.manifest.search.spec)
                one.reload()
        return [one for one in reports if one]


def _remove_temporary(store: Store, folder: Path, owner: int) -> None:
    store.close()
    if os.getpid() == owner:  # a forked process has the index as well, and its parent still needs the folder
        shutil.rmtree(folder, ignore_errors=True)
