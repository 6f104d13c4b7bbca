"""Put trainable LoRA adapters into a backbone, and read and write them as peft does."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model_state_dict, set_peft_model_state_dict
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors.torch import load_file, save_file

from latechunk.errors import InputError
from latechunk.models.adapters import ADAPTER_CONFIG, ADAPTER_WEIGHTS, FILE_PREFIX, put_layers
from latechunk.training.settings import LoraSettings


class TrainableAdapters:
    """Adapters of one backbone that are trained together, one at work at a time."""

    def __init__(self, backbone: torch.nn.Module, names: Sequence[str], settings: LoraSettings, n_fixed: int) -> None:
        """Put adapters into a backbone, which from then on is frozen but for them; the lowest ``n_fixed`` get none.

        Raises:
            InputError: If the settings name more layers than may be adapted, or no linear layer.
        """
        self.targets = find_targets(backbone, settings, n_fixed)
        self.names = tuple(names)
        self._backbone = backbone
        backbone.requires_grad_(requires_grad=False)
        for name in names:
            config = LoraConfig(
                r=settings.rank,
                lora_alpha=settings.alpha,  # type: ignore[arg-type]  # whole or not
                target_modules=list(self.targets),
                lora_dropout=0.0,
            )
            put_layers(backbone, config, name)
        self._layers = [module for module in backbone.modules() if isinstance(module, BaseTunerLayer)]
        for parameter_name, parameter in backbone.named_parameters():
            parameter.requires_grad = ".lora_" in parameter_name

    @contextmanager
    def at_work(self, name: str | None) -> Iterator[None]:
        """Compute under an adapter, or under none; leaves alone what is trained, unlike peft's own switch."""
        for layer in self._layers:
            vars(layer)["_active_adapter"] = [name] if name else []
        yield

    def parameters(self) -> list[torch.nn.Parameter]:
        """What is trained."""
        return [parameter for parameter in self._backbone.parameters() if parameter.requires_grad]

    @property
    def n_parameters(self) -> int:
        """Numbers that are trained."""
        return sum(parameter.numel() for parameter in self.parameters())

    def state(self, name: str) -> dict[str, torch.Tensor]:
        """The weights of one adapter, by their names in a file of peft's."""
        found = get_peft_model_state_dict(self._backbone, adapter_name=name)
        return {f"{FILE_PREFIX}{key}": value.detach().cpu().contiguous() for key, value in found.items()}

    def save(self, folder: Path, *, dtype: torch.dtype) -> None:
        """Write each adapter into a subfolder of its name, with its weights in ``dtype``.

        Raises:
            InputError: If a weight is not finite, or too large for ``dtype``.
        """
        for name in self.names:
            weights = {key: value.to(dtype) for key, value in self.state(name).items()}
            if not all(value.isfinite().all() for value in weights.values()):
                raise InputError(
                    f"training diverges: the adapter {name!r} has weights that are not finite in {dtype}; train in "
                    f"another folder with a smaller --learning-rate"
                )
            target = folder / name
            target.mkdir(parents=True, exist_ok=True)
            config: Any = self._backbone.peft_config[name]  # type: ignore[index]
            config.save_pretrained(str(target))
            save_file(weights, target / ADAPTER_WEIGHTS, metadata={"format": "pt"})
            # safetensors lets the owner alone read what it writes; adapters are shared as their settings are.
            (target / ADAPTER_WEIGHTS).chmod(stat.S_IMODE((target / ADAPTER_CONFIG).stat().st_mode))

    def load(self, folder: Path) -> None:
        """Read what ``save`` wrote, exactly if it was in float32."""
        for name in self.names:
            weights = load_file(folder / name / ADAPTER_WEIGHTS)
            own = {key.removeprefix(FILE_PREFIX): value.float() for key, value in weights.items()}
            set_peft_model_state_dict(self._backbone, own, adapter_name=name)


def find_targets(backbone: torch.nn.Module, settings: LoraSettings, n_fixed: int) -> list[str]:
    """Full names of the linear layers to adapt, from the top layers; InputError if there are none or too few."""
    prefix, layers = _find_layers(backbone)
    free = len(layers) - n_fixed
    n_layers = free if settings.n_layers is None else settings.n_layers
    if n_layers > free:
        raise InputError(f"n_layers must be at most the {free} layers that are not fixed, got {n_layers}")
    pattern = re.compile(settings.targets)
    names = [
        f"{prefix}.{number}.{name}"
        for number in range(len(layers) - n_layers, len(layers))
        for name, module in layers[number].named_modules()
        if isinstance(module, torch.nn.Linear) and pattern.fullmatch(name.rpartition(".")[2])
    ]
    if not names:
        raise InputError(f"no linear layer has a name of the form {settings.targets!r}; pass other targets")
    return names


def _find_layers(backbone: Any) -> tuple[str, torch.nn.ModuleList]:
    """The list of layers, as long as the configuration says, with its name."""
    wanted = backbone.config.num_hidden_layers
    for name, module in backbone.named_modules():
        if isinstance(module, torch.nn.ModuleList) and len(module) == wanted:
            return name, module
    raise InputError(f"{type(backbone).__name__} has no list of {wanted} layers to put adapters into")
