"""What one forward pass reads: special tokens, the prompt and content, put together and padded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from latechunk.models.catalogue import LocalGlobal, SpecialTokens
from latechunk.types import IntArray


@dataclass(frozen=True, slots=True)
class TokenSequence:
    """What one pass reads: ``n_prefix`` special and prompt tokens, the content, ``n_suffix`` special tokens."""

    ids: IntArray
    n_prefix: int
    n_suffix: int

    def __len__(self) -> int:
        return len(self.ids)

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

    @property
    def plain_tokens(self) -> int:
        """The longest sequence that is read in one plain pass."""
        return self.local_global.local_tokens if self.local_global else self.window_tokens

    @property
    def n_special(self) -> int:
        """Special tokens of every window; the prompt comes on top."""
        return len(self.prefix_ids) + len(self.suffix_ids)

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
