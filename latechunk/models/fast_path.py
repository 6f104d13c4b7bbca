"""Load a model whose files are known without transformers, sentence-transformers and peft, for inference only."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from tokenizers import Tokenizer

from latechunk.models.adapters import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    FILE_PREFIX,
    MergedLayers,
    TaskAdapters,
    room_for_copies,
)
from latechunk.models.bert import Bert, BertConfig, BertTransformer, Normalize
from latechunk.models.checkpoint import Checkpoint
from latechunk.models.device import Attention
from latechunk.models.int8 import round_layers
from latechunk.models.loaded import LoadedModel
from latechunk.models.packed import unpack

# SHA-256 of weights, tokenizer and configuration of the models whose vectors tests compare with the ordinary loader's.
_SUPPORTED = {
    (
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        "66854eac0051205f3bc495b01f6e3db009bf68ae4357305b44d34019134e42f7",
        "a4b2ec74c8e09e69c660393623a790165b848a7072034bb11200568edc6660c4",
    )
}
_NO_VECTORS = ("embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias")
# Of adapter_config.json; whatever else is set there is not plain LoRA.
_PLAIN = frozenset(
    {
        "auto_mapping",
        "base_model_name_or_path",
        "inference_mode",
        "init_lora_weights",
        "lora_alpha",
        "lora_dropout",
        "megatron_core",
        "peft_type",
        "peft_version",
        "qalora_group_size",
        "r",
        "revision",
        "target_modules",
        "task_type",
    }
)


@dataclass(frozen=True, slots=True)
class _Tokenizer:
    """What an encoder needs of a tokenizer of transformers."""

    backend_tokenizer: Tokenizer
    pad_token_id: int


def load_fast(
    checkpoint: Checkpoint,
    *,
    device: torch.device,
    dtype: torch.dtype,
    attention: Attention,
    adapters: tuple[Path, Sequence[str]],
) -> LoadedModel | None:
    """Load what ``latechunk.models.loader.load_modules`` would, with the same vectors up to rounding; None if it must.

    It must for models that are not supported here, on other devices than the CPU, for other attention than SDPA, and
    where anything about the files is unexpected: its errors say what is wrong.
    """
    if not is_supported(checkpoint, device, attention):
        return None
    try:
        read = _read_packed if checkpoint.packed else _read_folder
        is_rounded = dtype == torch.int8
        read_in = torch.float32 if is_rounded else dtype
        return _load(*read(checkpoint.packed or checkpoint.folder, read_in), *adapters, is_rounded=is_rounded)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError, SafetensorError):
        return None


def is_supported(checkpoint: Checkpoint, device: torch.device, attention: Attention) -> bool:
    """Whether a model is loaded here, unless anything about its files or its adapters' is unexpected."""
    fingerprint = (checkpoint.weights_sha256, checkpoint.tokenizer_sha256, checkpoint.config_sha256)
    # Other copies may have prompts, which no fingerprint covers.
    is_packaged = checkpoint.known is not None and checkpoint.name == checkpoint.known.name
    is_known = checkpoint.packed is not None or fingerprint in _SUPPORTED
    return is_known and is_packaged and device.type == "cpu" and attention in ("auto", "sdpa")


def _read_folder(folder: Path, dtype: torch.dtype) -> tuple[Bert, Tokenizer, int]:
    """The model in a folder, its tokenizer, and how many tokens it says it reads at most."""
    model = Bert(_make_config(_read_json(folder / "config.json")), dtype)
    _give_weights(model, load_file(folder / "model.safetensors"))
    n_most = _read_json(folder / "sentence_bert_config.json")["max_seq_length"]
    return model, Tokenizer.from_file(str(folder / "tokenizer.json")), n_most


def _read_packed(path: Path, dtype: torch.dtype) -> tuple[Bert, Tokenizer, int]:
    """The same of weights of 4 bits."""
    unpacked = unpack(path)
    model = Bert(_make_config(unpacked.config), dtype)
    model.set_input_embeddings(unpacked.make_embedding(dtype))
    _give_weights(model, unpacked.weights)
    return model, unpacked.tokenizer, model.config.max_position_embeddings


def _make_config(written: Mapping[str, Any]) -> BertConfig:
    return BertConfig(**{field.name: written[field.name] for field in fields(BertConfig)})


def _give_weights(model: Bert, weights: Mapping[str, torch.Tensor]) -> None:
    # Copied, since tensors of a file that is mapped may not be aligned, and alignment can decide a last bit.
    kept = {name: value.to(model.dtype, copy=True) for name, value in weights.items() if name not in _NO_VECTORS}
    model.load_state_dict(kept, assign=True)
    model.eval().requires_grad_(requires_grad=False)


def _load(
    model: Bert, tokenizer: Tokenizer, n_most: int, adapter_folder: Path, names: Sequence[str], *, is_rounded: bool
) -> LoadedModel | None:
    config = model.config
    merged = _merge(model, adapter_folder, names) if names else None
    if names and merged is None:
        return None
    if is_rounded:
        merged = round_layers(model, merged)
    return LoadedModel(
        transformer=BertTransformer(model),
        adapters=TaskAdapters(names, merged) if merged else None,
        attention="sdpa",
        prompt_counts=True,
        finish=(Normalize(),),
        tokenizer=_Tokenizer(tokenizer, config.pad_token_id),
        prompts={},
        max_length=n_most,
        n_positions=config.max_position_embeddings,
        hidden=config.hidden_size,
        dims=config.hidden_size,
        matryoshka=(),
    )


def _merge(model: Bert, folder: Path, names: Sequence[str]) -> MergedLayers | None:
    """Merge adapters as ``latechunk.models.adapters`` does; None unless each is plain LoRA and there is room."""
    linear = {path: one for path, one in model.named_modules() if isinstance(one, torch.nn.Linear)}
    deltas = {}
    for name in names:
        config, file = _read_json(folder / name / ADAPTER_CONFIG), load_file(folder / name / ADAPTER_WEIGHTS)
        ends = tuple(f".{target}" for target in config["target_modules"])
        targets = [path for path in linear if f".{path}".endswith(ends)]
        if not _is_plain(config) or file.keys() != {key for path in targets for key in _keys(path)}:
            return None
        if not all(_has_rank(path, file, linear[path], config["r"]) for path in targets):
            return None
        scaling = config["lora_alpha"] / config["r"]
        deltas[name] = {path: _delta(path, file) * scaling for path in targets}
    changed = [path for path in linear if any(path in one for one in deltas.values())]
    layers = tuple(linear[path] for path in changed)
    if sum(linear[path].weight.nbytes for one in deltas.values() for path in one) > room_for_copies(model):
        return None
    weights: dict[str | None, tuple[torch.nn.Parameter, ...]] = {None: _sum(linear, changed, {})}
    weights.update((name, _sum(linear, changed, deltas[name])) for name in names)
    return MergedLayers(layers, weights)


def _sum(
    linear: Mapping[str, torch.nn.Linear], changed: Sequence[str], deltas: Mapping[str, torch.Tensor]
) -> tuple[torch.nn.Parameter, ...]:
    """The weights of all changed layers under an adapter, in their own dtype: their own and its delta in float32."""
    summed: list[torch.nn.Parameter] = []
    for path in changed:
        own: Any = linear[path].weight
        if path in deltas:
            own = torch.nn.Parameter((own.float() + deltas[path]).to(own.dtype), requires_grad=False)
        summed.append(own)
    return tuple(summed)


def _is_plain(config: Mapping[str, Any]) -> bool:
    others = [value for name, value in config.items() if name not in _PLAIN]
    return (
        config["peft_type"] == "LORA"
        and config["init_lora_weights"] in (True, False, "gaussian")
        and not any(value and value != "none" for value in others)
    )


def _keys(path: str) -> tuple[str, str]:
    return f"{FILE_PREFIX}{path}.lora_A.weight", f"{FILE_PREFIX}{path}.lora_B.weight"


def _has_rank(path: str, weights: Mapping[str, torch.Tensor], layer: torch.nn.Linear, rank: int) -> bool:
    thin, wide = (weights[key].shape for key in _keys(path))
    return thin == (rank, layer.in_features) and wide == (layer.out_features, rank)


def _delta(path: str, weights: Mapping[str, torch.Tensor]) -> torch.Tensor:
    thin, wide = (weights[key].to(torch.float32, copy=True) for key in _keys(path))
    return wide @ thin


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
