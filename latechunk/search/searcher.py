"""Search one index: joins encoder, store and FAISS; all that one search reads is in one state of the store."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import NoReturn

import numpy as np

from latechunk.ann.reader import VectorReader
from latechunk.ann.synced import SyncedIndex
from latechunk.embedding import encode_queries
from latechunk.errors import InputError
from latechunk.protocols import SpanEncoder
from latechunk.search.cache import StoreCache
from latechunk.search.corpus import Corpus
from latechunk.search.filter_mistakes import find_mistakes
from latechunk.search.filters import select_documents
from latechunk.search.lexical import leave_out_names
from latechunk.search.options import SearchOptions
from latechunk.search.passages import Candidate, choose_hits, find_enough
from latechunk.search.query import Query, make_query
from latechunk.search.ranking import Ranked, rank_chunks
from latechunk.search.sections import larger_chunks, larger_sections
from latechunk.storage.filter_sql import Condition, Selection
from latechunk.storage.rows import join_rows
from latechunk.storage.store import ChunkRow, Store
from latechunk.types import FloatArray, Hit, IntArray

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Found:
    """A chunk that was found, with where it and the passage stand that is given back for it."""

    ranked: Ranked
    row: ChunkRow
    passage: ChunkRow
    query: Query

    @property
    def group(self) -> Hashable:
        """Of those that have the same only the best comes back."""
        if self.query.options.per_document:
            return self.row.document
        if self.query.within is None:
            return self.row.number
        return self.passage.document, self.passage.start, self.passage.end


class Searcher:
    """Searches one index. Threads may share it, and search side by side; see ``SyncedIndex`` for how."""

    def __init__(self, store: Store, synced: Sequence[SyncedIndex], languages: Sequence[str]) -> None:
        """Search a store, and the vectors of each granularity; ``languages`` as in ``make_query``."""
        self._store = store
        self._synced = synced
        self._languages = languages
        self._cache = StoreCache()

    def check_options(self, options: SearchOptions) -> None:
        """Raise InputError for what does not fit the index, whatever the question."""
        make_query(self._store, self._languages, "1", options)

    def search(
        self, questions: Sequence[str], options: SearchOptions, encoder: Callable[[], SpanEncoder]
    ) -> list[list[Hit]]:
        """Find passages for each of some texts, which are encoded together.

        ``encoder`` gives the encoder, and is called where a text must be encoded.
        """
        queries = [make_query(self._store, self._languages, text, options) for text in questions]
        if queries and options.mode != "lexical":
            queries = self._encode(queries, encoder())
        return [choose_hits(query.text, query.options, self._find(query)) for query in queries]

    def search_by_vector(self, vector: FloatArray, options: SearchOptions) -> list[Hit]:
        """Find the passages that are nearest to a unit vector, shape ``(dims,)``, by options that need no text."""
        query = make_query(self._store, self._languages, None, options)
        return choose_hits("", options, self._find(replace(query, vector=vector)))

    def _encode(self, queries: Sequence[Query], encoder: SpanEncoder) -> list[Query]:
        """Give queries their vectors, encoded together; what names a document gets one without the names as well."""
        with self._store.snapshot():
            corpus = Corpus(self._store, self._cache)
            nameless = [
                "" if one.terms is None else leave_out_names(corpus, one.text, one.terms, one.granularity)
                for one in queries
            ]
        texts = [*(query.text for query in queries), *filter(None, nameless)]
        vectors = encode_queries(encoder, texts)
        further = iter(vectors[len(queries) :])
        return [
            replace(query, vector=vector, nameless=next(further) if text else None)
            for query, text, vector in zip(queries, nameless, vectors, strict=False)
        ]

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Within this, no search of vectors is under way."""
        with contextlib.ExitStack() as stack:
            for one in self._synced:
                stack.enter_context(one.alone())
            yield

    def _find(self, query: Query) -> list[Candidate]:
        """The best chunks with all that is asked of them, best first."""
        # One state of the store; with its vectors, unless only words are searched, which needs no FAISS.
        needs_vectors = query.vector is not None or query.options.mmr is not None
        source = self._synced[query.granularity] if needs_vectors else self._store
        with source.snapshot() as opened:
            vectors = opened if isinstance(opened, VectorReader) else None
            found = self._find_rows(query, vectors)
            rows, passages = [one.row for one in found], [one.passage for one in found]
            different = list(dict.fromkeys([*rows, *passages]))
            chunks = dict(zip(different, self._store.chunks(different), strict=True))
            candidates = [
                Candidate(
                    one.ranked.score,
                    chunks[one.row],
                    chunks[one.passage],
                    one.group,
                    dense=one.ranked.dense,
                    lexical=one.ranked.lexical,
                )
                for one in found
            ]
            if query.options.mmr is None or vectors is None or not candidates:
                return candidates
            matrix = vectors.vectors_of([row.number for row in rows])
        return [
            replace(one, vector=vector, similarity=similarity)
            for one, vector, similarity in zip(
                candidates, matrix, _similarities(candidates, matrix, query.vector), strict=True
            )
        ]

    def _find_rows(self, query: Query, vectors: VectorReader | None) -> list[_Found]:
        """Where the best chunks stand, within a ``snapshot``, of which many may be looked at before a text is read."""
        options = query.options
        corpus = Corpus(self._store, self._cache)
        documents = self._select(corpus, options)
        passage_of = self._passage_finder(query)

        def find(n: int) -> list[_Found]:
            ranked = rank_chunks(corpus, query, n, vectors, documents)
            ranked = ranked[: n if options.chooses else options.k]
            rows = self._store.rows([one.number for one in ranked])
            return [
                _Found(one, row, row if options.per_document else passage_of(row), query)
                for one, row in zip(ranked, rows, strict=True)
            ]

        def count_groups() -> int:
            if not options.per_document:
                return options.k
            return len(corpus.places(query.granularity).documents if documents is None else documents)

        found = find_enough(options, find, count_groups)
        return [replace(one, passage=passage_of(one.row)) for one in found] if options.per_document else found

    def _passage_finder(self, query: Query) -> Callable[[ChunkRow], ChunkRow]:
        """Says where the passage stands that is given back for a chunk; to be used within one ``snapshot``."""
        if query.within == len(self._store.granularities):
            return larger_sections(self._store)
        larger = None if query.within is None else larger_chunks(self._store, query.within)
        expanded = cache(lambda row: join_rows(self._store.rows_around(row, query.options.expand)))

        def passage_of(row: ChunkRow) -> ChunkRow:
            if larger is not None:
                row = larger(row) or self._raise_alone(row, query)
            return expanded(row) if query.options.expand else row

        return passage_of

    def _raise_alone(self, row: ChunkRow, query: Query) -> NoReturn:
        (chunk,) = self._store.chunks([row])
        raise InputError(
            f"chunk {chunk.number} of document {chunk.document_id!r}, characters {chunk.start} to {chunk.end}, "
            f"lies in no chunk of within={query.options.within!r}, so there is none to give back: search "
            f"without within, or leave the document out by filter or document_ids"
        )

    def _select(self, corpus: Corpus, options: SearchOptions) -> IntArray | None:
        """Numbers of the documents to search, None for all."""
        if options.filter is None and options.document_ids is None:
            return None
        selection = Selection((), None) if options.filter is None else select_documents(options.filter)
        if options.document_ids is not None:
            numbers = sorted(self._store.numbers_of_ids(options.document_ids))
            listed = Condition("d.number IN (SELECT value FROM json_each(?))", (json.dumps(numbers),))
            rest = selection.rest
            both = listed if rest is None else Condition(f"{rest.sql} AND {listed.sql}", (*rest.values, *listed.values))
            selection = replace(selection, rest=both)
        found = corpus.documents(selection)
        # Once for each state of the store, and in the log: silence would cost somebody an hour.
        if not len(found) and corpus.first_time(selection):
            self.log_mistakes("search", options)
        return found

    def log_mistakes(self, what: str, options: SearchOptions) -> None:
        """Warn in the log of what looks like a mistake in a filter or ids that leave no document to ``what``."""
        if mistakes := self.find_mistakes(options):
            _log.warning("there is no document to %s: %s", what, "; ".join(mistakes))

    def find_mistakes(self, options: SearchOptions) -> list[str]:
        """What looks like a mistake in a filter or ids that leave no document to search."""
        with self._store.snapshot():
            if not self._store.counts().n_documents:
                return []
            mistakes = find_mistakes(options.filter or {}, self._store)
            if options.document_ids and not self._store.numbers_of_ids(options.document_ids):
                mistakes.append(f"no document has the id {options.document_ids[0]!r:.80}")
            return mistakes


def _similarities(found: Sequence[Candidate], matrix: FloatArray, vector: FloatArray | None) -> list[float]:
    """How near each candidate is to the question on the scale of cosines; see ``choose_groups``."""
    if vector is not None:
        return np.einsum("nd,d->n", matrix, vector).tolist()  # type: ignore[no-any-return]
    best = max(1e-9, *(one.score for one in found))
    return [one.score / best for one in found]
