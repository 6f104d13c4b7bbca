"""Embed queries for a vector store that holds late-chunk vectors."""

from __future__ import annotations

import asyncio
from typing import Any, Self

from llama_index.core.base.embeddings.base import BaseEmbedding, Embedding
from llama_index.retrievers.latechunk.model import ModelFields
from pydantic import model_validator

from latechunk.errors import InputError


class LateChunkEmbedding(ModelFields, BaseEmbedding):
    """Encodes queries, with the model's query task and prompt, and nothing else.

    Give it the settings of the ``LateChunkTransform`` that made the nodes, so that both share one model. It
    refuses texts: a chunk's vector is made from its whole document, which an embed model does not see. So whatever
    compares texts, such as ``SemanticSimilarityEvaluator``, needs another embed model.

    Examples:
        >>> len(LateChunkEmbedding(encoder=encoder).get_query_embedding("people in Berlin"))
        384
    """

    @classmethod
    def class_name(cls) -> str:
        """Name in serialised form."""
        return "LateChunkEmbedding"

    @model_validator(mode="after")
    def _name_model(self) -> Self:
        name = self.model if self.encoder is None else str(self.encoder.settings.get("model", "unknown"))
        if self.model_name not in ("unknown", name):
            raise InputError(f"the model's name goes into model=, and model_name was given, {self.model_name!r}")
        self.model_name = name
        return self

    def to_dict(self, **kwargs: Any) -> dict[str, Any]:
        """The fields, and the settings of an encoder of your own, which ``from_dict`` asks for."""
        made_by = {} if self.encoder is None else {"made_by": self.fingerprint()}
        return super().to_dict(**kwargs) | made_by

    def _get_query_embedding(self, query: str) -> Embedding:
        vector: Embedding = self.load_encoder().encode_query(query).tolist()
        return vector

    async def _aget_query_embedding(self, query: str) -> Embedding:
        return await asyncio.to_thread(self._get_query_embedding, query)

    def _get_text_embedding(self, text: str) -> Embedding:
        raise InputError(
            f"LateChunkEmbedding encodes queries only, and was asked to embed the text {text!r:.60}. A chunk's late "
            f"vector comes from its whole document, which an embed model does not see: make the nodes with "
            f"LateChunkTransform, which sets their embeddings, as the last of the transformations, and leave this one "
            f"out of them. What compares texts of no document, such as an evaluator, an optimizer or a selector, needs "
            f"another embed model"
        )
