"""What an encoder reads: tokens with their offsets, the windows they are read in, and what is pooled from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from latechunk.types.arrays import IntArray


@dataclass(frozen=True, slots=True)
class Tokens:
    """One text as a model reads it, without special tokens and without truncation.

    Attributes:
        prompt_ids: Ids of the prompt's tokens, which precede the content in every window.
        ids: Ids of the content tokens, shape ``(n_tokens,)``.
        offsets: Half-open character range of each content token in the text, both columns non-decreasing and
            no range empty, shape ``(n_tokens, 2)``. Tokens of one character share its range.
    """

    prompt_ids: tuple[int, ...]
    ids: IntArray
    offsets: IntArray

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class PoolingTask:
    """A tokenised text and the token ranges, half-open, shape ``(n_spans, 2)``, whose means are wanted."""

    tokens: Tokens
    ranges: IntArray

    @classmethod
    def whole(cls, tokens: Tokens) -> Self:
        """One span that holds all tokens of a text."""
        return cls(tokens, np.array([[0, len(tokens)]], dtype=np.int64))

    @property
    def is_whole(self) -> bool:
        """Whether it is one span that holds all tokens: a text that is read for itself, and has no context."""
        return np.array_equal(self.ranges, [[0, len(self.tokens)]])


@dataclass(frozen=True, slots=True)
class WindowPlan:
    """The windows of one text, in order.

    Attributes:
        starts: First token of each window, shape ``(n_windows,)``.
        ends: One past the last token of each window, shape ``(n_windows,)``.
        seams: Window ``i`` owns the tokens from ``seams[i]`` to ``seams[i + 1]``, shape ``(n_windows + 1,)``.
    """

    starts: IntArray
    ends: IntArray
    seams: IntArray

    def __len__(self) -> int:
        return len(self.starts)
