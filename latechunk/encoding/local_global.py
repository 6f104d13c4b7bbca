"""Read long sequences with an encoder of short texts, so that every token embedding has the whole document as context.

The lower layers read overlapping windows of the length that the model was trained on, each with positions of its own;
the upper layers then run once over the whole sequence. There a token attends to the special tokens and to its near
ones as they are, with a penalty that grows with distance, and to everything farther away through means of a few tokens
each, so that the cost of a token hardly grows with the length. No weights change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from latechunk.encoding.windows import TokenSequence, pad, plan_windows
from latechunk.errors import ModelError
from latechunk.models.attention import attend
from latechunk.models.catalogue import LocalGlobal
from latechunk.types import IntArray, WindowPlan

_LAYOUTS = ("bert", "roberta", "xlm-roberta")
_HIDDEN = -1e4  # an attention score that no softmax sees, finite in half precision
# A CPU computes an upper layer for so many tokens at once: what 8,192 tokens see takes 100 MB, and so do their states
# within the feed-forward part.
_CPU_TOKENS = 2_048


class LocalGlobalPass:
    """The forward pass of a BERT-like model, local layers first, global layers last."""

    def __init__(self, model: Any, settings: LocalGlobal, *, pad_id: int) -> None:
        """Wrap a BERT, RoBERTa or XLM-RoBERTa of transformers, whose own layers are run.

        Raises:
            ModelError: If the model is of another layout or has fewer layers than are to be local.
        """
        kind, n_layers = model.config.model_type, model.config.num_hidden_layers
        if kind not in _LAYOUTS:
            raise ModelError(
                f"local-global context fits models of the types {', '.join(_LAYOUTS)}, and this is {kind!r}"
            )
        if not 0 <= settings.local_layers <= n_layers:
            raise ModelError(f"local_layers must be from 0 to the model's {n_layers}, got {settings.local_layers}")
        self._model = model
        self._settings = settings
        self._pad_id = pad_id

    @torch.inference_mode()
    def __call__(self, sequences: Sequence[TokenSequence], width: int, batch_tokens: int) -> torch.Tensor:
        """Run the model over sequences that all end in as many special tokens.

        Returns:
            Token embeddings in the model's dtype, zero after each sequence's end, shape
            ``(len(sequences), width, hidden)``.
        """
        layout = self.lay_out(sequences)
        states = self.upper(self.lower(sequences, layout, batch_tokens), layout)
        return to_rows(states, layout, sequences, width)

    def lay_out(self, sequences: Sequence[TokenSequence]) -> Layout:
        """How sequences lie in memory together."""
        return Layout.of(sequences, self._settings.block_tokens, self._model.device)

    def upper(self, states: torch.Tensor, layout: Layout) -> torch.Tensor:
        """Run the upper layers over whole sequences, shape ``(n_sequences, layout.n_rows, hidden)``; differentiable."""
        attention = _BlockAttention(layout, self._settings, states.dtype)
        for layer in self._model.encoder.layer[self._settings.local_layers :]:
            attended = layer.attention.output(attention(layer.attention.self, states), states)
            parts = attended.split(_CPU_TOKENS if attended.device.type == "cpu" else attended.shape[1], dim=1)
            states = torch.cat([layer.feed_forward_chunk(part) for part in parts], dim=1)
        return states

    def lower(self, sequences: Sequence[TokenSequence], layout: Layout, batch_tokens: int) -> torch.Tensor:
        """Run the lower layers on windows and keep each token's state from the window that owns it.

        Returns:
            Zero where no token is, in the model's dtype, shape ``(n_sequences, layout.n_rows, hidden)``.
        """
        model = self._model
        states = torch.zeros(
            (len(sequences), layout.n_rows, model.config.hidden_size), dtype=model.dtype, device=model.device
        )
        plans = [self._plan_windows(one) for one in sequences]
        windows = [(number, place) for number, plan in enumerate(plans) for place in range(len(plan))]
        size = max(1, batch_tokens // self._settings.local_tokens)
        for begin in range(0, len(windows), size):
            batch = windows[begin : begin + size]
            cut = [_window_ids(sequences[number], plans[number], place) for number, place in batch]
            hidden, _ = self.lower_alone(cut)
            for row, (number, place) in enumerate(batch):
                _keep_owned(states[number], hidden[row], sequences[number], layout, plans[number], place)
        return states

    def _plan_windows(self, sequence: TokenSequence) -> WindowPlan:
        size = self._settings.local_tokens - sequence.n_prefix - sequence.n_suffix
        return plan_windows(sequence.n_content, size, self._settings.local_overlap)

    def lower_alone(self, sequences: Sequence[IntArray]) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Run the lower layers on short texts, each read in one pass.

        Returns:
            States, shape ``(len(sequences), width, hidden)``, and the additive bias that hides the padding from
            attention, if there is some; ``upper_alone`` goes on with both.
        """
        ids, mask = (torch.from_numpy(one).to(self._model.device) for one in pad(sequences, self._pad_id))
        hidden: torch.Tensor = self._model.embeddings(input_ids=ids)
        bias = None if bool(mask.all()) else (1 - mask)[:, None, None, :].to(hidden.dtype) * _HIDDEN
        for layer in self._model.encoder.layer[: self._settings.local_layers]:
            hidden = layer(hidden, attention_mask=bias)
        return hidden, bias

    def upper_alone(self, states: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        """Run the upper layers on what ``lower_alone`` gave: together they are the model's own pass; differentiable."""
        for layer in self._model.encoder.layer[self._settings.local_layers :]:
            states = layer(states, attention_mask=bias)
        return states


@dataclass(frozen=True, slots=True)
class Layout:
    """How a batch lies in memory: special tokens first, then the content in whole blocks.

    Attributes:
        lengths: Content tokens of each sequence, shape ``(n_sequences,)``.
        special_visible: Which of the special rows are filled, shape ``(n_sequences, n_prefix + n_suffix)``.
    """

    n_prefix: int
    n_suffix: int
    n_blocks: int
    block: int
    lengths: torch.Tensor
    special_visible: torch.Tensor

    @classmethod
    def of(cls, sequences: Sequence[TokenSequence], block: int, device: torch.device) -> Layout:
        """Lay sequences out, of which all end in as many special tokens."""
        n_prefix, n_suffix = max(one.n_prefix for one in sequences), sequences[0].n_suffix
        n_content = [one.n_content for one in sequences]
        filled = [[row < one.n_prefix for row in range(n_prefix)] + [True] * n_suffix for one in sequences]
        return cls(
            n_prefix=n_prefix,
            n_suffix=n_suffix,
            n_blocks=-(-max(n_content) // block),
            block=block,
            lengths=torch.tensor(n_content, device=device),
            special_visible=torch.tensor(filled, device=device),
        )

    @property
    def n_special(self) -> int:
        """Rows before the content."""
        return self.n_prefix + self.n_suffix

    @property
    def n_rows(self) -> int:
        """Rows of a sequence in all."""
        return self.n_special + self.n_blocks * self.block


class _BlockAttention:
    """Self-attention in blocks: special tokens, own block and its two neighbours as they are, the rest as means.

    Full attention over n tokens takes n * n scores, 67 million a head at 8,192 tokens. Here the content is cut into
    blocks of b tokens, and the tokens of one block share what they attend to: the special tokens, one mean key and
    value for every m tokens of the whole content, and the 3 * b tokens of their own block and its neighbours. That is
    n * (n / m + 3 * b) scores, with b = 128 and m = 64 a sixteenth. What a block sees is gathered into a tensor of its
    own (``_seen``) and not masked out of everything, so that time and memory do shrink. A block is then an entry of
    the batch, which is why shapes begin with ``n * blocks``, and one call of ``attend`` computes all blocks
    of a group: on a CPU those of so many tokens, elsewhere all.

    A mean stands for several tokens, so its score gets the logarithm of their number added: in the softmax it then
    weighs as much as that many tokens with its key. Means of the three near blocks are hidden, since their tokens are
    there already. All of this is one additive bias, the same in every layer and for every head, and is computed once a
    pass. Special tokens are few, and attend to every token as usual.
    """

    def __init__(self, layout: Layout, settings: LocalGlobal, dtype: torch.dtype) -> None:
        self._layout = layout
        self._n_means = layout.block // settings.mean_tokens * layout.n_blocks
        self._mean_tokens = settings.mean_tokens
        self._counts = self._count_means(settings)
        self._bias = self._content_bias(settings, dtype)
        hidden = torch.cat([~layout.special_visible, ~self._content_visible()], dim=1)
        self._special_bias = (hidden[:, None, None, :] * _HIDDEN).to(dtype)
        on_cpu, n = layout.lengths.device.type == "cpu", len(layout.lengths)
        size = max(1, _CPU_TOKENS // (n * layout.block)) if on_cpu else layout.n_blocks
        self._groups = [(first, min(first + size, layout.n_blocks)) for first in range(0, layout.n_blocks, size)]

    def __call__(self, attention: Any, states: torch.Tensor) -> torch.Tensor:
        """Attend with a layer's own projections; ``states`` and the result have shape ``(n, rows, hidden)``."""
        n, rows, _ = states.shape
        heads, size = attention.num_attention_heads, attention.attention_head_size
        query, key, value = (
            project(states).view(n, rows, heads, size).transpose(1, 2)
            for project in (attention.query, attention.key, attention.value)
        )
        special = functional.scaled_dot_product_attention(
            query[:, :, : self._layout.n_special], key, value, attn_mask=self._special_bias
        )
        far_key, far_value = self._far(key), self._far(value)
        near_key, near_value = self._padded(key), self._padded(value)
        content = []
        for first, last in self._groups:
            attended = attend(
                self._blocks(query, first, last),
                self._seen(far_key, near_key, first, last),
                self._seen(far_value, near_value, first, last),
                self._bias[:, first:last].flatten(0, 1).unsqueeze(1),
            )
            content.append(attended.view(n, last - first, heads, -1, size).transpose(1, 2).flatten(2, 3))
        return torch.cat([special, *content], dim=2).transpose(1, 2).reshape(n, rows, heads * size)

    def _blocks(self, rows: torch.Tensor, first: int, last: int) -> torch.Tensor:
        """Blocks ``first`` to ``last`` of ``(n, heads, rows, size)``: ``(n * blocks, heads, block, size)``."""
        (n, heads, _, size), n_special, block = rows.shape, self._layout.n_special, self._layout.block
        content = rows[:, :, n_special + first * block : n_special + last * block]
        return content.reshape(n, heads, last - first, block, size).transpose(1, 2).flatten(0, 1)

    def _far(self, rows: torch.Tensor) -> torch.Tensor:
        """Special rows and the means of the content, which all blocks see: ``(n, heads, special + means, size)``."""
        (n, heads, _, size), n_special = rows.shape, self._layout.n_special
        grouped = rows[:, :, n_special:].reshape(n, heads, self._n_means, self._mean_tokens, size)
        visible = self._content_visible().view(n, 1, self._n_means, self._mean_tokens, 1)
        means = (grouped * visible).sum(dim=3, dtype=torch.float32) / self._counts.clamp(min=1)[:, None, :, None]
        return torch.cat([rows[:, :, :n_special], means.to(rows.dtype)], dim=2)

    def _padded(self, rows: torch.Tensor) -> torch.Tensor:
        """The content with a block of zeros before and after it."""
        block = self._layout.block
        return functional.pad(rows[:, :, self._layout.n_special :], (0, 0, block, block))

    def _seen(self, far: torch.Tensor, padded: torch.Tensor, first: int, last: int) -> torch.Tensor:
        """What each block attends to, in the order of the bias: ``(n * blocks, heads, seen, size)``."""
        block = self._layout.block
        near = padded[:, :, first * block : (last + 2) * block].unfold(2, 3 * block, block).permute(0, 2, 1, 4, 3)
        return torch.cat([far[:, None].expand(-1, last - first, -1, -1, -1), near], dim=3).flatten(0, 1)

    def _content_visible(self) -> torch.Tensor:
        places = torch.arange(self._layout.n_blocks * self._layout.block, device=self._layout.lengths.device)
        return places < self._layout.lengths[:, None]

    def _count_means(self, settings: LocalGlobal) -> torch.Tensor:
        """Tokens in each mean, shape ``(n, n_means)``."""
        starts = torch.arange(self._n_means, device=self._layout.lengths.device) * settings.mean_tokens
        return (self._layout.lengths[:, None] - starts).clamp(0, settings.mean_tokens)

    def _content_bias(self, settings: LocalGlobal, dtype: torch.dtype) -> torch.Tensor:
        """Additive bias of special tokens, means and near tokens, shape ``(n, blocks, block, seen)``."""
        layout = self._layout
        n, block, n_blocks = len(layout.lengths), layout.block, layout.n_blocks
        own = torch.arange(n_blocks, device=layout.lengths.device)[:, None]
        sizes = [layout.n_special, self._n_means, 3 * block]
        bias = torch.empty((n, n_blocks, block, sum(sizes)), dtype=dtype, device=layout.lengths.device)
        special, far, near = torch.split(bias, sizes, dim=3)
        special.copy_(torch.where(layout.special_visible, 0.0, _HIDDEN)[:, None, None, :].expand_as(special))
        far.copy_(self._far_bias(settings, own)[:, :, None, :].expand_as(far))

        inside = torch.arange(block, device=own.device)[:, None]
        offset = torch.arange(-block, 2 * block, device=own.device)
        distance = (inside - offset).abs().float()
        decay = -settings.penalty * torch.sigmoid((distance - settings.distance) / settings.width)
        place = own * block + offset
        exists = (place >= 0) & (place < layout.lengths[:, None, None])
        near.copy_(torch.where(exists[:, :, None, :], decay.to(dtype), torch.tensor(_HIDDEN, dtype=dtype)))
        return bias

    def _far_bias(self, settings: LocalGlobal, own: torch.Tensor) -> torch.Tensor:
        """Bias of the means as each block sees them, shape ``(n, blocks, n_means)``."""
        of_mean = torch.arange(self._n_means, device=own.device) // (settings.block_tokens // settings.mean_tokens)
        is_near = (of_mean - own).abs() <= 1
        # The weight that far tokens draw together grows with their number; the logarithm keeps it where it is.
        penalty = settings.penalty + (self._layout.lengths / settings.reference_tokens).clamp(min=1).log()
        weight = self._counts.clamp(min=1).log() - penalty[:, None]
        return torch.where(is_near | (self._counts == 0)[:, None, :], _HIDDEN, weight[:, None, :])


def _window_ids(sequence: TokenSequence, plan: WindowPlan, place: int) -> IntArray:
    """One window's ids, with the sequence's own prefix and suffix."""
    prefix, content, suffix = np.split(sequence.ids, [sequence.n_prefix, len(sequence.ids) - sequence.n_suffix])
    return np.concatenate([prefix, content[plan.starts[place] : plan.ends[place]], suffix])


def _keep_owned(
    states: torch.Tensor,
    hidden: torch.Tensor,
    sequence: TokenSequence,
    layout: Layout,
    plan: WindowPlan,
    place: int,
) -> None:
    """Copy what a window owns: its tokens, and of the first and the last window the special tokens."""
    first, last = int(plan.seams[place]), int(plan.seams[place + 1])
    shift = sequence.n_prefix - int(plan.starts[place])
    states[layout.n_special + first : layout.n_special + last] = hidden[first + shift : last + shift]
    if place == 0:
        states[: sequence.n_prefix] = hidden[: sequence.n_prefix]
    if place == len(plan) - 1:
        end = shift + int(plan.ends[place])
        states[layout.n_prefix : layout.n_special] = hidden[end : end + sequence.n_suffix]


def to_rows(states: torch.Tensor, layout: Layout, sequences: Sequence[TokenSequence], width: int) -> torch.Tensor:
    """Put special tokens back around the content, shape ``(n_sequences, width, hidden)``; differentiable."""
    rows = torch.zeros((len(sequences), width, states.shape[2]), dtype=states.dtype, device=states.device)
    for number, one in enumerate(sequences):
        end = one.n_prefix + one.n_content
        rows[number, : one.n_prefix] = states[number, : one.n_prefix]
        rows[number, one.n_prefix : end] = states[number, layout.n_special : layout.n_special + one.n_content]
        rows[number, end : end + one.n_suffix] = states[number, layout.n_prefix : layout.n_special]
    return rows
