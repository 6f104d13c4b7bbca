"""Check that a run can begin with the adapters in a folder, or be averaged with them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file

from latechunk.encoding.encoder import Encoder
from latechunk.errors import InputError, ModelError
from latechunk.models.adapter_manifest import AdapterManifest, read_adapter_manifest
from latechunk.models.adapters import ADAPTER_CONFIG, ADAPTER_WEIGHTS, require_adapter_files
from latechunk.models.checkpoint import read_config
from latechunk.training.lora import find_targets
from latechunk.training.settings import LoraSettings, TrainingSettings


def require_fitting(folder: Path, base: str, encoder: Encoder, settings: TrainingSettings, use: str) -> None:
    """Raise unless adapters are whole, and of this base and the run's shape; ``use`` says what they are for.

    Raises:
        ModelError: If they are missing, damaged, or were trained over other weights.
        InputError: If they have another shape, or there is none for what the run trains.
    """
    bundle = read_adapter_manifest(folder)
    require_same_base(folder, bundle, base, encoder)
    names, there = settings.adapter_names, bundle.task_set.adapters
    if not set(names) <= set(there):
        raise InputError(
            f"the run trains {' and '.join(names)}, and the adapters in {folder}, {use}, are "
            f"{' and '.join(there)}; give others, or --no-query-adapter where there is none for questions"
        )
    model, plan = encoder.parts
    n_fixed = plan.local_global.local_layers if plan.local_global else 0
    targets = find_targets(model.transformer.model, settings.lora, n_fixed)
    for name in names:
        _require_whole(folder, name, use)
        _require_same_shape(folder, name, settings.lora, targets, use)


def require_same_base(folder: Path, manifest: AdapterManifest, base: str, encoder: Encoder) -> None:
    """Raise ModelError unless the adapters in a folder were trained over the base that was loaded."""
    own = encoder.settings["weights_sha256"]
    if manifest.base_weights_sha256 != own:
        raise ModelError(
            f"the adapters in {folder} were trained over {manifest.base!r}, with weights of SHA-256 "
            f"{manifest.base_weights_sha256}, and {base!r} has {own}; give their base, or another folder"
        )


def _require_whole(folder: Path, name: str, use: str) -> None:
    require_adapter_files(str(folder), folder / name)
    path = folder / name / ADAPTER_WEIGHTS
    try:
        load_file(path)
    except (OSError, ValueError, SafetensorError) as error:
        raise ModelError(f"{path}, of the adapters {use}, is damaged: {error}; get it again") from error


def _require_same_shape(folder: Path, name: str, lora: LoraSettings, targets: Sequence[str], use: str) -> None:
    config = read_config(folder / name / ADAPTER_CONFIG)
    found = config if isinstance(config, dict) else {}
    wanted = {"r": lora.rank, "lora_alpha": lora.alpha, "target_modules": sorted(targets)}
    differing = [
        f"{key} is {_word(found.get(key))}, and the run's {_word(value)}"
        for key, value in wanted.items()
        if found.get(key) != value
    ]
    if differing:
        raise InputError(
            f"the adapter {name!r} in {folder}, {use}, has another shape: {'; '.join(differing)}; give the "
            f"--rank and --layers that it has, or other adapters"
        )


def _word(value: Any) -> str:
    return f"{len(value)} layers from {value[0]} to {value[-1]}" if isinstance(value, list) and value else f"{value}"
