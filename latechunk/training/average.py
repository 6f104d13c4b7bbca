"""The mean of adapters trained with other seeds: it holds what they agree on, and less of what each overfits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import pad

from latechunk.models.adapters import ADAPTER_WEIGHTS

_DOWN, _UP = "lora_A", "lora_B"


def average_adapters(folder: Path, others: Sequence[Path], names: Sequence[str]) -> None:
    """Replace each adapter in a folder by the mean of it and those in others, which have the same shape.

    What is averaged is what adapters add to the base's weights, ``up @ down`` of each layer: the factors themselves
    have no common basis. Of the mean the best approximation of the adapters' rank is kept.
    """
    for name in names:
        path = folder / name / ADAPTER_WEIGHTS
        found = [load_file(one / name / ADAPTER_WEIGHTS) for one in (folder, *others)]
        mean: dict[str, torch.Tensor] = {}
        for key in found[0]:
            if _DOWN in key:
                up_key = key.replace(_DOWN, _UP)
                up, down = average_factors([one[up_key] for one in found], [one[key] for one in found])
                mean |= {key: down.to(found[0][key].dtype), up_key: up.to(found[0][key].dtype)}
        mode = path.stat().st_mode
        save_file({key: value.contiguous() for key, value in mean.items()}, path, metadata={"format": "pt"})
        path.chmod(mode)


def average_factors(ups: Sequence[torch.Tensor], downs: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Factors of the mean of ``up @ down``, of the rank of one: those of its largest singular values.

    Args:
        ups: Shape ``(n_out, rank)`` each.
        downs: Shape ``(rank, n_in)`` each.

    Returns:
        Up and down, of these shapes, in float32, as long as each other.
    """
    rank = len(downs[0])
    out_basis, out_part = torch.linalg.qr(torch.cat([up.float() for up in ups], dim=1) / len(ups))
    in_basis, in_part = torch.linalg.qr(torch.cat([down.float() for down in downs]).T)
    left, sizes, right = torch.linalg.svd(out_part @ in_part.T, full_matrices=False)
    scale = sizes[:rank].sqrt()
    up, down = out_basis @ left[:, :rank] * scale, (in_basis @ right[:rank].T * scale).T
    missing = rank - len(scale)  # of a layer narrower than the rank
    return pad(up, (0, missing)), pad(down, (0, 0, 0, missing))
