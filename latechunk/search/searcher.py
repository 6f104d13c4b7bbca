"""A question in, hits out: joins encoder, store and vector cache. Everything of one search is read in one state."""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from latechunk.ann.synced import SyncedIndex
from latechunk.embedding import check_vectors
from latechunk.errors import InputError, QueryError
from latechunk.protocols import SpanEncoder
from latechunk.search.filters import compile_filter
from latechunk.search.fusion import best_first, choose_diverse, fuse_by_rank, fuse_by_score
from latechunk.search.options import SearchOptions
from latechunk.search.passages import Candidate, group, join_adjacent, rerank, to_hit
from latechunk.storage.filter_sql import Condition
from latechunk.storage.fulltext import to_query
from latechunk.storage.store import ChunkRow, Store
from latechunk.types import FloatArray, Hit, IntArray, require_text

_REMEMBERED = 32  # selections of documents, by their filters: at most 8 bytes for each document in each


class Searcher:
    """Searches one index. Safe to use from several threads."""

    def __init__(
        self, store: Store, mirrors: Sequence[SyncedIndex], granularities: Sequence[str], words: str | None
    ) -> None:
        self._store = store
        self._mirrors = mirrors
        self._granularities = list(granularities)
        self._words = words
        self._lock = threading.Lock()
        self._selections: OrderedDict[tuple[str, Condition], IntArray] = OrderedDict()

    def search(
        self, question: str | FloatArray, options: SearchOptions, encoder: Callable[[], SpanEncoder]
    ) -> list[Hit]:
        """Find passages.

        Args:
            question: Text, or in dense search its unit vector, shape ``(dims,)``.
            options: How.
            encoder: Gives the encoder, where a text must be encoded.
        """
        granularity = self.number_of("granularity", options.granularity)
        within = None if options.within is None else self.number_of("within", options.within)
        if within == granularity:
            raise InputError(f"within must name another granularity than the one that is searched, {options.within!r}")
        vector = None if options.mode == "lexical" else _to_vector(question, encoder)
        terms = None if options.mode == "dense" else self._to_terms(question)
        if options.mode == "lexical" and not terms:
            least = "a word of three or more characters" if self._words == "trigram" else "a word"
            raise QueryError(f"the question must hold {least} to be searched for by its words, got {question!r:.80}")
        n_wanted = options.n_candidates
        candidates = self._find(vector, terms, n_wanted, granularity, within, options)
        # Condition chunks share documents or larger chunks, it takes more of them to make k groups.
        while len(candidates) == n_wanted and len({one.group for one in candidates}) < options.k:
            n_wanted *= 4
            candidates = self._find(vector, terms, n_wanted, granularity, within, options)
        if options.rerank is not None:
            candidates = rerank(str(question), candidates, options.rerank)
        if options.score_threshold is not None:
            candidates = [one for one in candidates if one.score >= options.score_threshold]
        groups = group(candidates)
        if options.mmr is not None:
            scores_are_cosines = options.mode == "dense" and options.rerank is None
            groups = _choose(groups, options.k, options.mmr, stretch=not scores_are_cosines)
        hits = [to_hit(members) for members in groups[: options.k]]
        return join_adjacent(hits) if options.expand else hits

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Within this, no search of this index is under way."""
        with self._lock:
            yield

    def _find(
        self,
        vector: FloatArray | None,
        terms: str | None,
        n: int,
        granularity: int,
        within: int | None,
        options: SearchOptions,
    ) -> list[Candidate]:
        """The ``n`` best chunks with all that is asked of them, best first."""
        with self._lock, self._store.snapshot():
            where = self._to_condition(options)
            ranked = self._rank(vector, terms, n, granularity, where, options)
            rows = self._store.rows([number for number, _ in ranked])
            passages = [self._passage_of(row, within, options.expand) for row in rows]
            chunks = self._store.chunks(rows)
            texts = chunks if passages == rows else self._store.chunks(passages)
            vectors: Sequence[FloatArray | None] = [None] * len(rows)
            if options.mmr is not None and rows:
                vectors = list(self._mirrors[granularity].vectors_of([row.number for row in rows]))
        return [
            Candidate(
                score=score,
                number=row.number,
                document=row.document,
                chunk=chunk,
                passage=text,
                group=_group_of(row, passage, options),
                vector=one,
            )
            for (_, score), row, chunk, passage, text, one in zip(
                ranked, rows, chunks, passages, texts, vectors, strict=True
            )
        ]

    def _rank(
        self,
        vector: FloatArray | None,
        terms: str | None,
        n: int,
        granularity: int,
        where: Condition | None,
        options: SearchOptions,
    ) -> list[tuple[int, float]]:
        dense: dict[int, float] = {}
        lexical: dict[int, float] = {}
        mirror = self._mirrors[granularity]
        if vector is not None:
            scores, numbers = mirror.search(vector, n, self._select(where))
            dense = dict(zip(numbers, scores, strict=True))
        if terms:
            scores, numbers = self._store.lexical(terms, n, granularity=granularity, where=where)
            lexical = dict(zip(numbers, scores, strict=True))
        if options.mode != "hybrid":
            return list((lexical if options.mode == "lexical" else dense).items())
        weights = (options.dense_weight, 1 - options.dense_weight)
        if options.fusion == "rrf":
            return best_first(fuse_by_rank((list(dense), list(lexical)), weights))[:n]
        missing = [number for number in lexical if number not in dense]
        if vector is not None and missing:
            dense |= dict(zip(missing, mirror.scores(vector, missing), strict=True))
        return best_first(fuse_by_score((dense, lexical), weights))[:n]

    def _passage_of(self, row: ChunkRow, within: int | None, expand: int) -> ChunkRow:
        if within is not None:
            row = self._store.row_over(row, within) or row
        if not expand:
            return row
        around = self._store.rows_around(row, expand)
        last = max(around, key=lambda one: one.end)
        return replace(around[0], end=last.end, byte_end=last.byte_end)

    def _to_condition(self, options: SearchOptions) -> Condition | None:
        """The documents to search, as SQL; None for all."""
        parts = []
        if options.filter is not None:
            parts.append(compile_filter(options.filter))
        if options.document_ids is not None:
            numbers = sorted(self._store.numbers_of_ids(options.document_ids))
            listed = ", ".join(map(str, numbers))
            parts.append(Condition("d.number IN (SELECT value FROM json_each(?))", (f"[{listed}]",)))
        if not parts:
            return None
        return Condition(
            " AND ".join(f"({one.sql})" for one in parts), tuple(value for one in parts for value in one.values)
        )

    def _select(self, where: Condition | None) -> IntArray | None:
        """Numbers of the documents that meet a condition; remembered until the store changes."""
        if where is None:
            return None
        key = (self._store.last_commit().token, where)
        if key not in self._selections:
            self._selections[key] = self._store.document_numbers(where)
            while len(self._selections) > _REMEMBERED:
                self._selections.popitem(last=False)
        self._selections.move_to_end(key)
        return self._selections[key]

    def number_of(self, name: str, granularity: str | None) -> int:
        """The number of a granularity, 0 for None; ``name`` is the argument's, for the error."""
        if granularity is None:
            return 0
        if not isinstance(granularity, str) or granularity not in self._granularities:
            known = ", ".join(map(repr, self._granularities))
            raise InputError(f"{name} must be one of the index's granularities, {known}, got {granularity!r:.80}")
        return self._granularities.index(granularity)

    def _to_terms(self, question: str | FloatArray) -> str:
        if self._words is None:
            raise InputError(
                'this index was made without lexical search (words=None): search with mode="dense", or make the index '
                'anew with words="unicode61" or, for languages without spaces, words="trigram"'
            )
        require_text(question, "a question that is searched for by its words", QueryError)
        return to_query(str(question), trigrams=self._words == "trigram")


def _to_vector(question: str | FloatArray, encoder: Callable[[], SpanEncoder]) -> FloatArray:
    if not isinstance(question, str):
        return question
    made_by = encoder()
    vector = made_by.encode_query(question)
    (checked,) = check_vectors(made_by, [np.asarray(vector)[None]], [1])
    unit: FloatArray = checked[0]
    return unit


def _group_of(row: ChunkRow, passage: ChunkRow, options: SearchOptions) -> tuple[str, int]:
    if options.per_document:
        return "document", row.document
    return ("passage", passage.number) if options.within is not None else ("chunk", row.number)


def _choose(groups: Sequence[list[Candidate]], k: int, balance: float, *, stretch: bool) -> list[list[Candidate]]:
    """The groups whose best are relevant and differ from each other; scores that are no cosines are stretched."""
    if not groups:
        return []
    relevance = np.array([members[0].score for members in groups], dtype=np.float32)
    if stretch:
        relevance = (relevance - relevance.min()) / max(float(np.ptp(relevance)), 1e-9)
    vectors = np.stack([members[0].vector for members in groups if members[0].vector is not None])
    return [groups[place] for place in choose_diverse(relevance, vectors, k, balance)]
