"""Reads what the lexical index says of a term: in which rows it stands, and its BM25 there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any

import numpy as np

from latechunk.storage.chunk_reader import ChunkReader
from latechunk.storage.fulltext import COLUMNS, damage_named, read_rows
from latechunk.storage.postings import find_in_block, match_phrase, positions_in_block, rows_in_block, score_bm25
from latechunk.types import IntArray, ScoreArray


@dataclass(frozen=True, slots=True)
class WordRows:
    """The rows of all segments of a granularity, and which of them are stored.

    Attributes:
        places: Of each segment's rows, one segment after the other, among all that are stored; -1 if it is not.
        lengths: How many terms each has of those that are stored.
        begins: Where in ``places`` each segment begins, by its number, and where it ends.
        mean_length: Of ``lengths``; 0 if nothing is stored.
        n_removed: How many rows are no longer stored.
    """

    places: IntArray
    lengths: IntArray
    begins: Mapping[int, tuple[int, int]]
    mean_length: float
    n_removed: int

    def locate(self, segment: int, rows: IntArray, frequencies: IntArray) -> tuple[IntArray, IntArray]:
        """Places of a segment's rows that are stored, with their frequencies; ValueError if it has no such rows."""
        begin, end = self.begins[segment]
        if len(rows) and int(rows.max()) >= end - begin:
            raise ValueError(f"segment {segment} of the lexical index has no row {rows.max()}")
        places = self.places[begin + rows]
        is_stored = places >= 0
        return (places, frequencies) if is_stored.all() else (places[is_stored], frequencies[is_stored])


class WordReader(ChunkReader):
    """Reads the lexical index, within one ``snapshot``; documents have the granularity ``DOCUMENTS`` there."""

    def segments(self, granularity: int) -> tuple[int, ...]:
        """Numbers of the segments, ascending, which change without a commit when they are joined."""
        query = "SELECT number FROM segments WHERE granularity = ? ORDER BY number"
        return tuple(number for (number,) in self._pool.connection.execute(query, (granularity,)))

    @damage_named()
    def word_rows(self, granularity: int, stored: IntArray) -> WordRows:
        """What the segments have of all chunks, or of documents; ``stored`` are their numbers, ascending."""
        lengths = np.zeros(len(stored), dtype=np.int64)
        places: list[IntArray] = [np.zeros(0, dtype=np.int64)]
        begins, end = {}, 0
        for segment in self.segments(granularity):
            numbers, own = read_rows(self._pool.connection, segment)
            at = np.searchsorted(stored, numbers)
            is_stored = np.zeros(len(at), dtype=np.bool_)
            is_inside = at < len(stored)
            is_stored[is_inside] = stored[at[is_inside]] == numbers[is_inside]
            lengths[at[is_stored]] = own[is_stored]
            places.append(np.where(is_stored, at, -1))
            begins[segment] = (end, end + len(at))
            end += len(at)
        joined = np.concatenate(places)
        mean_length = float(lengths.sum()) / max(1, len(lengths))
        n_removed = int(np.count_nonzero(joined < 0))
        return WordRows(joined.astype(np.int32), lengths.astype(np.int32), begins, mean_length, n_removed)

    @damage_named()
    def count_term(self, term: str, granularity: int) -> int:
        """How many rows hold a term, those included that are no longer stored."""
        total = 0
        for _, (terms, counts) in self._blocks_of(granularity, term, "terms, counts"):
            if (found := find_in_block(term, terms, counts)) is not None:
                total += found[2] - found[1]
        return total

    @damage_named()
    def terms_with(self, prefix: str, granularity: int) -> set[str]:
        """All terms that begin so, those included that stand in no row that is still stored."""
        found: set[str] = set()
        for segment in self.segments(granularity):
            query = "SELECT terms FROM postings WHERE segment = ? AND last >= ? ORDER BY last"
            for (block,) in self._pool.connection.execute(query, (segment, prefix)):
                terms = block.split("\n")
                found.update(term for term in terms if term.startswith(prefix))
                if not terms[-1].startswith(prefix):
                    break
        return found

    @damage_named()
    def score_term(
        self, term: str, granularity: int, known: WordRows, others: Sequence[str] = ()
    ) -> tuple[IntArray, ScoreArray]:
        """Places of the rows that hold a term or a phrase, ascending, and its BM25 (k1 = 1.2, b = 0.75) in each.

        ``others`` are other ways to write it, which count as the term itself.
        """
        located = [known.locate(*one) for name in (term, *others) for one in self._find(granularity, name)]
        if not located:
            return np.zeros(0, dtype=np.int64), np.zeros(0)
        places, frequencies = (np.concatenate(one) for one in zip(*located, strict=True))
        if (np.diff(places) <= 0).any():
            order = np.argsort(places, kind="stable")
            places, first = np.unique(places[order], return_index=True)
            frequencies = np.add.reduceat(frequencies[order], first)
        return places, score_bm25(frequencies, known.lengths[places], len(known.lengths), known.mean_length)

    def _find(self, granularity: int, term: str) -> Iterator[tuple[int, IntArray, IntArray]]:
        """For each segment that has a term or a phrase its rows and frequencies."""
        if " " in term:
            yield from self._find_phrase(granularity, term.split(" "))
            return
        for segment, block in self._blocks_of(granularity, term, COLUMNS.removesuffix(", positions")):
            found = find_in_block(term, block[0], block[1])
            if found is not None:
                yield segment, *rows_in_block(block, *found)

    def _find_phrase(self, granularity: int, words: Sequence[str]) -> Iterator[tuple[int, IntArray, IntArray]]:
        """For each segment that has the words one after the other, its rows and how often they stand there.

        Positions are read of the rows alone that have all the words: one of them may be in every second row.
        """
        blocks = [dict(self._blocks_of(granularity, word, COLUMNS)) for word in words]
        for segment in sorted(set.intersection(*map(set, blocks))):
            own = [one[segment] for one in blocks]
            places = [find_in_block(word, one[0], one[1]) for word, one in zip(words, own, strict=True)]
            if None in places:
                continue
            found = [rows_in_block(one, *place) for one, place in zip(own, places, strict=True) if place]
            rows = reduce(partial(np.intersect1d, assume_unique=True), sorted((one for one, _ in found), key=len))
            parts = []
            for block, place, (all_rows, frequencies) in zip(own, places, found, strict=True):
                at = np.searchsorted(all_rows, rows)
                parts.append((rows, frequencies[at], positions_in_block(block, place[1] if place else 0, at)))
            yield segment, *match_phrase(parts)

    def _blocks_of(self, granularity: int, term: str, columns: str) -> list[tuple[int, Any]]:
        """Segment and columns of the blocks that hold a term, if any do."""
        query = (
            f"SELECT s.number, {columns} FROM segments s JOIN postings b ON b.rowid = (SELECT rowid FROM postings "
            "WHERE segment = s.number AND last >= ? ORDER BY last LIMIT 1) WHERE s.granularity = ?"
        )
        return [(row[0], row[1:]) for row in self._pool.connection.execute(query, (term, granularity))]
