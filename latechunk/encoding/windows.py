"""What a forward pass reads: overlapping windows of a text, with special tokens and the prompt, padded to a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from latechunk.errors import InputError
from latechunk.models.catalogue import LocalGlobal, SpecialTokens
from latechunk.types import IntArray, Tokens, WindowPlan


def plan_windows(n_tokens: int, size: int, overlap: int) -> WindowPlan:
    """Cover ``n_tokens`` with the fewest windows of ``size`` that overlap by at least ``overlap``.

    The windows are spread evenly, which costs nothing over packing them to the left and gives every seam an equal
    share of the slack as further context. A token belongs to the window in which it stands most centrally: the one
    whose middle is nearest, the earlier one on a tie. All are content tokens; ``overlap`` is below ``size``.
    """
    if size < 1 or not 0 <= overlap < size:
        raise InputError(f"windows need size >= 1 and 0 <= overlap < size, got size {size} and overlap {overlap}")
    if n_tokens == 0:
        empty = np.zeros(0, dtype=np.int64)
        return WindowPlan(starts=empty, ends=empty, seams=np.zeros(1, dtype=np.int64))
    length = min(size, n_tokens)
    n_windows = 1 + max(0, -(-(n_tokens - size) // (size - overlap)))
    starts = np.arange(n_windows, dtype=np.int64) * (n_tokens - length) // max(1, n_windows - 1)
    ends = starts + length
    # Token t is nearest to the middle (start + end - 1) / 2; between two middles the seam lies at their mean.
    middles = starts + ends - 1
    inner = (middles[:-1] + middles[1:]) // 4 + 1
    return WindowPlan(starts=starts, ends=ends, seams=np.concatenate(([0], inner, [n_tokens])))


@dataclass(frozen=True, slots=True)
class TokenSequence:
    """What one pass reads: ``n_prefix`` special and prompt tokens, the content, ``n_suffix`` special tokens."""

    ids: IntArray
    n_prefix: int
    n_suffix: int

    @property
    def n_content(self) -> int:
        """Tokens of the text itself."""
        return len(self.ids) - self.n_prefix - self.n_suffix


@dataclass(frozen=True, slots=True)
class Plan:
    """How texts are read and what their vectors become; the fields are as in ``EncoderSettings``."""

    prefix_ids: tuple[int, ...]
    suffix_ids: tuple[int, ...]
    window_tokens: int
    overlap_tokens: int
    special_tokens: SpecialTokens
    local_global: LocalGlobal | None
    dims: int
    layer_norm: bool
    separator_id: int | None = None

    @property
    def plain_tokens(self) -> int:
        """The longest sequence that is read in one plain pass."""
        return self.local_global.local_tokens if self.local_global else self.window_tokens

    @property
    def n_special(self) -> int:
        """Special tokens of every window; the prompt comes on top."""
        return len(self.prefix_ids) + len(self.suffix_ids)

    def windows(self, tokens: Tokens) -> WindowPlan:
        """The windows in which a text is read."""
        size = self.window_tokens - self.n_special - len(tokens.prompt_ids)
        return plan_windows(len(tokens), size, self.overlap_tokens)

    def sequence(self, content: IntArray, prompt_ids: Sequence[int]) -> TokenSequence:
        """Put special tokens and the prompt around the content of one window."""
        parts = (self.prefix_ids, prompt_ids, content, self.suffix_ids)
        return TokenSequence(
            ids=np.concatenate([np.asarray(part, dtype=np.int64) for part in parts]),
            n_prefix=len(self.prefix_ids) + len(prompt_ids),
            n_suffix=len(self.suffix_ids),
        )


def pad(sequences: Sequence[IntArray], pad_id: int) -> tuple[IntArray, IntArray]:
    """Bring token ids to one length; with a mask that is 1 where a token is, shape ``(n_sequences, longest)`` each."""
    lengths = np.array([len(one) for one in sequences])
    mask = (np.arange(lengths.max()) < lengths[:, None]).astype(np.int64)
    ids = np.full(mask.shape, pad_id, dtype=np.int64)
    ids[mask == 1] = np.concatenate(sequences)
    return ids, mask
