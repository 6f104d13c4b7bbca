"""A mean-pooled model in memory, whichever loader made it; imports no model library but torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch

from latechunk.models.adapters import TaskAdapters

PoolingChoice: TypeAlias = Literal["checkpoint", "mean"]


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A mean-pooled model in memory.

    Attributes:
        transformer: Gives token embeddings; in the dtype asked for. The Transformer of sentence-transformers, or the
            ``BertTransformer`` of ``latechunk.models.bert``, which has of it what inference needs.
        attention: How its layers attend, as transformers names it.
        prompt_counts: Whether the prompt's tokens are in the model's own mean.
        finish: The modules after the pooling, such as Dense and Normalize; in float32.
        max_length: Tokens that the checkpoint says it reads at most.
        n_positions: The longest sequence that its architecture takes.
        hidden: Length of a token embedding.
        dims: Length of a vector after all modules.
        matryoshka: Shorter lengths that a vector may be cut to, as the checkpoint says.
        separator_id: The token between a document's chunks, of a model that was trained on documents in chunks.
    """

    transformer: Any
    adapters: TaskAdapters | None
    attention: str
    prompt_counts: bool
    finish: tuple[torch.nn.Module, ...]
    tokenizer: Any
    prompts: Mapping[str, str | None]
    max_length: int | None
    n_positions: int | None
    hidden: int
    dims: int
    matryoshka: tuple[int, ...]
    separator_id: int | None = None

    @property
    def pad_id(self) -> int:
        """Token for padding."""
        return int(self.tokenizer.pad_token_id or 0)


def compile_forward(model: LoadedModel) -> None:
    """Have ``torch.compile`` build the forward pass when it first runs; one build serves all lengths."""
    backbone: Any = model.transformer.model
    backbone.forward = torch.compile(backbone.forward, dynamic=True)
