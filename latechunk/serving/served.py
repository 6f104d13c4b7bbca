"""What a server offers: models by name, indexes by name, perhaps a reranker; loaded once, shared by all requests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np
import regex

from latechunk.embedding import (
    Embedding,
    choose_embedding,
    chunk_documents,
    embed_chunks,
)
from latechunk.errors import DocumentError, InputError
from latechunk.index import Index
from latechunk.protocols import Chunker, Reranker, SpanEncoder
from latechunk.serving.batching import Dispatcher
from latechunk.serving.encoding import SharedEncoder, ShortEncoder, share
from latechunk.serving.errors import RequestError
from latechunk.serving.limits import Limits
from latechunk.serving.metrics import Metrics
from latechunk.types import Document, FloatArray, IntArray, Mode, Settings, Span, require_text

# Between these no space is missing where two chunks meet.
_UNSPACED = regex.compile(
    r"[\s\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\u3000-\u303f\uff00-\uffef]"
)


CHARACTERS_OF_A_TOKEN = 8  # at most; of English text it is four to five

Offered = TypeVar("Offered")


@dataclass(frozen=True, slots=True)
class Embedded:
    """Chunks of a document with their vectors, shape ``(n_chunks, dims)``."""

    texts: Sequence[str]
    vectors: FloatArray


@dataclass(frozen=True, slots=True)
class _GivenSpans:
    """A chunker that gives each document the spans that it came with, by its id."""

    spans: Mapping[str, Sequence[Span]]
    settings: Settings = field(default_factory=lambda: {"kind": "given"})

    def split(self, text: str, offsets: IntArray) -> list[Span]:  # noqa: ARG002  the protocol's
        """One span; ``split_document`` is what is called."""
        return [Span(0, len(text))]

    def split_document(self, document: Document, offsets: IntArray) -> list[Span]:
        """The spans of this document, the whole where it came with none."""
        return list(self.spans.get(document.id) or self.split(document.text, offsets))


_WHOLE = _GivenSpans({})


class ServedModel:
    """A model that embeds what requests bring, within the limits of one request. Threads share it."""

    def __init__(self, encoder: SharedEncoder, embedding: Embedding, limits: Limits) -> None:
        """Serve an encoder, whose chunk vectors are made as ``embedding`` says."""
        self.encoder = encoder
        self.embedding = embedding
        self._limits = limits

    def embed_queries(self, texts: Sequence[str], dims: int | None = None) -> tuple[FloatArray, int]:
        """Vectors of queries, shape ``(len(texts), dims)``, and their tokens."""
        n_tokens = self._require_texts(texts)
        return self.encoder.shorten(self.encoder.encode_queries(texts), dims), n_tokens

    def embed_texts(self, texts: Sequence[str], task: str, dims: int | None = None) -> tuple[FloatArray, int]:
        """Vectors of whole texts for a task of the model, shape ``(len(texts), dims)``, and their tokens."""
        n_tokens = self._require_texts(texts)
        return self.encoder.shorten(self.encoder.encode_texts(texts, task), dims), n_tokens

    def embed_alone(self, texts: Sequence[str], dims: int | None = None) -> tuple[FloatArray, int]:
        """Vectors of texts, each a document of one chunk, shape ``(len(texts), dims)``, and their tokens."""
        self._require_number(len(texts))
        for number, text in enumerate(texts):
            require_nonblank(text, f"input[{number}]")
        documents = [Document(str(number), text, outline=()) for number, text in enumerate(texts)]
        # Of one chunk the late and the naive vector are the same, so that it is not read twice.
        embedded, n_tokens = self._embed(documents, _WHOLE, dims, Embedding("late"))
        return np.concatenate([one.vectors for one in embedded]), n_tokens

    def embed_chunks(self, documents: Sequence[Sequence[str]], dims: int | None = None) -> tuple[list[Embedded], int]:
        """Vectors of chunks, each in the context of its document, which is its chunks one after the other.

        Where two chunks meet, and neither has white space there, a space is put between them, unless their script has
        none.
        """
        self._require_number(sum(map(len, documents)))
        made, spans = [], {}
        for number, chunks in enumerate(documents):
            for place, chunk in enumerate(chunks):
                require_nonblank(chunk, f"input[{number}]" if len(chunks) == 1 else f"input[{number}][{place}]")
            text, spans[str(number)] = join_chunks(chunks)
            made.append(Document(str(number), text, outline=()))
        return self._embed(made, _GivenSpans(spans), dims, self.embedding)

    def embed_documents(
        self, texts: Sequence[str], chunker: Chunker, dims: int | None = None
    ) -> tuple[list[Embedded], int]:
        """Cut documents into chunks, and embed these in context."""
        self._require_number(len(texts))
        for number, text in enumerate(texts):
            require_nonblank(text, f"inputs[{number}]")
        return self._embed(
            [Document(str(number), text) for number, text in enumerate(texts)], chunker, dims, self.embedding
        )

    def _embed(
        self, documents: Sequence[Document], chunker: Chunker, dims: int | None, embedding: Embedding
    ) -> tuple[list[Embedded], int]:
        self._require_characters(sum(len(one.text) for one in documents))
        encoder: SpanEncoder = self.encoder if dims is None else ShortEncoder(self.encoder, dims)
        chunked = chunk_documents(encoder, [chunker], embedding, documents, _raise)
        n_tokens = sum(len(one.tokens) for one in chunked)
        self._require_tokens(n_tokens)
        matrices = embed_chunks(encoder, embedding, chunked)
        return [
            Embedded([one.document.text[span.start : span.end] for span in one.spans], matrix)
            for one, matrix in zip(chunked, matrices, strict=True)
        ], n_tokens

    def _require_texts(self, texts: Sequence[str]) -> int:
        self._require_number(len(texts))
        for number, text in enumerate(texts):
            require_nonblank(text, f"input[{number}]")
        self._require_characters(sum(map(len, texts)))
        n_tokens = sum(len(tokens) for tokens in self.encoder.tokenize(texts))
        self._require_tokens(n_tokens)
        return n_tokens

    def _require_number(self, n_inputs: int) -> None:
        if not 0 < n_inputs <= self._limits.inputs:
            raise RequestError(
                400, f"a request takes 1 to {self._limits.inputs:,} texts, got {n_inputs:,}", field="input"
            )

    def _require_characters(self, n_characters: int) -> None:
        """Refuse, before they are tokenised, texts that can be expected to have too many tokens."""
        most = self._limits.tokens * CHARACTERS_OF_A_TOKEN
        if n_characters > most:
            raise RequestError(
                400,
                f"a request takes texts of at most {most:,} characters together, and these have {n_characters:,}; send "
                f"fewer at a time",
                field="input",
            )

    def _require_tokens(self, n_tokens: int) -> None:
        if n_tokens > self._limits.tokens:
            raise RequestError(
                400,
                f"a request takes texts of at most {self._limits.tokens:,} tokens together, and these have "
                f"{n_tokens:,}; send fewer at a time",
                field="input",
            )


@dataclass(frozen=True, slots=True)
class Served:
    """All that one server offers; closing it closes what was opened for it.

    Attributes:
        models: By the name that a request gives; the first is taken where it gives none.
        indexes: By name; the first likewise.
        reranker: What orders texts by a question, with its name.
        metrics: What is counted.
        dispatchers: Of the models' threads.
        private: Paths of this machine that no answer may hold, with what stands for them.
    """

    models: Mapping[str, ServedModel]
    indexes: Mapping[str, Index]
    limits: Limits
    reranker: Reranker | None = None
    reranker_name: str | None = None
    metrics: Metrics = field(default_factory=Metrics)
    dispatchers: Sequence[Dispatcher] = ()
    private: Mapping[str, str] = field(default_factory=dict)
    _stack: ExitStack = field(default_factory=ExitStack, repr=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    def model(self, name: str | None) -> ServedModel:
        """The model of this name.

        Raises:
            RequestError: If there is none.
        """
        return _find("model", self.models, name)

    def index(self, name: str | None) -> Index:
        """The index of this name.

        Raises:
            RequestError: If there is none.
        """
        return _find("index", self.indexes, name)


def open_served(
    paths: Sequence[Path] = (),
    *,
    encoder: SpanEncoder | Callable[[], SpanEncoder] | None = None,
    aliases: Sequence[str] = (),
    mode: Mode | None = None,
    reranker: Reranker | None = None,
    reranker_name: str | None = None,
    limits: Limits | None = None,
    runtime: Mapping[str, Any] | None = None,
) -> Served:
    """Open indexes for reading, and load their models, each once.

    Args:
        paths: Folders of indexes; each is named by its folder without ``.latechunk``.
        encoder: A further model, which comes first; a function loads it.
        aliases: Further names of the first model.
        mode: How chunk vectors are made where requests send texts; None for what each model recommends.
        reranker: Orders texts by a question.
        reranker_name: What it is called.
        limits: What one request may take.
        runtime: Arguments of ``Index.open``, such as ``device``.

    Raises:
        InputError: If two indexes have the same name.
        StoreError: If an index cannot be opened.
        ModelError: If a model cannot be loaded.
    """
    limits, metrics = limits or Limits(), Metrics()
    with ExitStack() as stack:
        dispatchers: list[Dispatcher] = []
        shared: list[SharedEncoder] = []

        def shared_for(own: SpanEncoder) -> SharedEncoder:
            known = next((one for one in shared if one.settings == own.settings), None)
            if known is None:
                dispatcher = Dispatcher(
                    batch_tokens=limits.batch_tokens, patience=limits.work_seconds, on_batch=metrics.note_batch
                )
                dispatchers.append(dispatcher)
                stack.callback(dispatcher.close)
                known = share(own, dispatcher)
                shared.append(known)
            return known

        if encoder is not None:
            shared_for(encoder() if callable(encoder) else encoder)
        indexes: dict[str, Index] = {}
        for path in paths:
            name = path.resolve().name.removesuffix(".latechunk")
            if name in indexes:
                raise InputError(f"two indexes are named {name!r}; their folders must differ in name")
            with Index.open(path, read_only=True, **(runtime or {})) as index:
                same = next((one for one in shared if one.settings == index.manifest.encoder), None)
                own = same or shared_for(index.encoder)
            indexes[name] = stack.enter_context(Index.open(path, encoder=own, read_only=True))
        models: dict[str, ServedModel] = {}
        for one in shared:
            served = ServedModel(one, choose_embedding(one, mode, None), limits)
            for name in (model_name(one.settings), *(aliases if one is shared[0] else ())):
                models.setdefault(name, served)
        private = {str(Path(index.path).resolve()): name for name, index in indexes.items()}
        private |= {str(index.path): name for name, index in indexes.items()}
        private |= {str(one.settings["model"]): model_name(one.settings) for one in shared if "model" in one.settings}
        return Served(models, indexes, limits, reranker, reranker_name, metrics, dispatchers, private, stack.pop_all())


def require_indexes(paths: Sequence[Path]) -> None:
    """Raise now what ``open_served`` would raise of these indexes, without loading a model."""
    for path in paths:
        Index.open(path, read_only=True).close()


def model_name(settings: Settings) -> str:
    """What requests call a model of an encoder of these settings: its name, or that of its folder."""
    name = str(settings.get("model", "model"))
    return Path(name).name if Path(name).is_absolute() or Path(name).exists() else name


def join_chunks(chunks: Sequence[str]) -> tuple[str, list[Span]]:
    """The text of a document that came as its chunks, and where each of them stands in it.

    Examples:
        >>> join_chunks(["Berlin is big.", "It lies on the Spree."])
        ('Berlin is big. It lies on the Spree.', [Span(start=0, end=14), Span(start=15, end=36)])
    """
    parts: list[str] = []
    spans: list[Span] = []
    end = 0
    for number, chunk in enumerate(chunks):
        if number and not (_UNSPACED.match(chunks[number - 1][-1]) or _UNSPACED.match(chunk[0])):
            parts.append(" ")
            end += 1
        parts.append(chunk)
        spans.append(Span(end, end + len(chunk)))
        end += len(chunk)
    return "".join(parts), spans


def require_nonblank(text: str, name: str) -> None:
    """Raise a RequestError that names the text unless it holds more than white space."""
    require_text(text, name, InputError)
    if not text.strip():
        raise RequestError(400, f"{name} must not be blank, got {text!r:.40}; leave it out", field="input")


def _find(what: str, known: Mapping[str, Offered], name: str | None) -> Offered:
    if not known:
        raise RequestError(404, f"this server has no {what}")
    if name is None:
        return next(iter(known.values()))
    if name not in known:
        listed = ", ".join(map(repr, known))
        raise RequestError(
            404, f"there is no {what} {name!r:.80}; this server has {listed}", field=what, code=f"{what}_not_found"
        )
    return known[name]


def _raise(_: Document, error: DocumentError) -> None:
    raise error
