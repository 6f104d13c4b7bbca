"""Token ids and character offsets that keep their promises, whatever tokenizer they come from."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np

from latechunk.errors import ModelError
from latechunk.models.loaded import LoadedModel
from latechunk.types import IntArray, Tokens

# A tokenizer takes 170 bytes for each character of what it reads at once, so long texts go through it in pieces.
_PIECE = 20_000
_MOST_TRIES = 20
_NEAR = 200  # characters on each side of a cut that are tokenised to see whether it changes anything
_WORD_START = re.compile(r"(?<=\S)(?=\s{1,8}[^\W_])")


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
    parts: list[list[tuple[IntArray, IntArray]]] = [[] for _ in texts]
    for group in _group(_pieces(tokenizer, texts)):
        pieces = [texts[number][start:end] for number, start, end in group]
        inputs = [piece if start else prompt + piece for (_, start, _), piece in zip(group, pieces, strict=True)]
        encodings = tokenizer.encode_batch(inputs, add_special_tokens=False)
        for (number, start, _), encoding in zip(group, encodings, strict=True):
            places = np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2)
            places += start or -len(prompt)  # from the text's own start
            parts[number].append((np.array(encoding.ids, dtype=np.int64), places))
    return [_join(text, bool(prompt), own) for text, own in zip(texts, parts, strict=True)]


def _join(text: str, has_prompt: bool, parts: Sequence[tuple[IntArray, IntArray]]) -> Tokens:
    ids, places = (np.concatenate(column) for column in zip(*parts, strict=True))
    first = int(np.searchsorted(np.maximum.accumulate(places[:, 1]), 0, side="right")) if has_prompt else 0
    starts, ends = places[first:, 0], places[first:, 1]
    np.clip(starts, 0, len(text) - 1, out=starts)
    np.maximum(ends, starts + 1, out=ends)
    starts[:] = np.minimum.accumulate(starts[::-1])[::-1]
    ends[:] = np.maximum.accumulate(ends)
    return Tokens(tuple(ids[:first].tolist()), ids[first:], places[first:])


def _group(pieces: Iterator[tuple[int, int, int]]) -> Iterator[list[tuple[int, int, int]]]:
    """What is tokenised at once: pieces of so many characters together."""
    group: list[tuple[int, int, int]] = []
    n_characters = 0
    for number, start, end in pieces:
        group.append((number, start, end))
        n_characters += end - start
        if n_characters >= 2 * _PIECE:
            yield group
            group, n_characters = [], 0
    if group:
        yield group


def _pieces(tokenizer: Any, texts: Sequence[str]) -> Iterator[tuple[int, int, int]]:
    """Cut long texts where that changes no token; gives the text's number, and each piece's start and end in it."""
    for number, text in enumerate(texts):
        start = 0
        while len(text) - start > 2 * _PIECE and (end := _find_cut(tokenizer, text, start + _PIECE)):
            yield number, start, end
            start = end
        yield number, start, len(text)


def _find_cut(tokenizer: Any, text: str, begin: int) -> int | None:
    """A place before white space and a word such that both sides alone give the tokens that they give together.

    Where a tokenizer puts a border between two tokens, what is right of it does not change what is left of it: those
    that take a text apart at white space read each word alone, merges that did not cross the border happen without the
    other side, too, and the likeliest segmentation of the whole is the likeliest of each side. So a look at the
    neighbourhood tells. Some tokenizers allow no cut, as those that mark the first word only; then there is none.
    """
    for match in islice(_WORD_START.finditer(text, begin), _MOST_TRIES):
        cut = match.start()
        left, right = text[max(0, cut - _NEAR) : cut], text[cut : cut + _NEAR]
        whole, *sides = tokenizer.encode_batch([left + right, left, right], add_special_tokens=False)
        moved = [(start + len(left), end + len(left)) for start, end in sides[1].offsets]
        if whole.ids == sides[0].ids + sides[1].ids and whole.offsets == sides[0].offsets + moved:
            return cut
    return None
