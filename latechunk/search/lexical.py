"""Lexical scores of chunks that know their document."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from latechunk.storage.rows import ChunkPlaces
from latechunk.storage.store import Store
from latechunk.types import IntArray, ScoreArray

# Chosen with the dense weights of the searcher on parts of eight sets in fourteen languages. Shares of 1.0 and 1.2, and
# sums or maxima in place of the norm, ranked documents that look alike worse, or passages within one document; so did
# the rarity of a term among documents alone, which says nothing where there are few, and that among chunks alone.
_SHARE = 1.4
_NORM = 1.5
# Of chunks that hold a term, over the terms of a question. In 85,000 chunks all terms of a question took 490 ms, and
# 30,000 rows 110 ms.
_MOST_ROWS = 20_000


def score_words(
    store: Store, terms: Sequence[str], places: ChunkPlaces, granularity: int
) -> tuple[ScoreArray, ScoreArray]:
    """Score all chunks by the words of a question, within one ``snapshot``.

    This is late chunking for words. A chunk that says "It employs 4,210 people" lacks the company's name, which stands
    elsewhere in its document. So to its own BM25 it is given what it lacks: for each term, by how much 1.4 times the
    BM25 of the term in the document exceeds that in the chunk, where the term's IDF in the document is the mean of
    those among documents and among chunks. What is lacking is not summed up, since one name tells which document it is
    as well as five words of it do, but counted as ``sum(lacking ** 1.5) ** (1 / 1.5)``.

    In a large index the commonest words of a question are left out, those that bring the chunks to score above 20,000:
    they say the least, and take the most time.

    Returns:
        The scores, and the BM25 of the chunks alone, which is 0 for a chunk that holds no term; both in the order of
        ``places``, shape ``(n_chunks,)``.
    """
    of_documents = np.zeros(len(places.documents))
    own, less = np.zeros(len(places)), np.zeros(len(places))
    for term in _affordable(store, terms, granularity):
        at, scores = _located(places.documents, *store.score_term(term, None))
        chunks, chunk_scores = _located(places.numbers, *store.score_term(term, granularity))
        in_documents = np.zeros(len(places.documents))
        if len(at):
            rarity, chunk_rarity = _idf(len(at), len(places.documents)), _idf(len(chunks), len(places))
            in_documents[at] = _SHARE * scores * (1 + chunk_rarity / rarity) / 2
        of_documents += in_documents**_NORM
        own[chunks] += chunk_scores
        whole = in_documents[places.document_of[chunks]]
        less[chunks] += whole**_NORM - np.maximum(whole - chunk_scores, 0) ** _NORM
    lacking = np.maximum(of_documents[places.document_of] - less, 0)  # rounding may leave less than nothing
    return own + lacking ** (1 / _NORM), own


def _affordable(store: Store, terms: Sequence[str], granularity: int) -> list[str]:
    """The rarest terms, one at least, as many as ``_MOST_ROWS`` chunks hold."""
    counts = [store.count_term(term, granularity, _MOST_ROWS) for term in terms]
    order = sorted(range(len(terms)), key=counts.__getitem__)
    totals = accumulate(counts[place] for place in order)
    return [
        terms[place]
        for rank, (place, total) in enumerate(zip(order, totals, strict=True))
        if not rank or total <= _MOST_ROWS
    ]


def _idf(n_with: int, n: int) -> float:
    """Inverse document frequency of a term that ``n_with`` of ``n`` rows hold, as FTS5 has it."""
    return max(math.log((n - n_with + 0.5) / (n_with + 0.5)), 1e-6) if n_with else 0.0


def _located(known: IntArray, numbers: IntArray, scores: ScoreArray) -> tuple[IntArray, ScoreArray]:
    """Places of numbers among those known, ascending, with their scores; what is not known is left out."""
    if not len(known):
        return numbers[:0], scores[:0]
    at = np.minimum(np.searchsorted(known, numbers), len(known) - 1)
    is_known = known[at] == numbers
    return at[is_known], scores[is_known]
