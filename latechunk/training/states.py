"""Keep what frozen layers give of the batches of a run on disk, where the run goes through the same batches again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

States: TypeAlias = tuple[torch.Tensor, torch.Tensor | None]
"""States of the lower layers, and the bias that hides the padding, if there is some."""
Keep: TypeAlias = Callable[[str, Callable[[], States]], States]
"""Gives what is kept under a name, or computes it and keeps it."""


def compute_states(name: str, compute: Callable[[], States]) -> States:  # noqa: ARG001  as one that keeps
    """Keep nothing."""
    return compute()


class KeptStates:
    """A file for each batch, in float16: cosines of vectors made from it with others are 0.99999 and more."""

    def __init__(self, folder: Path) -> None:
        """Keep files in a folder, which is made if it is not there."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder

    @contextmanager
    def of(self, batch: int) -> Iterator[Keep]:
        """Within this, states of a batch are read by their names; what was not there is written at the end."""
        path = self._folder / f"{batch}.safetensors"
        kept = _read(path)
        new: dict[str, torch.Tensor] = {}

        def keep(name: str, compute: Callable[[], States]) -> States:
            if name in kept:
                return kept[name].float(), kept[f"{name}.bias"].float() if f"{name}.bias" in kept else None
            states, bias = compute()
            new[name] = states.half().cpu().contiguous()
            if bias is not None:
                new[f"{name}.bias"] = bias.half().cpu().contiguous()
            return states.half().float(), bias

        yield keep
        if new:
            unfinished = path.with_suffix(".new")
            save_file(new, unfinished)
            unfinished.replace(path)


def _read(path: Path) -> dict[str, torch.Tensor]:
    """What a file holds; nothing if it is not there or damaged."""
    try:
        return load_file(path)
    except (FileNotFoundError, SafetensorError):
        return {}


def batch_of(step: int, n_batches: int, in_a_row: int, seed: int) -> int:
    """Which of the different batches a step takes.

    Every batch comes once in ``n_batches`` steps; those that were drawn in a row stay together, in an order that is
    another one each time.

    Examples:
        >>> [batch_of(step, 5, 2, seed=0) for step in range(10)]
        [4, 0, 1, 2, 3, 4, 0, 1, 2, 3]
    """
    epoch, place = divmod(step, n_batches)
    size = max(1, in_a_row)
    starts = np.arange(0, n_batches, size)
    np.random.default_rng((seed, epoch)).shuffle(starts)
    return [batch for start in starts.tolist() for batch in range(start, min(n_batches, start + size))][place]
