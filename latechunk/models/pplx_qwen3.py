"""The architecture of pplx-embed-v1 and pplx-embed-context-v1: a Qwen3 whose tokens see each other in both directions.

transformers has all of it but the mask. The checkpoints are published with code of their own, which is never run.
"""

from __future__ import annotations

from typing import Any

import torch
from huggingface_hub.dataclasses import strict
from torch import nn
from transformers import Qwen3Config, Qwen3Model
from transformers.masking_utils import create_bidirectional_mask
from transformers.modeling_outputs import BaseModelOutputWithPast


@strict
class PplxQwen3Config(Qwen3Config):  # type: ignore[no-untyped-call]
    """The configuration of a Qwen3, under another name."""

    model_type = "bidirectional_pplx_qwen3"


class PplxQwen3Model(Qwen3Model):  # type: ignore[no-untyped-call]
    """A Qwen3 without causality."""

    config_class = PplxQwen3Config

    def __init__(self, config: PplxQwen3Config) -> None:
        """Make a model with random weights."""
        super().__init__(config)
        layers: Any = self.layers
        for layer in layers:
            layer.self_attn.is_causal = False

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, **options: Any
    ) -> BaseModelOutputWithPast:
        """Read sequences, padded on the right with a mask, or in one row as transformers packs them."""
        embedded = self.embed_tokens(input_ids)
        mask = create_bidirectional_mask(config=self.config, inputs_embeds=embedded, attention_mask=attention_mask)
        by_layer = {"full_attention": mask}
        result: BaseModelOutputWithPast = super().forward(inputs_embeds=embedded, attention_mask=by_layer, **options)
        return result


class TanhInt8(nn.Module):
    """What pplx-embed makes of a mean: ``round(127 * tanh(mean))``, here in floating point."""

    def forward(self, features: dict[str, Any]) -> dict[str, Any]:
        """Quantise ``sentence_embedding``; what is stored is its unit vector, which has the same cosines."""
        return {**features, "sentence_embedding": torch.round(127 * torch.tanh(features["sentence_embedding"]))}
