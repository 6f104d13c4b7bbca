"""Search one index: joins encoder, store and FAISS; all that one search reads is in one state of the store."""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from latechunk.ann.reader import VectorReader
from latechunk.ann.synced import SyncedIndex
from latechunk.embedding import check_vectors
from latechunk.errors import InputError, QueryError
from latechunk.protocols import SpanEncoder
from latechunk.search.filters import compile_filter
from latechunk.search.fusion import best_first, fuse_by_rank, fuse_by_score
from latechunk.search.options import SearchOptions
from latechunk.search.passages import Candidate, choose_groups, group, join_adjacent, rerank, to_hit
from latechunk.storage.filter_sql import Condition
from latechunk.storage.fulltext import to_query
from latechunk.storage.store import ChunkRow, Store
from latechunk.types import FloatArray, Hit, IntArray, require_text

_REMEMBERED = 32  # lists of documents, by their filters: at most 8 bytes for each document in each


@dataclass(frozen=True, slots=True)
class _Query:
    """A question ready to be searched for.

    Attributes:
        vector: Unit vector, None in lexical search.
        terms: In FTS5's syntax, None in dense search; empty if the question holds no word.
        granularity: Number of the chunking to search.
        within: Number of the chunking to give back, None for the same.
        options: Everything else.
    """

    vector: FloatArray | None
    terms: str | None
    granularity: int
    within: int | None
    options: SearchOptions


class Searcher:
    """Searches one index. Threads may share it, and search side by side; see ``SyncedIndex`` for how."""

    def __init__(
        self, store: Store, synced: Sequence[SyncedIndex], granularities: Sequence[str], words: str | None
    ) -> None:
        """Make one.

        Args:
            store: Where texts and words are.
            synced: Vectors, for each granularity.
            granularities: Their names.
            words: How the lexical index takes texts apart; None if there is none.
        """
        self._store = store
        self._synced = synced
        self._granularities = list(granularities)
        self._words = words
        self._lock = threading.Lock()  # only around the remembered lists, since a lookup there also reorders them
        self._remembered: OrderedDict[tuple[str, Condition], IntArray] = OrderedDict()

    def search(
        self, question: str | FloatArray, options: SearchOptions, encoder: Callable[[], SpanEncoder]
    ) -> list[Hit]:
        """Find passages.

        Args:
            question: Text, or in dense search its unit vector, shape ``(dims,)``.
            options: How.
            encoder: Gives the encoder, where a text must be encoded.
        """
        query = self._prepare(question, options, encoder)
        n = options.n_candidates
        candidates = self._find(query, n)
        # Where chunks share documents or larger chunks, more of them make ``k`` groups.
        while len(candidates) == n and len({one.group for one in candidates}) < options.k:
            n *= 4
            candidates = self._find(query, n)
        if options.rerank is not None:
            candidates = rerank(str(question), candidates, options.rerank)
        if options.score_threshold is not None:
            candidates = [one for one in candidates if one.score >= options.score_threshold]
        groups = group(candidates)
        if options.mmr is not None:
            groups = choose_groups(groups, options.k, options.mmr)
        hits = [to_hit(members) for members in groups[: options.k]]
        return join_adjacent(hits) if options.expand else hits

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Within this, no search of vectors is under way."""
        with contextlib.ExitStack() as stack:
            for one in self._synced:
                stack.enter_context(one.alone())
            yield

    def number_of(self, name: str, granularity: str | None) -> int:
        """The number of a granularity, 0 for None; ``name`` is the argument's, for the error."""
        if granularity is None:
            return 0
        if not isinstance(granularity, str) or granularity not in self._granularities:
            known = ", ".join(map(repr, self._granularities))
            raise InputError(f"{name} must be one of the index's granularities, {known}, got {granularity!r:.80}")
        return self._granularities.index(granularity)

    def _prepare(
        self, question: str | FloatArray, options: SearchOptions, encoder: Callable[[], SpanEncoder]
    ) -> _Query:
        granularity = self.number_of("granularity", options.granularity)
        within = None if options.within is None else self.number_of("within", options.within)
        if within == granularity:
            raise InputError(f"within must name another granularity than the one that is searched, {options.within!r}")
        vector = None if isinstance(question, str) else question
        if isinstance(question, str) and options.mode != "lexical":
            made_by = encoder()
            (checked,) = check_vectors(made_by, [np.asarray(made_by.encode_query(question))[None]], [1])
            vector = checked[0]
        terms = None if options.mode == "dense" else self._to_terms(question)
        if options.mode == "lexical" and not terms:
            least = "a word of three or more characters" if self._words == "trigram" else "a word"
            raise QueryError(f"the question must hold {least} to be searched for by its words, got {question!r:.80}")
        return _Query(vector, terms, granularity, within, options)

    def _find(self, query: _Query, n: int) -> list[Candidate]:
        """The ``n`` best chunks with all that is asked of them, best first."""
        # One state of the store; with its vectors, unless only words are searched, which needs no FAISS.
        needs_vectors = query.vector is not None or query.options.mmr is not None
        source = self._synced[query.granularity] if needs_vectors else self._store
        with source.snapshot() as opened:
            vectors = opened if isinstance(opened, VectorReader) else None
            ranked = self._rank(query, n, vectors)
            rows = self._store.rows([number for number, _ in ranked])
            as_found = query.within is None and not query.options.expand
            passages = rows if as_found else [self._passage_of(row, query) for row in rows]
            chunks = self._store.chunks(rows)
            texts = chunks if passages == rows else self._store.chunks(passages)
            found = [
                Candidate(
                    score,
                    row.number,
                    row.document,
                    chunk,
                    text,
                    row.document if query.options.per_document else (row if query.within is None else passage).number,
                )
                for (_, score), row, chunk, text, passage in zip(ranked, rows, chunks, texts, passages, strict=True)
            ]
            if query.options.mmr is None or vectors is None or not found:
                return found
            matrix = vectors.vectors_of([row.number for row in rows])
        return [
            replace(one, vector=vector, similarity=similarity)
            for one, vector, similarity in zip(found, matrix, _similarities(found, matrix, query.vector), strict=True)
        ]

    def _rank(self, query: _Query, n: int, vectors: VectorReader | None) -> list[tuple[int, float]]:
        """Numbers of the ``n`` best chunks with their scores: by score, by number on a tie."""
        options = query.options
        is_limited = options.filter is not None or options.document_ids is not None
        where = self._to_condition(options) if is_limited else None
        dense: dict[int, float] = {}
        lexical: dict[int, float] = {}
        if query.vector is not None and vectors is not None:
            documents = None if where is None else self._select(where)
            scores, numbers = vectors.search(query.vector, n, documents)
            dense = dict(zip(numbers, scores, strict=True))
        if query.terms:
            scores, numbers = self._store.lexical(query.terms, n, granularity=query.granularity, where=where)
            lexical = dict(zip(numbers, scores, strict=True))
        if options.mode != "hybrid":
            return list((lexical if options.mode == "lexical" else dense).items())
        weights = (options.dense_weight, 1 - options.dense_weight)
        if options.fusion == "rrf":
            return best_first(fuse_by_rank((list(dense), list(lexical)), weights))[:n]
        missing = [number for number in lexical if number not in dense]
        if query.vector is not None and vectors is not None:
            # A chunk found by its words alone has a cosine, too; without it, it would count as the least similar.
            dense |= dict(zip(missing, vectors.scores(query.vector, missing), strict=True))
        return best_first(fuse_by_score((dense, lexical), weights))[:n]

    def _passage_of(self, row: ChunkRow, query: _Query) -> ChunkRow:
        """Where the passage stands that is given back for a chunk."""
        if query.within is not None:
            around = self._store.row_over(row, query.within)
            if around is None:
                (chunk,) = self._store.chunks([row])
                raise InputError(
                    f"chunk {chunk.number} of document {chunk.document_id!r}, characters {chunk.start} to {chunk.end}, "
                    f"lies in no chunk of within={query.options.within!r}, so there is none to give back: search "
                    f"without within, or leave the document out by filter or document_ids"
                )
            row = around
        if not query.options.expand:
            return row
        neighbours = self._store.rows_around(row, query.options.expand)
        last = max(neighbours, key=lambda one: one.end)
        return replace(neighbours[0], end=last.end, byte_end=last.byte_end)

    def _to_condition(self, options: SearchOptions) -> Condition:
        """The documents to search, as SQL."""
        parts = []
        if options.filter is not None:
            parts.append(compile_filter(options.filter))
        if options.document_ids is not None:
            numbers = sorted(self._store.numbers_of_ids(options.document_ids))
            listed = ", ".join(map(str, numbers))
            parts.append(Condition("d.number IN (SELECT value FROM json_each(?))", (f"[{listed}]",)))
        return Condition(
            " AND ".join(f"({one.sql})" for one in parts), tuple(value for one in parts for value in one.values)
        )

    def _select(self, where: Condition) -> IntArray:
        """Numbers of the documents that meet a condition; remembered until the store changes."""
        key = (self._store.last_commit().token, where)
        with self._lock:
            if key in self._remembered:
                self._remembered.move_to_end(key)
                return self._remembered[key]
        # Outside the lock: two threads that ask the same at once both read, and neither makes the others wait.
        documents = self._store.document_numbers(where)
        with self._lock:
            self._remembered[key] = documents
            while len(self._remembered) > _REMEMBERED:
                self._remembered.popitem(last=False)
        return documents

    def _to_terms(self, question: str | FloatArray) -> str:
        if self._words is None:
            raise InputError(
                'this index was made without lexical search (words=None): search with mode="dense", or make a new '
                'index with words="unicode61" or, for languages without spaces, words="trigram"'
            )
        require_text(question, "a question that is searched for by its words", QueryError)
        return to_query(str(question), trigrams=self._words == "trigram")


def _similarities(found: Sequence[Candidate], matrix: FloatArray, vector: FloatArray | None) -> list[float]:
    """How near each candidate is to the question on the scale of cosines; see ``choose_groups``."""
    if vector is not None:
        return np.einsum("nd,d->n", matrix, vector).tolist()  # type: ignore[no-any-return]
    best = max(1e-9, *(one.score for one in found))
    return [one.score / best for one in found]
