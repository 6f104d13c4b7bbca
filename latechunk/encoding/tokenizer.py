"""Token ids and character offsets that keep their promises, whatever tokenizer they come from."""

from __future__ import annotations

from typing import Any

import numpy as np

from latechunk.errors import ModelError
from latechunk.models.loader import LoadedModel
from latechunk.types import IntArray, Tokens


def prepare_tokenizer(name: str, model: LoadedModel) -> Any:
    """The Rust tokenizer of the model's tokenizer: it cuts nothing off, and a document cannot spell special tokens."""
    tokenizer = getattr(model.tokenizer, "backend_tokenizer", None)
    if tokenizer is None:
        raise ModelError(f"{name!r} has no fast tokenizer, and only those say where a token stands in the text")
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    return tokenizer


def special_ids(tokenizer: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The special tokens that the model's template puts before and after a text."""
    encoding = tokenizer.encode("a", add_special_tokens=True)
    content = [place for place, special in enumerate(encoding.special_tokens_mask) if not special]
    if not content:
        raise ModelError("the model's tokenizer finds no token in the letter a; it is damaged or made for another use")
    return tuple(encoding.ids[: content[0]]), tuple(encoding.ids[content[-1] + 1 :])


def split_prompt(ids: list[int], offsets: list[tuple[int, int]], n_prompt: int, n_characters: int) -> Tokens:
    """Part the prompt's tokens from the content's, and count the content's offsets from the text's own start."""
    all_ids = np.array(ids, dtype=np.int64)
    places = np.array(offsets, dtype=np.int64).reshape(-1, 2) - n_prompt
    first = int(np.searchsorted(np.maximum.accumulate(places[:, 1]), 0, side="right")) if n_prompt else 0
    return Tokens(prompt_ids=tuple(ids[:first]), ids=all_ids[first:], offsets=_ordered(places[first:], n_characters))


def _ordered(offsets: IntArray, n_characters: int) -> IntArray:
    """Widen ranges until none is empty and both columns are non-decreasing.

    Tokenizers give an empty range to what they add themselves, such as the mark of a word's start, and may give ranges
    out of order where a normaliser reorders combining marks. A widened range still holds all of the token's characters.
    """
    starts = np.minimum(np.clip(offsets[:, 0], 0, None), n_characters - 1)
    ends = np.maximum(offsets[:, 1], starts + 1)
    starts = np.minimum.accumulate(starts[::-1])[::-1]
    return np.stack([starts, np.maximum.accumulate(ends)], axis=1)
