"""Lexical scores of chunks that know their document."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import reduce
from itertools import accumulate

import numpy as np

from latechunk.search.corpus import Corpus, Postings
from latechunk.search.function_words import function_words
from latechunk.search.spellings import beginnings
from latechunk.search.word_scores import WordScores
from latechunk.storage.rows import ChunkPlaces
from latechunk.storage.terms import fold, has_unspaced, split_scripts, to_terms
from latechunk.types import IntArray, ScoreArray

# Chosen with the dense weights of a query on parts of eight sets in fourteen languages. Shares of 1.0 and 1.2, and
# sums or maxima in place of the norm, ranked documents that look alike worse, or passages within one document; so did
# the rarity of a term among documents alone, which says nothing where there are few, and that among chunks alone.
_SHARE = 1.4
# In 40 chunks "how" can be as rare as a name. Of 20, 50, 100, 200 and 1,000 more texts, 200 was best in small indexes
# and cost nothing in larger ones; leaving function words out cost SQuAD 2.6 points of nDCG@10.
_PRIOR = 200
# Of 0.25, 0.5 and 1, and powers of 1 to 12, on parts of ten sets: it gained 1.0 to 2.6 points of nDCG@10 on four of
# six and cost documents that look alike 0.4. A lower power costs those more: the chunk that holds the name alone, which
# tells which document it is, would come before the one that answers. Of words that no text holds, a chatty sentence
# that has the one that is left must not come first, so they count among the question's.
_POWER = 6
# So that what a document has and a chunk of it holds is worth more than what the chunk lacks; of 0.05 and 0.1, the cost
# was up to 0.3 points of nDCG@10.
_HELD = 0.01
# Of weights of 1, 1.5 and 2 and powers of 1, 2, 4 and 8: 1 found two headings of 150 fewer at 64 tokens, and lower
# powers up to four at 128. For 82 questions about articles with headings this changed nothing; there titles of articles
# cost 0.9 to 1.6 points of nDCG@10, and those above a heading, compared together with it, 1.1 to 2.3.
_TITLE_WEIGHT, _TITLE_POWER = 2, 4
# Of 0.7, 0.85 and 1 times the score, for words of which the first chunk is the only one, or one of up to 2, 3, a tenth
# or a fifth of a document's, on parts of 13 sets and of service agreements made to look alike, with and without a line
# for signatures: by this alone the right clause came first for 68 % of the questions about one of two agreements in
# place of 50 %, and no set lost more than 0.1 points of nDCG@10. Any share, or all words of the first, cost up to 25.
_MOST_NAMED = 3
# Of chunks that hold a term, over the terms of a question: so many, or a hundredth of all in an index of more than two
# million chunks, where the words that tell one text from another are no rarer than in a small one.
_MOST_ROWS = 20_000
_MOST_SHARE = 100
# Terms of a question, and those that no chunk holds: with 100,000 words that begin like one it takes 0.03 to 0.07 s.
_MOST_SPELT, _MOST_LACKING = 64, 8


def score_words(corpus: Corpus, terms: Sequence[str], granularity: int) -> WordScores:
    """Score all chunks by the words of a question, within one ``snapshot``.

    This is late chunking for words. A chunk that says "It employs 4,210 people" lacks the company's name, which stands
    elsewhere in its document. So to its own BM25 it is given what it lacks: for each term, by how much 1.4 times the
    BM25 of the term in the document exceeds that in the chunk, where the term's IDF in the document is the mean of
    those among documents and among chunks. What is lacking is not summed up, since one name tells which document it is
    as well as five words of it do, but counted as ``sum(lacking ** 1.5) ** (1 / 1.5)``.

    So all chunks of a document would have the same of a question of one word, that which holds it and the others. What
    a chunk has of its own counts up to twice: more by the sixth power of the share of the question's words that it
    holds, function words left out, and by a hundredth of that share.

    Words that the first chunk of a document holds and hardly any other say what the whole is about, as a title does:
    the parties of a contract, the subject of a report. They count as if all its chunks held them as the first does.
    So of a question that names a contract and asks for a clause, the clause comes before the page that names it.

    The IDF of a function word is that among 200 more texts, half of which hold it: a small index cannot know how common
    it is.

    In a large index the commonest words of a question are left out, those that bring the chunks to score above 20,000
    and above a hundredth of all: they say the least, and take the most time.
    """
    places = corpus.places(granularity)
    common = function_words(terms)
    terms = _affordable(corpus, terms, granularity)
    found = [_weigh(corpus.postings(term, granularity), places, _PRIOR if term in common else 0) for term in terms]
    holding, places_of = _union([one.chunks for one in found])
    own, less = np.zeros(len(holding)), np.zeros(len(holding))
    named, lacking = np.zeros(len(places.documents)), np.zeros(len(places.documents))  # of a chunk without the words
    for one, at in zip(found, places_of, strict=True):
        documents, n_chunks, name = _find_names(one, places)
        whole = _scores_of(one, documents)
        without = _power(np.maximum(whole - name, 0))
        named[documents] += name
        lacking[one.documents] += _power(one.document_scores)
        lacking[documents] += without - _power(whole)
        whole, name, without = (np.repeat(values, n_chunks) for values in (whole, name, without))
        own[at] += np.maximum(one.chunk_scores - name, 0)
        less[at] += without - _power(np.maximum(whole - np.maximum(one.chunk_scores, name), 0))
    words = [term for term in terms if term not in common and " " not in term]
    n_held, n_asked = _count_words(words, terms, places_of, len(holding)), max(1, len(words))
    share = np.arange(n_asked + 1) / n_asked
    matches = 1 + share**_POWER + _HELD * share  # a power for each of a million chunks would take 8 ms and more
    whole_match = matches[np.minimum(n_held, n_asked)]
    of = places.document_of[holding]
    lacking_here = np.maximum(lacking[of] - less, 0)  # rounding may leave less than 0
    held = (own + named[of]) * whole_match + np.cbrt(lacking_here) ** 2
    # a chunk with none of the words has what its document's opening names, and lacks all else that its document has
    n_others = places.sizes - np.bincount(of, minlength=len(places.sizes))
    return WordScores(places, named + np.cbrt(lacking) ** 2, n_others, holding, held)


def _count_words(words: Sequence[str], terms: Sequence[str], places_of: Sequence[IntArray], n: int) -> IntArray:
    """How many of some words each of ``n`` chunks holds; one with a phrase, however written, holds the words of it.

    Phrases themselves are not counted: as further words they cost SQuAD 0.4 points of nDCG@10.
    """
    holding: dict[str, list[IntArray]] = {word: [] for word in words}
    for term, at in zip(terms, places_of, strict=True):
        for word in holding.keys() & term.split(" "):
            holding[word].append(at)
    n_held = np.zeros(n, dtype=np.int64)
    for some in holding.values():
        n_held[reduce(np.union1d, some)] += 1
    return n_held


def as_held(corpus: Corpus, terms: Sequence[str], granularity: int) -> dict[str, str]:
    """What to look for in place of each of a question's terms, within one ``snapshot``.

    A word that no chunk holds is misspelt or inflected, or has a preposition before or a particle after it, and the
    word most like it is looked for. Function words, numbers and phrases stay, as do the words of a long text, and all
    where many are held by none, as in another language.
    """
    is_short = sum(" " not in term for term in terms) <= _MOST_SPELT
    common = function_words(terms) if is_short else terms
    words = [term for term in terms if term not in common and beginnings(term)]
    lacking = [word for word in words if not corpus.count(word, granularity, 1)]
    held = {word: corpus.as_held(word, granularity) for word in lacking if len(lacking) <= _MOST_LACKING}
    return {term: held.get(term, term) for term in terms}


def leave_out_names(corpus: Corpus, question: str, terms: Sequence[str], granularity: int) -> str:
    """A question without the words that name the document it asks about, within one ``snapshot``.

    Of the documents whose first chunk has words of the question as ``score_words`` has it for names, it is the one
    whose names score most. Gives back "" where the question names none, or would be left without a word that is no
    function word.
    """
    places = corpus.places(granularity)
    common = function_words(terms)
    spelt = as_held(corpus, terms, granularity)
    affordable = _affordable(corpus, list(dict.fromkeys(spelt.values())), granularity)
    words = [term for term in affordable if term not in common and " " not in term]
    found = [_find_names(_weigh(corpus.postings(term, granularity), places, 0), places) for term in words]
    named = np.zeros(len(places.documents))
    for documents, _, name in found:
        named[documents] += name
    if not named.any():
        return ""
    best = int(named.argmax())
    names = {term for term, (documents, _, name) in zip(words, found, strict=True) if name[documents == best].any()}
    written = split_scripts(question)
    # what has no spaces between words is more than a name, and stays
    left = [
        word
        for word in written
        if has_unspaced(fold(word)) or not names.intersection(spelt.get(term, term) for term in to_terms(word))
    ]
    asks = any(term not in common for word in left for term in to_terms(word))
    return " ".join("".join(left).split()) if asks and len(left) < len(written) else ""


def _find_names(term: Postings, places: ChunkPlaces) -> tuple[IntArray, IntArray, ScoreArray]:
    """Documents of the chunks that hold a term, how many of these each has, and what the term gives to all its chunks.

    That is the term's score in the first chunk where it names the document: where few chunks hold it: up to a fifth of
    the document's, three at the most, or that one alone. Else it is 0. All have the shape ``(n_documents,)``.
    """
    document_of = places.document_of[term.chunks]
    first = np.flatnonzero(np.diff(document_of, prepend=-1))
    documents, n_chunks = document_of[first], np.diff(first, append=len(document_of))
    chunks = term.chunks[first]
    is_opening = (chunks == 0) | (places.document_of[chunks - 1] != documents)
    is_name = is_opening & (n_chunks <= np.clip(places.sizes[documents] // 5, 1, _MOST_NAMED))
    return documents, n_chunks, np.where(is_name, term.chunk_scores[first], 0)


def _scores_of(term: Postings, documents: IntArray) -> ScoreArray:
    """Scores of a term in some documents; 0 where a chunk begins or ends within a word, which its document lacks."""
    at = np.searchsorted(term.documents, documents)
    is_held = np.append(term.documents, -1)[at] == documents
    return np.where(is_held, np.append(term.document_scores, 0)[at], 0)


def match_titles(terms: Sequence[str], titles: Iterable[Sequence[str]]) -> ScoreArray:
    """Say of each chunk how well the titles of its sections are what a question asks for, shape ``(n_chunks,)``.

    That is twice the fourth power of the Dice coefficient of the words of both, function words of the question's
    language left out, for the title where that is largest: 2 where the question is the title, and 0 where they share no
    word. A chunk's score by words is multiplied by one more than this. So of chunks that hold what is asked, that comes
    first whose section is about it and nothing else: for "gauges" the section "Gauges" before "Rain gauges".

    Examples:
        >>> match_titles(["gauges"], [["Gauges"], ["Rain gauges", "Fog"], []]).round(2).tolist()
        [2.0, 0.4, 0.0]
    """
    common = function_words(terms)
    asked = {term for term in terms if term not in common and " " not in term}
    shares = [max((_dice(asked, set(to_terms(title)) - common) for title in one), default=0.0) for one in titles]
    return _TITLE_WEIGHT * np.array(shares) ** _TITLE_POWER


def _dice(one: set[str], other: set[str]) -> float:
    """Share of the words of both that both have."""
    return 2 * len(one & other) / max(1, len(one) + len(other))


def _union(parts: Sequence[IntArray]) -> tuple[IntArray, list[IntArray]]:
    """All numbers of some ascending arrays, ascending, and the places of each array's numbers among them."""
    numbers = np.concatenate([np.zeros(0, dtype=np.int64), *parts])
    order = np.argsort(numbers, kind="stable")  # which merges what is in order
    ordered = numbers[order]
    is_new = np.ones(len(ordered), dtype=np.bool_)
    is_new[1:] = ordered[1:] != ordered[:-1]
    places = np.empty(len(order), dtype=np.int64)
    places[order] = np.cumsum(is_new) - 1
    ends = np.cumsum([len(one) for one in parts], dtype=np.int64)
    return ordered[is_new], np.split(places, ends)[: len(parts)]


def _weigh(term: Postings, places: ChunkPlaces, n_more: int) -> Postings:
    """Scores of a term by its IDF with ``n_more`` other texts; those of documents times their share."""
    n_chunks, n_documents = len(term.chunks), len(term.documents)
    if not n_documents:
        return term
    chunk_rarity = _idf(n_chunks, len(places), n_more)
    rarity = (_idf(n_documents, len(places.documents), n_more) + chunk_rarity) / 2
    return Postings(
        term.documents,
        term.document_scores * (_SHARE * rarity / _idf(n_documents, len(places.documents), 0)),
        term.chunks,
        term.chunk_scores * (chunk_rarity / _idf(n_chunks, len(places), 0)) if n_chunks else term.chunk_scores,
    )


def _affordable(corpus: Corpus, terms: Sequence[str], granularity: int) -> list[str]:
    """The rarest terms, one at least, as long as few enough chunks hold them."""
    most = max(_MOST_ROWS, len(corpus.places(granularity)) // _MOST_SHARE)
    counts = [corpus.count(term, granularity, most) for term in terms]
    order = sorted(range(len(terms)), key=counts.__getitem__)
    totals = accumulate(counts[place] for place in order)
    return [
        terms[place] for rank, (place, total) in enumerate(zip(order, totals, strict=True)) if not rank or total <= most
    ]


def _idf(n_with: int, n: int, n_more: int) -> float:
    """Inverse document frequency of a term that ``n_with`` of ``n`` rows hold, and half of ``n_more`` others.

    Without others it is that of ``score_bm25``.
    """
    return max(math.log((n - n_with + n_more / 2 + 0.5) / (n_with + n_more / 2 + 0.5)), 1e-6) if n_with else 0.0


def _power(values: ScoreArray) -> ScoreArray:
    return values * np.sqrt(values)
