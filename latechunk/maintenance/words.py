"""The lexical index in, what differs from one made anew out: every occurrence of every term is compared."""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
from collections.abc import Callable, Collection, Iterator
from typing import Any

from latechunk.maintenance.problems import Findings, Problem
from latechunk.storage.fulltext import texts_of_chunks

_MOST = 10  # chunks named


def check_words(
    connection: sqlite3.Connection,
    granularity: int,
    n_granularities: int,
    damaged: Collection[int],
    findings: Findings,
) -> None:
    """Compare a granularity's lexical index with one that is made of the texts, in a database of its own.

    That database lies in a temporary file, which SQLite deletes.

    Args:
        connection: Open for reading, within a transaction.
        granularity: Whose index.
        n_granularities: How many there are.
        damaged: Numbers of documents whose chunks cannot be trusted; what the index has of these is passed over.
        findings: What is wrong goes there.
    """
    name = f"words_{granularity}"

    def report(what: str) -> None:
        findings.add(Problem("words", f"{what} (granularity {granularity} of {n_granularities})", "words"))

    with contextlib.closing(sqlite3.connect("", isolation_level=None)) as expected:
        try:
            _fill(connection, expected, granularity, damaged)
            _skip(connection, granularity, damaged)
            _compare(connection, expected, name, report, has_all=not damaged)
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            report(f"the lexical index cannot be read: {error}")


def _fill(
    connection: sqlite3.Connection, expected: sqlite3.Connection, granularity: int, damaged: Collection[int]
) -> None:
    name = f"words_{granularity}"
    (statement,) = connection.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (name,)).fetchone()
    expected.execute("PRAGMA journal_mode = OFF")
    expected.execute("PRAGMA synchronous = OFF")
    expected.execute(statement)
    expected.execute("BEGIN")
    insert = f"INSERT INTO {name} (rowid, text) VALUES (?, ?)"
    for document, text in connection.execute("SELECT number, text FROM documents ORDER BY number"):
        if document not in damaged:
            expected.executemany(insert, texts_of_chunks(connection, document, granularity, text))
    expected.execute("COMMIT")


def _skip(connection: sqlite3.Connection, granularity: int, damaged: Collection[int]) -> None:
    """Note numbers of chunks that are passed over, in the temporary database beside the one that is read."""
    connection.execute("DROP TABLE IF EXISTS temp.skipped")
    connection.execute("CREATE TEMP TABLE skipped (number INTEGER PRIMARY KEY)")
    connection.executemany(
        "INSERT INTO temp.skipped SELECT number FROM main.chunks WHERE document = ? AND granularity = ?",
        [(document, granularity) for document in damaged],
    )


def _compare(
    connection: sqlite3.Connection,
    expected: sqlite3.Connection,
    name: str,
    report: Callable[[str], None],
    *,
    has_all: bool,
) -> None:
    """Sizes first: they say which chunks are there; then each term's places, then what BM25 needs of the whole."""
    sizes = f"SELECT id, sz FROM {name}_docsize WHERE id NOT IN (SELECT number FROM temp.skipped) ORDER BY id"
    sizes_expected = f"SELECT id, sz FROM {name}_docsize ORDER BY id"
    numbers = _differing(connection.execute(sizes), expected.execute(sizes_expected), place=0)
    if numbers:
        report(f"it lacks chunks, has others, or takes them for longer or shorter: {_enumerate(numbers)}")
        return
    for one in (connection, expected):
        one.execute("DROP TABLE IF EXISTS temp.terms")
        one.execute(f"CREATE VIRTUAL TABLE temp.terms USING fts5vocab(main, {name}, instance)")
    terms = "SELECT term, doc, col, offset FROM temp.terms"
    numbers = _differing(
        connection.execute(f"{terms} WHERE doc NOT IN (SELECT number FROM temp.skipped)"),
        expected.execute(terms),
        place=1,
    )
    if numbers:
        report(f"it has other words than the texts: {_enumerate(numbers)}")
        return
    totals = f"SELECT block FROM {name}_data WHERE id = 1"
    if has_all and connection.execute(totals).fetchone() != expected.execute(totals).fetchone():
        report("it has other totals than the texts, so that BM25 scores are wrong")


def _differing(found: Iterator[Any], expected: Iterator[Any], place: int) -> list[int]:
    """Numbers of chunks in which two sorted streams of rows differ, up to the first few differences.

    Args:
        found: Rows as they are.
        expected: Rows as they should be.
        place: Where in a row the number stands.
    """
    numbers: dict[int, None] = {}
    for left, right in itertools.zip_longest(found, expected):
        if left == right:
            continue
        # From here on the streams may be out of step, so that only what differs first says anything sure.
        numbers.update({row[place]: None for row in (left, right) if row is not None})
        if len(numbers) >= _MOST or left is None or right is None or left[place] != right[place]:
            break
    return list(numbers)


def _enumerate(numbers: list[int]) -> str:
    return f"chunk number{'' if len(numbers) == 1 else 's'} {', '.join(map(str, numbers))}, perhaps more"
