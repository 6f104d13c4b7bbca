"""Load a checkpoint as a mean-pooled model: no remote code, nothing half loaded."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer
from transformers import PreTrainedModel
from transformers.utils import logging as transformers_logging

from latechunk.errors import ModelError, PoolingError
from latechunk.models.adapters import load_adapters
from latechunk.models.architectures import Architecture, find_architecture, load_parts
from latechunk.models.checkpoint import Checkpoint
from latechunk.models.device import Attention, choose_attention
from latechunk.models.loaded import LoadedModel, PoolingChoice
from latechunk.models.packed import unpack

# What transformers, sentence-transformers and safetensors raise for files that are damaged, missing or malformed.
BROKEN_FILES = (
    OSError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ImportError,
    RuntimeError,
    ArithmeticError,
    AssertionError,
    SafetensorError,
    StrictDataclassError,
)

# One at a time: transformers and peft change what all threads share while they load.
LOADING = threading.RLock()
if hasattr(os, "register_at_fork"):  # nor does a child go on with what is changed halfway
    os.register_at_fork(before=LOADING.acquire, after_in_parent=LOADING.release, after_in_child=LOADING.release)

_UNUSED_WEIGHT = re.compile(r"(^|\.)pooler\.")  # of the transformer's own pooling, which a mean does not use


def load_modules(
    checkpoint: Checkpoint,
    *,
    pooling: PoolingChoice,
    device: torch.device,
    dtype: torch.dtype,
    attention: Attention,
    adapters: tuple[Path, Sequence[str]],
) -> LoadedModel:
    """Load a mean-pooled model, with ``adapters``: their folder and the names of its subfolders, which may be none.

    Raises:
        PoolingError: If the checkpoint does not say that it is mean-pooled and ``pooling`` does not override that.
        ModelError: If it is of another make, does not load, or loads only in part.
        MissingDependencyError: If its adapters need a package that is not installed.
    """
    chosen = choose_attention(attention, device, dtype)
    own_layout = checkpoint.packed is not None or _needs_own_layout(checkpoint)
    architecture = _find_architecture(checkpoint)
    says_pooling = own_layout or (architecture and architecture.is_mean_pooled)
    if pooling == "checkpoint" and not says_pooling and not (checkpoint.folder / "modules.json").is_file():
        raise PoolingError(
            f"{checkpoint.name!r} does not say how its token embeddings are pooled (it has no modules.json). Late "
            f'chunking needs a model trained with mean pooling; if this one was, pass pooling="mean"'
        )
    with LOADING:
        try:
            with watched_loading() as missing:
                try:
                    model = _build(checkpoint, own_layout, architecture, device, dtype, chosen)
                except ValueError:
                    if attention != "auto" or chosen == "auto":
                        raise
                    # of a kind without FlashAttention
                    model = _build(checkpoint, own_layout, architecture, device, dtype, "auto")
        except BROKEN_FILES as error:
            # Which weights these are transformers only logs.
            is_misshapen = "ignore_mismatched_sizes" in str(error)
            reason = "its weights have other shapes than its config.json says" if is_misshapen else error
            raise ModelError(f"{checkpoint.name!r} at {checkpoint.folder} does not load: {reason}") from error
        require_whole(checkpoint, missing)
        model.eval()
        transformer, pool = _check_modules(checkpoint.name, model, pooling)
        folder, names = adapters
        loaded = load_adapters(checkpoint.name, transformer.model, folder, names) if names else None
    finish = tuple(module.float() for module in tuple(model)[2:])
    _require_whole_dense(checkpoint, finish)
    config = transformer.config
    return LoadedModel(
        transformer=transformer,
        adapters=loaded,
        attention=getattr(config, "_attn_implementation", None) or "eager",
        prompt_counts=pool.include_prompt,
        finish=finish,
        tokenizer=model.tokenizer,
        prompts=model.prompts,
        max_length=transformer.max_seq_length,
        n_positions=_count_positions(transformer),
        hidden=pool.embedding_dimension,
        dims=model.get_embedding_dimension() or pool.pooling_output_dimension,
        matryoshka=_read_matryoshka(config),
        separator_id=_find_separator(model, config) if architecture and architecture.reads_chunks else None,
    )


def _needs_own_layout(checkpoint: Checkpoint) -> bool:
    """Whether the files of a model that is known to be mean-pooled cannot say so without code of their own."""
    if not (checkpoint.known and checkpoint.known.model_type):
        return False
    path = checkpoint.folder / "modules.json"
    try:
        modules = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else [{"type": ""}]
        return not all(str(module["type"]).startswith("sentence_transformers.") for module in modules)
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return False  # loading says better what is wrong with it


def _find_architecture(checkpoint: Checkpoint) -> Architecture | None:
    try:
        return None if checkpoint.packed else find_architecture(checkpoint.folder)
    except BROKEN_FILES as error:
        raise ModelError(f"{checkpoint.name!r} at {checkpoint.folder} does not load: {error}") from error


def _build(
    checkpoint: Checkpoint,
    own_layout: bool,
    architecture: Architecture | None,
    device: torch.device,
    dtype: torch.dtype,
    attention: Attention,
) -> SentenceTransformer:
    # The weights are loaded in the dtype, not converted to it: a conversion would round the buffers of rotary
    # positions too, by radians at the far end of a long text.
    model_kwargs: dict[str, Any] = {"use_safetensors": True, "dtype": dtype}
    if attention != "auto":
        model_kwargs["attn_implementation"] = attention
    if checkpoint.packed:
        return _build_packed(checkpoint.packed, device, dtype, model_kwargs)
    if architecture:
        parts = load_parts(checkpoint.folder, architecture, model_kwargs)
        return SentenceTransformer(modules=parts, device=str(device), prompts=_read_prompts(checkpoint.folder))
    folder = str(checkpoint.folder)
    if not own_layout:
        return SentenceTransformer(
            folder, device=str(device), local_files_only=True, trust_remote_code=False, model_kwargs=model_kwargs
        )
    return _pooled(_load_transformer(folder, model_kwargs), device)


def _build_packed(
    packed: Path, device: torch.device, dtype: torch.dtype, model_kwargs: dict[str, Any]
) -> SentenceTransformer:
    unpacked = unpack(packed)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        unpacked.write(Path(folder))
        transformer = _load_transformer(folder, model_kwargs)
    unpacked.put_into(transformer, dtype)
    return _pooled(transformer, device)


def _load_transformer(folder: str, model_kwargs: dict[str, Any]) -> Transformer:
    local = {"local_files_only": True, "trust_remote_code": False}
    both = {**local, **model_kwargs}
    transformer: Transformer = Transformer(folder, model_kwargs=both, processor_kwargs=local, config_kwargs=local)
    return transformer


def _pooled(transformer: Transformer, device: torch.device) -> SentenceTransformer:
    pool = Pooling(transformer.get_embedding_dimension(), pooling_mode="mean")
    return SentenceTransformer(modules=[transformer, pool, Normalize()], device=str(device))


def _read_prompts(folder: Path) -> dict[str, str]:
    path = folder / "config_sentence_transformers.json"
    settings = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return settings.get("prompts") or {}


def _find_separator(model: SentenceTransformer, config: Any) -> int:
    """The tokenizer's separator, which of a Qwen3 is the token that ends a text."""
    token = getattr(model.tokenizer, "sep_token_id", None)
    return int(config.eos_token_id if token is None else token)


def _count_positions(transformer: Transformer) -> int | None:
    n_positions: int | None = getattr(transformer.config, "max_position_embeddings", None)
    embeddings = getattr(getattr(transformer.model, "embeddings", None), "position_embeddings", None)
    padding = getattr(embeddings, "padding_idx", None)
    # RoBERTa and its kin count positions from one past the padding's index.
    return n_positions if n_positions is None or padding is None else n_positions - padding - 1


def _read_matryoshka(config: Any) -> tuple[int, ...]:
    sizes = getattr(config, "matryoshka_dimensions", None)
    return tuple(sorted(size for size in sizes if isinstance(size, int))) if isinstance(sizes, list) else ()


@contextlib.contextmanager
def watched_loading() -> Iterator[list[str]]:
    """Keep what transformers prints while it loads off the user's terminal; gives the weights it did not find.

    transformers fills in what the files lack with random values, and only logs a report of it. sentence-transformers
    calls ``from_pretrained`` for us and drops what it could say, so that is called here with ``output_loading_info``,
    which returns the names in place of a log that the user may have switched off.
    """
    missing: list[str] = []
    original: Any = vars(PreTrainedModel)["from_pretrained"]

    def from_pretrained(
        cls: type[PreTrainedModel], /, *args: Any, output_loading_info: bool = False, **options: Any
    ) -> Any:
        model, info = original.__func__(cls, *args, output_loading_info=True, **options)
        missing.extend(sorted(info["missing_keys"]))
        return (model, info) if output_loading_info else model

    logger = logging.getLogger("transformers")
    handlers, propagates = list(logger.handlers), logger.propagate
    showed_progress = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    logger.handlers, logger.propagate = [logging.NullHandler()], False
    PreTrainedModel.from_pretrained = classmethod(from_pretrained)  # type: ignore[method-assign,assignment]
    try:
        yield missing
    finally:
        PreTrainedModel.from_pretrained = original  # type: ignore[method-assign]
        logger.handlers, logger.propagate = handlers, propagates
        if showed_progress:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def require_whole(checkpoint: Checkpoint, missing: list[str]) -> None:
    """Raise if transformers filled in weights that the files lack."""
    needed = [key for key in missing if not _UNUSED_WEIGHT.search(key)]
    if needed:
        raise ModelError(
            f"{checkpoint.name!r} at {checkpoint.folder} is incomplete: its files lack {len(needed)} weights that its "
            f"configuration asks for, such as {needed[0]!r}; get its files again"
        )


def _require_whole_dense(checkpoint: Checkpoint, finish: tuple[torch.nn.Module, ...]) -> None:
    """Raise if a dense layer would do something else than its file says, as sentence-transformers lets it."""
    for path in checkpoint.folder.glob("*/config.json"):
        try:
            wanted = json.loads(path.read_text(encoding="utf-8")).get("activation_function", "torch.")
        except (OSError, ValueError, AttributeError, RecursionError):
            continue  # no file of a module that was loaded
        if not str(wanted).startswith("torch."):
            raise ModelError(f"{path} wants the activation {wanted!r}, which is code of its own; it is not run")
    for module in finish:
        output = getattr(module, "module_output_name", None)
        if isinstance(module, Dense) and output not in (None, "sentence_embedding"):
            raise ModelError(f"{checkpoint.name!r} has a dense layer whose output {output!r} nothing reads")


def _check_modules(name: str, model: SentenceTransformer, pooling: PoolingChoice) -> tuple[Transformer, Pooling]:
    modules = list(model)
    if len(modules) < 2 or not isinstance(modules[0], Transformer) or not isinstance(modules[1], Pooling):
        raise ModelError(
            f"{name!r} needs to be a Transformer followed by a Pooling; its modules are "
            f"{', '.join(type(module).__name__ for module in modules)}"
        )
    mode = modules[1].pooling_mode
    if pooling == "checkpoint" and mode != "mean":
        raise PoolingError(
            f"{name!r} pools by {mode!r}. Late chunking takes means of token embeddings, which only a model trained "
            f"with mean pooling makes sense of: others lose most of their quality in silence. Choose a mean-pooled "
            f'model, or pass pooling="mean" if you know that this one was trained so'
        )
    return modules[0], modules[1]
