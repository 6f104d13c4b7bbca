"""A model's name in, its folder, identity and loaded modules out. No remote code, no pickled weights."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from safetensors import SafetensorError
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from transformers.utils import logging as transformers_logging

from latechunk.errors import ModelError, PoolingError
from latechunk.models import KnownModel, find_known_model

PoolingChoice: TypeAlias = Literal["checkpoint", "mean"]

_DOWNLOADED = ["*.json", "*.txt", "*.model", "*.safetensors", "*/config.json", "*/*.safetensors"]


# What transformers and its kin raise over files that are damaged, missing or not of the expected form.
_BROKEN_FILES = (
    OSError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ImportError,
    RuntimeError,
    SafetensorError,
)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model's files on this machine.

    Attributes:
        name: What the user asked for.
        revision: Commit of the hub's repository, None for a package or a folder.
        folder: Where the files are.
        known: What latechunk knows of the model, None for others.
        weights_sha256: Over all weight files; of one ``model.safetensors``, that file's own.
        tokenizer_sha256: Over what the tokenizer is made of, independent of JSON formatting.
    """

    name: str
    revision: str | None
    folder: Path
    known: KnownModel | None
    weights_sha256: str
    tokenizer_sha256: str


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A mean-pooled model in memory.

    Attributes:
        transformer: Gives token embeddings; in the dtype asked for.
        pooling: What late chunking does in another way.
        finish: The modules behind the pooling, such as Dense and Normalize; in float32.
        tokenizer: The model's own, as transformers has it.
        prompts: By name, as the checkpoint has them.
        max_length: Tokens that the checkpoint says it reads at most, None if it does not say.
        n_positions: The longest sequence that its architecture takes, None if it does not say.
        hidden: Length of a token embedding.
        dims: Length of a vector behind all modules.
    """

    transformer: Transformer
    pooling: Pooling
    finish: tuple[torch.nn.Module, ...]
    tokenizer: Any
    prompts: Mapping[str, str | None]
    max_length: int | None
    n_positions: int | None
    hidden: int
    dims: int


def find_checkpoint(name: str, *, revision: str | None, download: bool) -> Checkpoint:
    """Find a model's files and take their fingerprint.

    Args:
        name: A known model's name, a folder (absolute, or relative with a path separator or existing), or the name of
            a repository on the model hub.
        revision: Branch, tag or commit; only for a repository.
        download: Whether the hub may be asked for what is not on this machine.

    Raises:
        ModelError: If the model cannot be found, is incomplete, or is not what its name says.
    """
    known = find_known_model(name)
    folder, commit = _locate(name, known, revision, download)
    weights = sorted(path for path in folder.rglob("*.safetensors") if _is_native(path.relative_to(folder)))
    if not (folder / "config.json").is_file() or not weights:
        raise ModelError(
            f"{name!r} at {folder} needs a config.json and weights in model.safetensors; it has "
            f"{', '.join(sorted(path.name for path in folder.iterdir())[:20]) or 'no files'}. Pickled weights "
            f"(pytorch_model.bin) are not read: convert them with transformers' save_pretrained"
        )
    checkpoint = Checkpoint(
        name=name,
        revision=commit,
        folder=folder,
        known=known,
        weights_sha256=_hash_files(folder, weights),
        tokenizer_sha256=_hash_tokenizer(folder, name),
    )
    if known and known.package and name == known.name and checkpoint.weights_sha256 != known.weights_sha256:
        raise ModelError(
            f"the weights of {name!r} at {folder} are not the published ones: SHA-256 {known.weights_sha256} was "
            f"needed, {checkpoint.weights_sha256} came; reinstall the package {known.package}"
        )
    return checkpoint


def load_modules(
    checkpoint: Checkpoint, *, pooling: PoolingChoice, device: torch.device, dtype: torch.dtype
) -> LoadedModel:
    """Load a mean-pooled model.

    Raises:
        PoolingError: If the checkpoint does not say that it is mean-pooled and ``pooling`` does not override that.
        ModelError: If it is of another make or does not load.
    """
    if pooling == "checkpoint" and not (checkpoint.folder / "modules.json").is_file():
        raise PoolingError(
            f"{checkpoint.name!r} does not say how its token embeddings are pooled (it has no modules.json). Late "
            f'chunking needs a model trained with mean pooling; if this one was, pass pooling="mean"'
        )
    try:
        with _without_progress_bar():
            model = SentenceTransformer(
                str(checkpoint.folder),
                device=str(device),
                local_files_only=True,
                trust_remote_code=False,
                model_kwargs={"use_safetensors": True, "dtype": torch.float32},
            )
    except _BROKEN_FILES as error:
        raise ModelError(f"{checkpoint.name!r} at {checkpoint.folder} does not load: {error}") from error
    model.eval()
    transformer, pool = _check_modules(checkpoint.name, model, pooling)
    transformer.to(dtype)
    return LoadedModel(
        transformer=transformer,
        pooling=pool,
        finish=tuple(model)[2:],
        tokenizer=model.tokenizer,
        prompts=model.prompts,
        max_length=transformer.max_seq_length,
        n_positions=_count_positions(transformer),
        hidden=pool.embedding_dimension,
        dims=model.get_embedding_dimension() or pool.pooling_output_dimension,
    )


def _count_positions(transformer: Transformer) -> int | None:
    n_positions: int | None = getattr(transformer.config, "max_position_embeddings", None)
    embeddings = getattr(getattr(transformer.model, "embeddings", None), "position_embeddings", None)
    padding = getattr(embeddings, "padding_idx", None)
    # RoBERTa and its kin count positions from behind the padding's index.
    return n_positions if n_positions is None or padding is None else n_positions - padding - 1


def _locate(name: str, known: KnownModel | None, revision: str | None, download: bool) -> tuple[Path, str | None]:
    local = _packaged_folder(known) if known and known.package and name == known.name else _existing_folder(name)
    if local and revision:
        raise ModelError(f"{name!r} is on this machine and has no revisions; revision is for a hub's repository")
    if local:
        return local, None
    repository = known.repository if known else name
    try:
        folder = Path(
            snapshot_download(repository, revision=revision, allow_patterns=_DOWNLOADED, local_files_only=not download)
        )
    except HFValidationError as error:
        raise ModelError(
            f"{name!r} is neither a known model, nor a folder, nor a name that a hub's repository can have: {error}"
        ) from error
    except LocalEntryNotFoundError as error:
        remedy = (
            "the hub could not be reached or has no such model; check the name and the network, or name a folder"
            if download
            else f"nothing is downloaded unless named: load it once with Encoder.load({name!r}), or name a folder"
        )
        raise ModelError(f"the model {name!r} is not on this machine; {remedy}") from error
    except (HfHubHTTPError, OSError) as error:
        raise ModelError(f"the model {name!r} could not be fetched from the hub: {error}") from error
    return folder, folder.name


def _existing_folder(name: str) -> Path | None:
    try:
        folder = Path(name).expanduser()
        return folder.resolve() if name and folder.is_dir() else None
    except (OSError, ValueError, RuntimeError):  # too long, a NUL, an unknown user
        return None


def _packaged_folder(known: KnownModel) -> Path:
    spec = importlib.util.find_spec(known.package or "")
    if spec is None or spec.origin is None:
        raise ModelError(
            f"the model {known.name!r} comes with the package {known.package}, which is not installed; run: "
            f'pip install "latechunk[{known.extra}]", or name its repository, {known.repository!r}, to download it'
        )
    return Path(spec.origin).parent / "model"


def _is_native(path: Path) -> bool:
    return path.parts[0] not in ("onnx", "openvino")


def _hash_files(folder: Path, paths: list[Path]) -> str:
    hashes = []
    for path in paths:
        with path.open("rb") as file:
            hashes.append((path.relative_to(folder).as_posix(), hashlib.file_digest(file, "sha256").hexdigest()))
    if len(hashes) == 1:
        return hashes[0][1]
    return hashlib.sha256(json.dumps(hashes).encode()).hexdigest()


def _hash_tokenizer(folder: Path, name: str) -> str:
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise ModelError(
            f"{name!r} at {folder} needs a tokenizer.json, which gives the place of every token in the text; write "
            f"one with transformers: AutoTokenizer.from_pretrained({str(folder)!r}).save_pretrained({str(folder)!r})"
        )
    try:
        content = {
            key: value
            for key, value in json.loads(path.read_text(encoding="utf-8")).items()
            if key not in ("truncation", "padding")
        }
    except (ValueError, AttributeError) as error:
        raise ModelError(f"{path} is not the JSON of a tokenizer: {error}") from error
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@contextlib.contextmanager
def _without_progress_bar() -> Iterator[None]:
    """Keep transformers' progress bar for loading weights off the user's terminal."""
    enabled = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if enabled:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]


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
