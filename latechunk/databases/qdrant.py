"""Qdrant: a collection with dense vectors and sparse ones of words, on a server; a folder for trying it out."""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from latechunk.databases.filters import EQUALITY, ORDERS, Compares, FromDocuments, Junction, Negation, OneOf, Where
from latechunk.databases.protocol import FoundRow
from latechunk.databases.record import missing_table
from latechunk.databases.rows import ChunkRow, list_facets, read_chunk, to_facet, whole_documents
from latechunk.databases.words import question_places, weigh_terms
from latechunk.errors import FilterError, IndexFormatError, MissingDependencyError, StoreError
from latechunk.printing import how_to_install
from latechunk.types import FloatArray, Settings
from latechunk.types.batches import in_batches

try:
    from qdrant_client import QdrantClient, models
    from qdrant_client.http.exceptions import ApiException
except ImportError as error:
    raise MissingDependencyError(
        f"a Qdrant database needs the package qdrant-client; {how_to_install('qdrant')}"
    ) from error

_KEY = "latechunk"
_DENSE, _WORDS = "dense", "words"
_PAGE = 5_000  # points of one answer
_REQUEST_BYTES = 2**24  # of the rows in one request, of which Qdrant takes 32 MB
_INDEXED = ("document_id", "digest", "facets")
_FIELDS = ("document_id", "number", "start", "end", "text", "line")
_USER = re.compile(r"(?<=://)[^/?#]*@")  # with a password, perhaps
_LARGEST = 2**53  # whole numbers up to here are compared exactly


class QdrantDatabase:
    """A collection of Qdrant; an implementation of ``ChunkDatabase``.

    While a document is replaced, searches may see chunks of both versions.
    """

    operators = EQUALITY | ORDERS

    def __init__(self, place: str, collection: str) -> None:
        """Connect to a server by its URL, with the key in ``QDRANT_API_KEY`` if there is one, or open a folder."""
        self._collection = collection
        self._is_server = place.startswith(("http://", "https://"))
        shown = _USER.sub("", place) if self._is_server else place
        self.name = f"the Qdrant collection {collection!r} at {shown}"
        with self._explained():
            if self._is_server:
                key = os.environ.get("QDRANT_API_KEY")
                self._client = QdrantClient(url=place, api_key=key, timeout=60, check_compatibility=False)
            else:
                self._client = QdrantClient(path=place)

    def settings(self) -> Settings | None:
        """See ``ChunkDatabase``."""
        with self._explained():
            if not self._client.collection_exists(self._collection):
                return None
            found = (self._client.get_collection(self._collection).config.metadata or {}).get(_KEY)
        if not isinstance(found, dict):
            raise IndexFormatError(f"{self.name} was not made by latechunk; choose another name for the collection")
        return found

    def prepare(self, settings: Settings, dims: int) -> None:
        """See ``ChunkDatabase``."""
        with self._explained():
            try:
                self._client.create_collection(
                    self._collection,
                    vectors_config={_DENSE: models.VectorParams(size=dims, distance=models.Distance.DOT)},
                    sparse_vectors_config={_WORDS: models.SparseVectorParams(modifier=models.Modifier.IDF)},
                    metadata={_KEY: dict(settings)},
                )
            except (ApiException, ValueError):
                if self.settings() is None:  # no other push has just made it
                    raise
            self.finish()

    def documents(self) -> Mapping[str, str | None]:
        """See ``ChunkDatabase``."""
        with self._explained():
            return whole_documents(self._triples())

    def write(self, rows: Sequence[ChunkRow], replaced: Sequence[str]) -> None:
        """See ``ChunkDatabase``."""
        with self._explained():
            points = map(_to_point, rows)
            for some in in_batches(points, lambda one: len(one.model_dump_json()), _REQUEST_BYTES):
                self._client.upsert(self._collection, some, wait=True)
            if replaced:
                stale = models.Filter(
                    must=[_any("document_id", replaced)],
                    must_not=[_any("digest", sorted({row.digest for row in rows}))],
                )
                self._client.delete(self._collection, models.FilterSelector(filter=stale), wait=True)

    def delete(self, ids: Sequence[str]) -> None:
        """See ``ChunkDatabase``."""
        with self._explained():
            gone = models.Filter(must=[_any("document_id", ids)])
            self._client.delete(self._collection, models.FilterSelector(filter=gone), wait=True)

    def finish(self) -> None:
        """Have a server index what filters ask for."""
        with self._explained():
            if self._is_server:
                for name in _INDEXED:
                    self._client.create_payload_index(self._collection, name, models.PayloadSchemaType.KEYWORD)

    def nearest(self, vector: FloatArray, n: int, where: Where | None, *, exact: bool) -> list[FoundRow]:
        """See ``ChunkDatabase``."""
        how = models.SearchParams(exact=True) if exact and self._is_server else None  # a folder is searched so anyway
        return self._query(vector.tolist(), _DENSE, n, where, how)

    def by_words(self, terms: Sequence[str], n: int, where: Where | None) -> list[FoundRow]:
        """See ``ChunkDatabase``."""
        places = question_places(terms)
        return self._query(models.SparseVector(indices=places, values=[1.0] * len(places)), _WORDS, n, where, None)

    def read(self, ids: Sequence[str]) -> list[ChunkRow]:
        """See ``ChunkDatabase``."""
        with self._explained():
            return [_to_row(one) for one in self._client.retrieve(self._collection, ids, with_vectors=[_DENSE])]

    def close(self) -> None:
        """See ``ChunkDatabase``."""
        self._client.close()

    def _triples(self) -> Iterator[tuple[str, str, int]]:
        offset: Any = None
        while True:
            points, offset = self._client.scroll(
                self._collection,
                limit=_PAGE,
                offset=offset,
                with_payload=["document_id", "digest", "n_chunks"],
                with_vectors=False,
            )
            for one in points:
                payload = one.payload or {}
                yield payload["document_id"], payload["digest"], payload["n_chunks"]
            if offset is None:
                return

    def _query(self, query: Any, using: str, n: int, where: Where | None, how: Any) -> list[FoundRow]:
        with self._explained():
            found = self._client.query_points(
                self._collection,
                query=query,
                using=using,
                limit=n,
                query_filter=None if where is None else models.Filter(must=[_to_condition(where)]),
                search_params=how,
                with_payload=True,
            )
            return [FoundRow(_to_row(one), one.score) for one in found.points]

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (ApiException, OSError, RuntimeError, ValueError, sqlite3.Error) as error:  # a folder is in SQLite
            if isinstance(error, StoreError | FilterError):
                raise
            if str(error) == f"Collection {self._collection} not found" or getattr(error, "status_code", None) == 404:
                raise missing_table(self.name) from error
            raise StoreError(f"{self.name} cannot be used: {error}") from error


def _to_point(row: ChunkRow) -> models.PointStruct:
    chunk = row.chunk
    weights = weigh_terms(chunk.text)
    payload = {
        **{name: getattr(chunk, name) for name in _FIELDS},
        "metadata": dict(chunk.metadata),
        "headings": list(chunk.headings),
        "sections": list(chunk.sections),
        "pages": [list(page) for page in chunk.pages],
        "n_chunks": row.n_chunks,
        "digest": row.digest,
        "facets": list_facets(chunk.metadata),
    }
    vectors: dict[str, Any] = {
        _DENSE: [] if row.vector is None else row.vector.tolist(),
        _WORDS: models.SparseVector(indices=list(weights), values=list(weights.values())),
    }
    return models.PointStruct(id=row.id, vector=vectors, payload=payload)


def _to_row(point: Any) -> ChunkRow:
    payload = point.payload
    vector = np.asarray(point.vector[_DENSE], dtype=np.float32) if getattr(point, "vector", None) else None
    return ChunkRow(str(point.id), payload["n_chunks"], payload["digest"], read_chunk(payload), vector)


def _any(key: str, values: Sequence[str]) -> models.FieldCondition:
    return models.FieldCondition(key=key, match=models.MatchAny(any=list(values)))


def _to_condition(where: Where) -> Any:
    if isinstance(where, Junction):
        parts = [_to_condition(one) for one in where.parts]
        if where.word == "OR":
            return models.Filter(should=parts) if parts else models.Filter(must=[_any("digest", [])])
        return models.Filter(must=parts)
    if isinstance(where, Negation):
        return models.Filter(must_not=[_to_condition(where.part)])
    if isinstance(where, FromDocuments):
        return _any("document_id", where.ids)
    if isinstance(where, OneOf):
        return _any("facets", [to_facet(where.path, value) for value in where.values])
    return _to_range(where)


def _to_range(where: Compares) -> Any:
    value = where.value
    if isinstance(value, str):
        raise FilterError(f"{where.order} in the filter compares strings, which Qdrant does not; it does numbers")
    if isinstance(value, int) and abs(value) > _LARGEST:
        raise FilterError(
            f"{where.order} in the filter has a number beyond 2**53, which Qdrant does not compare exactly"
        )
    if '"' in where.path or "[" in where.path:
        raise FilterError(f"{where.order} in the filter is of {where.path!r}, a key that Qdrant's paths cannot name")
    nested = ".".join(f'"{key}"' for key in where.path.split("."))
    paths = dict.fromkeys((f"metadata.{nested}", f'metadata."{where.path}"'))
    limits = models.Range(**{where.order[1:]: value})
    return models.Filter(should=[models.FieldCondition(key=path, range=limits) for path in paths])
