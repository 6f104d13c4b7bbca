"""JinaBERT v2, the architecture of jina-embeddings-v2: a BERT with ALiBi and gated feed-forward layers.

ALiBi (Press et al., 2022), here symmetric, stands in for positions: a score between two tokens loses the head's slope
times their distance. The checkpoints are published with code of their own, which is never run; this reads their weights
under the names that they have. There are two layouts. In the first a layer is attention and feed-forward, each with a
layer norm after its residual; the second ("qk-post-norm", jina-embeddings-v2-base-code) normalises queries and keys as
well, and adds the layer's input a second time between the two.

The model computes on tokens without padding, whatever comes in: it takes padded batches apart and pads the result. It
has no dropout, since adapters are trained over it without.
"""

from __future__ import annotations

import math
from itertools import groupby, pairwise
from typing import Any

import torch
from huggingface_hub.dataclasses import strict
from torch import nn
from torch.nn import functional
from transformers import BertConfig, PreTrainedModel
from transformers.activations import ACT2FN
from transformers.modeling_outputs import BaseModelOutput

from latechunk.models.bert import Output

_MOST_BIAS = 2**26  # numbers of one block of the bias where it has to lie in memory: 128 MB in bfloat16


@strict
class JinaBertConfig(BertConfig):  # type: ignore[no-untyped-call]
    """The configuration of a JinaBERT; ``qk_post_norm`` says which of the two layouts it has."""

    model_type = "jina_bert_v2"

    feed_forward_type: str = "geglu"
    qk_post_norm: bool = False

    def __post_init__(self, **kwargs: Any) -> None:
        """Refuse feed-forward layers of a kind that this does not have."""
        super().__post_init__(**kwargs)  # type: ignore[no-untyped-call]
        if self.feed_forward_type not in _ACTIVATIONS:
            raise ValueError(
                f"feed_forward_type must be {' or '.join(_ACTIVATIONS)} in a JinaBERT, got {self.feed_forward_type!r}"
            )


_ACTIVATIONS = {"geglu": "gelu", "reglu": "relu"}


class Alibi:
    """Attention with linear biases over sequences that lie one after the other, without padding.

    In memory the bias of n tokens would take n * n numbers for each head. It depends on the distance alone, so with the
    keys in reverse order all of its rows are stretches of one line of 2 * n - 1 numbers, each a step further on:
    ``bias[i, k] = line[i + k]`` for the key ``n - 1 - k``. SDPA on a CPU reads such a view as it is; elsewhere it is
    laid out in memory for some queries at a time. FlashAttention knows ALiBi itself.
    """

    def __init__(self, slopes: torch.Tensor, bounds: torch.Tensor, *, attention: str) -> None:
        """Take the heads' slopes and where sequences begin and end, shape ``(n_sequences + 1,)``."""
        self._slopes = slopes
        self._attention = attention
        places = bounds.tolist()
        lengths = [end - begin for begin, end in pairwise(places)]
        self._longest = max(lengths)
        self._runs = [(length, len(list(run))) for length, run in groupby(lengths)]  # neighbours of one length
        self._bounds = bounds.to(torch.int32)

    def __call__(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """Attend within each sequence; shapes ``(n_tokens, n_heads, head)``."""
        if self._attention == "flash_attention_2":
            return self._flash(query, key, value)
        attend = _eager if self._attention == "eager" else _sdpa
        outputs, begin = [], 0
        for length, count in self._runs:
            end = begin + length * count
            shape = (count, length, *query.shape[1:])
            parts = [part[begin:end].view(shape).transpose(1, 2) for part in (query, key, value)]
            attended = attend(parts[0], parts[1].flip(2), parts[2].flip(2), self._bias(length))
            outputs.append(attended.transpose(1, 2).reshape(length * count, *query.shape[1:]))
            begin = end
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs)

    def _bias(self, length: int) -> torch.Tensor:
        """A view of shape ``(1, n_heads, length, length)``, for keys in reverse order."""
        distance = torch.arange(1 - length, length, device=self._slopes.device).abs()
        line = -self._slopes[:, None] * distance
        return line.as_strided((1, len(line), length, length), (0, line.shape[1], 1, 1))

    def _flash(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        from flash_attn import flash_attn_varlen_func

        ends = {"cu_seqlens_q": self._bounds, "cu_seqlens_k": self._bounds}
        longest = {"max_seqlen_q": self._longest, "max_seqlen_k": self._longest}
        attended: torch.Tensor = flash_attn_varlen_func(query, key, value, alibi_slopes=self._slopes, **ends, **longest)
        return attended


def _eager(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    scores = query @ key.transpose(2, 3) / math.sqrt(query.shape[3]) + bias
    return scores.softmax(dim=3, dtype=torch.float32).to(value.dtype) @ value


def _sdpa(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    if query.device.type == "cpu":
        return functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
    size = max(1, _MOST_BIAS // (query.shape[1] * key.shape[2]))
    blocks = [
        functional.scaled_dot_product_attention(some, key, value, attn_mask=own.to(query.dtype).contiguous())
        for some, own in zip(torch.split(query, size, dim=2), torch.split(bias, size, dim=2), strict=True)
    ]
    return torch.cat(blocks, dim=2)


def alibi_slopes(n_heads: int) -> list[float]:
    """How much a score of each head loses for each token of distance (Press et al., 2022).

    Of a number of heads that is no power of two, the rest takes every other slope of twice the power below.
    """
    power = 2 ** int(math.log2(n_heads))
    rest = [2 ** (-4 * (2 * place + 1) / power) for place in range(n_heads - power)]
    return [2 ** (-8 * (place + 1) / power) for place in range(power)] + rest


class _Embeddings(nn.Module):
    def __init__(self, config: JinaBertConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size, config.pad_token_id)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, ids: torch.Tensor, types: torch.Tensor | None) -> torch.Tensor:
        kinds = self.token_type_embeddings.weight[0] if types is None else self.token_type_embeddings(types)
        states: torch.Tensor = self.LayerNorm(self.word_embeddings(ids) + kinds)
        return states


class _SelfAttention(nn.Module):
    def __init__(self, config: JinaBertConfig) -> None:
        super().__init__()
        hidden = config.hidden_size
        self.shape = (-1, config.num_attention_heads, hidden // config.num_attention_heads)
        self.query, self.key, self.value = (nn.Linear(hidden, hidden) for _ in range(3))
        self.normalises = config.qk_post_norm
        if self.normalises:  # over the whole width, not a head's
            self.layer_norm_q, self.layer_norm_k = (nn.LayerNorm(hidden, eps=config.layer_norm_eps) for _ in range(2))

    def forward(self, states: torch.Tensor, alibi: Alibi) -> torch.Tensor:
        query, key, value = self.query(states), self.key(states), self.value(states)
        if self.normalises:
            query, key = self.layer_norm_q(query), self.layer_norm_k(key)
        return alibi(query.view(self.shape), key.view(self.shape), value.view(self.shape)).flatten(1)


class _Attention(nn.Module):
    def __init__(self, config: JinaBertConfig) -> None:
        super().__init__()
        self.self = _SelfAttention(config)
        self.output = Output(config.hidden_size, config.hidden_size, config.layer_norm_eps)

    def forward(self, states: torch.Tensor, alibi: Alibi) -> torch.Tensor:
        normed: torch.Tensor = self.output(self.self(states, alibi), states)
        return normed


class _FeedForward(nn.Module):
    """Of the first layout: the first half of the gated layer goes through the activation."""

    def __init__(self, config: JinaBertConfig) -> None:
        super().__init__()
        self.gated_layers = nn.Linear(config.hidden_size, 2 * config.intermediate_size, bias=False)
        self.activation = ACT2FN[_ACTIVATIONS[config.feed_forward_type]]
        self.wo = nn.Linear(config.intermediate_size, config.hidden_size)
        self.layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        gate, up = self.gated_layers(states).chunk(2, dim=-1)
        normed: torch.Tensor = self.layernorm(self.wo(self.activation(gate) * up) + states)
        return normed


class _PostNormFeedForward(nn.Module):
    """Of the second layout: the second half goes through the activation."""

    def __init__(self, config: JinaBertConfig) -> None:
        super().__init__()
        self.up_gated_layer = nn.Linear(config.hidden_size, 2 * config.intermediate_size, bias=False)
        self.activation = ACT2FN[_ACTIVATIONS[config.feed_forward_type]]
        self.down_layer = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        up, gate = self.up_gated_layer(states).chunk(2, dim=-1)
        result: torch.Tensor = self.down_layer(up * self.activation(gate))
        return result


class _Layer(nn.Module):
    def __init__(self, config: JinaBertConfig) -> None:
        super().__init__()
        self.attention = _Attention(config)
        self.mlp = _FeedForward(config)

    def forward(self, states: torch.Tensor, alibi: Alibi) -> torch.Tensor:
        result: torch.Tensor = self.mlp(self.attention(states, alibi))
        return result


class _PostNormLayer(nn.Module):
    def __init__(self, config: JinaBertConfig) -> None:
        super().__init__()
        self.attention = _Attention(config)
        self.layer_norm_1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = _PostNormFeedForward(config)
        self.layer_norm_2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, states: torch.Tensor, alibi: Alibi) -> torch.Tensor:
        attended = self.layer_norm_1(self.attention(states, alibi) + states)
        normed: torch.Tensor = self.layer_norm_2(self.mlp(attended) + attended)
        return normed


class _Encoder(nn.Module):
    def __init__(self, config: JinaBertConfig) -> None:
        super().__init__()
        kind = _PostNormLayer if config.qk_post_norm else _Layer
        self.layer = nn.ModuleList([kind(config) for _ in range(config.num_hidden_layers)])


class JinaBertModel(PreTrainedModel):  # type: ignore[no-untyped-call]
    """A JinaBERT without its pooler and its heads, which embeddings do not use."""

    config_class = JinaBertConfig
    base_model_prefix = "bert"
    _input_embed_layer = "word_embeddings"
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True

    def __init__(self, config: JinaBertConfig) -> None:
        """Make a model with random weights."""
        super().__init__(config)
        self.embeddings = _Embeddings(config)
        self.encoder = _Encoder(config)
        self.post_init()  # type: ignore[no-untyped-call]

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
        cu_seq_lens_q: torch.Tensor | None = None,
        **_: Any,
    ) -> BaseModelOutput:
        """Read sequences, padded on the right with a mask, or in one row with the bounds of each, ``cu_seq_lens_q``.

        Returns:
            ``last_hidden_state`` of shape ``(*input_ids.shape, hidden)``, zero where the mask is.
        """
        shape = input_ids.shape
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        kept = None if attention_mask is None or bool(attention_mask.all()) else attention_mask.bool()
        bounds = functional.pad(mask.sum(dim=1).cumsum(0), (1, 0)) if cu_seq_lens_q is None else cu_seq_lens_q
        ids, types = (
            None if one is None else one.flatten() if kept is None else one[kept] for one in (input_ids, token_type_ids)
        )
        slopes = torch.tensor(alibi_slopes(self.config.num_attention_heads), device=input_ids.device)
        alibi = Alibi(slopes, bounds, attention=self.config._attn_implementation)
        states = self.embeddings(ids, types)
        for layer in self.encoder.layer:
            states = layer(states, alibi)
        if kept is None:
            return BaseModelOutput(last_hidden_state=states.view(*shape, -1))
        padded = states.new_zeros(*shape, states.shape[-1])
        padded[kept] = states
        return BaseModelOutput(last_hidden_state=padded)
