"""The routes that give vectors: /v1/embeddings, /v1/contextualizedembeddings and /v1/models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Path, Response
from pydantic_core import to_json

import latechunk
from latechunk.chunking.structure import StructureChunker
from latechunk.chunking.token import TokenChunker
from latechunk.protocols import Chunker
from latechunk.serving.formats import encode_vectors
from latechunk.serving.model import Embedded, ServedModel
from latechunk.serving.requests import ContextualizedRequest, EmbeddingsRequest
from latechunk.serving.served import Served, model_name
from latechunk.types import FloatArray

_CHUNK_SIZE = 512  # Voyage's default


def embedding_routes(served: Served) -> APIRouter:
    """Make the routes."""
    routes = APIRouter(tags=["embeddings"])

    @routes.post("/v1/embeddings")
    def embeddings(request: EmbeddingsRequest) -> Response:
        """Embed texts, or with `late_chunking` the chunks of one document in context (OpenAI, Jina, Voyage)."""
        model = served.model(request.model)
        vectors, n_tokens = _embed(model, request)
        kind, as_base64 = request.output
        data = _numbered(encode_vectors(vectors, kind, as_base64=as_base64))
        return _answer(data, request.model or model_name(model.encoder.settings), n_tokens)

    @routes.post("/v1/contextualizedembeddings")
    def contextualized_embeddings(request: ContextualizedRequest) -> Response:
        """Embed the chunks of several documents, each in the context of its document (Voyage, Perplexity)."""
        model = served.model(request.model)
        embedded, n_tokens, version = _embed_in_context(model, request)
        kind, as_base64 = request.output
        data = []
        for number, one in enumerate(embedded):
            chunks = _numbered(encode_vectors(one.vectors, kind, as_base64=as_base64))
            for chunk, text in zip(chunks, one.texts, strict=True) if version else ():
                chunk["text"] = text
            data.append({"object": "list", "data": chunks, "index": number})
        extra = {"chunker_version": version} if version else {}
        return _answer(data, request.model or model_name(model.encoder.settings), n_tokens, **extra)

    @routes.get("/v1/models")
    def models() -> dict[str, Any]:
        """Name the models."""
        return {"object": "list", "data": [_describe(name, one) for name, one in served.models.items()]}

    @routes.get("/v1/models/{name:path}")
    def model(name: Annotated[str, Path(min_length=1)]) -> dict[str, Any]:
        """Describe one model, as the list does."""
        return _describe(name, served.model(name))

    return routes


def _describe(name: str, model: ServedModel) -> dict[str, Any]:
    dims = model.encoder.settings["dims"]
    return {"id": name, "object": "model", "created": 0, "owned_by": "latechunk", "dims": dims}


def _embed(model: ServedModel, request: EmbeddingsRequest) -> tuple[FloatArray, int]:
    if request.late_chunking:
        (document,), n_tokens = model.embed_chunks([request.texts], request.dims)
        return document.vectors, n_tokens
    if request.is_query:
        return model.embed_queries(request.texts, request.dims)
    if request.task in (None, "retrieval.passage"):  # what documents are encoded for
        return model.embed_alone(request.texts, request.dims)
    return model.embed_texts(request.texts, str(request.task), request.dims)


def _embed_in_context(model: ServedModel, request: ContextualizedRequest) -> tuple[Sequence[Embedded], int, str | None]:
    """Documents with their vectors, their tokens, and what cut them where the client did not."""
    documents = request.documents
    if request.input_type == "query":
        vectors, n_tokens = model.embed_queries([text for (text,) in documents], request.dims)
        alone = [Embedded(texts, vectors[number : number + 1]) for number, texts in enumerate(documents)]
        return alone, n_tokens, None
    if request.enable_auto_chunking:
        chunker = _make_chunker(request)
        embedded, n_tokens = model.embed_documents([text for (text,) in documents], chunker, request.dims)
        return embedded, n_tokens, f"latechunk-{latechunk.__version__}-{chunker.settings['kind']}"
    return *model.embed_chunks(documents, request.dims), None


def _make_chunker(request: ContextualizedRequest) -> Chunker:
    """By structure, or by tokens where chunks overlap."""
    size = request.chunk_size or _CHUNK_SIZE
    if request.chunk_overlap:
        return TokenChunker(max_tokens=size, overlap=request.chunk_overlap)
    return StructureChunker(max_tokens=size)


def _numbered(vectors: Sequence[Any]) -> list[dict[str, Any]]:
    return [{"object": "embedding", "index": number, "embedding": one} for number, one in enumerate(vectors)]


def _answer(data: list[dict[str, Any]], model: str, n_tokens: int, **extra: Any) -> Response:
    usage = {"prompt_tokens": n_tokens, "total_tokens": n_tokens}
    body = {"object": "list", "data": data, "model": model, "usage": usage, **extra}
    return Response(to_json(body), media_type="application/json")
