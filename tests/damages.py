"""Ways to damage an index, each with what verify must say of it; and what an index holds, to compare."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from latechunk import Document, Index, SentenceChunker, TokenChunker
from latechunk.storage.directory import STORE
from latechunk.storage.store import StoredDocument
from tests.conftest import SCRIPTS, FakeEncoder

CHUNKERS = {"sentences": SentenceChunker(max_tokens=8), "threes": TokenChunker(max_tokens=3)}
DOCUMENTS = [
    Document(name, f"{text} {text}", {"script": name, "n": n}) for n, (name, text) in enumerate(SCRIPTS.items())
]
VICTIM = "Arabic"
ITS = f"(SELECT number FROM documents WHERE id = '{VICTIM}')"
CHUNK = f"(SELECT number FROM chunks WHERE document = {ITS} AND granularity = 1 AND place = 1)"


FIRST = "(SELECT min(number) FROM chunks WHERE document = (SELECT number FROM documents WHERE id = 'Latin'))"


@dataclass(frozen=True)
class Damage:
    """A way to damage an index by SQL, what part verify must name, and in what words."""

    name: str
    sql: str
    part: str = "document"
    says: str = "its chunks and vectors are not those that its checksum was made of"

    def __str__(self) -> str:
        return self.name


def make(path: Path) -> None:
    """An index with two granularities, documents in many scripts, one replaced and one deleted."""
    with Index.create(path, encoder=FakeEncoder(), chunkers=CHUNKERS) as index:
        index.add([Document("Thai", "Something else."), Document("gone", "This one goes again.")])
        index.add(DOCUMENTS)
        index.delete(["gone"])
    # The next opening builds what is needed.
    for file in path.glob("vectors*"):
        file.unlink()


def reopen(path: Path, **options: object) -> Index:
    return Index.open(path, encoder=FakeEncoder(), chunkers=CHUNKERS, **options)


@contextlib.contextmanager
def no_file_larger(n_bytes: int) -> Iterator[None]:
    """Within this no file of this process can grow beyond so many bytes, as on a disk that is full."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def contents(path: Path) -> dict[str, tuple[object, ...]]:
    """All that is stored, by ids; vectors as bytes."""
    with reopen(path, read_only=True) as index:
        found = {one: index.stored(one) for one in index.ids()}
    return {name: content(one) for name, one in found.items()}


def content(one: StoredDocument) -> tuple[object, ...]:
    vectors = np.asarray(one.vectors, dtype="<f4").tobytes()
    return one.document.text, dict(one.document.metadata), one.n_tokens, tuple(map(tuple, one.chunkings)), vectors


def answers(path: Path) -> list[object]:
    """What searches give, by vectors and by words, in both granularities."""
    with reopen(path, read_only=True) as index:
        return [
            index.search(question, 5, mode=mode, granularity=granularity)
            for question in ("the capital people", "столица Москва", "首都")
            for mode in ("lexical", "dense")
            for granularity in ("threes", "sentences")
            if mode == "lexical" or granularity == "sentences"
        ]


@contextlib.contextmanager
def changing(path: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(path / STORE, isolation_level=None)) as connection:
        yield connection


def by_sql(path: Path, statement: str) -> None:
    """Run statements, with foreign keys off, as SQLite has it."""
    with changing(path) as connection:
        connection.executescript(statement)


def swap(table: str, column: str, key: str, one: str, other: str) -> str:
    """SQL that exchanges a value of two rows."""
    return f"""
        CREATE TEMP TABLE kept AS SELECT {column} AS value FROM {table} WHERE {key} = {one};
        UPDATE {table} SET {column} = (SELECT {column} FROM {table} WHERE {key} = {other}) WHERE {key} = {one};
        UPDATE {table} SET {column} = (SELECT value FROM kept) WHERE {key} = {other};
    """


def _update(table: str, change: str, where: str) -> str:
    return f"UPDATE {table} SET {change} WHERE {where}"


def _chunk(change: str) -> str:
    return _update("chunks", change, f"number = {CHUNK}")


def _vector(value: str) -> str:
    return _update("vectors", f"vector = {value}", f"chunk = {CHUNK}")


def _blob(values: list[float]) -> str:
    return f"x'{np.array(values, dtype='<f4').tobytes().hex()}'"


# The text is sound, so that everything else can be made anew from it.
ENCODED = [
    Damage("a chunk's bytes", _chunk("byte_end = byte_end + 1")),
    Damage("a chunk's bytes beyond the text", _chunk("byte_end = 1 << 40")),
    Damage("a chunk's end", _chunk('"end" = "end" + 1')),
    Damage("a chunk's end beyond the text", _chunk('"end" = 9223372036854775807')),
    Damage("a chunk of nothing", _chunk('"end" = "start", byte_end = byte_start')),
    Damage("a chunk's start that is text", _chunk("\"start\" = 'x'")),
    Damage("a chunk's place", _chunk("place = 77")),
    Damage("a chunk's granularity", _chunk("granularity = 5, place = 0")),
    Damage("a chunk gone", f"DELETE FROM chunks WHERE number = {CHUNK}"),
    Damage(
        "a chunk gone with its vector",
        f"DELETE FROM vectors WHERE chunk = {CHUNK}; DELETE FROM chunks WHERE number = {CHUNK}",
    ),
    Damage(
        "the last chunk gone with its vector",
        f"PRAGMA foreign_keys = ON; DELETE FROM chunks WHERE number = (SELECT max(number) FROM chunks WHERE document = "
        f"{ITS})",
    ),
    Damage(
        "a whole granularity gone",
        f"PRAGMA foreign_keys = ON; DELETE FROM chunks WHERE granularity = 1 AND document = {ITS}",
    ),
    Damage("all chunks gone", f"DELETE FROM chunks WHERE document = {ITS}"),
    Damage(
        "a chunk's number",
        f"UPDATE vectors SET chunk = 5000 WHERE chunk = {CHUNK}; "
        f"UPDATE chunks SET number = 5000 WHERE number = {CHUNK}",
    ),
    Damage("a vector gone", f"DELETE FROM vectors WHERE chunk = {CHUNK}"),
    Damage("a short vector", _vector("x'0000803f'")),
    Damage("a huge vector", _vector("zeroblob(50000000)")),
    Damage("a vector that is text", _vector("'no vector'")),
    Damage("a vector of zeros", _vector("zeroblob(32)")),
    Damage("a vector with a NaN", _vector(_blob([1, 0, 0, 0, 0, 0, 0, np.nan]))),
    Damage("a vector with an infinity", _vector(_blob([np.inf] * 8))),
    Damage("a signalling NaN", _vector("x'" + "010080ff" * 8 + "'")),
    Damage("a vector too long", _vector(_blob([2, 0, 0, 0, 0, 0, 0, 0]))),
    Damage("another unit vector", _vector(_blob([0, 0, 1, 0, 0, 0, 0, 0]))),
    Damage("two vectors exchanged", swap("vectors", "vector", "chunk", FIRST, f"{FIRST} + 1")),
    Damage("the checksum of vectors", _update("documents", "vectors_sha256 = zeroblob(32)", f"number = {ITS}")),
    Damage("the checksum of vectors gone", _update("documents", "vectors_sha256 = x''", f"number = {ITS}")),
    Damage("no tokens", _update("documents", "n_tokens = 0", f"number = {ITS}"), "document", "number of tokens is 0"),
    Damage(
        "tokens in words", _update("documents", "n_tokens = 'many'", f"number = {ITS}"), "document", "tokens is 'many'"
    ),
]

# Nothing of a document is touched.
MENDED = [
    Damage(
        "metadata with spaces",
        _update("documents", "metadata = ' ' || metadata", f"number = {ITS}"),
        "document",
        "are not written as they should be",
    ),
    Damage(
        "a chunk of no document",
        "INSERT INTO chunks VALUES (900, 800, 0, 0, 0, 5, 0, 5, '[]', '[]', 1, '[]')",
        "chunk",
        "has no row in documents",
    ),
    Damage("a vector of no chunk", "INSERT INTO vectors VALUES (900, zeroblob(32))", "vector", "has no row in chunks"),
    Damage("numbers given too low", _update("sqlite_sequence", "seq = 1", "name = 'chunks'"), "history", "in use"),
    Damage("numbers given in words", _update("sqlite_sequence", "seq = 'x'", "name = 'chunks'"), "history", "in use"),
    Damage(
        "numbers at their end", _update("sqlite_sequence", f"seq = {2**63 - 1}", "name = 'chunks'"), "history", "in use"
    ),
    Damage("numbers forgotten", "DELETE FROM sqlite_sequence", "history", "in use"),
    Damage("no history", "DELETE FROM commits", "history", "no change at all"),
    Damage("a hole in the history", "DELETE FROM commits WHERE number = 2", "history", "is not as it was written"),
    Damage("a history that goes back", _update("commits", "n_removed = -1", "number = 3"), "history", "is not as it"),
    Damage("a change without a name", _update("commits", "token = 'x'", "number = 3"), "history", "is not as it was"),
    Damage("no words", "DELETE FROM postings; DELETE FROM segments", "words", "lacks rows"),
    Damage("no postings", "DELETE FROM postings WHERE segment = 1", "words", "wrong totals"),
    Damage(
        "a segment gone", "DELETE FROM segments WHERE number = (SELECT max(number) FROM segments)", "words", "lacks"
    ),
    Damage("postings of nothing", "UPDATE postings SET segment = 99 WHERE segment = 1", "words", "belong to nothing"),
    Damage(
        "words of no granularity", _update("segments", "granularity = 7", "number = 1"), "words", "belong to nothing"
    ),
    Damage(
        "words of another granularity", _update("segments", "granularity = 0", "granularity = 1"), "words", "others"
    ),
    Damage(
        "a segment twice",
        "INSERT INTO segments SELECT 90, granularity, n_terms, numbers, lengths, sha256 FROM segments "
        "WHERE number = 1; "
        "INSERT INTO postings SELECT 90, last, terms, counts, first, differences, frequencies, positions FROM postings "
        "WHERE segment = 1",
        "words",
        "has others",
    ),
    Damage(
        "words of another length",
        _update("segments", "lengths = CAST(x'01' || zeroblob(2) AS BLOB)", "number = 1"),
        "words",
        "",
    ),
    Damage("numbers of words", _update("segments", "numbers = x'01ffff'", "number = 1"), "words", "others"),
    Damage("totals of words", _update("segments", "n_terms = n_terms + 1", "number = 1"), "words", "totals"),
    Damage(
        "the checksum of words", _update("segments", "sha256 = zeroblob(32)", "number = 1"), "words", "not what was"
    ),
    Damage("garbled words", _update("postings", "differences = x'ffff'", "1"), "words", "cannot be read"),
    Damage("words that are text", _update("postings", "counts = 'x'", "1"), "words", "cannot be read"),
    Damage("words that are bytes", _update("postings", "terms = x'ff'", "1"), "words", "cannot be read"),
    Damage("another word", _update("postings", "terms = replace(terms, 'a', 'b')", "1"), "words", ""),
    Damage(
        "other places of words",
        _update(
            "postings", "positions = CAST(substr(positions, 1, 1) || zeroblob(length(positions) - 1) AS BLOB)", "1"
        ),
        "words",
        "not what was stored",
    ),
    Damage(
        "rows that are not there",
        _update("postings", "first = CAST(x'02' || zeroblob(2 * length(first)) AS BLOB)", "1"),
        "words",
        "",
    ),
]

# Nothing tells what should stand there.
LOST = [
    Damage(
        "another text",
        _update("documents", "text = CAST(replace(text, 'ا', 'و') AS BLOB)", f"number = {ITS}"),
        "document",
        "its text is not the one",
    ),
    Damage(
        "a text cut off",
        _update("documents", "text = substr(text, 1, 21)", f"number = {ITS}"),
        "document",
        "its text is not UTF-8",
    ),
    Damage("no text", _update("documents", "text = x''", f"number = {ITS}"), "document", "its text is not the one"),
    Damage(
        "a number for a text",
        _update("documents", "text = 5", f"number = {ITS}"),
        "document",
        "its text is of type int",
    ),
    Damage(
        "the checksum of the text",
        _update("documents", "text_sha256 = zeroblob(32)", f"number = {ITS}"),
        "document",
        "the SHA-256 differs",
    ),
    Damage(
        "a huge checksum",
        _update("documents", "text_sha256 = zeroblob(9999999)", f"number = {ITS}"),
        "document",
        "the SHA-256 differs",
    ),
    Damage("an empty id", _update("documents", "id = ''", f"number = {ITS}"), "document", "its id is not a text"),
    Damage(
        "an id that is no UTF-8",
        _update("documents", "id = CAST(x'41ff' AS TEXT)", f"number = {ITS}"),
        "document",
        "its id is not a text",
    ),
    Damage(
        "an id of bytes", _update("documents", "id = x'4142'", f"number = {ITS}"), "document", "its id is not a text"
    ),
    Damage(
        "metadata that are no JSON",
        _update("documents", "metadata = '{\"a\":'", f"number = {ITS}"),
        "document",
        "its metadata are not",
    ),
    Damage(
        "metadata that are a list",
        _update("documents", "metadata = '[1]'", f"number = {ITS}"),
        "document",
        "its metadata are not",
    ),
    Damage(
        "metadata with a NaN",
        _update("documents", "metadata = '{\"a\":NaN}'", f"number = {ITS}"),
        "document",
        "its metadata are not",
    ),
    Damage(
        "deep metadata",
        _update("documents", f"metadata = '{'[' * 5000}'", f"number = {ITS}"),
        "document",
        "its metadata are not",
    ),
]


def damage(path: Path, one: Damage) -> None:
    by_sql(path, one.sql)
