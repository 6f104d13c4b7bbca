"""LangChain on latechunk: chunks of whole documents, embedded with the document's context."""

from langchain_latechunk.embeddings import LateChunkEmbeddings, NotLateChunkError
from langchain_latechunk.intake import join_pages
from langchain_latechunk.presplit import PreSplitError, PreSplitWarning
from langchain_latechunk.ready import add_late_chunks
from langchain_latechunk.retriever import LateChunkRetriever
from langchain_latechunk.translator import LateChunkTranslator
from langchain_latechunk.vectorstore import LateChunkVectorStore

__all__ = [
    "LateChunkEmbeddings",
    "LateChunkRetriever",
    "LateChunkTranslator",
    "LateChunkVectorStore",
    "NotLateChunkError",
    "PreSplitError",
    "PreSplitWarning",
    "add_late_chunks",
    "join_pages",
]
