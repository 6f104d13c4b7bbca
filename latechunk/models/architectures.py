"""Load architectures that are published as remote code only, which is never run: from a folder to its modules.

Each has a module of ours, on transformers' classes, and reads the weights under the names that they have.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open
from sentence_transformers.sentence_transformer.modules import Dense, LayerNorm, Normalize, Pooling, Transformer
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from latechunk.errors import ModelError
from latechunk.models.jina_bert import JinaBertConfig, JinaBertModel
from latechunk.models.pplx_qwen3 import PplxQwen3Config, PplxQwen3Model, TanhInt8

_JINA_CODE = ("jinaai/jina-bert-implementation", "jinaai/jina-bert-v2-qk-post-norm")
_MODULES = {kind.__name__: kind for kind in (Dense, LayerNorm, Normalize, Pooling)}


@dataclass(frozen=True, slots=True)
class Architecture:
    """A model of ours for the files of a folder.

    Attributes:
        config: As the folder has it.
        model: The class that reads its weights.
        is_mean_pooled: Whether its configuration says so, where no modules.json does.
        reads_chunks: Whether it was trained on chunks of a document with a separator between them.
    """

    config: PreTrainedConfig
    model: type[PreTrainedModel]
    is_mean_pooled: bool
    reads_chunks: bool = False


def find_architecture(folder: Path) -> Architecture | None:
    """Say which of our models a folder's configuration means; None if it is transformers' own to load."""
    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    kind = settings.pop("model_type", None)
    settings.pop("attn_implementation", None)  # "torch", in jina-embeddings-v2-base-code: a word of its own code
    if kind == "bert" and settings.get("position_embedding_type") == "alibi":
        _require_known_code(folder, settings)
        names = _weight_names(folder)
        settings["qk_post_norm"] = any(name.endswith("attention.self.layer_norm_q.weight") for name in names)
        return Architecture(JinaBertConfig(**settings), JinaBertModel, settings.get("emb_pooler") == "mean")
    if kind == PplxQwen3Config.model_type:
        code = (settings.get("auto_map") or {}).get("AutoModel", "")
        return Architecture(PplxQwen3Config(**settings), PplxQwen3Model, True, str(code).endswith("ContextualModel"))
    return None


def _require_known_code(folder: Path, settings: dict[str, Any]) -> None:
    """Raise for a JinaBERT that names the code of another repository: its layers may be put together otherwise."""
    repository, is_elsewhere, _ = str((settings.get("auto_map") or {}).get("AutoModel", "")).partition("--")
    if is_elsewhere and repository not in _JINA_CODE:
        raise ModelError(
            f"{folder / 'config.json'} names the code of {repository}, which is never run; latechunk brings what "
            f"{' and '.join(_JINA_CODE)} describe, and cannot tell whether this is the same"
        )


def _weight_names(folder: Path) -> set[str]:
    names: set[str] = set()
    for path in folder.glob("*.safetensors"):
        with safe_open(path, framework="pt") as weights:
            names.update(weights.keys())
    return names


def load_parts(folder: Path, architecture: Architecture, model_kwargs: dict[str, Any]) -> list[nn.Module]:
    """Load a folder as modules for sentence-transformers: those of its modules.json, or a mean where it has none.

    Raises:
        ModelError: If modules.json names code of its own that has no counterpart here.
    """
    local = {"local_files_only": True, "trust_remote_code": False}
    transformer = _OwnTransformer.load(
        str(folder), **local, model_kwargs=model_kwargs, processor_kwargs=local, config_kwargs={}
    )
    path = folder / "modules.json"
    if path.is_file():
        rest = [_load_module(folder, entry) for entry in json.loads(path.read_text(encoding="utf-8"))[1:]]
    else:
        finish = [TanhInt8()] if architecture.model is PplxQwen3Model else []
        rest = [Pooling(transformer.get_embedding_dimension(), pooling_mode="mean"), *finish]
    return [transformer, *rest]


def _load_module(folder: Path, entry: dict[str, Any]) -> nn.Module:
    package, _, name = entry["type"].rpartition(".")
    if (package, name) == ("st_quantize", "FlexibleQuantizer"):
        return TanhInt8()
    if package.split(".")[0] != "sentence_transformers" or name not in _MODULES:
        raise ModelError(f"{folder / 'modules.json'} wants {entry['type']!r}, which is code of its own; it is not run")
    module: nn.Module = _MODULES[name].load(str(folder), subfolder=entry["path"], local_files_only=True)
    return module


class _OwnTransformer(Transformer):
    """sentence-transformers' module around a model of ours; these two methods are where it would look for others."""

    def _load_config(self, model_name_or_path: str, *_: Any) -> tuple[PreTrainedConfig, bool]:
        return self._find(model_name_or_path).config, False

    def _load_model(
        self,
        model_name_or_path: str,
        transformer_task: object,  # noqa: ARG002  the base class's
        config: PreTrainedConfig,
        *_: Any,
        **model_kwargs: Any,
    ) -> Any:
        return self._find(model_name_or_path).model.from_pretrained(model_name_or_path, config=config, **model_kwargs)

    @staticmethod
    def _find(folder: str) -> Architecture:
        found = find_architecture(Path(folder))
        if found is None:
            raise ModelError(f"{folder} holds no model of an architecture that latechunk brings")
        return found
