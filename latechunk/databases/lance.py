"""LanceDB: a table in a folder or a bucket, with its own full-text index."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from latechunk.databases.filters import EQUALITY, Compares, FromDocuments, Junction, Negation, Where
from latechunk.databases.protocol import FoundRow
from latechunk.databases.record import missing_table
from latechunk.databases.rows import ChunkRow, list_facets, read_chunk, to_facet, whole_documents
from latechunk.errors import FilterError, IndexFormatError, MissingDependencyError, StoreError
from latechunk.printing import how_to_install
from latechunk.storage.terms import to_terms
from latechunk.types import FloatArray, Settings

try:
    import lancedb
    import pyarrow as arrow
    from lancedb.index import FTS
    from lancedb.query import MatchQuery
except ImportError as error:
    raise MissingDependencyError(
        f"a LanceDB database needs the package lancedb; {how_to_install('lancedb')}"
    ) from error

_KEY = b"latechunk"
_STORED = (
    *("id", "document_id", "number", "n_chunks", "digest", "start", "end", "text", "metadata"),
    *("headings", "sections", "pages"),
)
_COLUMNS = [*_STORED, "line"]
_WORDS = "words"
_NO_VERSION = ".lance/_versions"  # not found: what made the table was killed, or the disk was full, before it was there
_VECTOR = "vector"
_match: Any = MatchQuery  # whose types know no defaults


class LanceDatabase:
    """A table of a LanceDB database; an implementation of ``ChunkDatabase``.

    A batch of new documents is one commit. One that replaces documents is two, of which the first removes them.
    """

    operators = EQUALITY

    def __init__(self, uri: str, table: str) -> None:
        """Open a database; ``uri`` is a folder, or what else LanceDB takes."""
        self.name = f"the LanceDB table {table!r} in {uri}"
        self._table_name = table
        self._opened: Any = None
        self._uri = uri
        self._connection: Any = None
        if not self._is_missing():
            with self._explained():
                self._connection = lancedb.connect(uri)

    def settings(self) -> Settings | None:
        """See ``ChunkDatabase``."""
        with self._explained():
            if self._opened is None:
                if self._is_missing() or self._table_name not in self._database.list_tables(limit=100_000).tables:
                    return None
                try:
                    self._opened = self._database.open_table(self._table_name)
                except RuntimeError as error:
                    if _NO_VERSION not in str(error):
                        raise
                    return None
            found = (self._opened.schema.metadata or {}).get(_KEY)
        if found is None:
            raise IndexFormatError(f"{self.name} was not made by latechunk; choose another name for the table")
        return dict(json.loads(found))

    def prepare(self, settings: Settings, dims: int) -> None:
        """See ``ChunkDatabase``."""
        with self._explained():
            schema = _schema(dims, {_KEY: json.dumps(settings).encode()})
            self._opened = self._database.create_table(self._table_name, schema=schema)

    def documents(self) -> Mapping[str, str | None]:
        """See ``ChunkDatabase``."""
        with self._explained():
            columns = ["document_id", "digest", "n_chunks"]
            batches = self._table.search().select(columns).to_batches()
            return whole_documents(
                triple
                for batch in batches
                for triple in zip(*(batch.column(name).to_pylist() for name in columns), strict=True)
            )

    def write(self, rows: Sequence[ChunkRow], replaced: Sequence[str]) -> None:
        """See ``ChunkDatabase``."""
        with self._explained():
            if replaced:
                self.delete(replaced)
            self._table.add(_to_arrow(rows, self._table.schema))

    def delete(self, ids: Sequence[str]) -> None:
        """See ``ChunkDatabase``."""
        with self._explained():
            self._table.delete(_to_sql(FromDocuments(tuple(ids))))

    def finish(self) -> None:
        """Compact what was written, and index its words."""
        with self._explained():
            table = self._table
            if table.count_rows() and not self._has_words_index():
                # Terms come as we made them, and the index must leave them so.
                plain = FTS(
                    base_tokenizer="whitespace",
                    lower_case=False,
                    stem=False,
                    remove_stop_words=False,
                    ascii_folding=False,
                    max_token_length=None,
                )
                table.create_index(_WORDS, config=plain)
            table.optimize()

    def nearest(self, vector: FloatArray, n: int, where: Where | None, *, exact: bool) -> list[FoundRow]:
        """See ``ChunkDatabase``; exact, too, unless you made a vector index."""
        with self._explained():
            query = self._table.search(vector, vector_column_name=_VECTOR).distance_type("dot")
            if exact:
                query = query.bypass_vector_index()
            return self._found(query, n, where, lambda row: 1 - row["_distance"])

    def by_words(self, terms: Sequence[str], n: int, where: Where | None) -> list[FoundRow]:
        """See ``ChunkDatabase``."""
        with self._explained():
            if not self._has_words_index():
                if not self._table.count_rows():
                    return []
                raise StoreError(f"the words of {self.name} are not indexed yet: finish the push, by running it again")
            query = self._table.search(_match(" ".join(terms), _WORDS))
            return self._found(query, n, where, lambda row: row["_score"])

    def read(self, ids: Sequence[str]) -> list[ChunkRow]:
        """See ``ChunkDatabase``."""
        if not ids:
            return []
        with self._explained():
            query = self._table.search().where(f"id IN ({', '.join(map(_quote, ids))})").limit(len(ids))
            return [_to_row(one) for one in query.select([*_COLUMNS, _VECTOR]).to_list()]

    def close(self) -> None:
        """See ``ChunkDatabase``; LanceDB has nothing to close."""

    def _is_missing(self) -> bool:
        return "://" not in self._uri and not Path(self._uri).expanduser().exists()  # as LanceDB reads it

    @property
    def _database(self) -> Any:
        """The database; makes its folder where it is missing."""
        if self._connection is None:
            self._connection = lancedb.connect(self._uri)
        return self._connection

    @property
    def _table(self) -> Any:
        if self._opened is None and self.settings() is None:
            raise missing_table(self.name)
        # What other processes wrote since is seen.
        self._opened.checkout_latest()
        return self._opened

    def _has_words_index(self) -> bool:
        return any(one.columns == [_WORDS] for one in self._table.list_indices())

    def _found(self, query: Any, n: int, where: Where | None, score: Any) -> list[FoundRow]:
        if where is not None:
            query = query.where(_to_sql(where), prefilter=True)
        return [FoundRow(_to_row(one), float(score(one))) for one in query.limit(n).to_list()]

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (RuntimeError, ValueError, OSError, arrow.ArrowException) as error:
            if isinstance(error, StoreError | FilterError):
                raise
            raise StoreError(f"{self.name} cannot be used: {error}") from error


def _schema(dims: int, metadata: dict[bytes, bytes]) -> arrow.Schema:
    whole, text, texts = arrow.int64(), arrow.string(), arrow.list_(arrow.string())
    types = dict.fromkeys(("number", "n_chunks", "start", "end", "line"), whole) | dict.fromkeys(
        ("headings", "sections", "facets"), texts
    )
    names = [*_COLUMNS, "facets", _WORDS]
    fields = [arrow.field(name, types.get(name, text)) for name in names]
    return arrow.schema([*fields, arrow.field(_VECTOR, arrow.list_(arrow.float32(), dims))], metadata=metadata)


def _to_arrow(rows: Sequence[ChunkRow], schema: arrow.Schema) -> arrow.Table:
    told: dict[str, tuple[str, list[str]]] = {}  # of each document its metadata and facets
    columns: dict[str, list[Any]] = {name: [] for name in schema.names if name != _VECTOR}
    for row in rows:
        chunk = row.chunk
        if chunk.document_id not in told:
            told[chunk.document_id] = json.dumps(chunk.metadata, ensure_ascii=False), list_facets(chunk.metadata)
        metadata, facets = told[chunk.document_id]
        values = {
            **{name: getattr(row, name) for name in ("id", "n_chunks", "digest")},
            **{name: getattr(chunk, name) for name in ("document_id", "number", "start", "end", "text", "line")},
            "metadata": metadata,
            "headings": list(chunk.headings),
            "sections": list(chunk.sections),
            "pages": json.dumps(chunk.pages),
            "facets": facets,
            _WORDS: " ".join(to_terms(chunk.text)),
        }
        for name, value in values.items():
            columns[name].append(value)
    vectors = arrow.array(np.concatenate([row.vector for row in rows if row.vector is not None]))
    dims = schema.field(_VECTOR).type.list_size
    arrays = [arrow.array(columns[name], schema.field(name).type) for name in columns]
    return arrow.Table.from_arrays([*arrays, arrow.FixedSizeListArray.from_arrays(vectors, dims)], schema=schema)


def _to_row(fields: Mapping[str, Any]) -> ChunkRow:
    vector = fields.get(_VECTOR)
    made = None if vector is None else np.asarray(vector, dtype=np.float32)
    return ChunkRow(fields["id"], fields["n_chunks"], fields["digest"], read_chunk(fields), made)


def _to_sql(where: Where) -> str:
    if isinstance(where, Junction):
        return f"({f' {where.word} '.join(map(_to_sql, where.parts))})" if where.parts else str(where.word == "AND")
    if isinstance(where, Negation):
        return f"NOT {_to_sql(where.part)}"
    if isinstance(where, Compares):
        raise FilterError(f"{where.order} in the filter cannot be asked of LanceDB")
    if isinstance(where, FromDocuments):
        return f"(document_id IN ({', '.join(map(_quote, where.ids))}))" if where.ids else "false"
    facets = ", ".join(_quote(to_facet(where.path, value)) for value in where.values)
    return f"array_has_any(facets, [{facets}])" if facets else "false"


def _quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
