"""The URL of a database to the database itself; each kind needs an extra, loaded here and nowhere else."""

from __future__ import annotations

import re

from latechunk.databases.protocol import ChunkDatabase
from latechunk.errors import InputError

TABLE = "chunks"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,47}")
_KINDS = "postgresql://USER@HOST/DATABASE, qdrant:http://HOST:6333, qdrant:FOLDER, lancedb:FOLDER"


def open_database(url: str, *, table: str = TABLE) -> ChunkDatabase:
    """Open a vector database; makes nothing in it.

    Args:
        url: ``postgresql://user@host/database`` (PostgreSQL with pgvector), ``qdrant:http://host:6333`` (a Qdrant
            server, whose key is in ``QDRANT_API_KEY``), ``qdrant:folder`` (Qdrant's client by itself, for trying out,
            which reads pickles: only of your own) or ``lancedb:folder`` (LanceDB, also ``lancedb:s3://bucket/path``).
        table: The name of the table or collection: letters, digits and ``_``, at most 48.

    Raises:
        InputError: If the URL or the name is none.
        MissingDependencyError: If the extra that the kind needs is not installed; the message names it.
        StoreError: If the database cannot be reached.

    Examples:
        >>> open_database("lancedb:vectors", table="handbook").name
        "the LanceDB table 'handbook' in vectors"
    """
    if not isinstance(table, str) or not _NAME.fullmatch(table):
        raise InputError(f"table must be a name of up to 48 letters (a to z), digits and _, got {table!r:.80}")
    kind, _, rest = url.partition(":") if isinstance(url, str) else ("", "", "")
    if kind in ("postgresql", "postgres"):
        from latechunk.databases.postgres import PostgresDatabase

        return PostgresDatabase(url, table)
    if kind == "qdrant" and rest:
        from latechunk.databases.qdrant import QdrantDatabase

        return QdrantDatabase(rest, table)
    if kind == "lancedb" and rest:
        from latechunk.databases.lance import LanceDatabase

        return LanceDatabase(rest, table)
    shown = f"{kind}:…" if rest else repr(url)[:80]  # there may be a password in it
    raise InputError(f"the URL of a database must be like {_KINDS}, got {shown}")
