"""A folder of embedded documents in, finished nodes out, for any of LlamaIndex's vector stores."""

from __future__ import annotations

import os
from collections.abc import Iterator

from llama_index.core.schema import Document as LlamaDocument
from llama_index.core.schema import TextNode
from llama_index.retrievers.latechunk.nodes import require_citation_key, to_nodes

from latechunk import read_embedded


def read_nodes(folder: str | os.PathLike[str], *, citation_key: str | None = None) -> Iterator[TextNode]:
    """Read what ``latechunk embed`` wrote as the nodes that ``LateChunkTransform`` would make; loads no model.

    Nodes have their vectors, ids that are the same every time, and their document as source. So in any of LlamaIndex's
    vector stores ``store.add(nodes)`` keeps them, and ``store.delete(document_id)`` removes those of a document. Needs
    latechunk's extra ``parquet``.

    Args:
        folder: The folder.
        citation_key: Put ``document:start-end`` under this metadata key, for an LLM to cite. No document may have the
            key already: what ``latechunk index`` and ``latechunk embed`` read has ``source``.

    Raises:
        InputError: If there is no such folder, or ``citation_key`` is none, at once.
        TransferError: If a file is damaged.

    Examples:
        >>> store.add(list(read_nodes("embedded")))  # doctest: +SKIP
    """
    require_citation_key(citation_key)
    embedded = read_embedded(folder)
    return (
        node
        for one in embedded
        for node in to_nodes(
            LlamaDocument(id_=one.document.id, text=one.document.text, metadata=dict(one.document.metadata)),
            one,
            citation_key=citation_key,
        )
    )
