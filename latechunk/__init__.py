"""Late chunking for long documents: encode the whole document, then pool each chunk from its token embeddings."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from latechunk.chunking.sentence import SentenceChunker as SentenceChunker
    from latechunk.chunking.token import TokenChunker as TokenChunker
    from latechunk.embedding import Embedding as Embedding
    from latechunk.encoding.encoder import Encoder as Encoder
    from latechunk.encoding.multi_device import DevicePool as DevicePool
    from latechunk.errors import LateChunkError as LateChunkError
    from latechunk.index import Index as Index
    from latechunk.indexing import AddReport as AddReport
    from latechunk.models.catalogue import LocalGlobal as LocalGlobal
    from latechunk.models.cross_encoder import CrossEncoderReranker as CrossEncoderReranker
    from latechunk.search import SearchOptions as SearchOptions
    from latechunk.types import Chunk as Chunk
    from latechunk.types import Document as Document
    from latechunk.types import Hit as Hit
    from latechunk.types import Span as Span

__version__ = "0.1.0"

# Loaded at first use, so that `import latechunk` costs milliseconds and needs neither torch nor faiss.
_HOMES = {
    "AddReport": "latechunk.indexing",
    "Chunk": "latechunk.types",
    "CrossEncoderReranker": "latechunk.models.cross_encoder",
    "DevicePool": "latechunk.encoding.multi_device",
    "Document": "latechunk.types",
    "Embedding": "latechunk.embedding",
    "Encoder": "latechunk.encoding.encoder",
    "Hit": "latechunk.types",
    "Index": "latechunk.index",
    "LateChunkError": "latechunk.errors",
    "LocalGlobal": "latechunk.models.catalogue",
    "SearchOptions": "latechunk.search",
    "SentenceChunker": "latechunk.chunking.sentence",
    "Span": "latechunk.types",
    "TokenChunker": "latechunk.chunking.token",
}

__all__ = [*_HOMES, "__version__"]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'latechunk' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
