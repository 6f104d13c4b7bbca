"""What is asked of an index: a question with the mode, the terms, the weights and the chunks that its options mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from latechunk.embedding.unread_languages import find_unread_language
from latechunk.errors import InputError, QueryError
from latechunk.search.function_words import function_words
from latechunk.search.options import SearchOptions
from latechunk.storage.rows import SECTION
from latechunk.storage.store import Store
from latechunk.storage.terms import number_phrases, question_terms
from latechunk.types import FloatArray

# Of 0.1 to 0.9; see docs/search.md. Without any share, what the words cannot tell apart would be in no order.
_DENSE_WEIGHT = 0.65
_UNREAD_WEIGHT = 0.1


@dataclass(frozen=True, slots=True)
class Query:
    """A question ready to be searched for.

    Attributes:
        text: The question, empty where a vector alone is given.
        vector: Unit vector; None in lexical search, and until the text is encoded.
        nameless: That of the question without the words that name a document; None where there are none.
        terms: What to look for by words; None in dense search, empty if the question holds no word.
        dense_weight: Share of the dense side in a fusion.
        granularity: Number of the chunking to search.
        within: Number of the chunking to give back, None for the same; that of sections comes after all others.
        options: Everything else, with a mode.
    """

    text: str
    vector: FloatArray | None
    terms: Sequence[str] | None
    dense_weight: float
    granularity: int
    within: int | None
    options: SearchOptions
    nameless: FloatArray | None = None


def make_query(store: Store, languages: Sequence[str], text: str | None, options: SearchOptions) -> Query:
    """Say what options mean for a question in an index, or for a vector where there is no text.

    Without a mode it is hybrid for a text in an index with words, else dense. ``languages`` are ISO 639 codes of what
    the model reads, none if that is many or not known.

    Raises:
        InputError: If the index has no such granularity, or no words, or two options contradict each other.
        QueryError: If words are searched for and the question holds none.
    """
    if options.mode is None:
        mode = "dense" if text is None or not store.has_words else "hybrid"
        options = options.model_copy(update={"mode": mode})
    granularity = number_of_granularity(store, "granularity", options.granularity)
    within = None if options.within is None else _number_within(store, options)
    if within == granularity:
        raise InputError(f"within must name another granularity than the one that is searched, {options.within!r}")
    if options.mode != "dense" and not store.has_words:
        raise InputError(
            'this index was made without lexical search (words=False): search with mode="dense", or make a new one'
        )
    terms = None if options.mode == "dense" else _find_terms(text or "")
    if options.mode == "lexical" and not terms:
        raise QueryError(f"the question must hold a word to be searched for by its words, got {text!r:.80}")
    weight = options.dense_weight
    if weight is None:
        weight = choose_dense_weight(text if text and terms else "", languages)
    return Query(text or "", None, terms, weight, granularity, within, options)


def _find_terms(question: str) -> list[str]:
    """What to look for by words, phrases included."""
    terms = question_terms(question)
    return list(dict.fromkeys([*terms, *number_phrases(question, function_words(terms))]))


def choose_dense_weight(text: str, languages: Sequence[str]) -> float:
    """The share of the dense side in a fusion, by whether the model reads the language of the question."""
    return _UNREAD_WEIGHT if text and languages and find_unread_language(text, languages) else _DENSE_WEIGHT


def number_of_granularity(store: Store, name: str, granularity: str | None) -> int:
    """The number of a granularity, 0 for None; ``name`` is the argument's, for the error."""
    if granularity is None:
        return 0
    if not isinstance(granularity, str) or granularity not in store.granularities:
        known = ", ".join(map(repr, store.granularities))
        further = f' or "{SECTION}"' if name == "within" and SECTION not in store.granularities else ""
        raise InputError(f"{name} must be one of the index's granularities, {known}{further}, got {granularity!r:.80}")
    return store.granularities.index(granularity)


def _number_within(store: Store, options: SearchOptions) -> int:
    if options.within != SECTION or SECTION in store.granularities:
        return number_of_granularity(store, "within", options.within)
    if options.expand:
        raise InputError(f"expand counts chunks, and within={SECTION!r} gives back sections; choose one")
    return len(store.granularities)
