"""Which files to read: those given, and those of a known format in the folders given."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from latechunk.readers.jsonl import JSONL
from latechunk.readers.reader import Problem, Reader, normal
from latechunk.readers.text import TEXT

READERS: Mapping[str, Reader] = {suffix: reader for reader in (TEXT, JSONL) for suffix in reader.suffixes}
"""By suffix. A new format is a module in this package and an entry here."""


def find_files(
    paths: Sequence[Path],
    on_problem: Callable[[Problem], None],
    on_other: Callable[[Path], None] | None = None,
) -> list[Path]:
    """List the regular files to read: those given, and those of a known kind in folders given, in order, none twice.

    Links inside a folder are not followed. ``on_problem`` is called for each path given that is missing or of an
    unknown kind, ``on_other`` for each file of an unknown kind in a folder.
    """
    found: dict[str, Path] = {}
    for path in paths:
        if path.is_dir():
            found.update({normal(file): file for file in _files_below(path, on_problem, on_other)})
        elif not path.exists():
            on_problem(Problem(str(path), "there is no such file or folder"))
        elif not path.is_file():
            on_problem(Problem(str(path), "this is not a regular file"))
        elif path.suffix.lower() not in READERS:
            on_problem(Problem(str(path), f"only {', '.join(READERS)} files are read"))
        else:
            found[normal(path)] = path
    return list(found.values())


def _files_below(
    folder: Path, on_problem: Callable[[Problem], None], on_other: Callable[[Path], None] | None
) -> Iterator[Path]:
    report = lambda error: on_problem(Problem(str(error.filename), str(error)))  # noqa: E731
    for parent, folders, names in os.walk(folder, onerror=report, followlinks=False):
        folders.sort()
        for name in sorted(names):
            path = Path(parent, name)
            if path.is_symlink() or not path.is_file():
                continue
            if path.suffix.lower() in READERS:
                yield path
            elif on_other:
                on_other(path)
