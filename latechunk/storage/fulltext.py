"""Lexical search by SQLite's FTS5: its tables, what is written into them, and queries.

Each granularity has a table ``words_<number>`` of its chunks, and ``words_documents`` has the documents whole. FTS5 is
given the terms that ``to_terms`` finds, one by one, and keeps them without the texts ("contentless"): those are in the
documents. That halves the file, and has one price: to take a row out, FTS5 must be told again what terms it had, and
once only. Anything else leaves its totals wrong, and BM25 scores with them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

import numpy as np

from latechunk.storage.terms import to_terms
from latechunk.types import IntArray, ScoreArray, Span

MOST_GRANULARITIES = 8
DOCUMENT_WORDS = "words_documents"


def word_tables(settings: Mapping[str, Mapping[str, object]]) -> list[str]:
    """Names of the tables of an index, those of granularities in order, then that of documents; none without words."""
    if settings.get("search", {}).get("words") is not True:
        return []
    return [*map(chunk_words, range(min(len(settings.get("chunkers", {})), MOST_GRANULARITIES))), DOCUMENT_WORDS]


def chunk_words(granularity: int) -> str:
    """Name of the table of a granularity's chunks."""
    return f"words_{granularity}"


def table_definition(name: str) -> str:
    """SQL of such a table; this tokenizer leaves terms as they are, which hold no ASCII but letters and digits."""
    return f"CREATE VIRTUAL TABLE {name} USING fts5(text, content='', tokenize='ascii')"


def shadow_definitions(name: str) -> tuple[str, ...]:
    """SQL of the tables in which FTS5 keeps what such a table holds; the same since its first release."""
    return (
        f"CREATE TABLE '{name}_data'(id INTEGER PRIMARY KEY, block BLOB)",
        f"CREATE TABLE '{name}_idx'(segid, term, pgno, PRIMARY KEY(segid, term)) WITHOUT ROWID",
        f"CREATE TABLE '{name}_docsize'(id INTEGER PRIMARY KEY, sz BLOB)",
        f"CREATE TABLE '{name}_config'(k PRIMARY KEY, v) WITHOUT ROWID",
    )


def add_words(
    connection: sqlite3.Connection,
    document: int,
    chunks: Sequence[int],
    text: str,
    chunkings: Sequence[Sequence[Span]],
) -> None:
    """Enter a new document and its chunks, within a transaction; ``chunks`` are their numbers by granularity."""
    numbers = iter(chunks)
    for granularity, spans in enumerate(chunkings):
        insert_words(
            connection, chunk_words(granularity), [(next(numbers), text[one.start : one.end]) for one in spans]
        )
    insert_words(connection, DOCUMENT_WORDS, [(document, text)])


def insert_words(connection: sqlite3.Connection, table: str, texts: Sequence[tuple[int, str]]) -> None:
    """Enter texts under their numbers into one table, within a transaction."""
    rows = ((number, " ".join(to_terms(text))) for number, text in texts)
    connection.executemany(f"INSERT INTO {table} (rowid, text) VALUES (?, ?)", rows)


def remove_words(connection: sqlite3.Connection, document: int, n_granularities: int) -> None:
    """Take a stored document and its chunks out, within a transaction and before the document is deleted."""
    (text,) = connection.execute("SELECT text FROM documents WHERE number = ?", (document,)).fetchone()
    texts = {chunk_words(one): texts_of_chunks(connection, document, one, text) for one in range(n_granularities)}
    for table, rows in {**texts, DOCUMENT_WORDS: [(document, text.decode("utf-8"))]}.items():
        delete = f"INSERT INTO {table} ({table}, rowid, text) VALUES ('delete', ?, ?)"
        connection.executemany(delete, ((number, " ".join(to_terms(one))) for number, one in rows))


def texts_of_chunks(
    connection: sqlite3.Connection, document: int, granularity: int, text: bytes
) -> Iterator[tuple[int, str]]:
    """Number and text of each chunk of a document whose text, in UTF-8, is given."""
    query = "SELECT number, byte_start, byte_end FROM chunks WHERE document = ? AND granularity = ?"
    for number, start, end in connection.execute(query, (document, granularity)).fetchall():
        yield number, text[start:end].decode("utf-8")


def merge_words(connection: sqlite3.Connection, table: str) -> None:
    """Merge the pieces that a table was written in, so that it takes less room and time."""
    connection.execute(f"INSERT INTO {table} ({table}) VALUES ('optimize')")


def count_term(connection: sqlite3.Connection, table: str, term: str, most: int) -> int:
    """How many rows hold a term or a phrase, counted up to ``most``; takes a tenth of the time of scoring them."""
    query = f"SELECT count(*) FROM (SELECT 1 FROM {table} WHERE {table} MATCH ? LIMIT ?)"
    (count,) = connection.execute(query, (_quoted(term), most)).fetchone()
    return int(count)


def score_term(connection: sqlite3.Connection, table: str, term: str) -> tuple[IntArray, ScoreArray]:
    """Numbers of the rows that hold a term or a phrase, and its BM25 (k1 = 1.2, b = 0.75) in each.

    A term that is in more than half of the rows scores nearly nothing, 1e-6 at most times 2.2. Its text is never taken
    as FTS5's query syntax.
    """
    query = f"SELECT rowid, -bm25({table}) FROM {table} WHERE {table} MATCH ?"
    rows = connection.execute(query, (_quoted(term),)).fetchall()
    found = np.fromiter(chain.from_iterable(rows), dtype=np.float64, count=2 * len(rows)).reshape(-1, 2)
    return found[:, 0].astype(np.int64), found[:, 1]


def _quoted(term: str) -> str:
    return '"' + term.replace('"', '""') + '"'
