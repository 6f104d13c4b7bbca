"""Make the batches of a run on texts: features for the model and labels for the loss."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from latechunk.encoding.encoder import Encoder
from latechunk.errors import InputError
from latechunk.training.loss import Features, encode
from latechunk.training.reading import Reading, move_to
from latechunk.training.tasks.data import ScoredPairs, TextData, TextTask
from latechunk.types import FloatArray, Tokens


class TextBatches:
    """Makes batch ``number`` of a run, always the same."""

    def __init__(
        self, encoder: Encoder, reading: Reading, data: TextData, task: TextTask, adapter: str, *, size: int, seed: int
    ) -> None:
        """Set up from what a run has; texts are read as queries, with the encoder's prompt for them.

        Raises:
            InputError: If a text holds no token, or more than the model reads at once.
        """
        self._reading = reading
        self._data = data
        self._task = task
        self._adapter = adapter
        self._size, self._seed = size, seed
        self._tokens = tokenize_texts(encoder, data.texts)

    def __call__(self, number: int) -> tuple[list[Features], dict[str, torch.Tensor]]:
        """What the loss takes of a batch: the features of its texts, each once, and labels."""
        rows = self._data.draw(number, self._size, self._seed)
        if isinstance(self._data, ScoredPairs):
            places, pairs = np.unique(self._data.pairs[rows], return_inverse=True)
            labels = {
                "pairs": torch.from_numpy(pairs.reshape(-1, 2)),
                "scores": torch.from_numpy(self._data.scores[rows]).float(),
            }
        else:
            places = rows
            name = "classes" if self._task == "classification" else "clusters"
            labels = {name: torch.from_numpy(self._data.labels[rows])}
        texts = [self._tokens[place] for place in places.tolist()]
        return [{**self._reading.whole(texts, ""), "adapter": self._adapter}], labels


def tokenize_texts(encoder: Encoder, texts: Sequence[str]) -> list[Tokens]:
    """Tokenise texts as queries; InputError for one that holds no token, or more than the model reads at once."""
    model, plan = encoder.parts
    tokenised = encoder.tokenize_queries(texts)
    for text, tokens in zip(texts, tokenised, strict=True):
        room = plan.window_tokens if model.n_positions is None else model.n_positions
        most = room - plan.n_special - len(tokens.prompt_ids)
        if not 0 < len(tokens) <= most:
            raise InputError(
                f"a text must hold 1 to {most} tokens, which this model reads at once, and one has {len(tokens)}: "
                f"{text:.80}...; shorten it or leave it out"
            )
    return tokenised


def encode_tokenised(
    model: torch.nn.Module, reading: Reading, tokenised: Sequence[Tokens], adapter: str | None, size: int
) -> FloatArray:
    """Unit vectors of texts under an adapter or none, shape ``(n, dims)``; the shortest are read together and so on."""
    order = np.argsort([len(tokens) for tokens in tokenised], kind="stable")
    parts, device = [], next(model.parameters()).device
    with torch.no_grad():
        for first in range(0, len(order), size):
            texts = [tokenised[place] for place in order[first : first + size].tolist()]
            features = {**reading.whole(texts, ""), "adapter": adapter}
            parts.append(encode(model, move_to(features, device)).cpu())
    vectors = torch.cat(parts)[np.argsort(order)]
    return vectors.numpy().astype(np.float64)
