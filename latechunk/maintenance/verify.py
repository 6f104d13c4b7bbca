"""An index in, all that is wrong with it out. Reads only."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from latechunk.ann.verify import check_cache
from latechunk.errors import IndexDamagedError, IndexFormatError
from latechunk.maintenance.documents import Shape, check_document
from latechunk.maintenance.problems import Findings, Mending, Part, Problem
from latechunk.maintenance.tables import read_document, readable_keys, reading
from latechunk.maintenance.words import check_words
from latechunk.manifest import IndexManifest
from latechunk.storage.connection import translated
from latechunk.storage.directory import STORE, as_folder, require_index
from latechunk.storage.schema import FORMAT, LAST_NUMBER, read_settings_table, require_format
from latechunk.storage.store import Store

_MOST_LINES = 100  # of SQLite's own check
_FTS = ("inverted index for FTS", "FTS5 table")  # in what newer releases of SQLite say of the lexical index


def verify(path: str | os.PathLike[str]) -> list[Problem]:
    """Check everything that an index holds; loads no model and changes nothing.

    SQLite's pages, the tables and settings; each document's text against its checksum, its chunks against the text,
    its chunks and vectors against theirs; the history of changes; each occurrence of each term of the lexical index;
    the vector caches. Ids and metadata have no checksum: of these it is seen only whether they can be what was stored.

    It reads one state of the index, while others may go on writing. Memory is bounded by one block of one document;
    the lexical index is compared with one in a temporary file, about as large.

    Args:
        path: The folder of the index.

    Returns:
        What is wrong; empty if the index is sound. Of very many problems of one kind the first 1,000 and their number.

    Raises:
        IndexMissingError: If there is nothing at ``path``.
        IndexFormatError: If it is something else than an index, or an index of a newer or older format.
        StoreError: If it cannot be read.
    """
    folder = as_folder(path)
    require_index(folder)
    return examine(folder).problems


def examine(folder: Path) -> Findings:
    """Find out what is wrong with an index, and what a repair has to do; as :func:`verify`."""
    findings = Findings()
    path = folder / STORE
    with _broken_pages_noted(findings, "database", "the database cannot be opened"), _opened(path) as connection:
        _check_pages(connection, findings)
        settings = _check_settings(connection, path, findings)
        _check_references(connection, findings)
        _check_history(connection, findings)
        if settings is None:
            return findings
        shape = Shape(settings["encoder"]["dims"], list(settings["chunkers"]))
        _check_documents(connection, shape, findings)
        if settings["search"]["words"] is not None:
            for granularity in range(len(shape.granularities)):
                check_words(connection, granularity, len(shape.granularities), findings.damaged, findings)
        if not findings.needs - {"words"}:  # else there is nothing sound to compare them with
            _check_caches(folder, shape, findings)
    return findings


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    with reading(path) as connection:
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
        mending: Mending = "none" if code == sqlite3.SQLITE_NOTADB else "salvage"
        findings.add(Problem(part, f"{what}: {error}", mending))


def _check_pages(connection: sqlite3.Connection, findings: Findings) -> None:
    """SQLite's own check of pages, indexes and columns."""
    with _broken_pages_noted(findings, "database", "SQLite cannot check the database"):
        for (text,) in connection.execute(f"PRAGMA integrity_check({_MOST_LINES})"):
            # Other releases put several findings in one row, or say "ok" of a sound database.
            for line in str(text).splitlines():
                if any(one in line for one in _FTS):
                    findings.add(Problem("words", line, "words"))
                elif line != "ok" and not line.startswith("***"):
                    findings.add(Problem("database", line, "salvage"))


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
            findings.add(Problem("settings", str(error), "none"))
        except IndexFormatError as error:
            findings.add(Problem("database", str(error), "salvage"))
    return settings


def _check_references(connection: sqlite3.Connection, findings: Findings) -> None:
    """Chunks without a document, vectors without a chunk."""
    with _broken_pages_noted(findings, "database", "the tables cannot be compared"):
        for table, number, parent, _ in connection.execute("PRAGMA foreign_key_check"):
            part: Part = "vector" if table == "vectors" else "chunk"
            findings.add(Problem(part, f"{part} number {number} has no row in {parent}", "references"))


def _check_history(connection: sqlite3.Connection, findings: Findings) -> None:
    """Changes are numbered without gaps and never take removed rows back; numbers of rows are never given twice."""
    with _broken_pages_noted(findings, "database", "the history of changes cannot be read"):
        last, removed = None, 0
        query = (
            "SELECT number, typeof(token) = 'blob' AND length(token) = 16, "
            "CASE typeof(n_removed) WHEN 'integer' THEN n_removed END FROM commits ORDER BY number"
        )
        for number, has_token, n_removed in connection.execute(query):
            if (last is not None and number != last + 1) or not has_token or n_removed is None or n_removed < removed:
                findings.add(Problem("history", f"change number {number} is not as it was written", "references"))
            last, removed = number, n_removed or 0
        if last is None:
            findings.add(Problem("history", "there is no change at all", "references"))
    with _broken_pages_noted(findings, "database", "the numbers given cannot be read"):
        for table in ("documents", "chunks"):
            (highest,) = connection.execute(f"SELECT coalesce(max(number), 0) FROM {table}").fetchone()
            rows = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).fetchall()
            given = [one for (one,) in rows]
            is_sound = len(given) == 1 and isinstance(given[0], int) and highest <= given[0] < LAST_NUMBER
            if not is_sound and (given or highest):
                what = f"the highest number noted for {table} is {given!r:.80}, and {highest} is in use"
                findings.add(Problem("history", what, "references"))


def _check_documents(connection: sqlite3.Connection, shape: Shape, findings: Findings) -> None:
    for number in readable_keys(connection, "documents"):
        with _broken_pages_noted(findings, "document", f"document number {number} cannot be read"):
            row = read_document(connection, number)
            if row is not None:
                check_document(connection, row, shape, findings)


def _check_caches(folder: Path, shape: Shape, findings: Findings) -> None:
    with closing(Store.open(folder / STORE, read_only=True)) as store:
        for granularity in range(len(shape.granularities)):
            for what in check_cache(folder, store, shape.dims, granularity):
                findings.add(Problem("cache", what, "cache"))
