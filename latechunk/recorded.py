"""What made an index: checked and taken down when it is made, compared and rebuilt when it is opened."""

from __future__ import annotations

import contextlib
import json
import platform
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

from latechunk.chunkers import chunker_from_settings
from latechunk.embed import Embedding
from latechunk.errors import IndexDamagedError, IndexFormatError, IndexMismatchError, InputError
from latechunk.models import Mode, find_known_model
from latechunk.store import Store
from latechunk.types import Chunker, Settings

T = TypeVar("T")

_LABELS = ("model", "revision")  # of an encoder's settings: they name it, and decide no vector
_ADDED = ("config_sha256", "document_task", "layer_norm", "query_task")  # which older indexes do not record
_RECORDED_PACKAGES = ("latechunk", "torch", "transformers", "sentence-transformers", "tokenizers", "sentencex")


def read_settings(store: Store) -> dict[str, dict[str, Any]]:
    """What a store records, complete.

    Raises:
        IndexDamagedError: If a part is missing.
    """
    settings = store.settings()
    missing = {"encoder", "chunker", "embedding", "made"} - settings.keys()
    if missing or not isinstance(settings["encoder"].get("dims"), int):
        raise IndexDamagedError(f"the index does not record what made it; missing: {', '.join(missing) or 'dims'}")
    return settings


def package_versions() -> dict[str, str]:
    """Versions of what takes part in making vectors."""
    versions = {"python": platform.python_version()}
    for name in _RECORDED_PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


def require_settings(what: str, settings: Settings) -> Settings:
    """Let only settings pass that JSON gives back as they are."""
    try:
        same = json.loads(json.dumps(settings, allow_nan=False)) == settings
        json.dumps(settings, ensure_ascii=False).encode("utf-8")
    except (TypeError, ValueError) as error:
        raise InputError(f"the settings of the {what} must be a mapping that JSON can hold: {error}") from error
    if not same or not isinstance(settings, dict):
        raise InputError(
            f"the settings of the {what} must be a dict that JSON gives back as it is, got {settings!r:.200}"
        )
    dims = settings.get("dims")
    if what == "encoder" and (not isinstance(dims, int) or isinstance(dims, bool) or dims < 1):
        raise InputError(f"the settings of the encoder must have dims, a whole number of at least 1, got {dims!r}")
    return settings


def require_own_kind(chunker: Chunker) -> None:
    """See to it that a chunker of the user's own does not pass for one of ours when the index is opened."""
    try:
        is_ours = chunker_from_settings(chunker.settings) in (None, chunker)
    except (TypeError, AttributeError, InputError):
        is_ours = False
    if not is_ours:
        raise InputError(f"a chunker of your own needs settings with a kind of its own, got {chunker.settings!r:.200}")


def choose_embedding(encoder: Settings, mode: Mode | None, late_weight: float | None) -> Embedding:
    """What the caller said, and for the rest what is known to be best for the model when it reads whole documents."""
    known = find_known_model(str(encoder.get("model"))) if encoder.get("local_global") else None
    best = Embedding(known.mode, known.late_weight) if known else Embedding("late", 0.5)
    return Embedding(best.mode if mode is None else mode, best.late_weight if late_weight is None else late_weight)


def rebuild(path: Path, name: str, build: Callable[[Settings], T], recorded: Mapping[str, Settings]) -> T:
    """Make a part of an index from what was recorded of it."""
    try:
        return build(recorded[name])
    except (TypeError, InputError) as error:
        raise IndexFormatError(
            f"the index at {path} records settings of its {name} that this latechunk does not know, "
            f"{dict(recorded[name])}: {error}; upgrade latechunk"
        ) from error


def require_same(what: str, path: Path, recorded: Settings, given: Settings) -> None:
    """Raise unless what is in hand makes the same vectors as what made the index."""
    unknown = {name for name in _ADDED if name not in recorded}
    names = sorted((recorded.keys() | given.keys()) - set(_LABELS) - unknown)
    differing = [name for name in names if recorded.get(name) != given.get(name)]
    if differing:
        was, got = ({name: side.get(name) for name in differing} for side in (recorded, given))
        raise IndexMismatchError(
            f"the index at {path} was made with another {what}: it has {was}, yours has {got}. "
            f"Open the index without {what}= to use its own, or make a new index"
        )
