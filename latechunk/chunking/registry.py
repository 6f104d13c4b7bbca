"""The chunkers of this package by name. A new one is a file next to this one, and an entry here."""

from __future__ import annotations

from latechunk.chunking.sentence import SentenceChunker
from latechunk.chunking.structure import StructureChunker
from latechunk.chunking.token import TokenChunker
from latechunk.errors import InputError
from latechunk.protocols import Chunker
from latechunk.types import Settings

CHUNKERS: dict[str, type[StructureChunker | SentenceChunker | TokenChunker]] = {
    StructureChunker.kind: StructureChunker,
    SentenceChunker.kind: SentenceChunker,
    TokenChunker.kind: TokenChunker,
}


def to_chunker(chunker: Chunker | str | None) -> Chunker:
    """The chunker given, the one of a name with its defaults, or ``StructureChunker()`` for None.

    Raises:
        InputError: If it is something else.

    Examples:
        >>> to_chunker("token").settings["max_tokens"]
        256
    """
    if chunker is None:
        return StructureChunker()
    if isinstance(chunker, str):
        if chunker not in CHUNKERS:
            raise InputError(f"chunker must be one of {', '.join(map(repr, CHUNKERS))}, got {chunker!r:.80}")
        return CHUNKERS[chunker]()
    if isinstance(chunker, type) or not hasattr(chunker, "split") or not hasattr(chunker, "settings"):
        raise InputError(
            f"chunker must be a latechunk.StructureChunker, SentenceChunker or TokenChunker, the name of one, or an "
            f"object of your own with split and settings, as latechunk.protocols.Chunker says, got {chunker!r:.80}"
        )
    return chunker


def chunker_from_settings(settings: Settings) -> Chunker | None:
    """Rebuild a chunker from what an index recorded; None for one that is not in ``CHUNKERS``."""
    made = CHUNKERS.get(settings.get("kind", ""))
    return made(**{name: value for name, value in settings.items() if name != "kind"}) if made else None
