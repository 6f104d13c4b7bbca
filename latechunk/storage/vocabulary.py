"""Numbers in place of terms: a text to an array, without a string for each character and pair of a script."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import chain, compress

import numpy as np

from latechunk.storage.terms import fold_each, has_unspaced, latin_words, to_words
from latechunk.types import IntArray

_CHARACTERS = 1 << 50  # numbers from here on are one or two characters; their code points are below 2**21
_SHIFT = 21


class Vocabulary:
    """Gives each term a number until they are resolved."""

    def __init__(self) -> None:
        """Know no term."""
        self._numbers: defaultdict[str, int] = defaultdict()
        self._numbers.default_factory = self._numbers.__len__

    def read(self, texts: Sequence[str]) -> tuple[IntArray, IntArray]:
        """Numbers of what ``to_terms`` finds in each text, one after the other, and how many; one term may have two."""
        folded = fold_each(texts)
        words_of = [to_words(text) for text in folded]
        n_words = np.fromiter(map(len, words_of), dtype=np.int64, count=len(texts))
        words = list(chain.from_iterable(words_of))
        is_run = np.zeros(len(words), dtype=np.bool_)
        if any(map(has_unspaced, folded)):
            is_run[:] = [has_unspaced(word) for word in words]
        if not is_run.any():
            return self._of_words(words), n_words
        sizes = np.ones(len(words), dtype=np.int64)
        of_runs, sizes[is_run] = self._of_unspaced(list(compress(words, is_run)))
        found = np.empty(sizes.sum(), dtype=np.int64)
        is_of_run = np.repeat(is_run, sizes)
        found[is_of_run] = of_runs
        found[~is_of_run] = self._of_words(list(compress(words, ~is_run)))
        before = np.concatenate([[0], np.cumsum(sizes)])
        return found, np.diff(before[np.cumsum(n_words)], prepend=0)

    def _of_unspaced(self, words: Sequence[str]) -> tuple[IntArray, IntArray]:
        """The characters and pairs of each word, and after them its Latin words; how many those are."""
        found = _of_characters(words)
        sizes = np.array([2 * len(word) - 1 for word in words])
        latin = list(map(latin_words, words))
        if not any(latin):
            return found, sizes
        n_latin = np.array(list(map(len, latin)))
        numbers = self._of_words(list(chain.from_iterable(latin)))
        return np.insert(found, np.repeat(np.cumsum(sizes), n_latin), numbers), sizes + n_latin

    def _of_words(self, words: Sequence[str]) -> IntArray:
        return np.fromiter(map(self._numbers.__getitem__, words), dtype=np.int64, count=len(words))

    def resolve(self, numbers: IntArray) -> tuple[list[str], IntArray]:
        """All terms read so far, ascending, and for each number the place of its term there; forgets them."""
        is_pair = numbers >= _CHARACTERS
        pairs = numbers[is_pair]
        different = np.sort(pairs)
        different = different[np.diff(different, prepend=0) > 0]
        names = _names(different - _CHARACTERS)
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


def _names(numbers: IntArray) -> list[str]:
    """The one or two characters of each number."""
    ends = np.full(len(numbers), ord("\n"))
    characters = np.stack([numbers >> _SHIFT, numbers & (1 << _SHIFT) - 1, ends], axis=1).ravel()
    return characters[characters > 0].astype("<u4").tobytes().decode("utf-32-le").split("\n")[:-1]
