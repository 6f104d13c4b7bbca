"""Any number of documents, embedded in batches while the next batch is tokenised."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, TypeVar

from latechunk.chunking.places import make_chunks
from latechunk.chunking.registry import to_chunker
from latechunk.embedding.chunks import ChunkedDocument, blank_error, chunk_documents
from latechunk.embedding.progress import Progress, progress_shown
from latechunk.embedding.settings import Embedding, choose_embedding
from latechunk.embedding.vectors import embed_chunks
from latechunk.errors import DocumentError, InputError
from latechunk.protocols import Chunker, SpanEncoder
from latechunk.threads import start
from latechunk.types import Chunk, Document, FloatArray, Mode
from latechunk.validation import require_function

Source = TypeVar("Source")
Result = TypeVar("Result")
OnError: TypeAlias = Literal["raise", "skip"] | Callable[[Document, DocumentError], None]
"""What to do with a document that cannot be indexed."""

_LOG = logging.getLogger("latechunk")

# What is encoded together and committed together: enough windows to fill batches and to make a segment of the lexical
# index that has not to be joined with others soon, little enough to lose to a kill.
_BATCH_DOCUMENTS = 256
_MOST_CHARACTERS = 1_600_000
_LEAST_CHARACTERS = 20_000
_SECONDS = 30.0

_FOREIGN = {
    "langchain_core": ", which langchain_latechunk.LateChunkVectorStore takes",
    "llama_index": ", which llama_index.retrievers.latechunk.to_documents turns into it",
}


@dataclass(frozen=True, slots=True, eq=False)  # equal to itself alone, since arrays tell no single truth
class EmbeddedDocument:
    """A document with its chunks and their vectors.

    Attributes:
        document: What came in.
        n_tokens: Content tokens of its text.
        chunks: In the order of their starts.
        vectors: Unit vectors of the chunks in the same order, float32, shape ``(n_chunks, dims)``.

    Examples:
        >>> embedded = next(embed_documents(documents, encoder=encoder))
        >>> len(embedded.chunks), embedded.vectors.shape
        (1, (1, 384))
    """

    document: Document
    n_tokens: int
    chunks: list[Chunk]
    vectors: FloatArray


@dataclass(frozen=True, slots=True)
class Batch:
    """Documents that are encoded together, and those met meanwhile that cannot be."""

    documents: list[Document] = field(default_factory=list)
    failures: list[tuple[Document, DocumentError]] = field(default_factory=list)


class Pace:
    """How many characters make a batch: as many as take half a minute, within bounds.

    A small model on a fast machine gets full batches; a large one on a slow machine still commits twice a minute, or
    after each document where one alone takes longer. The first batch is the smallest, since the speed is not known yet.
    """

    n_characters = _LEAST_CHARACTERS

    def note(self, n_characters: int, seconds: float) -> None:
        """Learn from how long a batch took."""
        if n_characters:
            fitting = int(n_characters * _SECONDS / max(seconds, 1e-6))
            self.n_characters = max(_LEAST_CHARACTERS, min(_MOST_CHARACTERS, fitting))


def embed_documents(
    documents: Iterable[Document],
    *,
    encoder: SpanEncoder | str | None = None,
    chunker: Chunker | str | None = None,
    mode: Mode | None = None,
    late_weight: float | None = None,
    on_error: OnError = "raise",
    on_progress: Callable[[Progress], None] | None = None,
    show_progress: bool = False,
) -> Iterator[EmbeddedDocument]:
    """Embed documents without an index, for a vector store of your own.

    Any number of them may be streamed: they are encoded in batches, as ``latechunk.Index.add`` does it.

    Args:
        documents: What to embed; ids must differ.
        encoder: An encoder, or the name of a model for ``Encoder.load``; None for the default model.
        chunker: A chunker, or ``"structure"``, ``"sentence"`` or ``"token"``; None for ``StructureChunker()``.
        mode: ``"late"``, ``"naive"`` or ``"blend"``, see ``latechunk.Embedding``; None for what the encoder
            recommends.
        late_weight: Share of the late vector in a blend, and an error without one; None for what the encoder
            recommends.
        on_error: What to do with a document that cannot be embedded: ``"raise"`` the error, and the other documents of
            its batch are not given either; ``"skip"`` it, with a line in the log; or a function that takes both.
        on_progress: Called now and then.
        show_progress: Show a bar on stderr, or a line now and then where that is no terminal.

    Returns:
        An iterator over the documents with their chunks and vectors, in order.

    Raises:
        InputError: If a setting is out of range, at once; later if the stream holds something else than documents.
        DocumentError: While iterating, if a document cannot be embedded, or an id comes twice.
        ModelError: If the model cannot be loaded, or gives unusable vectors.

    Examples:
        >>> documents = [Document("berlin", "Berlin is big. It lies on the Spree.")]
        >>> for one in embed_documents(documents):
        ...     rows = list(zip([chunk.text for chunk in one.chunks], one.vectors.tolist()))
    """
    require_documents("embed_documents", documents)
    require_function("on_progress", on_progress)
    cut = to_chunker(chunker)
    handle = error_handler(on_error)
    loaded = load_encoder(encoder)
    embedding = choose_embedding(loaded, mode, late_weight)
    return _embed(documents, loaded, cut, embedding, handle, on_progress, show_progress)


def _embed(
    documents: Iterable[Document],
    encoder: SpanEncoder,
    chunker: Chunker,
    embedding: Embedding,
    on_error: Callable[[Document, DocumentError], None],
    on_progress: Callable[[Progress], None] | None,
    show_progress: bool,
) -> Iterator[EmbeddedDocument]:
    def chunk(batch: Batch) -> tuple[list[ChunkedDocument], list[tuple[Document, DocumentError]]]:
        failures = list(batch.failures)
        note = lambda document, error: failures.append((document, error))  # noqa: E731
        return chunk_documents(encoder, [chunker], embedding, batch.documents, note), failures

    pace = Pace()
    with (
        progress_shown(documents, on_progress, show_progress) as note_progress,
        closing(prepare_ahead(take_batches(documents, pace), chunk)) as batches,
    ):
        for chunked, failures in batches:
            for failure in failures:  # here, not in the thread that prepares
                on_error(*failure)
            begin = time.monotonic()
            vectors = embed_chunks(encoder, embedding, chunked, note_progress) if chunked else []
            pace.note(sum(len(one.document.text) for one in chunked), time.monotonic() - begin)
            for one, matrix in zip(chunked, vectors, strict=True):
                chunks = make_chunks(one.document, one.spans)
                yield EmbeddedDocument(one.document, len(one.tokens), chunks, matrix)


def embed_batch(
    encoder: SpanEncoder,
    chunkers: Sequence[Chunker],
    embedding: Embedding,
    documents: Sequence[Document],
    on_error: Callable[[Document, DocumentError], None],
) -> list[tuple[ChunkedDocument, FloatArray]]:
    """Chunk and embed a few documents; those that could be, in order, with vectors of shape ``(n_spans, dims)``."""
    chunked = chunk_documents(encoder, chunkers, embedding, documents, on_error)
    return list(zip(chunked, embed_chunks(encoder, embedding, chunked) if chunked else [], strict=True))


def explain_foreign(document: object) -> str:
    """Say what is needed in the place of something that is no document."""
    kind = type(document)
    hint = _FOREIGN.get(kind.__module__.partition(".")[0], "")
    return f"a latechunk.Document is needed, got {kind.__module__}.{kind.__name__}{hint}: {document!r:.80}"


def take_batches(documents: Iterable[Document], pace: Pace) -> Iterator[Batch]:
    """Cut a stream into batches; blank documents, and those whose id came before, are failures of the one under way."""
    seen: set[str] = set()
    batch, n_characters = Batch(), 0
    for document in documents:
        if not isinstance(document, Document):
            raise InputError(explain_foreign(document))
        if document.id in seen:
            batch.failures.append((document, DocumentError(explain_twin(document.id))))
            continue
        seen.add(document.id)
        if not document.text.strip():
            batch.failures.append((document, blank_error(document)))
            continue
        batch.documents.append(document)
        n_characters += len(document.text)
        if len(batch.documents) >= _BATCH_DOCUMENTS or n_characters >= pace.n_characters:
            yield batch
            batch, n_characters = Batch(), 0
    if batch.documents or batch.failures:
        yield batch


def explain_twin(document_id: str) -> str:
    """Say what is wrong with a document whose id another one before it has."""
    return (
        f"the document id {document_id!r} comes twice in one call; ids must differ, since each document replaces the "
        f"one with the same id"
    )


def prepare_ahead(source: Iterable[Source], prepare: Callable[[Source], Result]) -> Generator[Result]:
    """Apply ``prepare`` to each item in a thread of its own, one item ahead of the caller.

    What ``prepare`` raises comes in the place of its item. If the source itself fails, the item before comes first.
    """
    done: Future[Result] | None = None
    running: Future[Result] | None = None
    try:
        for item in source:
            done, running = running, None  # if it failed, its error ends the stream
            result = [done.result()] if done else []
            running = start(prepare, item)
            yield from result
    except (GeneratorExit, KeyboardInterrupt, SystemExit):
        wait([one for one in (done, running) if one])
        running = None  # the caller wants no more
        raise
    finally:
        if running:
            yield running.result()


def load_encoder(encoder: SpanEncoder | str | None, **options: Any) -> SpanEncoder:
    """The encoder given, the one of a model's name, or the default; until here nothing has loaded torch.

    Raises:
        InputError: If it is something else.
        ModelError: If the model cannot be loaded with these options of ``Encoder.load``.
    """
    if encoder is None or isinstance(encoder, str):
        from latechunk.encoding.encoder import Encoder

        return Encoder.load(**options) if encoder is None else Encoder.load(encoder, **options)
    missing = [name for name in ("settings", "tokenize", "encode_spans", "encode_query") if not hasattr(encoder, name)]
    if missing or isinstance(encoder, type):
        raise InputError(
            f"encoder must be a latechunk.Encoder, the name of a model, or an object of your own with what "
            f"latechunk.protocols.SpanEncoder says, got {encoder!r:.80}"
            + (f", which has no {', '.join(missing)}" if missing else "")
        )
    return encoder


def error_handler(
    on_error: Literal["raise", "skip"] | Callable[[Source, DocumentError], None],
) -> Callable[[Source, DocumentError], None]:
    """The function of a document, of any kind, and its error that ``on_error`` stands for, for adapters.

    Raises:
        InputError: If it stands for none.

    Examples:
        >>> handle = error_handler("skip")  # a function of a document and its error, which logs the error
        >>> callable(handle)
        True
    """
    if callable(on_error):
        return on_error
    if on_error not in ("raise", "skip"):
        raise InputError(
            f'on_error must be "raise", "skip" or a function of the document and its error, got {on_error!r:.80}'
        )
    return _raise if on_error == "raise" else _skip


def _raise(_: object, error: DocumentError) -> None:
    raise error


def _skip(_: object, error: DocumentError) -> None:
    _LOG.warning("left out: %s", error)


def require_documents(name: str, documents: object) -> None:
    """Raise an InputError for one document, or what is no iterable; ``name`` is the function's."""
    if isinstance(documents, Document | str) or not isinstance(documents, Iterable):
        raise InputError(f"{name} takes an iterable of documents, got {type(documents).__name__}: pass [document]")
