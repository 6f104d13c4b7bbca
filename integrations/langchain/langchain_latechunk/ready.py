"""Write late-chunk vectors of whole documents into any LangChain vector store that takes ready vectors."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

from langchain_core.documents import Document
from langchain_core.vectorstores import VectorStore

from langchain_latechunk.embeddings import LateChunkEmbeddings, NotLateChunkError
from langchain_latechunk.intake import Failures, OnError, convert, only_documents
from langchain_latechunk.passages import describe, name_chunk, provenance
from langchain_latechunk.presplit import require_whole
from langchain_latechunk.vectorstore import LateChunkVectorStore
from latechunk import Chunk, Mode, embed_documents
from latechunk.errors import IndexMismatchError, InputError
from latechunk.protocols import Chunker, FloatArray, SpanEncoder

_Write: TypeAlias = Callable[[list[str], FloatArray, list[dict[str, Any]], list[str]], object]


def add_late_chunks(
    store: VectorStore,
    documents: Iterable[Document],
    *,
    encoder: SpanEncoder | str | None = None,
    chunker: Chunker | str | None = None,
    mode: Mode | None = None,
    name: Callable[[str, int], str] = name_chunk,
    on_error: OnError = "raise",
    show_progress: bool = False,
) -> list[str]:
    """Cut whole documents, and write the chunks with their late vectors into another vector store.

    Vectors go to the store's ``add_embeddings`` if it has one. Else they are handed over when the store asks its
    ``embeddings`` for the chunks' vectors, for which those must be ``LateChunkEmbeddings``. A chunk's metadata
    are its document's, and ``latechunk_document_id``, ``latechunk_chunk``, ``latechunk_granularity``,
    ``start_index`` and ``end_index``; also its pages, see ``join_pages``, and its headings as ``Header 1``,
    ``Header 2`` and so on. Chunks that the store has from an older version of a document stay there: delete them first.

    Args:
        store: Any but ``LateChunkVectorStore``, which does this itself. It should have been made with
            ``LateChunkEmbeddings(encoder)``, so that queries are read by the same model.
        documents: Whole ones, or pages, which are joined; written as they come.
        encoder: An encoder or a model's name; None for the store's own, or for the default model if it tells none.
        chunker: This and ``mode`` as in ``latechunk.embed_documents``.
        mode: See there.
        on_error: What to do with a document that cannot be embedded: ``"raise"`` the error, ``"skip"`` it with a line
            in the log, or a function that takes both.
        show_progress: Show a bar on stderr, or a line now and then where that is no terminal.
        name: Makes a chunk's id from its document's and its number, for stores that want ids of a certain form; a
            string, and another one for each chunk.

    Returns:
        Ids of all chunks, in order.

    Raises:
        InputError: If ``store`` is none, or ``name`` gives an id twice; the documents before it are written.
        NotLateChunkError: If the store cannot take vectors; IndexMismatchError if another model reads its queries.
        DocumentError: If a document cannot be embedded, or is a piece; the batches before it are written.

    Examples:
        >>> from langchain_core.documents import Document
        >>> from langchain_core.vectorstores import InMemoryVectorStore
        >>> store = InMemoryVectorStore(LateChunkEmbeddings(encoder))
        >>> add_late_chunks(store, [Document(id="berlin", page_content="Berlin is big.")])
        ['berlin#0']
    """
    encoder = _choose_encoder(store, encoder)
    write = _find_writer(store)
    failures = Failures(on_error)
    stream = embed_documents(
        convert(_whole(documents), failures),
        encoder=encoder,
        chunker=chunker,
        mode=mode,
        on_error=failures.for_index,
        show_progress=show_progress,
    )
    written: dict[str, None] = {}
    for embedded in stream:
        chunks = embedded.chunks
        ids = [_note(written, name(chunk.document_id, chunk.number), chunk) for chunk in chunks]
        # Stores in memory keep what they get: a change of one chunk's metadata must not reach the others'.
        metadatas = [copy.deepcopy({**describe(chunk), **provenance(chunk)}) for chunk in chunks]
        write([chunk.text for chunk in chunks], embedded.vectors, metadatas, ids)
    return list(written)


def _note(names: dict[str, None], name: object, chunk: Chunk) -> str:
    """The id of a chunk, noted among those before it; InputError unless it is a string that is not there yet."""
    what = f"name must give each chunk an id of its own, and gave chunk {chunk.number} of {chunk.document_id!r:.80}"
    if not isinstance(name, str):
        raise InputError(f"{what} {name!r:.80}, which is no string")
    if name in names:
        raise InputError(f"{what} {name!r:.80}, which another one has, whose place it would take: use the number, too")
    names[name] = None
    return name


def _whole(documents: Iterable[Document]) -> Iterator[Document]:
    """The same, with an error at the first that is a piece."""
    previous: list[Document] = []
    for document in only_documents(documents):
        require_whole([*previous, document], [*(one.id for one in previous), document.id])
        previous = [document]
        yield document


def _choose_encoder(store: VectorStore, encoder: SpanEncoder | str | None) -> SpanEncoder:
    if not isinstance(store, VectorStore):
        raise InputError(
            f"store must be a LangChain vector store, got {type(store).__name__}; of a retriever pass its vectorstore"
        )
    if isinstance(store, LateChunkVectorStore):
        raise NotLateChunkError("a LateChunkVectorStore cuts and embeds documents itself: use its add_documents")
    own = store.embeddings
    if own is None:
        return LateChunkEmbeddings(encoder).encoder
    if not isinstance(own, LateChunkEmbeddings):
        raise NotLateChunkError(
            f"this {type(store).__name__} reads queries with {type(own).__name__}, whose vectors are not those of the "
            f"chunks: make the store with LateChunkEmbeddings(encoder)"
        )
    if encoder is not None and encoder is not own.encoder:
        was, got = own.encoder.settings, LateChunkEmbeddings(encoder).encoder.settings
        differing = sorted(name for name in {*was, *got} if was.get(name) != got.get(name))
        if differing:
            raise IndexMismatchError(
                f"this {type(store).__name__} reads queries with another encoder than the chunks would be embedded "
                f"with; they differ in {', '.join(differing)}: use one for both, or leave encoder out"
            )
    return own.encoder


def _find_writer(store: VectorStore) -> _Write:
    add_embeddings = getattr(store, "add_embeddings", None)
    takes = set(inspect.signature(add_embeddings).parameters) if callable(add_embeddings) else set[str]()
    if add_embeddings is not None and {"text_embeddings", "metadatas", "ids"} <= takes:
        return lambda texts, vectors, metadatas, ids: add_embeddings(
            text_embeddings=list(zip(texts, vectors.tolist(), strict=True)), metadatas=metadatas, ids=ids
        )
    if add_embeddings is not None and {"texts", "embeddings", "metadatas", "ids"} <= takes:
        return lambda texts, vectors, metadatas, ids: add_embeddings(
            texts=texts, embeddings=vectors.tolist(), metadatas=metadatas, ids=ids
        )
    own = store.embeddings
    if not isinstance(own, LateChunkEmbeddings):
        raise NotLateChunkError(
            f"{type(store).__name__} takes no ready vectors: it has no add_embeddings that takes text_embeddings, or "
            f"texts and embeddings, with metadatas and ids, and it does not tell its embeddings. Make it with "
            f"LateChunkEmbeddings if it can be, or use LateChunkVectorStore"
        )

    def hand_over(texts: list[str], vectors: FloatArray, metadatas: list[dict[str, Any]], ids: list[str]) -> None:
        with own.handing_over(texts, vectors):
            store.add_texts(texts, metadatas, ids=ids)

    return hand_over
