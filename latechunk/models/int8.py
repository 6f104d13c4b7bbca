"""Linear layers in whole numbers of 8 bits, which many processors multiply several times as fast as floats.

A weight has a scale for each number that it gives, a token one for itself, taken from its largest number, so that the
others of its batch do not change it. Sums are exact, in 32 bits; all other parts of a model stay in float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from latechunk.models.adapters import MergedLayers

_MOST = 127
# By this twelfth of the work came two thirds of the error.
_TWICE = frozenset({"value"})
_ROWS = 512  # at once, so that what is between two steps stays in the caches


@dataclass(frozen=True, slots=True)
class Int8Weight:
    """A matrix, shape ``(n_out, n_in)``, as ``values.T * scales[:, None]``.

    Attributes:
        values: Shape ``(n_in, n_out)``, from -127 to 127.
        scales: Shape ``(n_out,)``.
    """

    values: torch.Tensor
    scales: torch.Tensor

    @classmethod
    def of(cls, weight: torch.Tensor) -> Int8Weight:
        """The nearest to a matrix."""
        values, scales = _round_rows(weight.detach())
        return cls(values.t(), scales[:, 0])


class Int8Linear(nn.Module):
    """What a linear layer computes, with tokens and weights rounded to 8 bits."""

    def __init__(self, weight: Int8Weight, bias: torch.Tensor, *, twice: bool = False) -> None:
        """Take a weight, which may be replaced, and the bias, shape ``(n_out,)``.

        Where a token is rounded twice, what is left of it the first time is rounded too: to 16 bits, as it were.
        """
        super().__init__()
        self.weight = weight
        self._twice = twice
        self.register_buffer("bias", bias.detach(), persistent=False)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Of float32 numbers, shape ``(..., n_in)``, others, shape ``(..., n_out)``."""
        bias: Any = self.bias
        rows = states.reshape(-1, states.shape[-1])
        given = states.new_empty(len(rows), len(self.weight.scales))
        for part, out in zip(torch.split(rows, _ROWS), torch.split(given, _ROWS), strict=True):
            values, scales = _round_rows(part)
            torch.addcmul(bias, torch._int_mm(values, self.weight.values) * self.weight.scales, scales, out=out)
            if self._twice:
                values, scales = _round_rows(part - values * scales)
                out.addcmul_(torch._int_mm(values, self.weight.values) * self.weight.scales, scales)
        return given.view(*states.shape[:-1], -1)


def _round_rows(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The rows of a matrix in 8 bits and what to multiply each by, shapes ``(n, m)`` and ``(n, 1)``."""
    scales = matrix.abs().amax(1, keepdim=True).div_(_MOST).clamp_(min=torch.finfo(torch.float32).tiny)
    return (matrix / scales).round_().to(torch.int8), scales


def round_layers(model: nn.Module, adapters: MergedLayers | None) -> MergedLayers | None:
    """Put an ``Int8Linear`` in the place of each linear layer of a model in float32, under every adapter."""
    rounded: dict[int, Int8Weight] = {}

    def round_once(weight: torch.Tensor) -> Int8Weight:
        """Of a weight that adapters share one."""
        if id(weight) not in rounded:
            rounded[id(weight)] = Int8Weight.of(weight)
        return rounded[id(weight)]

    layers: dict[int, Int8Linear] = {}
    for path, layer in list(model.named_modules()):
        if isinstance(layer, nn.Linear):
            parent, _, name = path.rpartition(".")
            layers[id(layer)] = Int8Linear(round_once(layer.weight), layer.bias, twice=name in _TWICE)
            setattr(model.get_submodule(parent), name, layers[id(layer)])
    if adapters is None:
        return None
    return MergedLayers(
        tuple(layers[id(layer)] for layer in adapters.layers),
        {name: tuple(map(round_once, own)) for name, own in adapters.weights.items()},
    )
