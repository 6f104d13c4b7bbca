"""Checks the lexical index: nothing in it is changed, it agrees with itself, and it has all chunks and documents."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Collection, Iterator

import numpy as np

from latechunk.storage.fulltext import DOCUMENTS, hash_block, read_blocks, read_rows
from latechunk.storage.postings import Postings
from latechunk.types import IntArray


def check_words(connection: sqlite3.Connection, granularity: int, damaged: Collection[int] = ()) -> Iterator[str]:
    """Say what is wrong with the lexical index of a granularity, or of whole documents for ``DOCUMENTS``.

    ``damaged`` documents, and their chunks, may be missing in it. What was deleted may still be there.

    Each segment is read and compared with its SHA-256. Words are not compared with texts: to mend anything at all, the
    whole is rebuilt from the texts, which takes no longer than to compare it.
    """
    is_of_documents = granularity == DOCUMENTS
    what, table = ("documents", "documents") if is_of_documents else (f"granularity {granularity}", "chunks")
    try:
        query = "SELECT number FROM segments WHERE granularity = ? ORDER BY number"
        numbers = [np.zeros(0, dtype=np.int64)]
        for (segment,) in connection.execute(query, (granularity,)).fetchall():
            numbers.append(read_rows(connection, segment)[0])
            for said in _check_segment(connection, segment):
                yield f"the lexical index of {what} {said}"
        indexed, n_times = np.unique(np.concatenate(numbers), return_counts=True)
        needed, others = _numbers(connection, granularity, damaged)
        last = connection.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = ?", (table,))
        n_differing = (
            len(np.setdiff1d(needed, indexed))
            + int(np.count_nonzero(n_times > 1))
            + len(np.intersect1d(indexed, others))
            + int(np.count_nonzero((indexed > last.fetchone()[0]) | (indexed < 1)))
        )
        if n_differing:
            yield f"the lexical index of {what} lacks rows or has others: {n_differing:,}"
    except (sqlite3.DatabaseError, ValueError, IndexError, TypeError, AttributeError) as error:
        yield f"the lexical index of {what} cannot be read: {error}"


def check_segments(connection: sqlite3.Connection, n_granularities: int) -> Iterator[str]:
    """Say whether there is anything that belongs to no segment, or to no granularity."""
    for query in (
        "SELECT count(*) FROM postings WHERE segment NOT IN (SELECT number FROM segments)",
        f"SELECT count(*) FROM segments WHERE granularity NOT BETWEEN {DOCUMENTS} AND {n_granularities - 1}",
    ):
        (n_others,) = connection.execute(query).fetchone()
        if n_others:
            yield f"the lexical index has parts that belong to nothing: {n_others:,}"


def _numbers(connection: sqlite3.Connection, granularity: int, damaged: Collection[int]) -> tuple[IntArray, IntArray]:
    """Numbers that must be there, and those that must not since they are of another granularity."""
    gone = f"NOT IN (SELECT value FROM json_each('{sorted(damaged)}'))"
    if granularity == DOCUMENTS:
        return _read(connection, f"SELECT number FROM documents WHERE number {gone}"), np.zeros(0, dtype=np.int64)
    needed = f"SELECT number FROM chunks WHERE granularity = {granularity} AND document {gone}"
    return _read(connection, needed), _read(connection, f"SELECT number FROM chunks WHERE granularity <> {granularity}")


def _read(connection: sqlite3.Connection, query: str) -> IntArray:
    return np.fromiter((number for (number,) in connection.execute(query)), dtype=np.int64)


def _check_segment(connection: sqlite3.Connection, segment: int) -> Iterator[str]:
    query = "SELECT n_terms, numbers, lengths, sha256 FROM segments WHERE number = ?"
    n_terms, *packed, sha256 = connection.execute(query, (segment,)).fetchone()
    _, lengths = read_rows(connection, segment)
    digest, n_found, last = hashlib.sha256(b"".join(packed)), np.zeros(len(lengths)), ""
    for columns in read_blocks(connection, segment):
        hash_block(digest, columns)
        block = Postings.unpack(columns)
        if block.rows.max(initial=0) >= len(lengths):
            raise ValueError(f"segment {segment} has no row {block.rows.max()}")
        n_found += np.bincount(block.rows, block.frequencies, minlength=len(lengths))
        if not last < block.terms[0] or block.terms != sorted(set(block.terms)):
            yield "is out of order"
        last = block.terms[-1]
    if digest.digest() != sha256 or n_terms != lengths.sum() or (n_found != lengths).any():
        yield "is not what was stored, or has wrong totals, so that BM25 scores are wrong"
