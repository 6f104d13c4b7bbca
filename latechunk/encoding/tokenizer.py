"""Token ids and character offsets that keep their promises, whatever tokenizer they come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from latechunk.errors import ModelError
from latechunk.models.loader import LoadedModel
from latechunk.types import Tokens


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


def tokenize(tokenizer: Any, prompt: str, texts: Sequence[str]) -> list[Tokens]:
    """Tokenise texts, each with the prompt before it, whose tokens are kept apart from the content's.

    Tokenizers give an empty range to what they add themselves, such as the mark of a word's start, and may give ranges
    out of order where a normaliser reorders combining marks. So ranges are widened until none is empty and both columns
    are non-decreasing. A widened range still holds all of the token's characters.
    """
    results = []
    encodings = tokenizer.encode_batch([prompt + text for text in texts], add_special_tokens=False)
    for text, encoding in zip(texts, encodings, strict=True):
        ids = encoding.ids
        places = np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2) - len(prompt)  # from the text's own start
        first = int(np.searchsorted(np.maximum.accumulate(places[:, 1]), 0, side="right")) if prompt else 0
        starts = np.minimum(np.clip(places[first:, 0], 0, None), len(text) - 1)
        ends = np.maximum(places[first:, 1], starts + 1)
        starts = np.minimum.accumulate(starts[::-1])[::-1]
        offsets = np.stack([starts, np.maximum.accumulate(ends)], axis=1)
        results.append(Tokens(tuple(ids[:first]), np.array(ids[first:], dtype=np.int64), offsets))
    return results
