"""What a table of a database is told when it is made, and what of it must agree later."""

from __future__ import annotations

from latechunk.databases.protocol import ChunkDatabase
from latechunk.errors import IndexDamagedError, IndexFormatError, IndexMissingError
from latechunk.manifest import IndexManifest
from latechunk.types import Settings

_FORMAT = 3  # of the rows, their terms and facets included


def to_record(manifest: IndexManifest) -> Settings:
    """What ``ChunkDatabase.prepare`` is given."""
    return {"format": _FORMAT, **manifest.settings()}


def read_record(database: ChunkDatabase) -> IndexManifest | None:
    """The manifest of what a database holds; None if it has no such table.

    Raises:
        IndexFormatError: If its rows are of another format, or the table is something else's.
    """
    recorded = database.settings()
    if recorded is None:
        return None
    parts = {name: value for name, value in recorded.items() if name != "format"}
    found = recorded.get("format")
    if found != _FORMAT:
        is_older = isinstance(found, int) and found < _FORMAT
        remedy = (
            "push the documents into another table" if is_older else "upgrade latechunk, or push into another table"
        )
        raise IndexFormatError(
            f"{database.name} has the format {found!r}, and this latechunk writes {_FORMAT}: {remedy}"
        )
    try:
        return IndexManifest.read(parts)
    except IndexDamagedError as error:
        raise IndexFormatError(f"the settings of {database.name} cannot be read: {error}") from error


def require_record(database: ChunkDatabase) -> IndexManifest:
    """The same, or an IndexMissingError."""
    manifest = read_record(database)
    if manifest is None:
        raise missing_table(database.name)
    return manifest


def missing_table(name: str) -> IndexMissingError:
    """The error where there is no table of this name, as messages call it."""
    return IndexMissingError(f"there is no {name.removeprefix('the ')}; `latechunk push` makes it")
