"""Late chunking for LlamaIndex: a retriever over an index, a transform for any vector store, its query embedding."""

from llama_index.retrievers.latechunk.embedding import LateChunkEmbedding
from llama_index.retrievers.latechunk.filters import to_filter
from llama_index.retrievers.latechunk.folder import read_nodes
from llama_index.retrievers.latechunk.nodes import LateChunkNode, join_pages, to_documents
from llama_index.retrievers.latechunk.retriever import LateChunkRetriever
from llama_index.retrievers.latechunk.transform import LateChunkTransform

__all__ = [
    "LateChunkEmbedding",
    "LateChunkNode",
    "LateChunkRetriever",
    "LateChunkTransform",
    "join_pages",
    "read_nodes",
    "to_documents",
    "to_filter",
]
