"""BERT in plain torch, for inference: the token embeddings of transformers' BertModel, up to rounding.

Importing transformers takes longer than importing torch, and a search by the command line would import both for one
pass over a few tokens. Modules have the names and the layout of transformers', so that its weights fit and
``latechunk.encoding.local_global`` runs both. Sequences of any lengths lie one after the other, without padding.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from typing import Any, ClassVar, cast

import torch
from torch import nn
from torch.nn import functional

from latechunk.models.attention import attend


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

    def forward(self, input_ids: torch.Tensor, position_ids: torch.Tensor | None = None) -> torch.Tensor:
        if position_ids is None:
            position_ids = torch.arange(input_ids.shape[1], device=input_ids.device)[None]
        summed = self.word_embeddings(input_ids) + self.token_type_embeddings(torch.zeros_like(input_ids))
        embeddings: torch.Tensor = self.LayerNorm(summed + self.position_embeddings(position_ids))
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
        return attend(query, key, value, attention_mask).transpose(1, 2).reshape(states.shape)


class Output(nn.Module):
    """A linear layer whose result is added to what came before it, and normalised."""

    def __init__(self, n_in: int, n_out: int, eps: float) -> None:
        """Make one with random weights."""
        super().__init__()
        self.dense = nn.Linear(n_in, n_out)
        self.LayerNorm = nn.LayerNorm(n_out, eps=eps)

    def forward(self, states: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        """Of tensors of shapes ``(..., n_in)`` and ``(..., n_out)``, the second."""
        normed: torch.Tensor = self.LayerNorm(self.dense(states) + residual)
        return normed


class _Attention(nn.Module):
    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.self = _SelfAttention(config)
        self.output = Output(config.hidden_size, config.hidden_size, config.layer_norm_eps)


class _Intermediate(nn.Module):
    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.intermediate_size)


class _Layer(nn.Module):
    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.attention = _Attention(config)
        self.intermediate = _Intermediate(config)
        self.output = Output(config.intermediate_size, config.hidden_size, config.layer_norm_eps)

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


def _attend_packed(attention: _SelfAttention, states: torch.Tensor, runs: Iterable[tuple[int, int]]) -> torch.Tensor:
    """Attend with a layer's own projections; ``states`` and the result have shape ``(1, n_tokens, hidden)``.

    ``runs`` are lengths of sequences, and how many of that length come in a row, which are computed together.
    """
    projected = [project(states) for project in (attention.query, attention.key, attention.value)]
    attended, begin = torch.empty_like(states), 0
    for length, n in runs:
        own = slice(begin, begin + n * length)
        shape = (n, length, attention.num_attention_heads, attention.attention_head_size)
        rows = attend(*(one[:, own].view(shape).transpose(1, 2) for one in projected))
        attended[:, own].view(shape).copy_(rows.transpose(1, 2))
        begin = own.stop
    return attended


class Bert(nn.Module):
    """The layers, by which ``BertTransformer`` and ``latechunk.encoding.local_global`` make token embeddings."""

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


class BertTransformer(nn.Module):
    """What inference needs of the Transformer module of sentence-transformers, around a ``Bert``."""

    can_flatten_inputs: ClassVar[bool] = True
    _flatten_position_offset: ClassVar[int] = 0

    def __init__(self, model: Bert) -> None:
        """Wrap a model that has its weights."""
        super().__init__()
        self.model = model

    @staticmethod
    def data_collator(sequences: Sequence[Mapping[str, list[int]]]) -> dict[str, Any]:
        """Lay the ``input_ids`` of sequences out one after the other, shape ``(1, n_tokens)``."""
        ids = [one["input_ids"] for one in sequences]
        return {"input_ids": torch.tensor([list(chain.from_iterable(ids))]), "lengths": [len(one) for one in ids]}

    def forward(self, features: dict[str, Any]) -> dict[str, Any]:
        """Add ``token_embeddings``, shape ``(1, n_tokens, hidden)``, to what ``data_collator`` gave."""
        ids, lengths = features["input_ids"], features["lengths"]
        places = torch.cat([torch.arange(length, device=ids.device) for length in lengths])
        states: torch.Tensor = self.model.embeddings(ids, places[None])
        runs = [(length, len(list(same))) for length, same in groupby(lengths)]
        for layer in cast(Iterable[_Layer], self.model.encoder.layer):
            attended = _attend_packed(layer.attention.self, states, runs)
            states = layer.feed_forward_chunk(layer.attention.output(attended, states))
        return {**features, "token_embeddings": states}


class Normalize(nn.Module):
    """The module of sentence-transformers of that name."""

    def forward(self, features: dict[str, Any]) -> dict[str, Any]:
        """Bring ``sentence_embedding`` to unit length."""
        vectors = functional.normalize(features["sentence_embedding"], p=2, dim=1)
        return {**features, "sentence_embedding": vectors}
