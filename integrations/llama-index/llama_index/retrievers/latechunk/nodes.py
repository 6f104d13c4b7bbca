"""LlamaIndex's documents in, latechunk's out; chunks and hits in, LlamaIndex's nodes out."""

from __future__ import annotations

import copy
import json
import uuid
from collections.abc import Iterable, Iterator
from typing import Any

from llama_index.core.schema import (
    BaseNode,
    MetadataMode,
    NodeRelationship,
    NodeWithScore,
    ObjectType,
    RelatedNodeInfo,
    RelatedNodeType,
    TextNode,
)
from llama_index.core.schema import Document as LlamaDocument

from latechunk import Chunk, Document, EmbeddedDocument, Hit
from latechunk.errors import DocumentError, InputError

# Ids are UUIDs, since Qdrant takes no others, and never the document's own id, which a document store has in use.
_NAMESPACE = uuid.UUID("9b1f0f5e-6f0b-5c53-9d62-6b1f3f8f2c11")

# How a node's text and metadata are put together for an LLM.
_PASSED_ON = (
    "excluded_embed_metadata_keys",
    "excluded_llm_metadata_keys",
    "metadata_separator",
    "metadata_template",
    "text_template",
)


class LateChunkNode(TextNode):
    """A text node that keeps its vector: an embed model run after the transform would overwrite it unseen.

    To stores and caches it is a TextNode, and what comes back from them is one.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        """Set a field, but for the embedding only to None or to itself."""
        if name == "embedding" and None not in (value, self.embedding) and list(value) != self.embedding:
            raise InputError(
                "this node has a late-chunk vector, which another embed model was about to overwrite: leave the embed "
                "model out of the transformations, and give LateChunkEmbedding to the VectorStoreIndex for its "
                "queries. To replace vectors on purpose, set node.embedding = None first"
            )
        super().__setattr__(name, value)


def to_documents(nodes: Iterable[BaseNode]) -> Iterator[Document]:
    """Turn LlamaIndex's documents into what ``latechunk.Index.add`` takes, one by one.

    Their ids should be stable (``Document(id_=...)``): by default they are random, and nothing can be recognised.

    Raises:
        InputError: If one is not a whole document of text; DocumentError if one cannot be stored.

    Examples:
        >>> from llama_index.core import Document
        >>> next(to_documents([Document(id_="berlin", text="Berlin is big.")])).id
        'berlin'
    """
    return map(to_document, nodes)


def to_document(node: BaseNode) -> Document:
    """See ``to_documents``."""
    _require_whole(node)
    try:
        return Document(node.node_id, node.get_content(MetadataMode.NONE), node.metadata)
    except DocumentError as error:
        at_fault = [key for key, value in node.metadata.items() if not _is_json(key, value)]
        if not at_fault:
            raise
        raise DocumentError(
            f"{error}. What cannot be kept is under {', '.join(map(repr, at_fault))}: give dates as ISO strings "
            f"(value.isoformat()), numpy numbers as plain ones (value.item()), and leave other objects out"
        ) from error


def to_nodes(original: BaseNode, embedded: EmbeddedDocument, *, citation_key: str | None) -> list[TextNode]:
    """Make the finished nodes of a document of LlamaIndex's.

    With a ``citation_key`` the metadata has ``document:start-end`` under it; DocumentError if it has that key already.
    """
    source = original.as_related_node_info()  # hashes the whole text, hence once
    shared = {name: copy.copy(getattr(original, name)) for name in _PASSED_ON if hasattr(original, name)}
    chunks = embedded.chunks
    neighbours = zip([None, *chunks[:-1]], [*chunks[1:], None], strict=True)
    return [
        LateChunkNode(embedding=vector.tolist(), **shared, **_fields_of(chunk, source, *around, citation_key))
        for chunk, vector, around in zip(chunks, embedded.vectors, neighbours, strict=True)
    ]


def to_scored_node(
    hit: Hit, previous: Chunk | None, following: Chunk | None, *, citation_key: str | None
) -> NodeWithScore:
    """Make a node of a hit, with its neighbours where they are wanted; see ``to_nodes``."""
    metadata = copy.deepcopy(dict(hit.chunk.metadata))
    source = RelatedNodeInfo(node_id=hit.chunk.document_id, node_type=ObjectType.DOCUMENT, metadata=metadata)
    node = TextNode(**_fields_of(hit.chunk, source, previous, following, citation_key))
    return NodeWithScore(node=node, score=hit.score)


def make_id(chunk: Chunk) -> str:
    """The id of a passage's node: the same for the same place in the same document, in transform and retriever."""
    place = [chunk.document_id, chunk.number, chunk.start, chunk.end]
    return str(uuid.uuid5(_NAMESPACE, json.dumps(place)))


def _fields_of(
    chunk: Chunk, source: RelatedNodeInfo, previous: Chunk | None, following: Chunk | None, citation_key: str | None
) -> dict[str, Any]:
    related: dict[NodeRelationship, RelatedNodeType] = {NodeRelationship.SOURCE: source}
    for relation, neighbour in ((NodeRelationship.PREVIOUS, previous), (NodeRelationship.NEXT, following)):
        if neighbour is not None:
            related[relation] = RelatedNodeInfo(node_id=make_id(neighbour), node_type=ObjectType.TEXT)
    metadata = copy.deepcopy(dict(chunk.metadata))
    if citation_key in metadata:
        raise DocumentError(
            f"document {chunk.document_id!r} has the metadata key {citation_key!r} already; choose another citation_key"
        )
    if citation_key is not None:
        metadata[citation_key] = f"{chunk.document_id}:{chunk.start}-{chunk.end}"
    return {
        "id_": make_id(chunk),
        "text": chunk.text,
        "start_char_idx": chunk.start,
        "end_char_idx": chunk.end,
        "metadata": metadata,
        "relationships": related,
    }


def _require_whole(node: BaseNode) -> None:
    if not isinstance(node, LlamaDocument) and type(node) is not TextNode:
        raise InputError(f"late chunking takes LlamaIndex's Document objects, got {type(node).__name__}")
    if node.source_node is not None or getattr(node, "start_char_idx", None) is not None:
        raise InputError(
            f"node {node.node_id!r} is a piece of a document already, and late chunking needs whole documents to read "
            f"each chunk in context: leave out the splitter before it (SentenceSplitter and the like), and say how to "
            f"cut with chunker="
        )
    if any(getattr(node, f"{kind}_resource", None) is not None for kind in ("image", "audio", "video")):
        raise InputError(f"document {node.node_id!r} holds more than text, which would be lost; pass its text alone")


def _is_json(key: str, value: Any) -> bool:
    try:
        Document("any", "", {key: value})
    except DocumentError:
        return False
    return True
