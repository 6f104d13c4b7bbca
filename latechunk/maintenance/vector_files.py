"""Delete the FAISS files of an index, so that they are rebuilt from the store."""

from __future__ import annotations

from pathlib import Path

_PATTERNS = [f"vectors*.{suffix}{new}" for suffix in ("faiss", "npy", "json") for new in ("", ".new")]


def delete_cache(folder: Path) -> list[str]:
    """Delete all cache files; their names."""
    files = sorted(file for pattern in _PATTERNS for file in folder.glob(pattern))
    for file in files:
        file.unlink(missing_ok=True)
    return [file.name for file in files]
