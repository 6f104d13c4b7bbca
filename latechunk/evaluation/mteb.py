"""Chunked retrieval for mteb: documents are read whole, cut into chunks, and ranked by their best chunk."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.progress import Progress

from latechunk.embedding import Embedding, embed_documents
from latechunk.errors import DocumentError, InputError, MissingDependencyError, QueryError
from latechunk.printing import how_to_install
from latechunk.protocols import Chunker, ReportsRuntime, SpanEncoder
from latechunk.search.fusion import best_places
from latechunk.types import Document, FloatArray, IntArray, Mode, require_text

if TYPE_CHECKING:
    from datasets import Dataset
    from mteb.models import ModelMeta

_LOG = logging.getLogger("latechunk")
_BLOCK_SCORES = 2**25  # scores of chunks held at a time
_LOWEST = -1.0  # no cosine is lower


@dataclass(frozen=True, slots=True)
class _Corpus:
    """Chunk vectors of a corpus, in order of documents; ``first`` is the first chunk of each that has chunks."""

    ids: Sequence[str]
    with_chunks: IntArray
    first: IntArray
    vectors: FloatArray

    def score(self, queries: FloatArray) -> Iterator[FloatArray]:
        """Of each query, every document's best cosine, shape ``(n_documents,)``."""
        step = max(1, _BLOCK_SCORES // len(self.vectors))
        for begin in range(0, len(queries), step):
            of_chunks = queries[begin : begin + step] @ self.vectors.T
            best = np.full((len(of_chunks), len(self.ids)), _LOWEST, dtype=np.float32)
            best[:, self.with_chunks] = np.maximum.reduceat(of_chunks, self.first, axis=1)
            yield from best


class ChunkedSearch:
    """An encoder and a chunker as a model that mteb can evaluate on tasks of retrieval and reranking.

    Implements mteb's ``SearchProtocol``. A document is its title, a space and its text, as mteb joins them. Its score
    is the cosine of the query with the best of all its chunks; a document that holds no token scores -1.
    Of mteb's ``encode_kwargs`` only ``show_progress_bar`` has an effect, since the encoder makes its own batches. Both
    arms, on the same chunks::

        for mode in ("naive", "late"):
            print(mteb.evaluate(ChunkedSearch(encoder, chunker, mode=mode), mteb.get_task("NFCorpus")))

    Attributes:
        mteb_model_meta: What mteb files results under. Whatever decides the vectors is part of it, so that no two
            arms, chunkers or encoders share a cached result.
    """

    def __init__(
        self, encoder: SpanEncoder, chunker: Chunker, *, mode: Mode = "late", late_weight: float = 0.5
    ) -> None:
        """Make a model for ``mteb.evaluate``; ``mode`` and ``late_weight`` are those of ``latechunk.Embedding``.

        Raises:
            InputError: If a setting is out of range.
            MissingDependencyError: If mteb is not installed.
        """
        self._encoder = encoder
        self._chunker = chunker
        self._embedding = Embedding(mode, late_weight)
        self._corpus: _Corpus | None = None
        self.mteb_model_meta = _describe(encoder, chunker, self._embedding)

    def index(self, corpus: Dataset, *, encode_kwargs: Mapping[str, Any], **_: Any) -> None:
        """Encode a corpus (rows with ``id``, ``text`` and perhaps ``title``), in place of the one before.

        Raises:
            InputError: If the rows have no text, no document holds a token, or quantised vectors are asked for.
            DocumentError: If a document is no text or cannot be cut.
            ModelError: If the model gives unusable vectors.
        """
        if encode_kwargs.get("precision") not in (None, "float32"):
            raise InputError(f"vectors are float32, got the precision {encode_kwargs['precision']!r}; leave it out")
        _require_columns(corpus, "the corpus")
        self._corpus = None  # room for the next
        ids: list[str] = list(corpus["id"])
        if len(set(ids)) < len(ids):
            raise InputError("documents of a corpus need ids of their own, and some share one")
        vectors = self._embed(corpus, is_shown=encode_kwargs.get("show_progress_bar", True))
        if not vectors:
            raise InputError(f"none of the {len(ids)} documents of the corpus holds a token")
        if len(vectors) < len(ids):
            _LOG.warning("%d of %d documents hold no token and score -1", len(ids) - len(vectors), len(ids))
        self._corpus = _Corpus(
            ids=ids,
            with_chunks=np.array([place for place, one in enumerate(ids) if one in vectors], dtype=np.int64),
            first=np.cumsum([0, *(len(one) for one in vectors.values())], dtype=np.int64)[:-1],
            vectors=np.concatenate(list(vectors.values())),
        )

    def search(
        self, queries: Dataset, *, top_k: int, top_ranked: Mapping[str, Sequence[str]] | None = None, **_: Any
    ) -> dict[str, dict[str, float]]:
        """Rank the documents of the corpus by their best chunks.

        Args:
            queries: Rows with ``id``, ``text`` (or the turns of a conversation) and perhaps ``instruction``.
            top_k: How many documents a query gets, at most.
            top_ranked: By the query's id, the ids of the only documents that it may get; None for all.

        Returns:
            By the query's id, scores by the documents' ids, best first.

        Raises:
            InputError: If there is no corpus yet, or ``top_ranked`` names a document that is not in it.
            QueryError: If a query is no text or holds no token.
        """
        corpus = self._corpus
        if corpus is None:
            raise InputError("there is no corpus to search; call index first")
        _require_columns(queries, "the queries")
        places = {name: place for place, name in enumerate(corpus.ids)}
        everything = np.arange(len(corpus.ids), dtype=np.int64)
        vectors = np.stack([self._encode_query(row) for row in queries])
        found = {}
        for query, scores in zip(queries["id"], corpus.score(vectors), strict=True):
            allowed = everything
            if top_ranked is not None:
                names = top_ranked.get(query, ())
                if strangers := [name for name in names if name not in places]:
                    raise InputError(f"top_ranked names documents that are not in the corpus, such as {strangers[0]!r}")
                allowed = np.array([places[name] for name in names], dtype=np.int64)
            best = best_places(scores, allowed, top_k)
            found[query] = {corpus.ids[place]: float(scores[place]) for place in best}
        return found

    def _embed(self, corpus: Dataset, *, is_shown: bool) -> dict[str, FloatArray]:
        """Chunk vectors by the document's id, of documents that hold a token, in their order."""
        console = Console(stderr=True)
        with Progress(console=console, transient=True, disable=not (is_shown and console.is_terminal)) as progress:
            bar = progress.add_task("Encoding documents", total=len(corpus))
            embedded = embed_documents(
                map(_as_document, corpus),
                encoder=self._encoder,
                chunker=self._chunker,
                **self._embedding.settings,
                on_error=self._pass_over,
                on_progress=lambda done: progress.advance(bar, done.documents),
            )
            return {one.document.id: one.vectors for one in embedded}

    def _pass_over(self, document: Document, error: DocumentError) -> None:
        """Leave out what holds no token, in every mode alike; raise for anything else."""
        if len(self._encoder.tokenize([document.text])[0]):
            raise error

    def _encode_query(self, row: Mapping[str, Any]) -> FloatArray:
        try:
            return self._encoder.encode_query(_query_text(row))
        except QueryError as error:
            raise QueryError(f"query {row['id']!r} cannot be searched for: {error}") from error


def _describe(encoder: SpanEncoder, chunker: Chunker, embedding: Embedding) -> ModelMeta:
    """A name, and an experiment that tells apart what decides the vectors."""
    try:
        from mteb.models import ModelMeta
    except ImportError as error:
        raise MissingDependencyError(
            f"ChunkedSearch needs the package mteb, which is not installed; {how_to_install('mteb')}"
        ) from error
    settings = encoder.settings
    decisive = {"encoder": settings, "chunker": chunker.settings, "embedding": embedding.settings}
    digest = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()
    runtime = encoder.runtime if isinstance(encoder, ReportsRuntime) else {}
    last_part = re.split(r"[\\/]", str(settings["model"]).rstrip("\\/"))[-1]
    experiment = {
        **embedding.settings,
        "chunker": "-".join(str(value) for value in chunker.settings.values()),
        "dtype": runtime.get("dtype", "unknown"),
        "settings": digest[:12],
    }
    overwrites = {
        "name": f"latechunk/{last_part}",
        "revision": settings.get("revision"),
        "embed_dim": settings["dims"],
        "framework": ["PyTorch"],
        "experiment_kwargs": experiment,
    }
    return ModelMeta.create_empty(overwrites=overwrites)


def _require_columns(rows: Dataset, name: str) -> None:
    missing = [column for column in ("id", "text") if column not in rows.column_names]
    if missing:
        raise InputError(f"{name} must have the columns id and text, got {', '.join(rows.column_names)}")


def _as_document(row: Mapping[str, Any]) -> Document:
    title, text = row.get("title") or "", row["text"] or ""
    require_text(text, f"the text of document {row['id']!r}", DocumentError)
    return Document(row["id"], f"{title} {text}".strip())


def _query_text(row: Mapping[str, Any]) -> str:
    """Text and instruction as mteb joins them: after a query, before a conversation."""
    text, instruction = row["text"], row.get("instruction")
    if not isinstance(text, list):
        require_text(text, "its text", QueryError)
        return f"{text} {instruction}" if instruction is not None else text
    turns = [turn if isinstance(turn, str) else f"{turn['role']}: {turn['content']}" for turn in text]
    return "; ".join(turns) if instruction is None else f"{instruction} {'; '.join(turns)}"
