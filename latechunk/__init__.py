"""Late chunking for long documents: encode the whole document, then pool each chunk from its token embeddings."""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from latechunk.chunking.registry import chunker_from_settings as chunker_from_settings
    from latechunk.chunking.registry import to_chunker as to_chunker
    from latechunk.chunking.sentence import SentenceChunker as SentenceChunker
    from latechunk.chunking.structure import StructureChunker as StructureChunker
    from latechunk.chunking.token import TokenChunker as TokenChunker
    from latechunk.databases.searcher import DatabaseSearcher as DatabaseSearcher
    from latechunk.distributed.reading import read_embedded as read_embedded
    from latechunk.embedding import EmbeddedDocument as EmbeddedDocument
    from latechunk.embedding import Embedding as Embedding
    from latechunk.embedding import OnError as OnError
    from latechunk.embedding import Progress as Progress
    from latechunk.embedding import embed_documents as embed_documents
    from latechunk.embedding import error_handler as error_handler
    from latechunk.encoding.encoder import Encoder as Encoder
    from latechunk.encoding.multi_device import DevicePool as DevicePool
    from latechunk.errors import LateChunkError as LateChunkError
    from latechunk.index import Index as Index
    from latechunk.index import IndexKeywords as IndexKeywords
    from latechunk.indexing import AddReport as AddReport
    from latechunk.models.catalogue import DEFAULT_MODEL as DEFAULT_MODEL
    from latechunk.models.catalogue import LocalGlobal as LocalGlobal
    from latechunk.models.cross_encoder import CrossEncoderReranker as CrossEncoderReranker
    from latechunk.readers.naming import name_documents as name_documents
    from latechunk.readers.pages import OUTLINE as OUTLINE
    from latechunk.readers.pages import PAGES as PAGES
    from latechunk.readers.pages import PagesWarning as PagesWarning
    from latechunk.readers.pages import join_pages as join_pages
    from latechunk.readers.pages import pack_metadata as pack_metadata
    from latechunk.readers.pages import page_metadata as page_metadata
    from latechunk.readers.pages import unpack_document as unpack_document
    from latechunk.search.options import SearchKeywords as SearchKeywords
    from latechunk.search.options import SearchOptions as SearchOptions
    from latechunk.types import Block as Block
    from latechunk.types import Chunk as Chunk
    from latechunk.types import Document as Document
    from latechunk.types import Hit as Hit
    from latechunk.types import Mode as Mode
    from latechunk.types import Page as Page
    from latechunk.types import Span as Span

__version__ = "0.1.0"

# Loaded at first use, so that `import latechunk` costs milliseconds and needs neither torch nor faiss.
_HOMES = {
    name: f"latechunk.{module}"
    for module, names in {
        "chunking.registry": "chunker_from_settings to_chunker",
        "chunking.sentence": "SentenceChunker",
        "chunking.structure": "StructureChunker",
        "chunking.token": "TokenChunker",
        "databases.searcher": "DatabaseSearcher",
        "distributed.reading": "read_embedded",
        "embedding": "EmbeddedDocument Embedding OnError Progress embed_documents error_handler",
        "encoding.encoder": "Encoder",
        "encoding.multi_device": "DevicePool",
        "errors": "LateChunkError",
        "index": "Index IndexKeywords",
        "indexing": "AddReport",
        "models.catalogue": "DEFAULT_MODEL LocalGlobal",
        "models.cross_encoder": "CrossEncoderReranker",
        "readers.naming": "name_documents",
        "readers.pages": "OUTLINE PAGES PagesWarning join_pages pack_metadata page_metadata unpack_document",
        "search.options": "SearchKeywords SearchOptions",
        "types": "Block Chunk Document Hit Mode Page Span",
    }.items()
    for name in names.split()
}

__all__ = [*_HOMES, "__version__"]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'latechunk' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])


def _compute_in_one_thread() -> None:
    """Let a process that was just forked compute in one thread.

    Those in which OpenMP computed stay with the parent, and the child would wait for them without end.
    """
    if "latechunk.models.loaded" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    if "latechunk.ann.faiss_ops" in sys.modules:
        sys.modules["faiss"].omp_set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_compute_in_one_thread)
