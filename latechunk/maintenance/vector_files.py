"""The FAISS files of an index: compared with the store, and deleted, so that they are built anew."""

from __future__ import annotations

from pathlib import Path

_PATTERNS = ("vectors*.faiss", "vectors*.json", "vectors*.faiss.new", "vectors*.json.new")


def delete_cache(folder: Path) -> list[str]:
    """Delete all cache files; their names."""
    files = sorted(file for pattern in _PATTERNS for file in folder.glob(pattern))
    for file in files:
        file.unlink(missing_ok=True)
    return [file.name for file in files]
