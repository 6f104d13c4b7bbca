"""Rank the chunks of an index for a query: by vectors, by words, or by both fused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from latechunk.ann.reader import VectorReader
from latechunk.search.corpus import Corpus
from latechunk.search.function_words import function_words
from latechunk.search.fusion import best_first, fuse_by_rank, standardise
from latechunk.search.lexical import as_held, match_titles, score_words
from latechunk.search.query import Query
from latechunk.search.word_scores import WordScores
from latechunk.storage.rows import ChunkPlaces
from latechunk.storage.terms import to_terms
from latechunk.types import FloatArray, IntArray

# BM25 that a word of middling rarity gives. Where all that was found deviates less, it is of little content, and what
# little it tells must not count as much as the vectors: of 20 facts asked in other words, among 20 sentences of
# function words, the right one came first for 12 without this and 20 with it. Larger ones cost documents that look
# alike: 2.5 loses 7 of the 38 points that words bring there, 2 loses 3.
_LEAST_DEVIATION = 2.0
# Share of the question without names. With 0.3, 0.5 and 1 the clause of one of several look-alike contracts came first
# for 86, 91 and 100 % of the questions, in place of 68 %; that of a company for 88, 97 and 89, in place of 73; and
# of a city for 99, 95 and 83, in place of 98. By a half no set of others lost more than 0.1 points of nDCG@10.
_NAMELESS = 0.5

# A chunk that is nearly all function words ("When will it be, and what will it be like?") is near to questions and
# answers none. What it has less than this share of other words costs the dense side so many deviations: a tenth 0.8.
# With half in place of it whole stories lost 0.4 points of nDCG@10, and fewer facts came before such sentences.
_LEAST_CONTENT = 0.35
_EMPTY = 8.0
_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Ranked:
    """A chunk that was found, with its score and those of both sides; None for a side that was not asked."""

    number: int
    score: float
    dense: float | None
    lexical: float | None


def rank_chunks(
    corpus: Corpus, query: Query, n: int, vectors: VectorReader | None, documents: IntArray | None
) -> list[Ranked]:
    """The ``n`` best chunks: by score, by number on a tie.

    Of a question that names a document, a chunk's dense score is the mean of two: its cosine with the question, and its
    cosine with the question without names together with what the names bring to its document's first chunk, that is
    how much nearer they bring the question to it. So which document is meant, its opening says for all its chunks, and
    what is asked, the chunk itself; else the page that holds the names, as a title does, comes before the answer.

    Of dense and lexical search together ``n`` each are fused. ``vectors`` are those of the query's granularity, None
    where only words are searched; ``documents`` numbers of those that may be found, ascending, None for all.
    """
    dense: dict[int, float] = {}
    vector = query.vector
    if vector is not None and vectors is not None:
        if query.nameless is not None:
            vector = (1 - _NAMELESS) * vector + _NAMELESS * query.nameless
        scores, numbers = vectors.search(vector, n, documents)
        dense = dict(zip(numbers, scores, strict=True))
    places = corpus.places(query.granularity) if query.terms is not None else None
    if query.terms is None or not places:
        return [Ranked(number, score, score, None) for number, score in dense.items()]
    terms = list(dict.fromkeys(as_held(corpus, query.terms, query.granularity).values()))
    by_words = score_words(corpus, terms, query.granularity)
    is_selected = None if documents is None else np.isin(places.documents, documents)
    found = places.numbers[by_words.best(n, is_selected, only_holding=query.options.mode == "lexical")].tolist()
    words = _add_titles(corpus, terms, by_words, [*dense, *found])
    lexical = [number for number, _ in best_first({number: words[number] for number in found})]
    if query.vector is None or vector is None or vectors is None:
        return [Ranked(number, words[number], None, words[number]) for number in lexical]
    missing = [number for number in found if number not in dense]
    # What only one side found has a score of the other, too: each counts for what it is.
    every = {**dense, **dict(zip(missing, vectors.scores(vector, missing), strict=True))}
    if query.nameless is not None:
        every = _add_names(every, places, vectors, _NAMELESS * (query.vector - query.nameless))
    if query.options.fusion == "rrf":
        best = best_first(fuse_by_rank([list(dense), lexical], [query.dense_weight, 1 - query.dense_weight]))[:n]
    else:
        # Not by BLAS: its threads go on for 25 ms after such a product, and FAISS's next search waits for the cores.
        cosines = np.einsum("nd,d->n", corpus.sample(query.granularity, vectors=vectors), query.vector)
        fused = add_deviations(query.dense_weight, every, words, cosines, by_words)
        best = _lower_the_empty(corpus, query, fused, n if query.options.chooses else query.options.k)
    return [Ranked(number, score, every[number], words[number]) for number, score in best]


def _add_names(
    scores: Mapping[int, float], places: ChunkPlaces, vectors: VectorReader, names: FloatArray
) -> dict[int, float]:
    """Scores of some chunks, and what the first chunk of each one's document has of the names, in one state of both."""
    documents = places.document_of[np.searchsorted(places.numbers, list(scores))]
    openings, place = np.unique(documents, return_inverse=True)
    firsts = places.numbers[np.searchsorted(places.document_of, openings)]
    of_openings = np.array(vectors.scores(names, firsts.tolist()))
    return dict(zip(scores, (np.array(list(scores.values())) + of_openings[place]).tolist(), strict=True))


def _add_titles(corpus: Corpus, terms: Sequence[str], by_words: WordScores, numbers: Sequence[int]) -> dict[int, float]:
    """Scores by words of some chunks, more for those whose sections are about what the question asks for."""
    titles = corpus.store.titles(numbers)
    matches = match_titles(terms, [titles.get(number, ()) for number in numbers])
    scores = by_words.at(np.searchsorted(by_words.places.numbers, numbers)) * (1 + matches)
    return dict(zip(numbers, scores.tolist(), strict=True))


def _lower_the_empty(corpus: Corpus, query: Query, scores: Mapping[int, float], n: int) -> list[tuple[int, float]]:
    """The ``n`` best chunks, where those that hold little but function words of the question's language lose for it.

    Texts are read from the best score on, until no other chunk can come among them. Single letters of Thai are no
    words, as signs of Japanese may be, and nearly all of them are in function words.
    """
    common = function_words(query.terms or ())
    ordered = best_first(scores)
    lowered: dict[int, float] = {}
    for begin in range(0, len(ordered) if common else 0, _AT_ONCE):
        part = ordered[begin : begin + _AT_ONCE]
        if len(lowered) >= n and sorted(lowered.values())[-n] > part[0][1]:
            break
        rows = corpus.store.rows([number for number, _ in part])
        texts = corpus.store.texts(rows)
        for (number, score), row in zip(part, rows, strict=True):
            own = [term for term in to_terms(texts[row]) if len(term) > 1 or not "\u0e01" <= term <= "\u0e5b"]
            share = sum(term not in common for term in own) / max(1, len(own))
            lowered[number] = score - query.dense_weight * _EMPTY * max(0.0, _LEAST_CONTENT - share)
    return best_first(lowered or scores)[:n]


def add_deviations(
    dense_weight: float,
    dense: Mapping[int, float],
    lexical: Mapping[int, float],
    cosines: FloatArray,
    by_words: WordScores,
) -> dict[int, float]:
    """Add both scores of candidates, each in deviations above the mean of its side, that of words being 2 at least.

    ``dense`` and ``lexical`` are scores of the candidates, by number, ``cosines`` those of the question with vectors
    that stand for all, and ``by_words`` the lexical scores of all chunks.
    """
    by_vector = standardise(np.array(list(dense.values())), float(cosines.mean()), float(cosines.std()))
    scores = np.array([lexical[number] for number in dense])
    mean, deviation = by_words.mean_and_deviation()
    by_word = standardise(scores, mean, max(deviation, _LEAST_DEVIATION))
    return dict(zip(dense, (dense_weight * by_vector + (1 - dense_weight) * by_word).tolist(), strict=True))
