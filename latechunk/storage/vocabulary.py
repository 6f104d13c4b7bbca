"""Numbers in place of terms: a text to an array, without a string for each character and pair of a script."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import chain, groupby

import numpy as np

from latechunk.storage.terms import fold, has_unspaced, latin_words, to_words
from latechunk.types import IntArray

_CHARACTERS = 1 << 50  # numbers from here on are one or two characters; their code points are below 2**21
_SHIFT = 21


class Vocabulary:
    """Gives each term a number until they are resolved."""

    def __init__(self) -> None:
        """Know no term."""
        self._numbers: defaultdict[str, int] = defaultdict()
        self._numbers.default_factory = self._numbers.__len__

    def read(self, text: str) -> IntArray:
        """Numbers of what ``to_terms`` finds, in order; one term may have two."""
        folded = fold(text)
        words = to_words(folded)
        if folded.isascii() or not has_unspaced(folded):
            return self._of_words(words)
        found = [self._of_words(())]
        for unspaced, some in groupby(words, has_unspaced):
            run = list(some)
            found.append(self._of_unspaced(run) if unspaced else self._of_words(run))
        return np.concatenate(found)

    def _of_unspaced(self, words: Sequence[str]) -> IntArray:
        """The characters and pairs of each word, and after them its Latin words."""
        found = _of_characters(words)
        latin = list(map(latin_words, words))
        if not any(latin):
            return found
        ends = np.cumsum([2 * len(word) - 1 for word in words])
        return np.insert(
            found, np.repeat(ends, list(map(len, latin))), self._of_words(list(chain.from_iterable(latin)))
        )

    def _of_words(self, words: Sequence[str]) -> IntArray:
        return np.fromiter(map(self._numbers.__getitem__, words), dtype=np.int64, count=len(words))

    def resolve(self, numbers: IntArray) -> tuple[list[str], IntArray]:
        """All terms read so far, ascending, and for each number the place of its term there; forgets them."""
        is_pair = numbers >= _CHARACTERS
        pairs = numbers[is_pair]
        different = np.sort(pairs)
        different = different[np.diff(different, prepend=0) > 0]
        names = [_name(one) for one in (different - _CHARACTERS).tolist()]
        numbers[is_pair] = self._of_words(names)[np.searchsorted(different, pairs)]
        terms = sorted(self._numbers)
        places = np.empty(len(terms), dtype=np.int64)
        places[self._of_words(terms)] = np.arange(len(terms))
        self._numbers.clear()
        return terms, places[numbers]


def _of_characters(words: Sequence[str]) -> IntArray:
    """Each character of each word, and after it the pair with the next one."""
    joined = "\n".join(words).encode("utf-32-le")
    characters = np.frombuffer(joined, dtype="<u4").astype(np.int64)
    numbers = np.empty(2 * len(characters) - 1, dtype=np.int64)
    numbers[::2] = _CHARACTERS + (characters << _SHIFT)
    numbers[1::2] = numbers[:-1:2] + characters[1:]
    is_kept = np.empty(len(numbers), dtype=np.bool_)
    is_kept[::2] = characters != ord("\n")
    is_kept[1::2] = is_kept[:-1:2] & is_kept[2::2]
    return numbers[is_kept]


def _name(number: int) -> str:
    first, second = number >> _SHIFT, number & (1 << _SHIFT) - 1
    return chr(first) + chr(second) if second else chr(first)
