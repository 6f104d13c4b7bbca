"""PostgreSQL with pgvector: one table, in which each batch of documents is written in one transaction."""

from __future__ import annotations

import contextlib
import functools
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar
from uuid import UUID

import numpy as np

from latechunk.databases.filters import EQUALITY, ORDERS, Compares, FromDocuments, Junction, Negation, OneOf, Where
from latechunk.databases.protocol import FoundRow
from latechunk.databases.record import missing_table
from latechunk.databases.rows import ChunkRow, list_facets, read_chunk, to_facet
from latechunk.databases.words import PLACES, idf, question_places, weigh_terms
from latechunk.errors import IndexFormatError, MissingDependencyError, StoreError
from latechunk.printing import how_to_install
from latechunk.storage.filter_sql import escape_text, unescape_text
from latechunk.types import FloatArray, Settings

try:
    import psycopg
    from psycopg import sql
    from psycopg.conninfo import conninfo_to_dict
    from psycopg.types.json import Jsonb
except ImportError as error:
    raise MissingDependencyError(f"a PostgreSQL database needs psycopg; {how_to_install('pgvector')}") from error

_Arguments = ParamSpec("_Arguments")
_Answer = TypeVar("_Answer")

_COMMENT = "latechunk "  # the table's comment begins so, and goes on with its settings as JSON
_LEAST_PGVECTOR = (0, 8)  # which goes on looking where a filter leaves too few of what its index found
_MOST_ROWS = 20_000  # that words are scored in, as in an index
_EXACT_COUNT = 100_000  # rows; from there on the planner's estimate serves
_MOST_TERMS = 16_000  # of one chunk, that pgvector's sparse vectors take
_MOST_EF = 1_000  # pgvector's own
_ORDERS = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}

_TABLE = """CREATE TABLE {table} (
    id uuid PRIMARY KEY,
    document_id text NOT NULL,
    number integer NOT NULL,
    n_chunks integer NOT NULL,
    digest text NOT NULL,
    start_char integer NOT NULL,
    end_char integer NOT NULL,
    text text NOT NULL,
    metadata jsonb NOT NULL,
    headings text[] NOT NULL,
    sections text[] NOT NULL,
    pages jsonb NOT NULL,
    line integer,
    facets text[] NOT NULL,
    embedding vector({dims}) NOT NULL,
    term_ids integer[] NOT NULL,
    term_weights sparsevec({places}) NOT NULL
)"""
_STORED = (
    *("id", "document_id", "number", "n_chunks", "digest", "start_char", "end_char", "text", "metadata", "headings"),
    *("sections", "pages", "line"),
)
_WRITTEN = (*_STORED, "facets", "embedding", "term_ids", "term_weights")


def _asked_again(
    method: Callable[Concatenate[PostgresDatabase, _Arguments], _Answer],
) -> Callable[Concatenate[PostgresDatabase, _Arguments], _Answer]:
    """Ask once more over a new connection where the server had closed the one that was there, as when it restarted."""

    @functools.wraps(method)
    def ask(self: PostgresDatabase, /, *args: _Arguments.args, **keywords: _Arguments.kwargs) -> _Answer:
        try:
            return method(self, *args, **keywords)
        except StoreError:
            if self.is_connected:
                raise
            return method(self, *args, **keywords)

    return ask


class PostgresDatabase:
    """A table of PostgreSQL with the extension pgvector; an implementation of ``ChunkDatabase``.

    Each thread has a connection of its own, which is closed some time after the thread has ended. Searches never wait
    for a push.
    """

    operators = EQUALITY | ORDERS

    def __init__(self, url: str, table: str) -> None:
        """Connect; ``url`` is what libpq takes, which also reads PGPASSWORD and ``~/.pgpass``."""
        try:
            parts = conninfo_to_dict(url)
        except psycopg.Error as error:
            raise StoreError(f"the URL of the PostgreSQL database cannot be read: {error}") from error
        place = f"{parts.get('host', 'localhost')}/{parts.get('dbname', '')}"  # and no password
        self.name = f"the PostgreSQL table {table!r} in {place}"
        self._url = url
        self._table = sql.Identifier(table)
        self._regclass = f'"{table}"'
        self._local = threading.local()
        self._connections: dict[threading.Thread, psycopg.Connection] = {}
        self._lock = threading.Lock()
        self._is_closed = False
        with self._explained():
            self._connection()

    @_asked_again
    def settings(self) -> Settings | None:
        """See ``ChunkDatabase``."""
        (found,) = self._rows(
            "SELECT to_regclass(%s), obj_description(to_regclass(%s), 'pg_class')", [self._regclass] * 2
        )
        table, comment = found
        if table is None:
            return None
        if not (comment or "").startswith(_COMMENT):
            raise IndexFormatError(f"{self.name} was not made by latechunk; choose another name for the table")
        return dict(json.loads(comment.removeprefix(_COMMENT)))

    def prepare(self, settings: Settings, dims: int) -> None:
        """See ``ChunkDatabase``."""
        comment = _COMMENT + json.dumps(settings)
        with self._explained(), self._connection().transaction():
            self._run("SELECT pg_advisory_xact_lock(hashtext('latechunk'))")  # of several first pushes one makes it
            self._run("CREATE EXTENSION IF NOT EXISTS vector")
            self._require_version()
            if self.settings() is not None:  # not at once after the lock, when PostgreSQL may not know it yet
                return
            self._run(_TABLE, dims=sql.Literal(dims), places=sql.Literal(PLACES))
            self._run("CREATE INDEX ON {table} USING hash (document_id)")  # which takes ids of any length
            self._run("CREATE INDEX ON {table} USING gin (facets)")
            self._run("CREATE INDEX ON {table} USING gin (term_ids)")
            self._run("COMMENT ON TABLE {table} IS {comment}", comment=sql.Literal(comment))

    @_asked_again
    def documents(self) -> Mapping[str, str | None]:
        """See ``ChunkDatabase``."""
        whole = "min(digest) = max(digest) AND count(*) = min(n_chunks) AND count(*) = max(n_chunks)"
        query = f"SELECT document_id, CASE WHEN {whole} THEN min(digest) END FROM {{table}} GROUP BY document_id"
        return {unescape_text(one): digest for one, digest in self._rows(query)}

    def write(self, rows: Sequence[ChunkRow], replaced: Sequence[str]) -> None:
        """See ``ChunkDatabase``."""
        prepared = [self._to_record(row) for row in rows]
        with self._explained(), self._connection().transaction():
            # Two pushes at once write one after the other, and the second replaces what the first wrote.
            self._run("SELECT pg_advisory_xact_lock(hashtext({name}))", name=sql.Literal(self._regclass))
            self._delete({*replaced, *(row.chunk.document_id for row in rows)})
            columns = sql.SQL(", ").join(map(sql.Identifier, _WRITTEN))
            copy = sql.SQL("COPY {} ({}) FROM STDIN").format(self._table, columns)
            with self._connection().cursor() as cursor, cursor.copy(copy) as copied:
                for one in prepared:
                    copied.write_row(one)

    def delete(self, ids: Sequence[str]) -> None:
        """See ``ChunkDatabase``."""
        with self._explained(), self._connection().transaction():
            self._delete(ids)

    def finish(self) -> None:
        """Have the planner know what is there."""
        with self._explained():
            self._run("ANALYZE {table}")

    @_asked_again
    def nearest(self, vector: FloatArray, n: int, where: Where | None, *, exact: bool) -> list[FoundRow]:
        """See ``ChunkDatabase``; exact, too, unless you made an index on ``embedding`` for inner products."""
        text = _write_vector(vector)
        with self._explained(), self._connection().transaction():
            if exact:
                self._run("SET LOCAL enable_indexscan = off")
            else:
                self._run("SET LOCAL hnsw.iterative_scan = strict_order")
                self._run("SET LOCAL hnsw.ef_search = {ef}", ef=sql.Literal(max(40, min(n, _MOST_EF))))
            limit, values = _to_sql(where)
            query = f"SELECT {{columns}}, -(embedding <#> %s::vector) FROM {{table}} WHERE {limit}"
            order = " ORDER BY embedding <#> %s::vector LIMIT %s"
            return self._found(query + order, [text, *values, text, n])

    @_asked_again
    def by_words(self, terms: Sequence[str], n: int, where: Where | None) -> list[FoundRow]:
        """See ``ChunkDatabase``; of many common words the commonest are left out, as in an index."""
        with self._explained(), self._connection().transaction():
            weights = self._affordable(question_places(terms))
            if not weights:
                return []
            limit, values = _to_sql(where)
            query = (
                f"SELECT {{columns}}, -(term_weights <#> %s::sparsevec) AS score FROM {{table}} "
                f"WHERE term_ids && %s::integer[] AND {limit} ORDER BY score DESC, document_id, number LIMIT %s"
            )
            return self._found(query, [_write_sparse(weights), list(weights), *values, n])

    @_asked_again
    def read(self, ids: Sequence[str]) -> list[ChunkRow]:
        """See ``ChunkDatabase``."""
        query = "SELECT {columns}, embedding::real[] FROM {table} WHERE id = ANY(%s)"
        found = self._rows(query, [[UUID(one) for one in ids]])
        return [_to_row(one[:-1], np.asarray(one[-1], dtype=np.float32)) for one in found]

    def close(self) -> None:
        """See ``ChunkDatabase``."""
        with self._lock:
            self._is_closed = True
            for one in self._connections.values():
                one.close()
            self._connections.clear()

    @property
    def is_connected(self) -> bool:
        """Whether this thread has a connection that is not known to be closed."""
        held: psycopg.Connection | None = getattr(self._local, "connection", None)
        return held is not None and not held.closed

    def _affordable(self, places: Sequence[int]) -> dict[int, float]:
        """The IDF of the rarest terms that are there, as many as 20,000 chunks hold, one at least."""
        counted = (
            "SELECT p, (SELECT count(*) FROM (SELECT FROM {table} WHERE term_ids @> ARRAY[p] LIMIT %s) held) AS n "
            "FROM unnest(%s::integer[]) p ORDER BY n"
        )
        n_chunks = self._count()
        chosen: dict[int, float] = {}
        total = 0
        for place, n_with in self._rows(counted, [_MOST_ROWS + 1, list(places)]):
            total += n_with
            if n_with and (not chosen or total <= _MOST_ROWS):
                chosen[place] = idf(n_with, n_chunks)
        return chosen

    def _count(self) -> int:
        ((estimate,),) = self._rows("SELECT reltuples::bigint FROM pg_class WHERE oid = %s::regclass", [self._regclass])
        if estimate < _EXACT_COUNT:
            ((estimate,),) = self._rows("SELECT count(*) FROM {table}")
        return int(estimate)

    def _delete(self, ids: Sequence[str] | set[str]) -> None:
        self._run("DELETE FROM {table} WHERE document_id = ANY(%s)", [list(map(escape_text, ids))])

    def _to_record(self, row: ChunkRow) -> list[Any]:
        chunk = row.chunk
        weights = weigh_terms(chunk.text)
        if len(weights) > _MOST_TERMS:
            raise StoreError(
                f"chunk {chunk.number} of document {chunk.document_id!r} has {len(weights):,} different words, and "
                f"PostgreSQL takes {_MOST_TERMS:,}: cut documents into smaller chunks"
            )
        return [
            row.id,
            escape_text(chunk.document_id),
            chunk.number,
            row.n_chunks,
            row.digest,
            chunk.start,
            chunk.end,
            escape_text(chunk.text),
            Jsonb(_escape_all(chunk.metadata)),
            [escape_text(one) for one in chunk.headings],
            [escape_text(one) for one in chunk.sections],
            Jsonb(_escape_all([list(page) for page in chunk.pages])),
            chunk.line,
            list_facets(chunk.metadata),
            None if row.vector is None else _write_vector(row.vector),
            list(weights),
            _write_sparse(weights),
        ]

    def _found(self, query: str, values: Sequence[Any]) -> list[FoundRow]:
        return [FoundRow(_to_row(one[:-1], None), float(one[-1])) for one in self._rows(query, values)]

    def _rows(self, query: str, values: Sequence[Any] | None = None) -> list[tuple[Any, ...]]:
        with self._explained(), self._connection().cursor() as cursor:
            return cursor.execute(self._compose(query), values).fetchall()

    def _run(self, statement: str, values: Sequence[Any] | None = None, **parts: sql.Composable) -> None:
        self._connection().execute(self._compose(statement, **parts), values)

    def _compose(self, statement: str, **parts: sql.Composable) -> sql.Composed:
        columns = sql.SQL(", ").join(map(sql.Identifier, _STORED))
        return sql.SQL(statement).format(table=self._table, columns=columns, **parts)

    def _connection(self) -> psycopg.Connection:
        if not self.is_connected:
            if self._is_closed:  # a connection that is made now would never be closed
                raise StoreError(f"{self.name} is closed: open it again")
            with self._lock:  # a web server may have a thread for each request, and PostgreSQL takes 100 connections
                for thread in [one for one in self._connections if not one.is_alive()]:
                    self._connections.pop(thread).close()
            held = psycopg.connect(self._url, autocommit=True, connect_timeout=10)
            self._local.connection = held
            with self._lock:
                self._connections[threading.current_thread()] = held
        connection: psycopg.Connection = self._local.connection
        return connection

    def _require_version(self) -> None:
        ((found,),) = self._rows("SELECT extversion FROM pg_extension WHERE extname = 'vector'")
        if tuple(int(part) for part in found.split(".")[:2]) < _LEAST_PGVECTOR:
            raise StoreError(f"{self.name} needs pgvector 0.8 or newer, and the extension vector is {found} there")

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except psycopg.errors.UndefinedTable as error:
            raise missing_table(self.name) from error
        except psycopg.Error as error:
            (said, *_) = str(error).strip().splitlines() or [type(error).__name__]  # and not the SQL
            raise StoreError(f"{self.name} cannot be used: {said}") from error


def _to_row(values: Sequence[Any], vector: FloatArray | None) -> ChunkRow:
    fields = dict(zip(_STORED, values, strict=True))
    names = ("document_id", "text", "metadata", "headings", "sections", "pages")
    whole = {name: _map_strings(fields[name], unescape_text) for name in names}
    places = {"number": fields["number"], "start": fields["start_char"], "end": fields["end_char"]}
    chunk = read_chunk({**whole, **places, "line": fields["line"]})
    return ChunkRow(str(fields["id"]), fields["n_chunks"], fields["digest"], chunk, vector)


def _write_vector(vector: FloatArray) -> str:
    return json.dumps(vector.tolist())


def _write_sparse(weights: Mapping[int, float]) -> str:
    return f"{{{','.join(f'{place + 1}:{weight!r}' for place, weight in weights.items())}}}/{PLACES}"


def _to_sql(where: Where | None) -> tuple[str, list[Any]]:
    """A condition with placeholders, and their values."""
    if where is None:
        return "true", []
    if isinstance(where, Junction):
        parts = [_to_sql(one) for one in where.parts]
        joined = f" {where.word} ".join(text for text, _ in parts) or str(where.word == "AND")
        return f"({joined})", [value for _, values in parts for value in values]
    if isinstance(where, Negation):
        text, values = _to_sql(where.part)
        return f"NOT {text}", values
    if isinstance(where, FromDocuments):
        return "document_id = ANY(%s)", [[escape_text(one) for one in where.ids]]
    if isinstance(where, OneOf):
        return "facets && %s::text[]", [[to_facet(where.path, value) for value in where.values]]
    return _compare(where)


def _compare(where: Compares) -> tuple[str, list[Any]]:
    """By a JSON path in strict mode, which leads into no array, of the value itself and of an array's elements."""
    paths = dict.fromkeys((tuple(where.path.split(".")), (where.path,)))
    value = Jsonb({"value": _escape_all(where.value)})
    texts: list[str] = []
    values: list[Any] = []
    for keys in paths:
        path = "".join(f".{json.dumps(escape_text(key), ensure_ascii=False)}" for key in keys)
        for end in ("", "[*]"):
            texts.append("coalesce(jsonb_path_exists(metadata, %s::jsonpath, %s, true), false)")
            values += [f"strict ${path}{end} ? (@ {_ORDERS[where.order]} $value)", value]
    return f"({' OR '.join(texts)})", values


def _escape_all(value: Any) -> Any:
    """The same with NUL, which PostgreSQL does not take, written as other characters, in all strings."""
    return _map_strings(value, escape_text)


def _map_strings(value: Any, change: Any) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {change(key): _map_strings(one, change) for key, one in value.items()}
    return [_map_strings(one, change) for one in value] if isinstance(value, list) else value
