"""Which files to read: those given, and those of a known format in the folders given."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from latechunk.readers.jsonl import JSONL
from latechunk.readers.reader import Problem, Reader, SourceFile
from latechunk.readers.text import TEXT

READERS: Mapping[str, Reader] = {suffix: reader for reader in (TEXT, JSONL) for suffix in reader.suffixes}
"""By suffix. A new format is a module in this package and an entry here."""


ONE_FOLDER = "give the folder that holds both, so that their paths from it differ"


def find_files(
    paths: Sequence[Path],
    on_problem: Callable[[Problem], None],
    on_other: Callable[[Path], None] | None = None,
) -> list[SourceFile]:
    """List the regular files to read: those given, and those of a known kind in folders given, in order, none twice.

    A file is named by its path from the folder given, or its own name if it was given itself, wherever the working
    directory is. Links inside a folder are not followed. ``on_problem`` is called for each path given that is missing
    or of an unknown kind, and for a file of another one's name; ``on_other`` for each file of an unknown kind in a
    folder.
    """
    found: dict[str, SourceFile] = {}
    names: dict[str, Path] = {}
    for path in paths:
        if path.is_dir():
            files = [(file, file.relative_to(path).as_posix()) for file in _files_below(path, on_problem, on_other)]
        elif not path.exists():
            on_problem(Problem(str(path), "there is no such file or folder"))
            continue
        elif not path.is_file():
            on_problem(Problem(str(path), "this is not a regular file"))
            continue
        elif path.suffix.lower() not in READERS:
            on_problem(Problem(str(path), f"only {', '.join(READERS)} files are read"))
            continue
        else:
            files = [(path, path.name)]
        for file, name in files:
            place = os.path.abspath(file)
            if place in found:
                continue
            other = names.setdefault(name, file)
            if other is not file and file.suffix.lower() not in JSONL.suffixes:
                on_problem(Problem(str(file), f"its id would be {name}, as that of {other}; {ONE_FOLDER}"))
                continue
            found[place] = SourceFile(file, name)
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
