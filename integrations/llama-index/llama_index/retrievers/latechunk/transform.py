"""Turn whole documents into nodes with late-chunk vectors, for any of LlamaIndex's vector stores."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Self

from llama_index.core.schema import BaseNode, TransformComponent
from llama_index.retrievers.latechunk.model import ModelFields
from llama_index.retrievers.latechunk.nodes import OnError, convert, join_under_first_id, joined, to_nodes
from pydantic import Field, SkipValidation, field_serializer, field_validator, model_validator

from latechunk import (
    Embedding,
    Mode,
    StructureChunker,
    chunker_from_settings,
    embed_documents,
    error_handler,
    to_chunker,
)
from latechunk.errors import DocumentError, InputError
from latechunk.protocols import Chunker, require_json


class LateChunkTransform(ModelFields, TransformComponent):
    """Cuts documents and sets each node's ``embedding``, so that nothing behind it embeds the chunk's text alone.

    It takes the place of both the splitter and the embed model among the transformations. Everything that decides the
    nodes is in the key of a pipeline's cache, down to the fingerprint of the model's weights.

    Examples:
        >>> from llama_index.core import Document
        >>> nodes = LateChunkTransform(encoder=encoder)([Document(id_="berlin", text="Berlin is big.")])
        >>> len(nodes[0].embedding)
        384
    """

    query_prompt: str | None = Field(default=None, exclude=True, description="As the query embedding's, to share it.")
    query_task: str | None = Field(default=None, exclude=True, description="As the query embedding's, to share it.")
    chunker: Annotated[Chunker | str, SkipValidation] = Field(
        default_factory=StructureChunker,
        description="Where to cut: a StructureChunker, SentenceChunker or TokenChunker, the name of one, or your own.",
    )
    mode: Mode | None = Field(default=None, description="late, naive or blend; None for the model's best.")
    late_weight: float | None = Field(default=None, description="Share of the late vector in a blend.")
    citation_key: str | None = Field(
        default=None,
        min_length=1,
        description="Metadata key for document:start-end, for an LLM to cite; one that no document has already.",
    )
    on_error: Annotated[OnError, SkipValidation] = Field(
        default="raise",
        description="What to do with a document that cannot be indexed: raise, skip and log, or a function of both.",
    )
    show_progress: bool = Field(default=False, exclude=True, description="A bar on stderr, or lines in a log.")

    @classmethod
    def class_name(cls) -> str:
        """Name in serialised form."""
        return "LateChunkTransform"

    @field_validator("chunker", mode="before")
    @classmethod
    def _read_chunker(cls, value: Any) -> Any:
        """Check a chunker, or rebuild it from its serialised form."""
        if isinstance(value, Mapping):
            chunker = chunker_from_settings(value)
            if chunker is None:
                raise InputError(f"{dict(value)} is a chunker of your own: pass it, from_dict(data, chunker=...)")
            return chunker
        chunker = to_chunker(value)
        require_json("chunker", chunker.settings)
        return chunker

    @field_serializer("chunker")
    def _write_chunker(self, chunker: Chunker) -> dict[str, Any]:
        return dict(chunker.settings)

    @field_serializer("on_error")
    def _write_on_error(self, on_error: OnError) -> str:
        return "skip" if callable(on_error) else on_error

    @model_validator(mode="after")
    def _check_mode(self) -> Self:
        error_handler(self.on_error)
        Embedding(self.mode or "late", 0.5 if self.late_weight is None else self.late_weight)
        if self.late_weight is not None and self.mode in ("late", "naive"):  # without a mode the encoder decides, later
            raise InputError(
                f'late_weight is the share of the late vector in a blend, and mode is "{self.mode}", so it would have '
                f'no effect; say mode="blend", or leave late_weight out'
            )
        return self

    def to_dict(self, **kwargs: Any) -> dict[str, Any]:
        """The fields and the model's fingerprint, which a pipeline makes its cache's key of; ModelError without one."""
        return {**super().to_dict(**kwargs), "made_by": self.fingerprint()}

    def __call__(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[BaseNode]:  # noqa: ARG002
        """Cut and encode whole documents of different ids, in order; ``kwargs`` have no effect.

        Raises:
            InputError: If a node is not a whole document, or an id comes twice.
            DocumentError: If a document cannot be indexed; see ``on_error``.
            ModelError: If the model cannot be used, or gives unusable vectors.
        """
        originals = _by_id(list(joined(nodes, join_under_first_id)))
        handle = error_handler(self.on_error)
        documents = list(convert(originals.values(), handle, citation_key=self.citation_key))
        if not documents:  # as when nothing was edited: load no model
            return []
        embedded = embed_documents(
            documents,
            encoder=self.load_encoder(),
            chunker=self.chunker,
            mode=self.mode,
            late_weight=self.late_weight,
            on_error=lambda document, error: handle(originals[document.id], error),
            show_progress=self.show_progress,
        )
        finished: list[BaseNode] = []
        for one in embedded:
            original = originals[one.document.id]
            try:
                finished += to_nodes(original, one, citation_key=self.citation_key)
            except DocumentError as error:  # the key is one that a passage's pages or headings have
                handle(original, error)
        return finished

    async def acall(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[BaseNode]:
        """The same in a thread of its own."""
        return await asyncio.to_thread(self, nodes, **kwargs)


def _by_id(nodes: Sequence[BaseNode]) -> dict[str, BaseNode]:
    originals: dict[str, BaseNode] = {}
    for node in nodes:
        if node.node_id in originals:
            raise InputError(
                f"the document id {node.node_id!r} comes twice; give each document an id of its own, "
                f"Document(id_=...), since nodes are named and replaced by it"
            )
        originals[node.node_id] = node
    return originals
