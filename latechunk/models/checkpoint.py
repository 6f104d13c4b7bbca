"""Find the files of a model by its name, and take their fingerprints. No pickled weights."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latechunk.errors import ModelError
from latechunk.models.catalogue import LIGHT_MODEL, KnownModel, find_known_model, recognise, spell, suggest
from latechunk.printing import how_to_install

# Settings that decide no vector: labels, versions, and what is chosen at load.
_UNDECISIVE = (
    "_name_or_path",
    "architectures",
    "auto_map",
    "auto_mapping",
    "base_model_name_or_path",
    "dtype",
    "inference_mode",
    "peft_version",
    "revision",
    "torch_dtype",
    "transformers_version",
)
_DOWNLOADED = ["*.json", "*.txt", "*.model", "*.safetensors", "*/config.json", "*/*.safetensors"]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model's files on this machine.

    Attributes:
        revision: Commit of the hub's repository, None for a package or a folder.
        known: What latechunk knows of the model, None for others.
        weights_sha256: Over all weight files; of one ``model.safetensors``, that file's own.
        tokenizer_sha256: Over what the tokenizer is made of, independent of JSON formatting.
        config_sha256: Over the settings of the model, its modules and its adapters, likewise.
        packed: The one file that holds all of it in 4 bits, where there is such; each fingerprint is then its SHA-256.
    """

    name: str
    revision: str | None
    folder: Path
    known: KnownModel | None
    weights_sha256: str
    tokenizer_sha256: str
    config_sha256: str
    packed: Path | None = None


def find_checkpoint(name: str, *, revision: str | None, download: bool, hint: str | None = None) -> Checkpoint:
    """Find a model's files, by a known name, a folder or a repository of the model hub, and take their fingerprint.

    ``revision`` is a branch, tag or commit of a repository, ``hint`` what else may be meant by a name that nobody
    knows, None for the encoders that are known. ModelError if the model cannot be found, is incomplete, or is not what
    its name says.
    """
    known = find_known_model(name)
    folder, commit = _locate(name, known, revision, download, hint)
    is_packaged = known is not None and _is_packaged(name, known, revision)
    if known and (is_packaged or commit):
        name = known.name if is_packaged else spell(name)
    if known and known.packed:
        return _packed_checkpoint(known, folder / known.packed)
    weights = _list_files(folder, "*.safetensors")
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
        known=known or recognise(_read_model_type(folder)),
        weights_sha256=_hash_files(folder, weights),
        tokenizer_sha256=_hash_tokenizer(folder, name),
        config_sha256=_hash_configs(folder),
    )
    if known and is_packaged:
        _require_published(known, folder, checkpoint.weights_sha256)
    return checkpoint


def _packed_checkpoint(known: KnownModel, path: Path) -> Checkpoint:
    if not path.is_file():
        raise ModelError(f"the weights of {known.name!r} are not at {path}; reinstall the package {known.package}")
    sha256 = _hash_files(path.parent, [path])
    _require_published(known, path, sha256)
    return Checkpoint(known.name, None, path.parent, known, sha256, sha256, sha256, path)


def _require_published(known: KnownModel, path: Path, sha256: str) -> None:
    if sha256 != known.weights_sha256:
        raise ModelError(
            f"the weights of {known.name!r} at {path} are not the published ones: SHA-256 {known.weights_sha256} was "
            f"needed, {sha256} came; reinstall the package {known.package}"
        )


def _locate(
    name: str, known: KnownModel | None, revision: str | None, download: bool, hint: str | None
) -> tuple[Path, str | None]:
    local = _packaged_folder(known) if known and _is_packaged(name, known, revision) else _existing_folder(name)
    if local and revision:
        raise ModelError(f"{name!r} is on this machine and has no revisions; revision is for a hub's repository")
    if local:
        return local, None
    return _fetch((known.repository if known else None) or name, name, known, revision, download, hint)


def _fetch(
    repository: str, name: str, known: KnownModel | None, revision: str | None, download: bool, hint: str | None
) -> tuple[Path, str | None]:
    """Find a repository of the hub in the cache, or download it."""
    from huggingface_hub import snapshot_download  # takes half a second to import
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

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
        meant = "" if known else f"; {hint or suggest(name)}"
        raise ModelError(f"the model {name!r} is not on this machine; {remedy}{meant}") from error
    except (HfHubHTTPError, OSError) as error:
        raise ModelError(f"the model {name!r} could not be fetched from the hub: {error}") from error
    return folder, folder.name


def _is_packaged(name: str, known: KnownModel, revision: str | None) -> bool:
    """Whether the package is meant: by the model's own name, or by a repository of it that was not downloaded."""
    if known.package is None:
        return False
    if name.casefold() == known.name.casefold() or known.repository is None:
        return True
    from huggingface_hub import try_to_load_from_cache

    is_here = isinstance(try_to_load_from_cache(known.repository, "config.json"), str)
    return revision is None and not is_here and importlib.util.find_spec(known.package) is not None


def _existing_folder(name: str) -> Path | None:
    try:
        folder = Path(name).expanduser()
        return folder.resolve() if name and folder.is_dir() else None
    except (OSError, ValueError, RuntimeError):  # too long, a NUL, an unknown user
        return None


def _packaged_folder(known: KnownModel) -> Path:
    spec = importlib.util.find_spec(known.package or "")
    if spec is None or spec.origin is None:
        other = (
            f"name its repository, {known.repository!r}, to download it"
            if known.repository
            else f"where no wheel of it fits, load {LIGHT_MODEL!r} (extra minilm), which reads English alone"
        )
        raise ModelError(
            f"the model {known.name!r} comes with the package {known.package}, which is not installed; "
            f"{how_to_install(known.extra or '')}, or {other}"
        )
    folder = Path(spec.origin).parent
    return folder if known.packed else folder / "model"


def _read_model_type(folder: Path) -> str | None:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None  # loading says better what is wrong with it
    return config.get("model_type") if isinstance(config, dict) else None


def _list_files(folder: Path, pattern: str) -> list[Path]:
    """Files in a folder and in its subfolders, linked ones too."""
    found = {*folder.glob(pattern), *folder.glob(f"*/{pattern}")}
    others = ("onnx", "openvino")
    return sorted(path for path in found if path.relative_to(folder).parts[0] not in others and not path.is_dir())


def _hash_configs(folder: Path) -> str:
    """Over what decides how the weights are used."""
    contents = {}
    for path in _list_files(folder, "*.json"):
        if path.name in ("config.json", "modules.json", "adapter_config.json", "sentence_bert_config.json"):
            contents[path.relative_to(folder).as_posix()] = read_config(path)
    return hashlib.sha256(json.dumps(contents, sort_keys=True).encode()).hexdigest()


def read_config(path: Path) -> Any:
    """Read what decides vectors in a file of settings; labels and versions are left out."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} cannot be read as JSON: {error}") from error
    if isinstance(content, dict):
        content = {name: value for name, value in content.items() if name not in _UNDECISIVE}
        if isinstance(modules := content.get("target_modules"), list):  # a set, which peft writes in any order
            content["target_modules"] = sorted(map(str, modules))
    return content


def _hash_files(folder: Path, paths: list[Path]) -> str:
    hashes = []
    for path in paths:
        if not path.is_file():
            raise ModelError(f"{path} is a link to nothing: the model's files are incomplete; get them again")
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
        items = json.loads(path.read_text(encoding="utf-8")).items()
        content = {key: value for key, value in items if key not in ("truncation", "padding")}
    except (ValueError, AttributeError, RecursionError) as error:
        raise ModelError(f"{path} is not the JSON of a tokenizer: {error}") from error
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
