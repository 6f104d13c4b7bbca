"""A cheap check of the lexical index: its counts must agree with the chunks and with each other."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator

from latechunk.storage.fulltext import DOCUMENT_WORDS, chunk_words


def check_words(
    connection: sqlite3.Connection, granularity: int | None, damaged: Collection[int] = ()
) -> Iterator[str]:
    """Say what is wrong with the lexical index of a granularity, or of whole documents for None.

    ``damaged`` documents, and their chunks, may be missing in it.

    It shows lost, foreign and doubled chunks, and totals that would make BM25 scores wrong. Words are not compared
    with texts: to mend anything at all, the whole is rebuilt from the texts, which takes no longer than to compare it.
    """
    if granularity is None:
        name, what, document, rows = DOCUMENT_WORDS, "documents", "number", "SELECT number FROM documents WHERE 1"
    else:
        name, what, document = chunk_words(granularity), f"granularity {granularity}", "document"
        rows = f"SELECT number FROM chunks WHERE granularity = {granularity}"
    indexed = f"SELECT id FROM {name}_docsize"
    needed = f"{rows} AND {document} NOT IN (SELECT value FROM json_each('{sorted(damaged)}'))"
    try:
        for query in (f"{needed} EXCEPT {indexed}", f"{indexed} EXCEPT {rows}"):
            (n_differing,) = connection.execute(f"SELECT count(*) FROM ({query})").fetchone()
            if n_differing:
                yield f"the lexical index of {what} lacks rows or has others: {n_differing:,}"
                return
        sizes = [_varints(row[0])[0] for row in connection.execute(f"SELECT sz FROM {name}_docsize")]
        connection.execute("DROP TABLE IF EXISTS temp.terms")
        connection.execute(f"CREATE VIRTUAL TABLE temp.terms USING fts5vocab(main, {name}, row)")
        (n_words,) = connection.execute("SELECT coalesce(sum(cnt), 0) FROM temp.terms").fetchone()
        (totals,) = connection.execute(f"SELECT block FROM {name}_data WHERE id = 1").fetchone()
        if n_words != sum(sizes) or (_varints(totals) or [0, 0])[:2] != [len(sizes), n_words]:
            yield f"the lexical index of {what} has wrong totals, so that BM25 scores are wrong"
    except (sqlite3.DatabaseError, IndexError, TypeError) as error:
        yield f"the lexical index of {what} cannot be read: {error}"


def _varints(block: bytes) -> list[int]:
    """SQLite's variable-length integers: seven bits in each byte, the highest bit set in all but the last."""
    values, value = [], 0
    for byte in block:
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            values.append(value)
            value = 0
    return values
