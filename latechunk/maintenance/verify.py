"""Finds all that is wrong with an index. Reads only."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from latechunk.ann.verify import check_cache
from latechunk.errors import IndexDamagedError, IndexFormatError
from latechunk.maintenance.documents import find_faults, read_document
from latechunk.maintenance.problems import Findings, Mending, Part, Problem
from latechunk.maintenance.words import check_words
from latechunk.manifest import IndexManifest
from latechunk.storage.connection import connect, reading_mode, translated
from latechunk.storage.directory import STORE, as_folder, require_index
from latechunk.storage.schema import FORMAT, LAST_NUMBER, read_settings_table, require_format
from latechunk.storage.store import Store

_MOST_LINES = 100  # of SQLite's own check
_FTS = ("inverted index for FTS", "FTS5 table")  # in what newer releases of SQLite say of the lexical index


def verify(path: str | os.PathLike[str]) -> list[Problem]:
    """Check everything that an index holds; loads no model and changes nothing.

    SQLite's pages, the tables and settings; each document's text, chunks and vectors against their checksums; the
    history of changes; the counts of the lexical index; the vector caches. Ids and metadata have no checksum: of these
    it is seen only whether they can be what was stored.

    It reads one state of the index, while others may go on writing.

    Args:
        path: The folder of the index.

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
    return examine(folder).problems


def examine(folder: Path) -> Findings:
    """Find out what is wrong with an index, and what a repair has to do; as ``verify``."""
    findings = Findings()
    path = folder / STORE
    with _broken_pages_noted(findings, "database", "the database cannot be opened"), reading(path) as connection:
        _check_pages(connection, findings)
        settings = _check_settings(connection, path, findings)
        _check_references(connection, findings)
        _check_history(connection, findings)
        if settings is None:
            return findings
        granularities = list(settings["chunkers"])
        _check_documents(connection, findings)
        if settings["search"]["words"] is not None:
            damaged = {*findings.encode, *findings.drop}
            for granularity in range(len(granularities)):
                said = check_words(connection, granularity, damaged)
                findings.problems += [Problem("words", what, "words") for what in said]
        if not findings.needs - {"words"}:  # else there is nothing sound to compare them with
            _check_caches(folder, settings["encoder"]["dims"], granularities, findings)
    return findings


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a database to look at it, in one state of it."""
    with closing(connect(path, reading_mode(path))) as connection:
        connection.execute("PRAGMA cell_size_check = ON")
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()  # now it is read
        yield connection


@contextmanager
def _broken_pages_noted(findings: Findings, part: Part, what: str) -> Iterator[None]:
    """Note an error of SQLite's as a problem; what has nothing to do with damage is raised."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_FULL):
            with translated(Path(STORE)):
                raise
        mending: Mending = "none" if code == sqlite3.SQLITE_NOTADB else "dump"
        findings.problems.append(Problem(part, f"{what}: {error}", mending))


def _check_pages(connection: sqlite3.Connection, findings: Findings) -> None:
    """SQLite's own check of pages, indexes and columns."""
    with _broken_pages_noted(findings, "database", "SQLite cannot check the database"):
        for (text,) in connection.execute(f"PRAGMA integrity_check({_MOST_LINES})"):
            # Other releases put several findings in one row, or say "ok" of a sound database.
            for line in str(text).splitlines():
                if any(one in line for one in _FTS):
                    findings.problems.append(Problem("words", line, "words"))
                elif line != "ok" and not line.startswith("***"):
                    findings.problems.append(Problem("database", line, "dump"))


def _check_settings(
    connection: sqlite3.Connection, path: Path, findings: Findings
) -> Mapping[str, Mapping[str, Any]] | None:
    """Whether the tables are those that latechunk makes, and the settings such that the index can be opened."""
    settings = None
    with _broken_pages_noted(findings, "database", "the tables cannot be read"):
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version != FORMAT:
            require_format(connection, path)
        try:
            recorded = read_settings_table(connection)
            IndexManifest.read(recorded)
            require_format(connection, path)
            settings = recorded
        except (IndexDamagedError, sqlite3.OperationalError) as error:
            findings.problems.append(Problem("settings", str(error), "none"))
        except IndexFormatError as error:
            findings.problems.append(Problem("database", str(error), "dump"))
    return settings


def _check_references(connection: sqlite3.Connection, findings: Findings) -> None:
    """Chunks without a document, vectors without a chunk."""
    with _broken_pages_noted(findings, "database", "the tables cannot be compared"):
        for table, number, parent, _ in connection.execute("PRAGMA foreign_key_check"):
            part: Part = "vector" if table == "vectors" else "chunk"
            findings.problems.append(Problem(part, f"{part} number {number} has no row in {parent}", "references"))


def _check_history(connection: sqlite3.Connection, findings: Findings) -> None:
    """Changes are numbered without gaps and never take removed rows back; numbers of rows are never given twice."""
    with _broken_pages_noted(findings, "database", "the history of changes cannot be read"):
        last, removed = None, 0
        query = (
            "SELECT number, typeof(token) = 'blob' AND length(token) = 16, "
            "CASE typeof(n_removed) WHEN 'integer' THEN n_removed END FROM commits ORDER BY number"
        )
        for number, has_token, n_removed in connection.execute(query):
            is_next = last is None or number == last + 1
            if not is_next or not has_token or n_removed is None or n_removed < removed:
                what = f"change number {number} is not as it was written"
                findings.problems.append(Problem("history", what, "references"))
            last, removed = number, n_removed or 0
        if last is None:
            findings.problems.append(Problem("history", "there is no change at all", "references"))
    with _broken_pages_noted(findings, "database", "the numbers given cannot be read"):
        for table in ("documents", "chunks"):
            _check_numbers(connection, table, findings)


def _check_numbers(connection: sqlite3.Connection, table: str, findings: Findings) -> None:
    (highest,) = connection.execute(f"SELECT coalesce(max(number), 0) FROM {table}").fetchone()
    rows = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).fetchall()
    given = [one for (one,) in rows]
    is_sound = len(given) == 1 and isinstance(given[0], int) and highest <= given[0] < LAST_NUMBER
    if not is_sound and (given or highest):
        what = f"the highest number noted for {table} is {given!r:.80}, and {highest} is in use"
        findings.problems.append(Problem("history", what, "references"))


def _check_documents(connection: sqlite3.Connection, findings: Findings) -> None:
    # What should be a number may be text in no encoding at all.
    connection.text_factory = lambda value: value.decode("utf-8", "backslashreplace")
    with _broken_pages_noted(findings, "database", "the documents cannot be read"):
        for (number,) in connection.execute("SELECT number FROM documents ORDER BY number").fetchall():
            with _broken_pages_noted(findings, "document", f"document number {number} cannot be read"):
                _check_document(connection, number, findings)


def _check_document(connection: sqlite3.Connection, number: int, findings: Findings) -> None:
    row = read_document(connection, number)
    if row is None:
        return
    faults = find_faults(connection, row)
    # A document that must come from its source again need not be mended in other ways.
    for mending, said, documents in (
        ("drop", faults.lost, findings.drop),
        ("encode", [] if faults.lost else faults.encodable, findings.encode),
        ("rewrite", [] if faults.lost else faults.rewritable, findings.rewrite),
    ):
        if said:
            documents[number] = row.name
        findings.problems += [Problem("document", what, mending, row.name) for what in said]  # type: ignore[arg-type]


def _check_caches(folder: Path, dims: int, granularities: Sequence[str], findings: Findings) -> None:
    with closing(Store.open(folder / STORE, read_only=True)) as store:
        for granularity in range(len(granularities)):
            for what in check_cache(folder, store, dims, granularity):
                findings.problems.append(Problem("cache", what, "cache"))
