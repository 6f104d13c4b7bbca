"""Convert LlamaIndex's documents to latechunk's, and chunks and hits to LlamaIndex's nodes."""

from __future__ import annotations

import copy
import json
import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias

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

import latechunk
from latechunk import OUTLINE, PAGES, Chunk, Document, EmbeddedDocument, Hit, PagesWarning, error_handler, page_metadata
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

_NEEDED = "LlamaIndex's Document objects, Document(text=...)"
_BYTES_REMEDY = (
    "install llama-index-readers-file and pypdf, without which SimpleDirectoryReader reads no PDF, Word file or slides"
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


OnError: TypeAlias = Literal["raise", "skip"] | Callable[[BaseNode, DocumentError], None]


def join_pages(documents: Iterable[BaseNode]) -> list[BaseNode]:
    """Make one document of the pages of each file, as ``SimpleDirectoryReader`` and ``PDFReader`` give them.

    Pages are neighbours of one ``file_path`` (else ``file_name``) with a ``page_label``. They are joined in their
    order, whatever their ids; the document's id is the path. It keeps the metadata that its pages share, and a table of
    them under ``latechunk_pages``, of which the index makes ``Document.pages``. So each node has the ``page_label`` of
    its passage, and ``last_page_label`` if it ends on another page.

    ``to_documents`` and ``LateChunkTransform`` join pages themselves, unless they have ids of their own. A pipeline
    with a docstore compares documents before any transform sees them, and one with ``num_workers`` deals them out:
    join pages before ``run``.

    Examples:
        >>> from llama_index.core import Document
        >>> one, two = ({"file_name": "a.pdf", "page_label": label} for label in ("i", "ii"))
        >>> join_pages([Document(text="Berlin is", metadata=one), Document(text="big.", metadata=two)])[0].id_
        'a.pdf'
    """
    return list(joined(documents, _make_joined, sure=True))


def joined(
    documents: object,
    make: Callable[[Sequence[BaseNode], str, str, dict[str, Any]], BaseNode] | None = None,
    *,
    sure: bool = False,
) -> Iterator[BaseNode]:
    """See ``join_pages``; unless ``sure`` pages with ids of their own are warned about, and come as they are."""
    if isinstance(documents, str | Mapping | BaseNode | Document) or not isinstance(documents, Iterable):
        raise InputError(f"late chunking takes a list of {_NEEDED}, got {type(documents).__name__}")
    pages = latechunk.join_pages(
        documents, _read, make or _make_joined, source_keys=("file_path", "file_name"), sure=sure
    )
    return _tell_of_pieces(pages)


def _tell_of_pieces(nodes: Iterable[BaseNode]) -> Iterator[BaseNode]:
    """The same, with a warning at the first two neighbours from one file that are not known to be its pages."""
    last, told = None, False
    for node in nodes:
        named = node.metadata.get("file_path", node.metadata.get("file_name"))
        file = None if "page_label" in node.metadata else named
        if file and file == last and not told:
            told = True
            warnings.warn(
                f"several documents are from {file!r:.200}, such as the cells or sections that some readers give: if "
                f"they are pieces of it, no passage will see beyond its piece. Read the file as one document; or, if "
                f"they are pages, give each its page_label in the metadata. If they are whole, such as messages, this "
                f"means nothing",
                PagesWarning,
                stacklevel=2,
            )
        last = file
        yield node


def join_under_first_id(pages: Sequence[BaseNode], _: str, text: str, metadata: dict[str, Any]) -> BaseNode:
    """Make a document with the id of its first page, by which a docstore behind the caller knows it."""
    return pages[0] if len(pages) == 1 else _make_joined(pages, pages[0].node_id, text, metadata)


def to_documents(nodes: Iterable[BaseNode], *, on_error: OnError = "raise") -> Iterator[Document]:
    """Turn LlamaIndex's documents into what ``latechunk.Index.add`` takes, one by one; see ``join_pages``.

    One whose id nobody chose (``Document(id_=...)``) is named by its file's path, else by a hash of its text, so that
    adding it twice changes nothing; see ``latechunk.name_documents``. What to do with one that cannot be stored,
    ``on_error`` says as in ``latechunk.Index.add``, which finds blank ones.

    Raises:
        InputError: If one is not a whole document of text; DocumentError if one cannot be stored.

    Examples:
        >>> from llama_index.core import Document
        >>> next(to_documents([Document(id_="berlin", text="Berlin is big.")])).id
        'berlin'
    """
    return convert(_named(joined(nodes)), error_handler(on_error))


def _named(nodes: Iterable[BaseNode]) -> Iterator[BaseNode]:
    for name, node in latechunk.name_documents(nodes, _read, source_keys=("file_path", "source")):
        yield node if name == node.node_id else node.model_copy(update={"id_": name})


def convert(
    nodes: Iterable[BaseNode], handle: Callable[[BaseNode, DocumentError], None], *, citation_key: str | None = None
) -> Iterator[Document]:
    """Turn whole documents into latechunk's; those that cannot be stored, or cited, go to ``handle``."""
    for node in nodes:
        try:
            document = to_document(node)
            _require_free(citation_key, document.id, document.metadata)
        except DocumentError as error:
            handle(node, error)
        else:
            yield document


def to_document(node: BaseNode) -> Document:
    """See ``to_documents``."""
    if (fault := _find_fault(node)) is not None:
        raise fault
    text = node.get_content(MetadataMode.NONE)
    return latechunk.unpack_document(node.node_id, text, node.metadata, bytes_remedy=_BYTES_REMEDY)


def to_nodes(original: BaseNode, embedded: EmbeddedDocument, *, citation_key: str | None) -> list[TextNode]:
    """Make the finished nodes of a document of LlamaIndex's.

    With a ``citation_key`` the metadata has ``document:start-end`` under it; DocumentError if it has that key already.
    """
    whole = original.as_related_node_info()  # hashes the whole text, hence once
    own = {key: value for key, value in original.metadata.items() if key not in (PAGES, OUTLINE)}
    source = whole.model_copy(update={"metadata": own})
    shared = {name: copy.copy(getattr(original, name)) for name in _PASSED_ON if hasattr(original, name)}
    chunks = embedded.chunks
    neighbours = zip([None, *chunks[:-1]], [*chunks[1:], None], strict=True)
    return [
        LateChunkNode(embedding=vector.tolist(), **shared, **_fields_of(chunk, source, *around, citation_key))
        for chunk, vector, around in zip(chunks, embedded.vectors, neighbours, strict=True)
    ]


def to_scored_node(
    hit: Hit, previous: Chunk | None, following: Chunk | None, *, citation_key: str | None, hidden: Sequence[str]
) -> NodeWithScore:
    """Make a node of a hit, with its neighbours where they are wanted; see ``to_nodes``.

    The metadata keys ``hidden`` are in what LlamaIndex excludes for LLMs and for embed models, as which it reads nodes
    for rerankers, too.
    """
    metadata = copy.deepcopy(dict(hit.chunk.metadata))
    source = RelatedNodeInfo(node_id=hit.chunk.document_id, node_type=ObjectType.DOCUMENT, metadata=metadata)
    fields = _fields_of(hit.chunk, source, previous, following, citation_key)
    node = TextNode(**fields, excluded_llm_metadata_keys=list(hidden), excluded_embed_metadata_keys=list(hidden))
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
    metadata = copy.deepcopy(page_metadata(chunk))
    if chunk.headings:
        metadata["header_path"] = f"/{'/'.join(chunk.headings)}/"  # as MarkdownNodeParser writes it
    if chunk.pages and "page_label" in metadata:  # LlamaIndex cites by what is printed
        metadata = {key: value for key, value in metadata.items() if key not in ("page", "last_page")}
    _require_free(citation_key, chunk.document_id, metadata)
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


def require_citation_key(key: object) -> None:
    """Raise InputError unless it is None or may be a key of metadata."""
    if key is not None and (not isinstance(key, str) or not key):
        raise InputError(f"citation_key must be the name of a metadata key, or None for no citation, got {key!r:.80}")


def _require_free(citation_key: str | None, document_id: str, metadata: Mapping[str, Any]) -> None:
    if citation_key in metadata:
        raise DocumentError(
            f"document {document_id!r} has the metadata key {citation_key!r} already; choose another citation_key"
        )


def _read(node: object) -> tuple[str | None, str, dict[str, Any]]:
    if not isinstance(node, BaseNode):
        hint = ", which Index.add takes as it is" if isinstance(node, Document) else ""
        raise InputError(f"late chunking takes {_NEEDED}, got {type(node).__module__}.{type(node).__name__}{hint}")
    if _find_fault(node) is not None:  # refused later
        return node.node_id, "", {}
    return None if _is_random(node) else node.node_id, node.get_content(MetadataMode.NONE), node.metadata


def _is_random(node: BaseNode) -> bool:
    """Whether LlamaIndex made the id, as it does where none is given.

    A node that was pickled, as between a reader's workers, or stored no longer tells: all its fields were set. There a
    random UUID is taken for LlamaIndex's.
    """
    if "id_" in node.model_fields_set and "relationships" not in node.model_fields_set:
        return False
    try:
        return uuid.UUID(node.node_id).version == 4
    except ValueError:
        return False


def _make_joined(pages: Sequence[BaseNode], name: str, text: str, metadata: dict[str, Any]) -> BaseNode:
    shared: dict[str, Any] = {field: copy.copy(getattr(pages[0], field)) for field in _PASSED_ON}
    for field in ("excluded_embed_metadata_keys", "excluded_llm_metadata_keys"):
        shared[field].append(PAGES)
    return LlamaDocument(id_=name, text=text, metadata=metadata, **shared)


def _find_fault(node: BaseNode) -> InputError | None:
    """The error if this is not a whole document of text, or None."""
    if not isinstance(node, LlamaDocument) and type(node) is not TextNode:
        return InputError(f"late chunking takes {_NEEDED}, got {type(node).__name__}")
    if node.source_node is not None or getattr(node, "start_char_idx", None) is not None:
        return InputError(
            f"node {node.node_id!r} is a piece of a document already, and late chunking needs whole documents to read "
            f"each chunk in context: leave out the splitter before it (SentenceSplitter and the like), and say how to "
            f"cut with chunker="
        )
    more = [kind for kind in ("image", "audio", "video") if getattr(node, f"{kind}_resource", None) is not None]
    if more:
        name = node.metadata.get("file_path", node.node_id)
        return DocumentError(
            f"document {name!r} holds more than text, {' and '.join(more)}, which would be lost; pass its text alone, "
            f'or leave it out, as on_error="skip" does'
        )
    return None
