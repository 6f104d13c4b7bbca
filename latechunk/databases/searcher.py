"""Search in a vector database that holds embedded documents: the question with its task and prompt, and fusion."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self, Unpack

import numpy as np

from latechunk.databases.filters import Where, read_where
from latechunk.databases.protocol import ChunkDatabase, FoundRow
from latechunk.databases.record import require_record
from latechunk.databases.rows import chunk_id
from latechunk.databases.urls import TABLE, open_database
from latechunk.databases.words import question_words
from latechunk.embedding import encode_queries
from latechunk.embedding.stream import load_encoder
from latechunk.embedding.vectors import to_unit
from latechunk.errors import InputError, QueryError, StoreError
from latechunk.protocols import SpanEncoder
from latechunk.search.fusion import best_first, fuse_by_rank
from latechunk.search.options import SearchKeywords, SearchOptions
from latechunk.search.passages import Candidate, choose_hits, find_enough
from latechunk.search.query import choose_dense_weight
from latechunk.types import Chunk, FloatArray, Hit, require_text

if TYPE_CHECKING:
    from latechunk.models.device import Attention, Dtype


_REMEDY = "Leave encoder= out to use its own, or push into another table what another encoder made"


class DatabaseSearcher:
    """Searches a vector database that ``latechunk push`` filled, as ``latechunk.Index`` searches itself.

    It encodes questions with the model that made the vectors, which it loads at first use. Words are those of the chunk
    alone, by BM25; what vectors and words find is fused by rank, since a database does not tell the mean of all scores,
    which an index fuses by. So ``fusion="calibrated"`` is refused, and so are ``within`` and ``expand``, since whole
    texts are not there. ``Hit.dense`` and ``Hit.lexical`` are None where that side did not find the chunk.

    Threads may share one. Use it in a ``with`` statement, or close it.

    Examples:
        >>> with DatabaseSearcher.open("postgresql://me@host/vectors", table="handbook") as searcher:  # doctest: +SKIP
        ...     searcher.search("people in Berlin", k=1)[0].citation
        'berlin:1'
    """

    def __init__(
        self,
        database: ChunkDatabase,
        *,
        encoder: SpanEncoder | str | None = None,
        exact: bool = False,
        device: str = "auto",
        dtype: Dtype = "auto",
        attention: Attention = "auto",
    ) -> None:
        """Search what a database holds.

        Args:
            database: What ``open_database`` gives, or one of your own; ``close`` closes it.
            encoder: What made the vectors, if it is loaded already, must be downloaded, or is your own.
            exact: Compare the question with all vectors, where the database has an approximate index.
            device: Where the encoder runs; see ``latechunk.Encoder.load``.
            dtype: What it computes in.
            attention: How its layers attend.

        Raises:
            IndexMissingError: If there is no such table.
            IndexFormatError: If it is something else's, or of another format.
            IndexMismatchError: If ``encoder`` is not what made the vectors.
        """
        self.database = database
        self.manifest = require_record(database)
        self._exact = exact
        self._runtime: dict[str, Any] = {"device": device, "dtype": dtype, "attention": attention}
        self._encoder = None if encoder is None else load_encoder(encoder, **self._runtime)
        if self._encoder is not None:
            self.manifest.require_encoder(f"what is in {database.name}", self._encoder.settings, _REMEDY)
        self._lock = threading.Lock()
        self._process = os.getpid()

    @classmethod
    def open(
        cls,
        url: str,
        *,
        table: str = TABLE,
        encoder: SpanEncoder | str | None = None,
        exact: bool = False,
        device: str = "auto",
        dtype: Dtype = "auto",
        attention: Attention = "auto",
    ) -> Self:
        """Search the table of a database by its URL, as ``open_database`` takes it; else as the class."""
        database = open_database(url, table=table)
        try:
            return cls(database, encoder=encoder, exact=exact, device=device, dtype=dtype, attention=attention)
        except BaseException:
            database.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def encoder(self) -> SpanEncoder:
        """What encodes questions; loaded now if it was not yet, which may raise ModelError or IndexMismatchError."""
        with self._lock:
            if self._encoder is None:
                where = f"what is in {self.database.name}"
                self._encoder = self.manifest.load_encoder(where, "DatabaseSearcher.open", self._runtime, _REMEDY)
            return self._encoder

    def search(self, query: str, k: int = 10, **options: Unpack[SearchKeywords]) -> list[Hit]:
        """Find the passages that answer a query best; the options are the fields of ``latechunk.SearchOptions``.

        Returns:
            Up to ``k`` hits, best first.

        Raises:
            QueryError: If the query holds no token.
            InputError: If an option is unknown, out of range, contradicts another, or cannot be had of a database.
            FilterError: If the filter cannot be asked of this database.
            StoreError: If the database cannot be reached.
        """
        if not isinstance(query, str):
            raise QueryError(f"the query must be a string, got {type(query).__name__}; search_with takes a vector, too")
        return self.search_with(query, SearchOptions(k=k, **options))

    def search_with(self, question: str | FloatArray, options: SearchOptions) -> list[Hit]:
        """Find passages for a text, or in dense search for a vector of shape ``(dims,)``."""
        self._require_own_process()
        where = self.check_options(options)
        if isinstance(question, np.ndarray):
            if options.mode not in (None, "dense") or options.rerank is not None:
                raise InputError('a search by vector has no text: leave out rerank, and any mode but "dense"')
            return self._search("", to_unit(question, self.manifest.dims), options.replaced(mode="dense"), where)
        require_text(question, "the query", QueryError)
        options = options.replaced(mode=options.mode or "hybrid")
        if options.mode == "lexical":
            return self._search(question, None, options, where)
        (vector,) = encode_queries(self.encoder, [question])
        return self._search(question, vector, options, where)

    def neighbours(self, passages: Sequence[Chunk]) -> list[tuple[Chunk | None, Chunk | None]]:
        """For each chunk that ``search`` gave the one before it and the one after it, None where there is none."""
        self._require_own_process()
        asked = {
            chunk_id(one.document_id, one.number + step)
            for one in passages
            for step in (-1, 1)
            if one.number + step >= 0
        }
        found = {row.id: row.chunk for row in self.database.read(sorted(asked))}
        return [
            (
                found.get(chunk_id(one.document_id, one.number - 1)),
                found.get(chunk_id(one.document_id, one.number + 1)),
            )
            for one in passages
        ]

    def close(self) -> None:
        """Close the database; a process that was forked from the one that opened it leaves it open to that one."""
        if os.getpid() == self._process:
            self.database.close()

    def _require_own_process(self) -> None:
        """Raise a StoreError in a forked process: two that ask over one connection disturb each other."""
        if os.getpid() != self._process:
            raise StoreError(
                f"{self.database.name} was opened by the process from which this one was forked, and its connections "
                f"cannot be shared: open it in this process"
            )

    def check_options(self, options: SearchOptions) -> Where | None:
        """Raise now what a search with these options would raise of them; gives what is asked of the database.

        Raises:
            InputError: If an option cannot be had of a database.
            FilterError: If the filter cannot be asked of this one.
        """
        if "fusion" in options.model_fields_set and options.fusion != "rrf":
            raise InputError(
                'fusion="calibrated" needs the mean of all scores, which a database does not tell: leave fusion out, '
                'or say fusion="rrf"'
            )
        for name in ("within", "expand"):
            if getattr(options, name):
                raise InputError(
                    f"{name} needs whole documents, which {self.database.name} does not hold: leave it out"
                )
        known = list(self.manifest.chunkers)
        if options.granularity not in (None, *known[:1]):
            raise InputError(
                f"granularity must be {known[0]!r}, the only one of {self.database.name}, "
                f"got {options.granularity!r:.80}"
            )
        return read_where(options.filter, options.document_ids, self.database.operators, self.database.name)

    def _search(
        self, question: str, vector: FloatArray | None, options: SearchOptions, where: Where | None
    ) -> list[Hit]:
        def find(n: int) -> list[Candidate]:
            return self._find(question, vector, n, options, where)

        def count_documents() -> int:
            return options.k if options.document_ids is None else len(options.document_ids)

        return choose_hits(question, options, find_enough(options, find, count_documents))

    def _find(
        self, question: str, vector: FloatArray | None, n: int, options: SearchOptions, where: Where | None
    ) -> list[Candidate]:
        terms = [] if options.mode == "dense" else question_words(question)
        if options.mode == "lexical" and not terms:
            raise QueryError(f"the question must hold a word to be searched for by its words, got {question!r:.80}")
        if options.mode == "lexical" and not options.chooses:
            n = options.k  # a database has no titles, by which others than the first might gain
        dense = [] if vector is None else _sorted(self.database.nearest(vector, n, where, exact=self._exact))
        words = _sorted(self.database.by_words(terms, n, where)) if terms else []
        rows = {one.row.id: one.row for one in (*dense, *words)}
        by_vector, by_words = ({one.row.id: one.score for one in found} for found in (dense, words))
        if options.mode == "hybrid":
            scores = self._fuse(question if terms else "", list(by_vector), list(by_words), options)
        else:
            scores = by_vector if vector is not None else by_words
        if not options.chooses:
            n = options.k
        vectors: dict[str, FloatArray] = {}
        chosen = list(scores.items())[:n]
        if options.mmr is not None:
            vectors = {
                row.id: row.vector for row in self.database.read([one for one, _ in chosen]) if row.vector is not None
            }
            chosen = [(one, score) for one, score in chosen if one in vectors]
        best = max((score for _, score in chosen), default=1.0)
        return [
            Candidate(
                score,
                rows[one].chunk,
                rows[one].chunk,
                rows[one].chunk.document_id if options.per_document else one,
                vectors.get(one),
                _similarity(vectors.get(one), vector, score / max(best, 1e-9)),
                by_vector.get(one),
                by_words.get(one),
            )
            for one, score in chosen
        ]

    def _fuse(
        self, question: str, dense: Sequence[str], words: Sequence[str], options: SearchOptions
    ) -> dict[str, float]:
        weight = options.dense_weight
        if weight is None:
            weight = choose_dense_weight(question, self.manifest.languages)
        names = list(dict.fromkeys((*dense, *words)))
        places = {name: place for place, name in enumerate(names)}
        rankings = [[places[name] for name in ranking] for ranking in (dense, words)]
        return {names[place]: score for place, score in best_first(fuse_by_rank(rankings, [weight, 1 - weight]))}


def _sorted(found: Sequence[FoundRow]) -> list[FoundRow]:
    """Best first, in the order of documents and chunks where scores are equal."""
    return sorted(found, key=lambda one: (-one.score, one.row.chunk.document_id, one.row.chunk.number))


def _similarity(own: FloatArray | None, vector: FloatArray | None, share: float) -> float:
    """How near a candidate is to the question on the scale of cosines; see ``choose_groups``."""
    return share if own is None or vector is None else float(own @ vector)
