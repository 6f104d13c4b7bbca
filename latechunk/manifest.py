"""What made an index: checked and taken down when it is made, compared and rebuilt when it is opened."""

from __future__ import annotations

import contextlib
import json
import platform
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

from latechunk.ann.faiss_ops import require_buildable
from latechunk.ann.spec import IndexSpec
from latechunk.chunking.chunkers import SentenceChunker, chunker_from_settings
from latechunk.embedding import Embedding
from latechunk.errors import IndexDamagedError, IndexFormatError, IndexMismatchError, InputError
from latechunk.models.catalogue import Mode, find_known_model
from latechunk.protocols import Chunker, RecommendsEmbedding, SpanEncoder
from latechunk.storage.fulltext import MOST_GRANULARITIES
from latechunk.storage.store import Store
from latechunk.types import Settings, require_text

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
    missing = {"encoder", "chunkers", "embedding", "made", "search"} - settings.keys()
    if missing or not isinstance(settings["encoder"].get("dims"), int):
        raise IndexDamagedError(f"the index does not record what made it; missing: {', '.join(missing) or 'dims'}")
    chunkers = settings["chunkers"]
    if not 0 < len(chunkers) <= MOST_GRANULARITIES or not all(isinstance(one, dict) for one in chunkers.values()):
        raise IndexDamagedError(f"the index records no chunkers that can be read, but {chunkers!r:.80}")
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


def name_chunkers(chunker: Chunker | None, chunkers: Mapping[str, Chunker] | None) -> dict[str, Chunker]:
    """The granularities of a new index, by name.

    Raises:
        InputError: If they cannot be recorded or told apart.
    """
    if chunkers is None:
        named: dict[str, Chunker] = {"chunks": SentenceChunker() if chunker is None else chunker}
    elif chunker is not None:
        raise InputError("chunker and chunkers both say how to cut: pass chunker for one way, chunkers for several")
    elif not isinstance(chunkers, Mapping) or not 0 < len(chunkers) <= MOST_GRANULARITIES:
        raise InputError(
            f"chunkers must be a mapping of 1 to {MOST_GRANULARITIES} names to chunkers, got {chunkers!r:.80}"
        )
    else:
        named = dict(chunkers)
    for name, one in named.items():
        require_text(name, "the name of a granularity", InputError)
        if not name.strip():
            raise InputError("the name of a granularity must not be blank")
        _require_own_kind(one)
    return named


def rebuild_chunkers(path: Path, recorded: Mapping[str, Settings], given: Mapping[str, Chunker]) -> dict[str, Chunker]:
    """All chunkers of an index, those that were given and the others from what was recorded of them.

    Raises:
        IndexMismatchError: If one is the user's own and was not given.
    """
    complete: dict[str, Chunker] = {}
    for name, settings in recorded.items():
        chunker = given.get(name) or rebuild(path, name, chunker_from_settings, recorded)
        if chunker is None:
            how = "chunker=..." if len(recorded) == 1 else f"chunkers={{{name!r}: ...}}"
            raise IndexMismatchError(
                f"the index at {path} was made with a chunker of your own, {settings}: "
                f"pass it as Index.open(..., {how})"
            )
        complete[name] = chunker
    return complete


def require_same_chunkers(path: Path, recorded: Mapping[str, Settings], given: Mapping[str, Chunker]) -> None:
    """Raise unless the chunkers in hand are among those that made the index."""
    unknown = [name for name in given if name not in recorded]
    if unknown:
        known = ", ".join(map(repr, recorded))
        raise IndexMismatchError(f"the index at {path} has the granularities {known}, and none called {unknown[0]!r}")
    for name, chunker in given.items():
        require_same("chunker", path, recorded[name], chunker.settings)


def to_vector_kind(settings: Settings) -> IndexSpec:
    """How vectors are searched, as recorded."""
    return IndexSpec(kind=settings["vectors"], first_pass_dims=settings["first_pass_dims"])


def require_fitting(kind: IndexSpec, encoder: Settings) -> None:
    """Raise unless vectors of this encoder can be searched in that way.

    Raises:
        InputError: If FAISS cannot build it for vectors of that length, or their first numbers alone mean nothing.
    """
    require_buildable(kind, int(encoder["dims"]))
    known = find_known_model(str(encoder.get("model")))
    if kind.first_pass_dims is not None and known and not known.matryoshka:
        raise InputError(
            f"first_pass_dims needs a Matryoshka model, whose vectors can be cut short, and {known.name} is none: "
            f"leave it out; `latechunk models` shows which have several dims"
        )


def _require_own_kind(chunker: Chunker) -> None:
    """See to it that a chunker of the user's own does not pass for one of ours when the index is opened."""
    try:
        is_ours = chunker_from_settings(chunker.settings) in (None, chunker)
    except (TypeError, AttributeError, InputError):
        is_ours = False
    if not is_ours:
        raise InputError(f"a chunker of your own needs settings with a kind of its own, got {chunker.settings!r:.200}")


def choose_embedding(encoder: SpanEncoder, mode: Mode | None, late_weight: float | None) -> Embedding:
    """What the caller said, and for the rest what the encoder, or its model where it reads whole documents, is best at.

    Raises:
        InputError: If it is no way to make vectors.
    """
    best = (
        Embedding(**encoder.recommended_embedding)
        if isinstance(encoder, RecommendsEmbedding)
        else _best_by(encoder.settings)
    )
    return Embedding(best.mode if mode is None else mode, best.late_weight if late_weight is None else late_weight)


def _best_by(encoder: Settings) -> Embedding:
    """For an encoder of the user's own: what was measured of the model that its settings name."""
    known = find_known_model(str(encoder.get("model"))) if encoder.get("local_global") else None
    return Embedding(known.mode, known.late_weight) if known else Embedding("late", 0.5)


def rebuild(path: Path, name: str, build: Callable[[Settings], T], recorded: Mapping[str, Settings]) -> T:
    """Make a part of an index from what was recorded of it."""
    try:
        return build(recorded[name])
    except (TypeError, InputError) as error:
        raise IndexFormatError(
            f"the index at {path} records settings of its {name} that this latechunk does not know, "
            f"{dict(recorded[name])}: {error}; upgrade latechunk"
        ) from error


def labels_of(recorded: Settings, given: Settings) -> set[str]:
    """Settings of encoders that name something and decide no vector.

    The name of adapters is one where their fingerprints can be compared; where one side has none, it says what differs.
    """
    have_adapters = recorded.get("adapters_sha256") and given.get("adapters_sha256")
    return {*_LABELS, *(["adapters"] if have_adapters else [])}


def require_same(what: str, path: Path, recorded: Settings, given: Settings) -> None:
    """Raise unless what is in hand makes the same vectors as what made the index."""
    unknown = {name for name in _ADDED if name not in recorded}
    names = sorted((recorded.keys() | given.keys()) - labels_of(recorded, given) - unknown)
    differing = [name for name in names if recorded.get(name) != given.get(name)]
    if differing:
        was, got = ({name: side.get(name) for name in differing} for side in (recorded, given))
        raise IndexMismatchError(
            f"the index at {path} was made with another {what}: it has {was}, yours has {got}. "
            f"Open the index without {what}= to use its own, or make a new index"
        )
