"""Documents to chunks with vectors: late, naive or blended, on the same spans."""

from latechunk.embedding.chunks import ChunkedDocument, chunk_documents
from latechunk.embedding.progress import Progress
from latechunk.embedding.settings import Embedding, choose_embedding
from latechunk.embedding.stream import EmbeddedDocument, OnError, embed_batch, embed_documents, error_handler
from latechunk.embedding.vectors import blend, context_shifts, embed_chunks, encode_queries, have_unit_length

__all__ = [
    "ChunkedDocument",
    "EmbeddedDocument",
    "Embedding",
    "OnError",
    "Progress",
    "blend",
    "choose_embedding",
    "chunk_documents",
    "context_shifts",
    "embed_batch",
    "embed_chunks",
    "embed_documents",
    "encode_queries",
    "error_handler",
    "have_unit_length",
]
