"""Lexical search by SQLite's FTS5: its tables, what is written into them, and queries.

Each granularity has a table ``words_<number>`` without texts ("contentless"): those are in the documents, and FTS5
keeps the words alone. That halves the file, and has one price: to take a chunk out, FTS5 must be told again what text
it was, to the letter, and once only. Anything else leaves its totals wrong, and BM25 scores with them.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, TypeAlias, get_args

from latechunk.errors import InputError
from latechunk.storage.filter_sql import Condition
from latechunk.types import Span

MOST_GRANULARITIES = 8
Words: TypeAlias = Literal["unicode61", "trigram"]
"""How lexical search takes texts apart: words with case and diacritics folded, or any three characters in a row."""

_TOKENIZERS: dict[Words, str] = {"unicode61": "unicode61 remove_diacritics 2", "trigram": "trigram"}
_MOST_TERMS = 1_000  # of a question; a whole document asked as a question is cut here, for lexical search alone


def check_words(words: object) -> Words | None:
    """Let only what lexical search knows pass."""
    if words is not None and words not in get_args(Words):
        raise InputError(f'words must be "unicode61", "trigram" or None for no lexical search, got {words!r:.80}')
    return words  # type: ignore[return-value]


def table_definitions(settings: Mapping[str, Mapping[str, object]]) -> Iterator[str]:
    """SQL of the tables of an index, one for each granularity; none where it has no lexical search."""
    words = settings.get("search", {}).get("words")
    tokenizer = next((value for name, value in _TOKENIZERS.items() if name == words), None)
    if tokenizer is None:
        return
    for number in range(min(len(settings.get("chunkers", {})), MOST_GRANULARITIES)):
        yield f"CREATE VIRTUAL TABLE words_{number} USING fts5(text, content='', tokenize='{tokenizer}')"


def shadow_definitions(granularity: int) -> tuple[str, ...]:
    """SQL of the tables in which FTS5 keeps what such a table holds; the same since its first release."""
    name = f"words_{granularity}"
    return (
        f"CREATE TABLE '{name}_data'(id INTEGER PRIMARY KEY, block BLOB)",
        f"CREATE TABLE '{name}_idx'(segid, term, pgno, PRIMARY KEY(segid, term)) WITHOUT ROWID",
        f"CREATE TABLE '{name}_docsize'(id INTEGER PRIMARY KEY, sz BLOB)",
        f"CREATE TABLE '{name}_config'(k PRIMARY KEY, v) WITHOUT ROWID",
    )


def add_words(
    connection: sqlite3.Connection, chunks: Sequence[int], text: str, chunkings: Sequence[Sequence[Span]]
) -> None:
    """Enter a new document's chunks, within a transaction; ``chunks`` are their numbers, granularity by granularity."""
    numbers = iter(chunks)
    for granularity, spans in enumerate(chunkings):
        rows = [(next(numbers), text[span.start : span.end]) for span in spans]
        connection.executemany(f"INSERT INTO words_{granularity} (rowid, text) VALUES (?, ?)", rows)


def remove_words(connection: sqlite3.Connection, document: int, n_granularities: int) -> None:
    """Take a stored document's chunks out, within a transaction and before the document is deleted."""
    (text,) = connection.execute("SELECT text FROM documents WHERE number = ?", (document,)).fetchone()
    for granularity in range(n_granularities):
        table = f"words_{granularity}"
        delete = f"INSERT INTO {table} ({table}, rowid, text) VALUES ('delete', ?, ?)"
        connection.executemany(delete, texts_of_chunks(connection, document, granularity, text))


def texts_of_chunks(
    connection: sqlite3.Connection, document: int, granularity: int, text: bytes
) -> Iterator[tuple[int, str]]:
    """Number and text of each chunk of a document whose text, in UTF-8, is given."""
    query = "SELECT number, byte_start, byte_end FROM chunks WHERE document = ? AND granularity = ?"
    for number, start, end in connection.execute(query, (document, granularity)).fetchall():
        yield number, text[start:end].decode("utf-8")


def merge_words(connection: sqlite3.Connection, granularity: int) -> None:
    """Merge the pieces that a table was written in, so that it takes less room and time."""
    connection.execute(f"INSERT INTO words_{granularity} (words_{granularity}) VALUES ('optimize')")


def find_words(
    connection: sqlite3.Connection, query: str, k: int, granularity: int, where: Condition | None
) -> list[tuple[float, int]]:
    """BM25 score (k1 = 1.2, b = 0.75), more being better, and number of the best chunks; by number on a tie.

    The query is in FTS5's syntax, see ``to_query``; ``where`` limits the documents.
    """
    table = f"words_{granularity}"
    joined = f"WHERE {table} MATCH ?"
    if where:
        joined = (
            f"JOIN chunks c ON c.number = w.rowid {joined} AND c.document IN "
            f"(SELECT d.number FROM documents d WHERE {where.sql})"
        )
    sql = f"SELECT -bm25({table}) AS score, w.rowid FROM {table} w {joined} ORDER BY score DESC, w.rowid LIMIT ?"
    limit = min(k, 2**62)  # SQLite's numbers end at 2**63
    return connection.execute(sql, (query, *(where.values if where else ()), limit)).fetchall()


def to_query(question: str, *, trigrams: bool) -> str:
    """A question as an FTS5 query of quoted words or trigrams, any of which may match; empty where there is none.

    The question is never taken as FTS5's query syntax. The first 1,000 different words or trigrams count.
    """
    words = re.findall(r"\w+", question)
    if trigrams:
        words = [word[place : place + 3] for word in words for place in range(len(word) - 2)]
    return " OR ".join(f'"{word}"' for word in list(dict.fromkeys(words))[:_MOST_TERMS])
