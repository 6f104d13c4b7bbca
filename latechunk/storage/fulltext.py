"""The lexical index: its tables, and what is written into them within a transaction.

It is an inverted index of segments, as Lucene has it. What a transaction adds becomes one segment of each granularity's
chunks and one of the whole documents; a segment is never changed, but eight of about the same size are joined into one.
To delete or replace a document touches no segment: numbers are never used again, so what its rows hold is passed over
until their segment is joined with others. Of the largest segments 64 are joined, so that hardly any change has to write
gigabytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice

import numpy as np

from latechunk.errors import IndexDamagedError
from latechunk.storage.postings import Columns, Postings, merge, pack_numbers, unpack_numbers
from latechunk.storage.terms import cut_at_signs
from latechunk.storage.vocabulary import Vocabulary
from latechunk.types import IntArray, Span
from latechunk.types.arrays import counted_ranges

MOST_GRANULARITIES = 8
DOCUMENTS = -1  # the granularity of whole documents here

_SEGMENTS = (
    "CREATE TABLE segments (number INTEGER PRIMARY KEY, granularity INTEGER NOT NULL, n_terms INTEGER NOT NULL, "
    "numbers BLOB NOT NULL, lengths BLOB NOT NULL, sha256 BLOB NOT NULL)"
)
# A row is a block of terms under its last one. What is read most stands first, since SQLite reads no further than it
# must. The table is not WITHOUT ROWID, where each comparison with a row reads all of it.
_POSTINGS = (
    "CREATE TABLE postings (segment INTEGER NOT NULL, last TEXT NOT NULL, terms TEXT NOT NULL, counts BLOB NOT NULL, "
    "first BLOB NOT NULL, differences BLOB NOT NULL, frequencies BLOB NOT NULL, positions BLOB NOT NULL, "
    "PRIMARY KEY (segment, last))"
)
COLUMNS = "terms, counts, first, differences, frequencies, positions"

_MOST_TERMS = 2**20  # that wait to be written, of all texts
_TIER, _LEAST_TIER = 8, 2**17  # segments of a tier are joined when there are so many; of fewer terms all are one tier
# From 67,000,000 terms on, which take 0.3 GB and are about 200,000 chunks of 70 words, all are one tier. For a question
# whose words are new each segment more takes 0.1 ms: 5 ms for 51 in place of 9.
_TOP_TIER = 4
_AT_ONCE = 16  # blocks of a segment that are read at once to be joined with others


@contextlib.contextmanager
def damage_named() -> Iterator[None]:
    """Say what it means that a block or a segment cannot be read."""
    try:
        yield
    except (ValueError, IndexError, TypeError, KeyError, AttributeError) as error:
        what = f"the lexical index is damaged ({error}): `latechunk repair` makes it again from the texts"
        raise IndexDamagedError(what) from error


def word_tables(settings: Mapping[str, Mapping[str, object]]) -> tuple[str, ...]:
    """SQL of the tables of an index; none without words."""
    return (_SEGMENTS, _POSTINGS) if settings.get("search", {}).get("words") is True else ()


class WordWriter:
    """Enters texts, within a transaction; what it holds when ``finish`` is called becomes one segment of each kind."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Nothing is written before ``finish``, or there is much to write."""
        self._connection = connection
        self._vocabulary = Vocabulary()
        self._read: list[IntArray] = []  # terms of texts
        self._rows: list[tuple[IntArray, IntArray, IntArray]] = []  # granularities, numbers, ranges of these terms
        self._n_read = self._n_terms = 0  # terms of texts, and of rows, which share texts

    def add(self, document: int, chunks: Sequence[int], text: str, chunkings: Sequence[Sequence[Span]]) -> None:
        """Enter a document and its chunks; ``chunks`` are their numbers by granularity."""
        kinds = chain.from_iterable([granularity] * len(spans) for granularity, spans in enumerate(chunkings))
        parts, ranges = cut_at_signs(text, [Span(0, len(text)), *chain.from_iterable(chunkings)])
        self._enter([DOCUMENTS, *kinds], [document, *chunks], parts, ranges)

    def enter(self, granularity: int, number: int, text: str) -> None:
        """Enter one row."""
        self._enter([granularity], [number], [text], np.array([[[0, 1]]]))

    def _enter(self, kinds: Sequence[int], numbers: Sequence[int], parts: Sequence[str], ranges: IntArray) -> None:
        read, lengths = self._vocabulary.read(parts)
        before = np.concatenate([[0], np.cumsum(lengths)])
        self._rows.append((np.array(kinds), np.array(numbers), self._n_read + before[ranges]))
        self._read.append(read)
        self._n_read += len(read)
        self._n_terms += int(np.diff(before[ranges]).sum())
        if self._n_terms > _MOST_TERMS:
            self._flush()

    def _flush(self) -> None:
        """Write what was entered."""
        if not self._rows:
            return
        kinds, numbers, ranges = (np.concatenate(some) for some in zip(*self._rows, strict=True))
        terms, read = self._vocabulary.resolve(np.concatenate(self._read))
        for granularity in np.unique(kinds).tolist():
            own = np.flatnonzero(kinds == granularity)
            own = own[np.argsort(numbers[own], kind="stable")]  # in order already, unless numbers are damaged
            starts, sizes = ranges[own, :, 0], np.diff(ranges[own])[:, :, 0]
            lengths = sizes.sum(axis=1)
            postings = Postings.of_texts(terms, read[counted_ranges(starts.ravel(), sizes.ravel())], lengths)
            _write_segment(self._connection, granularity, numbers[own], lengths, iter([postings]))
        self._read, self._rows = [], []
        self._n_read = self._n_terms = 0

    def finish(self) -> None:
        """Write what is left, and join segments where there are many."""
        self._flush()
        for (granularity,) in self._connection.execute("SELECT DISTINCT granularity FROM segments").fetchall():
            with damage_named():
                while tier := _full_tier(self._connection, granularity):
                    _join(self._connection, granularity, tier)


def merge_words(connection: sqlite3.Connection) -> None:
    """Join all segments of each granularity into one, within a transaction."""
    for (granularity,) in connection.execute("SELECT DISTINCT granularity FROM segments").fetchall():
        query = "SELECT number FROM segments WHERE granularity = ?"
        with damage_named():
            _join(connection, granularity, [number for (number,) in connection.execute(query, (granularity,))])


def clear_words(connection: sqlite3.Connection) -> None:
    """Delete all, whatever it is, within a transaction."""
    connection.execute("DELETE FROM postings")
    connection.execute("DELETE FROM segments")


def _full_tier(connection: sqlite3.Connection, granularity: int) -> list[int] | None:
    """The segments to be joined, of the lowest tier that has enough; a tier's are up to eight times as large."""
    tiers: dict[int, list[int]] = {}
    query = "SELECT number, n_terms FROM segments WHERE granularity = ? ORDER BY number"
    for number, n_terms in connection.execute(query, (granularity,)):
        tier, most = 0, _LEAST_TIER
        while n_terms >= most and tier < _TOP_TIER:
            tier, most = tier + 1, most * _TIER
        tiers.setdefault(tier, []).append(number)
    enough = {tier: _TIER if tier < _TOP_TIER else _TIER**2 for tier in tiers}
    return next((tiers[tier] for tier in sorted(tiers) if len(tiers[tier]) >= enough[tier]), None)


def _join(connection: sqlite3.Connection, granularity: int, segments: Sequence[int]) -> None:
    """Put one segment in the place of some, without the rows of what was deleted."""
    known = [read_rows(connection, segment) for segment in segments]
    numbers, lengths = (np.concatenate(one) for one in zip(*known, strict=True))
    order = np.argsort(numbers, kind="stable")
    order = order[np.isin(numbers[order], _live(connection, granularity, numbers), assume_unique=True)]
    new = np.full(len(numbers), -1)
    new[order] = np.arange(len(order))
    ends = np.cumsum([len(one) for one, _ in known])
    sources = [
        _read_segment(connection, segment, new[end - len(one) : end])
        for segment, end, (one, _) in zip(segments, ends.tolist(), known, strict=True)
    ]
    _write_segment(connection, granularity, numbers[order], lengths[order], merge(sources))
    for table, column in (("postings", "segment"), ("segments", "number")):
        connection.executemany(f"DELETE FROM {table} WHERE {column} = ?", [(one,) for one in segments])


def _live(connection: sqlite3.Connection, granularity: int, numbers: IntArray) -> IntArray:
    """Numbers of the chunks or documents that are stored, in the range of some."""
    if not len(numbers):
        return numbers
    within = (int(numbers.min()), int(numbers.max()))
    query = "SELECT number FROM documents WHERE number BETWEEN ? AND ?"
    if granularity != DOCUMENTS:
        query = f"SELECT number FROM chunks WHERE number BETWEEN ? AND ? AND granularity = {int(granularity)}"
    return np.fromiter(chain.from_iterable(connection.execute(query, within)), dtype=np.int64)


def _write_segment(
    connection: sqlite3.Connection, granularity: int, numbers: IntArray, lengths: IntArray, parts: Iterator[Postings]
) -> None:
    (segment,) = connection.execute("SELECT coalesce(max(number), 0) + 1 FROM segments").fetchone()
    packed = pack_numbers(np.diff(numbers, prepend=0)), pack_numbers(lengths)
    digest = hashlib.sha256(b"".join(packed))

    def rows() -> Iterator[tuple[int | str | bytes, ...]]:
        for part in parts:
            for block in part.blocks():
                columns = block.pack()
                hash_block(digest, columns)
                yield segment, block.terms[-1], *columns

    connection.executemany(f"INSERT INTO postings (segment, last, {COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows())
    row = (segment, granularity, int(lengths.sum()), *packed, digest.digest())
    connection.execute("INSERT INTO segments VALUES (?, ?, ?, ?, ?, ?)", row)


def hash_block(digest: hashlib._Hash, columns: Columns) -> None:
    """Take a block of postings into the SHA-256 of its segment, which begins with its numbers and lengths."""
    for column in columns:
        digest.update(column.encode("utf-8") if isinstance(column, str) else column)


def read_rows(connection: sqlite3.Connection, segment: int) -> tuple[IntArray, IntArray]:
    """Numbers of a segment's rows, ascending, and how many terms each has; ValueError if that cannot be read."""
    query = "SELECT numbers, lengths FROM segments WHERE number = ?"
    numbers, lengths = map(unpack_numbers, connection.execute(query, (segment,)).fetchone())
    if len(numbers) != len(lengths):
        raise ValueError("a segment has not as many lengths as rows")
    return np.cumsum(numbers), lengths


def read_blocks(connection: sqlite3.Connection, segment: int) -> Iterator[Columns]:
    """A segment's blocks, in order."""
    query = f"SELECT last, {COLUMNS} FROM postings WHERE segment = ? AND last > ? ORDER BY last LIMIT {_AT_ONCE}"
    last = ""
    while rows := connection.execute(query, (segment, last)).fetchall():  # no cursor is open while others are written
        last = rows[-1][0]
        yield from (row[1:] for row in rows)


def _read_segment(connection: sqlite3.Connection, segment: int, new: IntArray) -> Iterator[Postings]:
    """A segment's postings in parts, with ``new[row]`` in place of each row; below 0 are those to be left out."""
    blocks = read_blocks(connection, segment)
    while some := [Postings.unpack(columns) for columns in islice(blocks, _AT_ONCE)]:
        found = Postings.concatenated(some).renumbered(new)
        if found.terms:
            yield found
