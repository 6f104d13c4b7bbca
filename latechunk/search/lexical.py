"""Lexical scores of chunks that know their document."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from latechunk.search.corpus import Corpus
from latechunk.search.function_words import function_words
from latechunk.types import ScoreArray

# Chosen with the dense weights of the searcher on parts of eight sets in fourteen languages. Shares of 1.0 and 1.2, and
# sums or maxima in place of the norm, ranked documents that look alike worse, or passages within one document; so did
# the rarity of a term among documents alone, which says nothing where there are few, and that among chunks alone.
_SHARE = 1.4
# In 40 chunks "how" can be as rare as a name. Of 20, 50, 100, 200 and 1,000 more texts, 200 was best in small indexes
# and cost nothing in larger ones; leaving function words out cost SQuAD 2.6 points of nDCG@10.
_PRIOR = 200
# Of chunks that hold a term, over the terms of a question. In 85,000 chunks all terms of a question took 490 ms, and
# 30,000 rows 110 ms.
_MOST_ROWS = 20_000


def score_words(corpus: Corpus, terms: Sequence[str], granularity: int) -> tuple[ScoreArray, ScoreArray]:
    """Score all chunks by the words of a question, within one ``snapshot``.

    This is late chunking for words. A chunk that says "It employs 4,210 people" lacks the company's name, which stands
    elsewhere in its document. So to its own BM25 it is given what it lacks: for each term, by how much 1.4 times the
    BM25 of the term in the document exceeds that in the chunk, where the term's IDF in the document is the mean of
    those among documents and among chunks. What is lacking is not summed up, since one name tells which document it is
    as well as five words of it do, but counted as ``sum(lacking ** 1.5) ** (1 / 1.5)``.

    The IDF of a function word is that among 200 more texts, half of which hold it: a small index cannot know how common
    it is.

    In a large index the commonest words of a question are left out, those that bring the chunks to score above 20,000:
    they say the least, and take the most time.

    Returns:
        The scores, and the BM25 of the chunks alone, which is 0 for a chunk that holds no term; both in the order of
        ``Corpus.places``, shape ``(n_chunks,)``.
    """
    places = corpus.places(granularity)
    n_documents = len(places.documents)
    of_documents = np.zeros(n_documents)
    own, less = np.zeros(len(places)), np.zeros(len(places))
    common = function_words(terms)
    for term in _affordable(corpus, terms, granularity):
        found = corpus.postings(term, granularity)
        if not len(found.documents):
            continue
        n_more = _PRIOR if term in common else 0
        rarity, document_rarity = (_idf(len(found.documents), n_documents, more) for more in (0, n_more))
        plain_rarity, chunk_rarity = (_idf(len(found.chunks), len(places), more) for more in (0, n_more))
        chunk_scores = found.chunk_scores * (chunk_rarity / plain_rarity) if plain_rarity else found.chunk_scores
        in_documents = np.zeros(n_documents)
        mean_rarity = (document_rarity + chunk_rarity) / 2
        in_documents[found.documents] = _SHARE * found.document_scores * (mean_rarity / rarity)
        of_documents += _power(in_documents)
        own[found.chunks] += chunk_scores
        whole = in_documents[places.document_of[found.chunks]]
        less[found.chunks] += _power(whole) - _power(np.maximum(whole - chunk_scores, 0))
    # Most chunks hold none of the terms, and lack all that their document has.
    scores = _root(of_documents)[places.document_of]
    holds = np.flatnonzero(own)
    lacking = np.maximum(
        of_documents[places.document_of[holds]] - less[holds], 0
    )  # rounding may leave less than nothing
    scores[holds] = own[holds] + _root(lacking)
    return scores, own


def _affordable(corpus: Corpus, terms: Sequence[str], granularity: int) -> list[str]:
    """The rarest terms, one at least, as many as ``_MOST_ROWS`` chunks hold."""
    counts = [corpus.count(term, granularity, _MOST_ROWS) for term in terms]
    order = sorted(range(len(terms)), key=counts.__getitem__)
    totals = accumulate(counts[place] for place in order)
    return [
        terms[place]
        for rank, (place, total) in enumerate(zip(order, totals, strict=True))
        if not rank or total <= _MOST_ROWS
    ]


def _idf(n_with: int, n: int, n_more: int) -> float:
    """Inverse document frequency of a term that ``n_with`` of ``n`` rows hold, and half of ``n_more`` others.

    Without others it is as FTS5 has it.
    """
    return max(math.log((n - n_with + n_more / 2 + 0.5) / (n_with + n_more / 2 + 0.5)), 1e-6) if n_with else 0.0


def _power(values: ScoreArray) -> ScoreArray:
    return values * np.sqrt(values)


def _root(values: ScoreArray) -> ScoreArray:
    return np.cbrt(values) ** 2
