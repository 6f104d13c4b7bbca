"""One model that computes under any of several LoRA adapters, or under none.

An adapter changes a layer's weight W to W + B A, where A and B are thin. Computed as it stands, each pass multiplies by
A and B on top of W: two small products for every layer, which on short batches cost more than their arithmetic. So
adapters are merged where there is room for it: each gets a copy of the weights that it changes, with B A added in
float32 and rounded once, and a switch points the layers at its copies. A switch then assigns a few dozen attributes,
and a pass costs what it costs without adapters. The layers' own weights are kept and never written to, so that "no
adapter" is the published model to the bit; subtracting B A again would not give it back. Where the copies would take
more memory than the model itself and 512 MB (five adapters over all layers of jina-embeddings-v3 do), peft's layers
stay in the model and compute A and B on the side.
"""

from __future__ import annotations

import re
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from latechunk.errors import MissingDependencyError, ModelError
from latechunk.printing import how_to_install
from latechunk.threads import forget_in_child

if TYPE_CHECKING:
    from peft import LoraConfig
    from peft.tuners.tuners_utils import BaseTunerLayer

ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
Way: TypeAlias = Literal["merged", "switched"]

ROOM = 512 * 2**20  # bytes that merged copies may take in any case
FILE_PREFIX = "base_model.model."  # before the name of every weight in a file that peft has written


@dataclass(frozen=True, slots=True)
class MergedLayers:
    """Linear layers, of which each computes with its own weight or with one that an adapter is merged into.

    ``weights`` has a weight for each layer by adapter; under None the layers' own, which are never written to.
    """

    way: ClassVar[Way] = "merged"

    layers: tuple[torch.nn.Module, ...]
    weights: Mapping[str | None, tuple[Any, ...]]

    def put(self, name: str | None) -> None:
        """Point every layer at the weight that adapter ``name`` has for it; None for its own."""
        for layer, weight in zip(self.layers, self.weights[name], strict=True):
            layer.weight = weight


@dataclass(frozen=True, slots=True)
class SwitchedLayers:
    """Layers that peft has put around the model's own, each of which also computes its active adapter."""

    way: ClassVar[Way] = "switched"

    layers: tuple[BaseTunerLayer, ...]

    def put(self, name: str | None) -> None:
        """Put adapter ``name`` to work; None for the model's own layers alone."""
        # What peft's set_adapter does, less its walk over the gradients of every adapter, all of which are off: of
        # jina-embeddings-v3 that took 4.5 ms, a good part of a pass on a GPU.
        for layer in self.layers:
            vars(layer)["_disable_adapters"] = name is None
            if name is not None:
                vars(layer)["_active_adapter"] = [name]


class TaskAdapters:
    """The adapters of one backbone, of which one at a time is at work, or none.

    Which one that is, is a state of the backbone. It is therefore held under a lock from the switch to the end of the
    forward pass: a thread never computes under another's task.
    """

    def __init__(self, names: Sequence[str], layers: MergedLayers | SwitchedLayers) -> None:
        """Take over the adapters of a model; none is at work at first."""
        self.names = tuple(names)
        self.way = layers.way
        self._layers = layers
        forget_in_child(self)

    def forget(self) -> None:
        """Have none at work; in a process just forked a thread of its parent may have been at the switch."""
        self._lock = threading.Lock()
        self._active: str | None = None
        self._layers.put(None)

    @contextmanager
    def at_work(self, name: str | None) -> Iterator[None]:
        """Compute under adapter ``name``, or without any if it is None; waits for other threads to finish theirs."""
        with self._lock:
            if name != self._active:
                self._layers.put(name)
                self._active = name
            yield


def load_adapters(label: str, model: torch.nn.Module, folder: Path, names: Sequence[str]) -> TaskAdapters:
    """Load LoRA adapters from the subfolders ``names`` into a model, whose own weights stay as they are.

    Where adapters are merged, the model's modules stay its own; else they get the adapters' layers. Either takes the
    dtype and device of the model. ``label`` is what the user calls the model, for errors.

    Raises:
        ModelError: If a file is missing or damaged, or does not fit the model.
        MissingDependencyError: If peft is not installed.
    """
    try:
        from peft.tuners.tuners_utils import BaseTunerLayer
    except ImportError as error:
        raise MissingDependencyError(
            f"the task adapters of {label!r} need the package peft; {how_to_install('adapters')}. A model "
            f"with adapters that were trained over it loads without them with adapters=None"
        ) from error
    dtype = next(model.parameters()).dtype
    room = room_for_copies(model)
    for name in names:
        _load_adapter(label, model, folder / name)
    model.eval()
    model.requires_grad_(requires_grad=False)
    tuners = tuple(module for module in model.modules() if isinstance(module, BaseTunerLayer))
    if _is_mergeable(tuners, room):
        return TaskAdapters(names, _merge(model, tuners, names))
    _convert(tuners, dtype)
    return TaskAdapters(names, SwitchedLayers(tuners))


def room_for_copies(model: torch.nn.Module) -> int:
    """Bytes that merged copies of a model's weights may take: as many as the model, or 512 MB if that is more."""
    return max(ROOM, sum(weight.nbytes for weight in model.parameters()))


def require_adapter_files(label: str, folder: Path) -> None:
    """Raise a ModelError unless a folder has the files of an adapter."""
    missing = [name for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS) if not (folder / name).is_file()]
    if missing:
        raise ModelError(
            f"{label!r} needs {' and '.join(missing)} in {folder}, for the task adapter {folder.name!r}; "
            f"the download is incomplete, or this is another checkpoint"
        )


def _load_adapter(label: str, model: torch.nn.Module, folder: Path) -> None:
    """Put peft's layers into a model and the adapter's weights into them, in float32."""
    from peft import get_peft_model_state_dict, set_peft_model_state_dict
    from peft.tuners.tuners_utils import BaseTunerLayer

    name, device = folder.name, next(model.parameters()).device
    config, weights = _read_adapter(label, folder)
    weights = {key: value.to(dtype=torch.float32, device=device) for key, value in weights.items()}
    try:
        put_layers(model, config, name)
        _convert([module for module in model.modules() if isinstance(module, BaseTunerLayer)], torch.float32)
        set_peft_model_state_dict(model, dict(weights), adapter_name=name)
    except (RuntimeError, ValueError, TypeError, LookupError, AttributeError, re.error) as error:
        raise ModelError(f"the adapter {name!r} of {label!r} does not fit its model: {error}") from error
    _require_same(label, name, weights, get_peft_model_state_dict(model, adapter_name=name))


def put_layers(model: torch.nn.Module, config: LoraConfig, name: str) -> None:
    """Put peft's layers of an adapter into a model, which may have others."""
    from peft import inject_adapter_in_model

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Already found a `peft_config` attribute")  # several are meant
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated")  # between two libraries
        inject_adapter_in_model(config, model, name)


def _convert(tuners: Sequence[BaseTunerLayer], dtype: torch.dtype) -> None:
    """Bring the adapters' weights to a dtype; those of the model itself stay in theirs."""
    for tuner in tuners:
        for name in tuner.adapter_layer_names:
            part = getattr(tuner, name, None)
            if isinstance(part, torch.nn.Module):
                part.to(dtype)


def _is_mergeable(tuners: Sequence[BaseTunerLayer], room: int) -> bool:
    """Whether adapters are plain LoRA of linear layers, and all merged copies take no more than ``room`` bytes."""
    from peft.tuners import lora

    n_merged = 0
    for tuner in tuners:
        base = tuner.get_base_layer()
        if type(tuner) is not lora.Linear or type(base) is not torch.nn.Linear:
            return False
        if tuner.lora_variant or any(tuner.lora_bias.values()):
            return False
        n_merged += base.weight.nbytes * len(tuner.lora_A)
    return n_merged <= room


def _merge(model: torch.nn.Module, tuners: Sequence[Any], names: Sequence[str]) -> MergedLayers:
    """Merge each adapter into copies of the weights that it changes, and give the model its own modules back."""
    layers = tuple(tuner.get_base_layer() for tuner in tuners)
    weights: dict[str | None, tuple[torch.nn.Parameter, ...]] = {None: tuple(layer.weight for layer in layers)}
    for name in names:
        weights[name] = tuple(_merged_weight(tuner, name) for tuner in tuners)
    _take_out(model)
    return MergedLayers(layers, weights)


def _merged_weight(tuner: Any, name: str) -> torch.nn.Parameter:
    """A layer's weight under an adapter: summed in float32, in the dtype of its own; its own if it is not changed."""
    own: torch.nn.Parameter = tuner.get_base_layer().weight
    if name not in tuner.lora_A:
        return own
    merged = own.float() + tuner.get_delta_weight(name)
    return torch.nn.Parameter(merged.to(own.dtype), requires_grad=False)


def _take_out(model: torch.nn.Module) -> None:
    """Replace peft's layers by what they were put around."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for path, module in list(model.named_modules(remove_duplicate=False)):
        if isinstance(module, BaseTunerLayer):
            parent, _, name = path.rpartition(".")
            setattr(model.get_submodule(parent), name, module.get_base_layer())
    vars(model).pop("peft_config", None)


def _read_adapter(label: str, folder: Path) -> tuple[LoraConfig, dict[str, torch.Tensor]]:
    from peft import LoraConfig, PeftConfig

    require_adapter_files(label, folder)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what peft makes of settings that it does not know
            config: Any = PeftConfig.from_pretrained(str(folder))
        weights = load_file(folder / ADAPTER_WEIGHTS)
    except (OSError, ValueError, TypeError, LookupError, RecursionError, SafetensorError) as error:
        raise ModelError(f"the adapter at {folder} does not load: {error}") from error
    if not isinstance(config, LoraConfig):
        raise ModelError(f"the adapter at {folder} must be of the type LORA, got {config.peft_type}")
    _require_plain(folder, config)
    weights = {key.removeprefix(FILE_PREFIX): value for key, value in weights.items()}
    return replace(config, inference_mode=True), weights


def _require_plain(folder: Path, config: LoraConfig) -> None:
    """Raise for what changes more than the layers that are switched: the base's weights, or its modules."""
    is_plain = not config.modules_to_save and not config.layer_replication and config.bias == "none"
    if not is_plain or config.init_lora_weights not in (True, False, "gaussian"):
        raise ModelError(
            f"the adapter at {folder} must be plain LoRA over an unchanged base; it has modules_to_save "
            f"{config.modules_to_save}, layer_replication {config.layer_replication}, bias {config.bias!r}, "
            f"init_lora_weights {config.init_lora_weights!r}. Have peft convert or merge it first"
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
