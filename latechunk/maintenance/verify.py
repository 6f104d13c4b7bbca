"""Finds all that is wrong with an index. Reads only."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from latechunk.ann.verify import check_cache
from latechunk.errors import IndexDamagedError, IndexFormatError
from latechunk.maintenance.documents import check_document
from latechunk.maintenance.problems import Mending, Part, Problem
from latechunk.maintenance.words import check_segments, check_words
from latechunk.manifest import IndexManifest
from latechunk.storage.connection import connect, reading_mode, translated
from latechunk.storage.directory import STORE, as_folder, require_index
from latechunk.storage.fields import count_wrong_fields
from latechunk.storage.fulltext import DOCUMENTS
from latechunk.storage.schema import FORMAT, LAST_NUMBER, read_settings_table, require_format
from latechunk.storage.store import Store

_MOST_LINES = 100  # of SQLite's own check
_NO_DAMAGE = {getattr(sqlite3, f"SQLITE_{name}") for name in ("BUSY", "LOCKED", "CANTOPEN", "FULL", "READONLY")}
# Of errors of a disk only those of reading; others come from writing beside the database, as where the disk is full.
_READING = {getattr(sqlite3, f"SQLITE_IOERR_{name}") for name in ("READ", "SHORT_READ", "DATA", "CORRUPTFS")}


def verify(path: str | os.PathLike[str]) -> list[Problem]:
    """Check everything that an index holds; loads no model and changes nothing.

    SQLite's pages, the tables and settings; each document's text, pages, outline, chunks and vectors against their
    checksums; the history of changes; the lexical index against its own; the vector caches. Ids and metadata have no
    checksum: of these it is seen only whether they can be what was stored.

    It reads one state of the index, while others may go on writing.

    Returns:
        What is wrong; empty if the index is sound.

    Raises:
        IndexMissingError: If there is nothing at ``path``.
        IndexFormatError: If it is something else than an index, or an index of another format.
        StoreError: If it cannot be read.

    Examples:
        >>> for problem in verify("my-index"):  # doctest: +SKIP
        ...     print(problem)
    """
    folder = as_folder(path)
    require_index(folder)
    problems: list[Problem] = []
    store = folder / STORE
    with (
        _damage_noted(problems, "database", "the database cannot be opened"),
        closing(connect(store, reading_mode(store))) as connection,
    ):
        connection.execute("PRAGMA cell_size_check = ON")
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()  # from here on this state alone is seen
        for what, check in (
            ("SQLite cannot check the database", _check_pages),
            ("the tables cannot be compared", _check_references),
            ("the history of changes cannot be read", _check_history),
            ("the numbers given cannot be read", _check_numbers),
        ):
            with _damage_noted(problems, "database", what):
                problems.extend(check(connection))
        settings = _check_settings(connection, store, problems)
        if settings is not None:
            _check_contents(folder, connection, settings, problems)
    return problems


@contextmanager
def _damage_noted(problems: list[Problem], part: Part, what: str) -> Iterator[None]:
    """Note an error of SQLite's as a problem; what has nothing to do with damage is raised."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        extended = getattr(error, "sqlite_errorcode", 0)
        code = extended & 0xFF
        if code in _NO_DAMAGE or (code == sqlite3.SQLITE_IOERR and extended not in _READING):
            with translated(Path(STORE)):
                raise
        mending: Mending = "none" if code == sqlite3.SQLITE_NOTADB else "dump"
        problems.append(Problem(part, f"{what}: {error}", mending))
    except UnicodeDecodeError as error:  # SQLite's message quotes what is damaged
        problems.append(Problem(part, f"{what}: {error}", "dump"))


def _check_pages(connection: sqlite3.Connection) -> Iterator[Problem]:
    """SQLite's own check of pages, indexes and columns."""
    for (text,) in connection.execute(f"PRAGMA integrity_check({_MOST_LINES})"):
        # Other releases put several findings in one row, or say "ok" of a sound database.
        for line in str(text).splitlines():
            if line != "ok" and not line.startswith("***"):
                yield Problem("database", line, "dump")


def _check_references(connection: sqlite3.Connection) -> Iterator[Problem]:
    """Chunks, pages and outlines without a document, vectors without a chunk."""
    parts: dict[str, Part] = {"vectors": "vector", "structures": "structure"}
    for table, number, parent, _ in connection.execute("PRAGMA foreign_key_check"):
        part = parts.get(table, "chunk")
        yield Problem(part, f"{part} number {number} has no row in {parent}", "references")


def _check_history(connection: sqlite3.Connection) -> Iterator[Problem]:
    """Changes are numbered without gaps and never take removed rows back."""
    last, removed = None, 0
    query = (
        "SELECT number, typeof(token) = 'blob' AND length(token) = 16, "
        "CASE typeof(n_removed) WHEN 'integer' THEN n_removed END FROM commits ORDER BY number"
    )
    for number, has_token, n_removed in connection.execute(query):
        is_next = last is None or number == last + 1
        if not is_next or not has_token or n_removed is None or n_removed < removed:
            yield Problem("history", f"change number {number} is not as it was written", "references")
        last, removed = number, n_removed or 0
    if last is None:
        yield Problem("history", "there is no change at all", "references")


def _check_numbers(connection: sqlite3.Connection) -> Iterator[Problem]:
    """Numbers of rows are never given twice."""
    for table in ("documents", "chunks"):
        (highest,) = connection.execute(f"SELECT coalesce(max(number), 0) FROM {table}").fetchone()
        given = [one for (one,) in connection.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,))]
        is_sound = len(given) == 1 and isinstance(given[0], int) and highest <= given[0] < LAST_NUMBER
        if not is_sound and (given or highest):
            what = f"the highest number noted for {table} is {given!r:.80}, and {highest} is in use"
            yield Problem("history", what, "references")


def _check_settings(
    connection: sqlite3.Connection, path: Path, problems: list[Problem]
) -> Mapping[str, Mapping[str, Any]] | None:
    """The settings, if the index can be opened with them and the tables are those that latechunk makes."""
    with _damage_noted(problems, "database", "the tables cannot be read"):
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version != FORMAT:
            require_format(connection, path)
        try:
            settings = read_settings_table(connection)
            IndexManifest.read(settings)
            require_format(connection, path)
        except (IndexDamagedError, sqlite3.OperationalError) as error:
            problems.append(Problem("settings", str(error), "none"))
        except IndexFormatError as error:
            problems.append(Problem("database", str(error), "dump"))
        else:
            return settings
    return None


def _check_contents(
    folder: Path, connection: sqlite3.Connection, settings: Mapping[str, Mapping[str, Any]], problems: list[Problem]
) -> None:
    # What should be a number may be text in no encoding at all.
    connection.text_factory = lambda value: value.decode("utf-8", "backslashreplace")
    with _damage_noted(problems, "database", "the documents cannot be read"):
        for (number,) in connection.execute("SELECT number FROM documents ORDER BY number").fetchall():
            with _damage_noted(problems, "document", f"document number {number} cannot be read"):
                problems.extend(check_document(connection, number))
    with _damage_noted(problems, "fields", "the rows of filters cannot be read"):
        if n_wrong := count_wrong_fields(connection):
            problems.append(Problem("fields", f"rows that differ from the metadata: {n_wrong:,}", "fields"))
    granularities = range(len(settings["chunkers"]))
    if settings["search"]["words"]:
        damaged = {one.number or 0 for one in problems if one.mending in ("encode", "drop")}
        for granularity in (*granularities, DOCUMENTS):
            problems += [Problem("words", what, "words") for what in check_words(connection, granularity, damaged)]
        problems += [Problem("words", what, "words") for what in check_segments(connection, len(granularities))]
    if any(one.mending not in ("words", "fields") for one in problems):
        return  # there is nothing sound to compare the caches with
    with closing(Store.open(folder / STORE, read_only=True)) as store:
        for granularity in granularities:
            said = check_cache(folder, store, settings["encoder"]["dims"], granularity)
            problems += [Problem("cache", what, "cache") for what in said]
