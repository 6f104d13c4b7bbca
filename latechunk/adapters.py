"""A backbone and its checkpoint's adapter folders in, one model that computes under any of its tasks out."""

from __future__ import annotations

import re
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from latechunk.errors import MissingDependencyError, ModelError

if TYPE_CHECKING:
    from peft import LoraConfig

_CONFIG, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_FILE_PREFIX = "base_model.model."  # before the name of every weight in a file that peft has written


class TaskAdapters:
    """The adapters of one backbone, of which one at a time is at work.

    Which one that is, is a state of the backbone. It is therefore held under a lock from the switch to the end of the
    forward pass: a thread never computes under another's task.
    """

    def __init__(self, model: torch.nn.Module, names: Sequence[str]) -> None:
        """Take over the adapters ``names`` of a model that :func:`load_adapters` has loaded."""
        from peft.tuners.tuners_utils import BaseTunerLayer

        self.names = tuple(names)
        self._layers = [module for module in model.modules() if isinstance(module, BaseTunerLayer)]
        self._lock = threading.Lock()
        self._active: str | None = None

    @contextmanager
    def at_work(self, name: str) -> Iterator[None]:
        """Compute under adapter ``name``; waits for other threads to finish theirs."""
        with self._lock:
            if name != self._active:
                # What peft's set_adapter does, less its walk over the gradients of every adapter, all of which are
                # off: of jina-embeddings-v3 that took 4.5 ms, a good part of a pass on a GPU.
                for layer in self._layers:
                    vars(layer)["_active_adapter"] = [name]
                self._active = name
            yield


def load_adapters(label: str, model: torch.nn.Module, folder: Path, names: Sequence[str]) -> TaskAdapters:
    """Load LoRA adapters from subfolders into a model, beside its own weights.

    Args:
        label: What the user calls the model, for errors.
        model: The backbone; gets the adapters' layers. They take its dtype and device.
        folder: Holds a subfolder for each adapter, as peft writes them.
        names: Of adapters and subfolders.

    Returns:
        The adapters, each of which was found to hold what its file holds.

    Raises:
        ModelError: If a file is missing or damaged, or does not fit the model.
        MissingDependencyError: If peft is not installed.
    """
    try:
        from peft import get_peft_model_state_dict, inject_adapter_in_model, set_peft_model_state_dict
    except ImportError as error:
        raise MissingDependencyError(
            f'the task adapters of {label!r} need the package peft; run: pip install "latechunk[adapters]"'
        ) from error
    like = next(model.parameters())
    for name in names:
        config, weights = _read_adapter(label, folder / name)
        weights = {key: value.to(dtype=like.dtype, device=like.device) for key, value in weights.items()}
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Already found a `peft_config` attribute")  # several are meant
                warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated")  # between two libraries
                inject_adapter_in_model(config, model, name)
            set_peft_model_state_dict(model, dict(weights), adapter_name=name)
        except (RuntimeError, ValueError, TypeError, LookupError, AttributeError, re.error) as error:
            raise ModelError(f"the adapter {name!r} of {label!r} does not fit its model: {error}") from error
        _require_same(label, name, weights, get_peft_model_state_dict(model, adapter_name=name))
    model.eval()
    model.requires_grad_(requires_grad=False)
    return TaskAdapters(model, names)


def _read_adapter(label: str, folder: Path) -> tuple[LoraConfig, dict[str, torch.Tensor]]:
    from peft import LoraConfig, PeftConfig

    missing = [name for name in (_CONFIG, _WEIGHTS) if not (folder / name).is_file()]
    if missing:
        raise ModelError(
            f"{label!r} needs {' and '.join(missing)} in {folder}, for the task adapter {folder.name!r}; "
            f"the download is incomplete, or this is another checkpoint"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what peft makes of settings that it does not know
            config: Any = PeftConfig.from_pretrained(str(folder))
        weights = load_file(folder / _WEIGHTS)
    except (OSError, ValueError, TypeError, LookupError, RecursionError, SafetensorError) as error:
        raise ModelError(f"the adapter at {folder} does not load: {error}") from error
    if not isinstance(config, LoraConfig):
        raise ModelError(f"the adapter at {folder} must be of the type LORA, got {config.peft_type}")
    _require_plain(folder, config)
    return replace(config, inference_mode=True), {
        key.removeprefix(_FILE_PREFIX): value for key, value in weights.items()
    }


def _require_plain(folder: Path, config: LoraConfig) -> None:
    """Raise for what changes more than the layers that are switched: the base's weights, or its modules."""
    if config.modules_to_save or config.layer_replication or config.init_lora_weights not in (True, False, "gaussian"):
        raise ModelError(
            f"the adapter at {folder} must be plain LoRA over an unchanged base; it has modules_to_save "
            f"{config.modules_to_save}, layer_replication {config.layer_replication}, init_lora_weights "
            f"{config.init_lora_weights!r}. Have peft convert or merge it first"
        )


def _require_same(label: str, name: str, file: dict[str, torch.Tensor], loaded: dict[str, torch.Tensor]) -> None:
    """Raise unless the model holds exactly what the file holds."""
    differing = sorted(file.keys() ^ loaded.keys()) or [
        key for key, value in file.items() if not torch.equal(value, loaded[key])
    ]
    if differing:
        raise ModelError(
            f"the adapter {name!r} of {label!r} did not load whole: its file and the model differ in "
            f"{len(differing)} weights, such as {differing[0]!r}; the file belongs to another model or is damaged"
        )
