"""Postings of terms as arrays: made of texts, joined, packed into bytes, searched and scored. Knows no database."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Any, TypeAlias

import numpy as np

from latechunk.types import BoolArray, IntArray, ScoreArray
from latechunk.types.arrays import counted_ranges

# Postings that stand together in a block, at the most, unless one term has more. A rare term is read with its block.
_BLOCK = 2_048
_K1, _B = 1.2, 0.75
_SHIFT = 32  # two numbers below 2**32 are sorted as one

Columns: TypeAlias = tuple[str, bytes, bytes, bytes, bytes, bytes]
"""A block of postings as it is stored: terms, counts, first rows, differences of rows, frequencies, positions."""


@dataclass(frozen=True, slots=True)
class Postings:
    """Where some terms stand.

    Attributes:
        terms: Ascending.
        counts: In how many rows each stands, shape ``(n_terms,)``.
        rows: In which, ascending for each term, shape ``(n_postings,)``.
        frequencies: How often, shape ``(n_postings,)``.
        positions: At which places of the row's terms, ascending for each posting, shape ``(sum(frequencies),)``.
    """

    terms: list[str]
    counts: IntArray
    rows: IntArray
    frequencies: IntArray
    positions: IntArray

    @classmethod
    def of_texts(cls, terms: Sequence[str], ids: IntArray, lengths: IntArray) -> Postings:
        """Postings of texts, which are rows from 0 on.

        Args:
            terms: Ascending; some may be in no text.
            ids: The places in ``terms`` of what the texts hold, one text after the other.
            lengths: How many each text has.
        """
        keys = np.sort((ids << _SHIFT) | np.arange(len(ids)))
        term_of, at = keys >> _SHIFT, keys & (1 << _SHIFT) - 1
        row_of = np.repeat(np.arange(len(lengths)), lengths)[at]
        is_first = np.ones(len(keys), dtype=np.bool_)
        is_first[1:] = (term_of[1:] != term_of[:-1]) | (row_of[1:] != row_of[:-1])
        first = np.flatnonzero(is_first)
        counts = np.bincount(term_of[first], minlength=len(terms))
        positions = at - (np.cumsum(lengths) - lengths)[row_of]
        frequencies = np.diff(first, append=len(keys))
        return cls(list(terms), counts, row_of[first], frequencies, positions).without_empty()

    @classmethod
    def concatenated(cls, parts: Sequence[Postings]) -> Postings:
        """Those of one part after those of the other, whose terms follow on each other."""
        if len(parts) == 1:
            return parts[0]
        arrays = [
            np.concatenate([getattr(one, name) for one in parts])
            for name in ("counts", "rows", "frequencies", "positions")
        ]
        return cls(list(chain.from_iterable(one.terms for one in parts)), *arrays)

    @classmethod
    def joined(cls, parts: Sequence[Postings]) -> Postings:
        """Those of parts that have terms in common, and no row."""
        if len(parts) == 1:
            return parts[0]
        whole = cls.concatenated(parts)
        # Of a list of runs that ascend, which takes 0.6 times as long as to sort a set.
        terms = list(dict.fromkeys(sorted(whole.terms)))
        rank = dict(zip(terms, range(len(terms)), strict=True))
        term_of = np.repeat(np.fromiter(map(rank.__getitem__, whole.terms), dtype=np.int64), whole.counts)
        order = np.argsort((term_of << _SHIFT) | whole.rows, kind="stable")
        frequencies = whole.frequencies[order]
        starts = (np.cumsum(whole.frequencies) - whole.frequencies)[order]
        positions = whole.positions[counted_ranges(starts, frequencies)]
        return cls(terms, np.bincount(term_of, minlength=len(terms)), whole.rows[order], frequencies, positions)

    def renumbered(self, new: IntArray) -> Postings:
        """The same with ``new[row]`` in place of each row; below 0 are those to be left out."""
        rows = new[self.rows]
        is_kept: BoolArray = rows >= 0
        if is_kept.all():
            return Postings(self.terms, self.counts, rows, self.frequencies, self.positions)
        term_of = np.repeat(np.arange(len(self.terms)), self.counts)
        return Postings(
            self.terms,
            np.bincount(term_of[is_kept], minlength=len(self.terms)),
            rows[is_kept],
            self.frequencies[is_kept],
            self.positions[np.repeat(is_kept, self.frequencies)],
        ).without_empty()

    def without_empty(self) -> Postings:
        """The same without terms that stand nowhere."""
        if self.counts.all():
            return self
        terms = [term for term, count in zip(self.terms, self.counts.tolist(), strict=True) if count]
        return Postings(terms, self.counts[self.counts > 0], self.rows, self.frequencies, self.positions)

    def part(self, begin: int, end: int) -> Postings:
        """Those of some of the terms."""
        first, last = (int(self.counts[:place].sum()) for place in (begin, end))
        start, stop = (int(self.frequencies[:place].sum()) for place in (first, last))
        return self._cut((begin, end), (first, last), (start, stop))

    def _cut(self, terms: tuple[int, int], postings: tuple[int, int], positions: tuple[int, int]) -> Postings:
        own = slice(*postings)
        return Postings(
            self.terms[slice(*terms)],
            self.counts[slice(*terms)],
            self.rows[own],
            self.frequencies[own],
            self.positions[slice(*positions)],
        )

    def blocks(self) -> Iterator[Postings]:
        """Parts of up to 2,048 postings; a term with more has one of its own, so that its neighbours are read fast."""
        is_large = self.counts > _BLOCK
        group = np.cumsum(self.counts) // _BLOCK
        is_new = (np.diff(group) > 0) | is_large[1:] | is_large[:-1]
        ends = [0, *(np.flatnonzero(is_new) + 1).tolist(), len(self.terms)]
        posting_ends = np.concatenate([[0], np.cumsum(self.counts)])[ends]
        position_ends = np.concatenate([[0], np.cumsum(self.frequencies)])[posting_ends].tolist()
        places = zip(ends, posting_ends.tolist(), position_ends, strict=True)
        for (begin, first, start), (end, last, stop) in pairwise(places):
            if begin < end:
                yield self._cut((begin, end), (first, last), (start, stop))

    def pack(self) -> Columns:
        """Bytes of a block; rows are written as that of each term's first posting, and differences to the next."""
        first = np.cumsum(self.counts) - self.counts
        differences = np.diff(self.rows, prepend=0)
        differences[first] = 0
        arrays = (self.counts, self.rows[first], differences, self.frequencies, self.positions)
        terms, packed = "\n".join(self.terms), tuple(map(pack_numbers, arrays))
        return terms, packed[0], packed[1], packed[2], packed[3], packed[4]

    @classmethod
    def unpack(cls, columns: Columns) -> Postings:
        """Postings of a block; ValueError if its parts do not fit together."""
        terms, *packed = columns
        counts, first, differences, frequencies, positions = map(unpack_numbers, packed)
        names = terms.split("\n")
        sizes = [len(counts), len(first), len(differences), len(positions)]
        if sizes != [len(names), len(names), counts.sum(), frequencies.sum()] or len(differences) != len(frequencies):
            raise ValueError("the parts of a block of postings do not fit together")
        rows = np.cumsum(differences)
        at = np.cumsum(counts) - counts
        rows += np.repeat(first - rows[at], counts)
        return cls(names, counts, rows, frequencies, positions)


def merge(sources: Sequence[Iterator[Postings]]) -> Iterator[Postings]:
    """Join sources, each of which gives its terms in ascending order, and hold no more than a part of each."""
    heads = [next(source, None) for source in sources]
    while current := [one for one in heads if one is not None]:
        limit = min(one.terms[-1] for one in current)
        parts = []
        for place, head in enumerate(heads):
            if head is None:
                continue
            n = bisect_right(head.terms, limit)
            if n:
                parts.append(head.part(0, n))
            heads[place] = head.part(n, len(head.terms)) if n < len(head.terms) else next(sources[place], None)
        yield Postings.joined(parts)


def find_in_block(term: str, terms: str, counts: bytes) -> tuple[int, int, int] | None:
    """Which of a block's terms this is, and the ends of its postings; None if it is not there."""
    at = f"\n{terms}\n".find(f"\n{term}\n")
    if at < 0:
        return None
    place = terms.count("\n", 0, at)
    before = unpack_numbers(counts, 0, place + 1)
    end = int(before.sum())
    return place, end - int(before[-1]), end


def rows_in_block(block: Sequence[Any], place: int, begin: int, end: int) -> tuple[IntArray, IntArray]:
    """Rows and frequencies of what ``find_in_block`` found."""
    _, _, first, differences, frequencies, *_ = block
    rows = np.cumsum(unpack_numbers(differences, begin, end)) + unpack_numbers(first, place, place + 1)
    return rows, unpack_numbers(frequencies, begin, end)


def positions_in_block(block: Columns, begin: int, at: IntArray) -> IntArray:
    """Positions of some of a term's postings, which begin at ``begin`` in the block, one posting after the other."""
    frequencies = unpack_numbers(block[4])
    starts = (np.cumsum(frequencies) - frequencies)[begin + at]
    positions = unpack_numbers(block[5])
    if len(positions) != frequencies.sum():
        raise ValueError("a block of postings has not as many positions as it should have")
    return np.asarray(positions[counted_ranges(starts, frequencies[begin + at])])


def match_phrase(parts: Sequence[tuple[IntArray, IntArray, IntArray]]) -> tuple[IntArray, IntArray]:
    """Rows in which terms stand one after the other, and how often, of rows, frequencies and positions of each."""
    keys = [
        (np.repeat(rows, frequencies) << _SHIFT) + positions - place + len(parts)
        for place, (rows, frequencies, positions) in enumerate(parts)
    ]
    found = keys[0]
    for one in keys[1:]:
        found = np.intersect1d(found, one, assume_unique=True)
    rows, frequencies = np.unique(found >> _SHIFT, return_counts=True)
    return rows, frequencies


def score_bm25(frequencies: IntArray, lengths: IntArray, n_rows: int, mean_length: float) -> ScoreArray:
    """BM25 (k1 = 1.2, b = 0.75) of a term in the rows that hold it, ``n_rows`` in all.

    A term that is in more than half of the rows has an IDF of 1e-6, as SQLite's FTS5 has it.
    """
    n = len(frequencies)
    idf = max(float(np.log((n_rows - n + 0.5) / (n + 0.5))), 1e-6)
    norm = _K1 * (1 - _B + _B * lengths / max(mean_length, 1e-9))
    return np.asarray(idf * (_K1 + 1) * frequencies / (frequencies + norm), dtype=np.float64)


def pack_numbers(values: IntArray) -> bytes:
    """Numbers from 0 on as bytes, little-endian, the first of which says how many each takes."""
    largest = int(values.max(initial=0))
    size = next(size for size in (1, 2, 4, 8) if largest < 1 << 8 * size)
    return bytes([size]) + values.astype(f"<u{size}").tobytes()


def unpack_numbers(packed: bytes, begin: int = 0, end: int | None = None) -> IntArray:
    """Numbers that ``pack_numbers`` wrote, or some of them; ValueError if it did not."""
    size = packed[0] if isinstance(packed, bytes) and packed else 0
    if size not in (1, 2, 4, 8) or (len(packed) - 1) % size:
        raise ValueError("packed numbers are not as they were written")
    n = (len(packed) - 1) // size
    end = n if end is None else end
    if not begin <= end <= n:
        raise ValueError("there are fewer packed numbers than there should be")
    values = np.frombuffer(packed, f"<u{size}", end - begin, 1 + begin * size).astype(np.int64)
    if size == 8 and len(values) and values.min() < 0:
        raise ValueError("a packed number is larger than any that was written")
    return values
