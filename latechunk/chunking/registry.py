"""The chunkers of this package by name. A new one is a file next to this one, and an entry here."""

from __future__ import annotations

from latechunk.chunking.sentence import SentenceChunker
from latechunk.chunking.token import TokenChunker
from latechunk.protocols import Chunker
from latechunk.types import Settings

CHUNKERS: dict[str, type[SentenceChunker | TokenChunker]] = {
    SentenceChunker.kind: SentenceChunker,
    TokenChunker.kind: TokenChunker,
}


def chunker_from_settings(settings: Settings) -> Chunker | None:
    """Rebuild a chunker from what an index recorded; None for one that is not in ``CHUNKERS``."""
    made = CHUNKERS.get(settings.get("kind", ""))
    return made(**{name: value for name, value in settings.items() if name != "kind"}) if made else None
