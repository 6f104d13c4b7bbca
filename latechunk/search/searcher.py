"""Search one index: joins encoder, store and FAISS; all that one search reads is in one state of the store."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from latechunk.ann.reader import VectorReader
from latechunk.ann.synced import SyncedIndex
from latechunk.embedding import encode_queries
from latechunk.embedding.languages import find_unread_language
from latechunk.errors import InputError, QueryError
from latechunk.protocols import SpanEncoder
from latechunk.search.corpus import Corpus
from latechunk.search.filters import select_documents
from latechunk.search.fusion import best_first, best_places, fuse_by_rank
from latechunk.search.hybrid import Ranked, add_deviations
from latechunk.search.lexical import match_titles, score_words
from latechunk.search.options import SearchOptions
from latechunk.search.passages import Candidate, choose_groups, group, join_adjacent, rerank, to_hit
from latechunk.search.remembered import Remembered
from latechunk.search.sections import SECTION, Sections
from latechunk.storage.filter_sql import Condition, Selection
from latechunk.storage.rows import ChunkPlaces, join_rows
from latechunk.storage.store import ChunkRow, Store
from latechunk.storage.terms import question_terms
from latechunk.types import FloatArray, Hit, ScoreArray, require_text

# Of 0.1 to 0.9; see docs/search.md. Without any share, what the words cannot tell apart would be in no order.
_DENSE_WEIGHT = 0.65
_UNREAD_WEIGHT = 0.1


@dataclass(frozen=True, slots=True)
class _Query:
    """A question ready to be searched for.

    Attributes:
        vector: Unit vector, None in lexical search.
        terms: What to look for by words; None in dense search, empty if the question holds no word.
        dense_weight: Share of the dense side in a fusion.
        granularity: Number of the chunking to search.
        within: Number of the chunking to give back, None for the same.
        options: Everything else.
    """

    vector: FloatArray | None
    terms: Sequence[str] | None
    dense_weight: float
    granularity: int
    within: int | None
    options: SearchOptions


class Searcher:
    """Searches one index. Threads may share it, and search side by side; see ``SyncedIndex`` for how."""

    def __init__(
        self, store: Store, synced: Sequence[SyncedIndex], granularities: Sequence[str], languages: Sequence[str]
    ) -> None:
        """Make one.

        Args:
            store: Where texts and words are.
            synced: Vectors, for each granularity.
            granularities: Their names.
            languages: ISO 639 codes of what the model reads, none if that is many or not known.
        """
        self._store = store
        self._synced = synced
        self._granularities = list(granularities)
        self._languages = languages
        self._remembered = Remembered()

    def search(
        self, question: str | FloatArray, options: SearchOptions, encoder: Callable[[], SpanEncoder]
    ) -> list[Hit]:
        """Find passages.

        Args:
            question: Text, or in dense search its unit vector, shape ``(dims,)``.
            options: How.
            encoder: Gives the encoder, where a text must be encoded.
        """
        options = self._with_mode(options, is_text=isinstance(question, str))
        vector = question if isinstance(question, np.ndarray) else None
        if isinstance(question, str) and options.mode != "lexical":
            (vector,) = encode_queries(encoder(), [question])
        return self._search(question, vector, options)

    def search_many(
        self, questions: Sequence[str], options: SearchOptions, encoder: Callable[[], SpanEncoder]
    ) -> list[list[Hit]]:
        """Find passages for each of several texts, which are encoded together."""
        options = self._with_mode(options, is_text=True)
        vectors: Sequence[FloatArray | None] = [None] * len(questions)
        if questions and options.mode != "lexical":
            vectors = list(encode_queries(encoder(), questions))
        return [self._search(*one, options) for one in zip(questions, vectors, strict=True)]

    def _search(self, question: str | FloatArray, vector: FloatArray | None, options: SearchOptions) -> list[Hit]:
        query = self._prepare(question, vector, options)
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

    def _number_within(self, options: SearchOptions) -> int:
        """The number of the granularity to give back; that of sections comes after all others."""
        if options.within != SECTION or SECTION in self._granularities:
            return self.number_of("within", options.within)
        if options.expand:
            raise InputError(f"expand counts chunks, and within={SECTION!r} gives back sections; choose one")
        return len(self._granularities)

    def _with_mode(self, options: SearchOptions, *, is_text: bool) -> SearchOptions:
        if options.mode is not None:
            return options
        return options.replaced(mode="hybrid" if is_text and self._store.has_words else "dense")

    def _prepare(self, question: str | FloatArray, vector: FloatArray | None, options: SearchOptions) -> _Query:
        granularity = self.number_of("granularity", options.granularity)
        within = None if options.within is None else self._number_within(options)
        if within == granularity:
            raise InputError(f"within must name another granularity than the one that is searched, {options.within!r}")
        terms = None if options.mode == "dense" else self._to_terms(question)
        if options.mode == "lexical" and not terms:
            raise QueryError(f"the question must hold a word to be searched for by its words, got {question!r:.80}")
        weight = options.dense_weight
        if weight is None:
            is_unread = terms and self._languages and find_unread_language(str(question), self._languages)
            weight = _UNREAD_WEIGHT if is_unread else _DENSE_WEIGHT
        return _Query(vector, terms, weight, granularity, within, options)

    def _find(self, query: _Query, n: int) -> list[Candidate]:
        """The ``n`` best chunks with all that is asked of them, best first."""
        # One state of the store; with its vectors, unless only words are searched, which needs no FAISS.
        needs_vectors = query.vector is not None or query.options.mmr is not None
        source = self._synced[query.granularity] if needs_vectors else self._store
        with source.snapshot() as opened:
            vectors = opened if isinstance(opened, VectorReader) else None
            ranked = self._rank(query, n, vectors)[: n if query.options.chooses else query.options.k]
            rows = self._store.rows([one.number for one in ranked])
            as_found = query.within is None and not query.options.expand
            sections = Sections(self._store)
            passages = rows if as_found else [self._passage_of(row, query, sections) for row in rows]
            chunks = self._store.chunks(rows)
            texts = chunks if passages == rows else self._store.chunks(passages)
            found = [
                Candidate(
                    one.score,
                    row.number,
                    row.document,
                    chunk,
                    text,
                    _group_of(row, passage, query),
                    dense=one.dense,
                    lexical=one.lexical,
                )
                for one, row, chunk, text, passage in zip(ranked, rows, chunks, texts, passages, strict=True)
            ]
            if query.options.mmr is None or vectors is None or not found:
                return found
            matrix = vectors.vectors_of([row.number for row in rows])
        return [
            replace(one, vector=vector, similarity=similarity)
            for one, vector, similarity in zip(found, matrix, _similarities(found, matrix, query.vector), strict=True)
        ]

    def _rank(self, query: _Query, n: int, vectors: VectorReader | None) -> list[Ranked]:
        """The ``n`` best chunks: by score, by number on a tie."""
        options = query.options
        is_limited = options.filter is not None or options.document_ids is not None
        where = self._select(options) if is_limited else None
        corpus = Corpus(self._store, self._remembered)
        documents = None if where is None else corpus.documents(where)
        dense: dict[int, float] = {}
        if query.vector is not None and vectors is not None:
            scores, numbers = vectors.search(query.vector, n, documents)
            dense = dict(zip(numbers, scores, strict=True))
        places = corpus.places(query.granularity) if query.terms is not None else None
        if query.terms is None or not places:
            return [Ranked(number, score, score, None) for number, score in dense.items()]
        by_words, holding = score_words(corpus, query.terms, query.granularity)
        may_be_found = holding if options.mode == "lexical" else np.flatnonzero(by_words > 0)
        if documents is not None:
            is_selected = np.isin(places.documents, documents)
            may_be_found = may_be_found[is_selected[places.document_of[may_be_found]]]
        found = places.numbers[best_places(by_words, may_be_found, n)].tolist()
        words = self._praised(query, by_words, places, [*dense, *found])
        lexical = [number for number, _ in best_first({number: words[number] for number in found})]
        if query.vector is None or vectors is None:
            return [Ranked(number, words[number], None, words[number]) for number in lexical]
        missing = [number for number in found if number not in dense]
        # What only one side found has a score of the other, too: each counts for what it is.
        every = {**dense, **dict(zip(missing, vectors.scores(query.vector, missing), strict=True))}
        if options.fusion == "rrf":
            fused = fuse_by_rank([list(dense), lexical], [query.dense_weight, 1 - query.dense_weight])
        else:
            cosines = corpus.sample(query.granularity, vectors) @ query.vector
            fused = add_deviations(query.dense_weight, every, words, cosines, by_words)
        return [Ranked(number, score, every[number], words[number]) for number, score in best_first(fused)[:n]]

    def _praised(
        self, query: _Query, by_words: ScoreArray, places: ChunkPlaces, numbers: Sequence[int]
    ) -> dict[int, float]:
        """Scores by words of some chunks, more for those whose sections are about what the question asks for."""
        titles = self._store.titles(numbers)
        matches = match_titles(query.terms or (), [titles.get(number, ()) for number in numbers])
        scores = by_words[np.searchsorted(places.numbers, numbers)] * (1 + matches)
        return dict(zip(numbers, scores.tolist(), strict=True))

    def _passage_of(self, row: ChunkRow, query: _Query, sections: Sections) -> ChunkRow:
        """Where the passage stands that is given back for a chunk."""
        if query.within == len(self._granularities):
            return sections.around(row)
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
        return join_rows(self._store.rows_around(row, query.options.expand))

    def _select(self, options: SearchOptions) -> Selection:
        """The documents to search."""
        selection = Selection((), None) if options.filter is None else select_documents(options.filter)
        if options.document_ids is None:
            return selection
        numbers = sorted(self._store.numbers_of_ids(options.document_ids))
        listed = Condition("d.number IN (SELECT value FROM json_each(?))", (json.dumps(numbers),))
        rest = selection.rest
        both = listed if rest is None else Condition(f"{rest.sql} AND {listed.sql}", (*rest.values, *listed.values))
        return replace(selection, rest=both)

    def _to_terms(self, question: str | FloatArray) -> list[str]:
        if not self._store.has_words:
            raise InputError(
                'this index was made without lexical search (words=False): search with mode="dense", or make a new one'
            )
        require_text(question, "a question that is searched for by its words", QueryError)
        return question_terms(str(question))


def _group_of(row: ChunkRow, passage: ChunkRow, query: _Query) -> Hashable:
    """Of candidates with equal values only the best comes back."""
    if query.options.per_document:
        return row.document
    return row.number if query.within is None else (passage.document, passage.start, passage.end)


def _similarities(found: Sequence[Candidate], matrix: FloatArray, vector: FloatArray | None) -> list[float]:
    """How near each candidate is to the question on the scale of cosines; see ``choose_groups``."""
    if vector is not None:
        return np.einsum("nd,d->n", matrix, vector).tolist()  # type: ignore[no-any-return]
    best = max(1e-9, *(one.score for one in found))
    return [one.score / best for one in found]
