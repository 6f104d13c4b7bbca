"""The losses of texts compared as wholes: CoSENT for pairs and clusters, InfoNCE for classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch.nn import functional

from latechunk.training.loss import Features, encode, info_nce


class TextLoss(torch.nn.Module):
    """What brings texts together that belong together, at every length that vectors may be cut to.

    - pairs with scores: CoSENT over the pairs of a batch;
    - ``separation``: CoSENT over all pairs of texts of a batch, whose score is whether they have the same label, so
      that any two of a cluster end up nearer than any two of different clusters;
    - ``classification``: InfoNCE of each text with those of its label against all others of the batch, which asks
      only for an order around each text.

    (CoSENT: Su 2022; tasks and lengths as in jina-embeddings-v3, Sturua et al. 2024; lengths: Kusupati et al. 2022,
    Matryoshka; several positives as in Khosla et al. 2020, L_in.)
    """

    def __init__(self, model: torch.nn.Module, sizes: Sequence[int], temperature: float, *, centred: bool) -> None:
        """Set up for a model made by ``latechunk.training.model.build_model``, whose vectors have the largest size.

        The sizes count equally. ``centred`` says whether a layer norm comes before vectors are cut.
        """
        super().__init__()
        self.model = model
        self._sizes = tuple(sizes)
        self._temperature = temperature
        self._centred = centred

    def forward(self, features: Sequence[Features], labels: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Compute the loss of one batch, ``cosent`` or ``contrast``.

        ``labels`` has ``pairs`` with ``scores``; or ``clusters`` or ``classes``, a number for each text.
        """
        (texts,) = features
        vectors = encode(self.model, texts)
        losses = [self._of(cut(vectors, size, centred=self._centred), labels) for size in self._sizes]
        return {"contrast" if "classes" in labels else "cosent": torch.stack(losses).mean()}

    def _of(self, vectors: torch.Tensor, labels: Mapping[str, torch.Tensor]) -> torch.Tensor:
        if "pairs" in labels:
            one, other = vectors[labels["pairs"][:, 0]], vectors[labels["pairs"][:, 1]]
            return cosent((one * other).sum(dim=1) / self._temperature, labels["scores"])
        scores = vectors @ vectors.T / self._temperature
        numbers = labels["classes"] if "classes" in labels else labels["clusters"]
        same = numbers[:, None] == numbers
        others = ~torch.eye(len(numbers), dtype=torch.bool, device=same.device)
        if "classes" in labels:
            return info_nce(scores, same & others, others).mean()
        row, column = torch.triu_indices(len(numbers), len(numbers), offset=1, device=same.device)
        return cosent(scores[row, column], same[row, column].float())


def cosent(scores: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """``log(1 + sum of exp(s_j - s_i))`` over all pairs ``i``, ``j`` of which ``i`` is wanted to score higher.

    Both have the shape ``(n,)``; 0 where no two differ in what is wanted.

    Examples:
        >>> round(float(cosent(torch.tensor([1.0, 0.5]), torch.tensor([0.0, 3.0]))), 4)  # log(1 + exp(1.0 - 0.5))
        0.9741
    """
    excess = (scores[None, :] - scores[:, None]).masked_fill(wanted[:, None] <= wanted, -torch.inf)
    return torch.logsumexp(torch.cat([scores.new_zeros(1), excess.flatten()]), dim=0)


def cut(vectors: torch.Tensor, size: int, *, centred: bool) -> torch.Tensor:
    """The first numbers of unit vectors, as unit vectors; see ``Encoder.shorten``."""
    if size == vectors.shape[1]:
        return vectors
    if centred:
        vectors = vectors - vectors.mean(dim=1, keepdim=True)
    return functional.normalize(vectors[:, :size], dim=1)
