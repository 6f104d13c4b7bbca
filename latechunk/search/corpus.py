"""What hybrid search knows of all chunks of an index, remembered until the store changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from itertools import chain
from typing import Concatenate, ParamSpec, TypeVar

from latechunk.ann.reader import VectorReader
from latechunk.search.cache import StoreCache
from latechunk.search.spellings import beginnings, most_alike, other_forms
from latechunk.storage.filter_sql import Selection
from latechunk.storage.fulltext import DOCUMENTS
from latechunk.storage.lookup import WordRows
from latechunk.storage.rows import ChunkPlaces
from latechunk.storage.store import Store
from latechunk.types import FloatArray, IntArray, ScoreArray

_SAMPLE = 2_048  # vectors that stand for all

_Arguments = ParamSpec("_Arguments")
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class Postings:
    """Where a term stands.

    Attributes:
        documents: Places in ``ChunkPlaces.documents``, ascending, shape ``(n_documents,)``.
        document_scores: The term's BM25 in each.
        chunks: Places in ``ChunkPlaces.numbers``, ascending, shape ``(n_chunks,)``.
        chunk_scores: The term's BM25 in each.
    """

    documents: IntArray
    document_scores: ScoreArray
    chunks: IntArray
    chunk_scores: ScoreArray


def _remembered(
    read: Callable[Concatenate[Corpus, _Arguments], _Value],
) -> Callable[Concatenate[Corpus, _Arguments], _Value]:
    """A method whose values are kept by its arguments, less those by name, while the store does not change."""

    @wraps(read)
    def remembering(self: Corpus, /, *arguments: _Arguments.args, **named: _Arguments.kwargs) -> _Value:
        key = (read.__name__, *arguments)
        return self._cache.get(self._token, key, lambda: read(self, *arguments, **named))

    return remembering


class Corpus:
    """The chunks of each granularity in one state of the store."""

    def __init__(self, store: Store, cache: StoreCache) -> None:
        """Read from ``store``, within a ``snapshot`` of it that lasts as long as this is used."""
        self.store = store
        self._token = store.last_commit().token
        self._cache = cache

    @_remembered
    def documents(self, where: Selection) -> IntArray:
        """Numbers of the documents that are selected."""
        return self.store.document_numbers(where)

    def first_time(self, where: Selection) -> bool:
        """Whether nobody asked this before in this state of the store, or it was forgotten."""
        asked: list[bool] = []
        self._cache.get(self._token, ("asked", where), lambda: asked.append(True))
        return bool(asked)

    def places(self, granularity: int) -> ChunkPlaces:
        """Where the chunks are."""
        key = ("places", granularity)
        return self._cache.renew(self._token, key, lambda known: self.store.chunk_places(granularity, known))

    @_remembered
    def sample(self, granularity: int, *, vectors: VectorReader) -> FloatArray:
        """Vectors that stand for all, shape ``(n, dims)``: all of a small index, else every so many.

        Their cosines with a question have the mean and the deviation of all: the deviation of 2,048 is within 2 % of
        that of a million, each question is compared with all of them, and reading them takes no pass over the index
        after every change.
        """
        numbers = self.places(granularity).numbers
        return vectors.vectors_of(numbers[:: max(1, len(numbers) // _SAMPLE)].tolist())

    @_remembered
    def count(self, term: str, granularity: int, most: int) -> int:
        """How many chunks hold a term; from ``most`` on, some of those that were deleted may be among them."""
        if " " not in term:  # those of phrases are not counted without looking for them
            n_stored = self.store.count_term(term, granularity)
            n_removed = self._rows(granularity, granularity).n_removed
            if not n_removed or n_stored - n_removed >= most:
                return n_stored
        return len(self.postings(term, granularity).chunks)

    @_remembered
    def postings(self, term: str, granularity: int) -> Postings:
        """Where a term stands.

        The common words of questions are the slow ones, and the same in every question, so remembering them spares
        most of the time of a search. A number stands where it is written in another way, too.
        """
        documents, chunks = (
            self.store.score_term(term, kind, self._rows(kind, granularity), other_forms(term))
            for kind in (DOCUMENTS, granularity)
        )
        return Postings(*documents, *chunks)

    @_remembered
    def as_held(self, word: str, granularity: int) -> str:
        """The word of any chunk that is most like one that no chunk holds; itself if none is much like it."""
        known = set(chain.from_iterable(self.store.terms_with(one, granularity) for one in beginnings(word)))
        return next((one for one in most_alike(word, known) if self.count(one, granularity, 1)), word)

    def _rows(self, kind: int, granularity: int) -> WordRows:
        """What the lexical index has of the chunks of a granularity, or of their documents if ``kind`` says so."""
        places = self.places(granularity)
        stored = places.documents if kind == DOCUMENTS else places.numbers
        token = (self._token, self.store.segments(kind))
        return self._cache.renew(token, ("rows", kind, granularity), lambda _: self.store.word_rows(kind, stored))
