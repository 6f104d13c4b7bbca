"""BERT in plain torch, for inference: the token embeddings of transformers' BertModel, to the bit.

Importing transformers takes longer than importing torch, and a search by the command line would import both for one
pass over a few tokens. Modules have the names and the layout of transformers', so that its weights fit and
``latechunk.encoding.local_global`` runs both; they do the same operations in the same order, with SDPA.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class BertConfig:
    """The shape of a BERT, with the names that its ``config.json`` has."""

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int
    type_vocab_size: int
    layer_norm_eps: float
    pad_token_id: int
    model_type: str = "bert"


def _table(n_rows: int, config: BertConfig) -> nn.Embedding:
    # An nn.Embedding draws random numbers where it is given none, for which torch imports its compiler.
    return nn.Embedding(n_rows, config.hidden_size, _weight=torch.empty(n_rows, config.hidden_size))


class _Embeddings(nn.Module):
    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.word_embeddings: nn.Module = _table(config.vocab_size, config)
        self.position_embeddings = _table(config.max_position_embeddings, config)
        self.token_type_embeddings = _table(config.type_vocab_size, config)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        places = torch.arange(input_ids.shape[1], device=input_ids.device)[None]
        summed = self.word_embeddings(input_ids) + self.token_type_embeddings(torch.zeros_like(input_ids))
        embeddings: torch.Tensor = self.LayerNorm(summed + self.position_embeddings(places))
        return embeddings


class _SelfAttention(nn.Module):
    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.num_attention_heads = config.num_attention_heads
        self.attention_head_size = config.hidden_size // config.num_attention_heads
        self.query, self.key, self.value = (nn.Linear(config.hidden_size, config.hidden_size) for _ in range(3))

    def forward(self, states: torch.Tensor, attention_mask: torch.Tensor | None) -> torch.Tensor:
        shape = (*states.shape[:-1], -1, self.attention_head_size)
        query, key, value = (
            project(states).view(shape).transpose(1, 2) for project in (self.query, self.key, self.value)
        )
        attended = functional.scaled_dot_product_attention(
            query, key, value, attn_mask=attention_mask, scale=self.attention_head_size**-0.5
        )
        return attended.transpose(1, 2).reshape(states.shape)


class _Output(nn.Module):
    def __init__(self, n_in: int, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(n_in, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, states: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        normed: torch.Tensor = self.LayerNorm(self.dense(states) + residual)
        return normed


class _Attention(nn.Module):
    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.self = _SelfAttention(config)
        self.output = _Output(config.hidden_size, config)


class _Intermediate(nn.Module):
    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.intermediate_size)


class _Layer(nn.Module):
    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.attention = _Attention(config)
        self.intermediate = _Intermediate(config)
        self.output = _Output(config.intermediate_size, config)

    def forward(self, states: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
        attended = self.attention.output(self.attention.self(states, attention_mask), states)
        return self.feed_forward_chunk(attended)

    def feed_forward_chunk(self, attended: torch.Tensor) -> torch.Tensor:
        fed: torch.Tensor = self.output(functional.gelu(self.intermediate.dense(attended)), attended)
        return fed


class _Encoder(nn.Module):
    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList([_Layer(config) for _ in range(config.num_hidden_layers)])


class Bert(nn.Module):
    """Token ids to token embeddings."""

    def __init__(self, config: BertConfig, dtype: torch.dtype) -> None:
        """Make one that has no weights yet: ``load_state_dict(..., assign=True)`` gives them, in ``dtype``."""
        super().__init__()
        self.config = config
        self.dtype = dtype
        with torch.device("meta"):
            self.embeddings = _Embeddings(config)
            self.encoder = _Encoder(config)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.embeddings.LayerNorm.weight.device

    def get_input_embeddings(self) -> nn.Module:
        """The table of token embeddings."""
        return self.embeddings.word_embeddings

    def set_input_embeddings(self, table: nn.Module) -> None:
        """Take another table of token embeddings."""
        self.embeddings.word_embeddings = table

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
        """Token embeddings, shape ``(n, width, hidden)``; the mask is 1 where a token is, shape ``(n, width)``."""
        states: torch.Tensor = self.embeddings(input_ids)
        if attention_mask is not None:
            n, width = attention_mask.shape
            attention_mask = attention_mask.bool()[:, None, None, :].expand(n, 1, width, width)
        for layer in self.encoder.layer:
            states = layer(states, attention_mask)
        return states


class BertTransformer(nn.Module):
    """What inference needs of the Transformer module of sentence-transformers, around a ``Bert``."""

    can_flatten_inputs = False  # batches are padded

    def __init__(self, model: Bert) -> None:
        """Wrap a model that has its weights."""
        super().__init__()
        self.model = model

    def forward(self, features: dict[str, Any]) -> dict[str, Any]:
        """Add ``token_embeddings``."""
        return {**features, "token_embeddings": self.model(**features)}


class Normalize(nn.Module):
    """The module of sentence-transformers of that name."""

    def forward(self, features: dict[str, Any]) -> dict[str, Any]:
        """Bring ``sentence_embedding`` to unit length."""
        vectors = functional.normalize(features["sentence_embedding"], p=2, dim=1)
        return {**features, "sentence_embedding": vectors}
