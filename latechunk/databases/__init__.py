"""Embedded documents in vector databases: what one must offer, three that do, and search with the right encoder."""

from latechunk.databases.protocol import ChunkDatabase, FoundRow
from latechunk.databases.rows import ChunkRow
from latechunk.databases.searcher import DatabaseSearcher
from latechunk.databases.urls import open_database

__all__ = ["ChunkDatabase", "ChunkRow", "DatabaseSearcher", "FoundRow", "open_database"]
