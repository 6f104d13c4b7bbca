"""What an index records of what made it in, whether an index can be opened with it out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from latechunk.embedding import Embedding
from latechunk.errors import IndexDamagedError, InputError, StoreError
from latechunk.manifest import rebuild, require_settings, to_vector_kind
from latechunk.storage.fulltext import MOST_GRANULARITIES, check_words
from latechunk.types import Settings

_NAMES = {"encoder", "chunkers", "embedding", "made", "search"}
_SEARCH_NAMES = {"words", "vectors", "first_pass_dims"}
_MOST_DIMS = 65_536


def require_sound_settings(settings: Mapping[str, Any]) -> None:
    """Raise unless these are the settings of an index.

    Raises:
        IndexDamagedError: If they are not; the message says which.
    """
    try:
        _require_names("the settings", settings, _NAMES)
        for name in _NAMES:
            require_settings("encoder" if name == "encoder" else name, settings[name])
        _require_names("the settings of search", settings["search"], _SEARCH_NAMES)
        _require_chunkers(settings["chunkers"])
        if settings["encoder"]["dims"] > _MOST_DIMS:
            raise InputError(f"vectors may have up to {_MOST_DIMS:,} dims, got {settings['encoder']['dims']!r:.80}")
        check_words(settings["search"]["words"])
        rebuild(Path(), "embedding", lambda recorded: Embedding(**recorded), settings)
        rebuild(Path(), "search", to_vector_kind, settings)
    except (InputError, StoreError) as error:
        raise IndexDamagedError(f"the settings of the index are not what latechunk writes: {error}") from error


def _require_names(what: str, settings: Settings, names: set[str]) -> None:
    if settings.keys() != names:
        differing = ", ".join(sorted(map(str, settings.keys() ^ names)))
        raise InputError(f"{what} must be {', '.join(sorted(names))}; missing or unknown: {differing:.200}")


def _require_chunkers(chunkers: Mapping[str, Any]) -> None:
    if not 0 < len(chunkers) <= MOST_GRANULARITIES:
        raise InputError(f"there must be 1 to {MOST_GRANULARITIES} chunkers, got {len(chunkers)}")
    for name, one in chunkers.items():
        if not name.strip() or not isinstance(one, dict):
            raise InputError(f"each chunker must have a name and a mapping of settings, got {name!r:.80}: {one!r:.80}")
