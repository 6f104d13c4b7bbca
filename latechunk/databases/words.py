"""The words of a chunk as a sparse vector, for databases that score by inner products: BM25 without a full-text index.

The inner product of a chunk's vector with one that holds the IDF of each word of a question is the chunk's BM25. Words
are the terms of ``latechunk.storage.terms``, so that every script works, and stand in the vector by a hash of 1 in
10^9: of 10,000,000 different words about one in a hundred shares its place with another one.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Sequence

from latechunk.storage.terms import question_terms, to_terms

PLACES = 1_000_000_000  # what pgvector's sparse vectors have; of Qdrant's 2**32
_K1, _B = 1.2, 0.75  # as an index has them
_USUAL_LENGTH = 100  # terms; what the length of a chunk is compared with, as the mean of all changes with every push


def weigh_terms(text: str) -> dict[int, float]:
    """The places of a text's terms, with what BM25 says of how often they stand in it, without their IDF.

    Examples:
        >>> len(weigh_terms("Berlin is Berlin"))
        2
    """
    counts = Counter(to_terms(text))
    scale = _K1 * (1 - _B + _B * counts.total() / _USUAL_LENGTH)
    weights: dict[int, float] = {}
    for term, count in counts.items():
        place = _place_of(term)
        weights[place] = weights.get(place, 0.0) + count * (_K1 + 1) / (count + scale)
    return weights


def question_places(terms: Sequence[str]) -> list[int]:
    """The places of a question's terms, each once."""
    return list(dict.fromkeys(map(_place_of, terms)))


def question_words(question: str) -> list[str]:
    """The different terms of a question; phrases, which databases would need positions for, are left out."""
    return [term for term in question_terms(question) if " " not in term]


def idf(n_with: int, n_chunks: int) -> float:
    """Inverse document frequency as Qdrant has it: positive, however common a term is.

    Examples:
        >>> round(idf(1, 4), 3)
        1.204
    """
    return math.log(1 + (n_chunks - n_with + 0.5) / (n_with + 0.5))


def _place_of(term: str) -> int:
    return int.from_bytes(hashlib.blake2b(term.encode(), digest_size=8).digest(), "big") % PLACES
