"""Which files to read: those given, and those of a known format in the folders given."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from latechunk.errors import InputError
from latechunk.readers.jsonl import JSONL
from latechunk.readers.origin import find_file, find_row
from latechunk.readers.reader import Problem, SourceFile, is_utf8
from latechunk.readers.registry import BINARY, READERS, find_reader
from latechunk.types import TABLE_ROW, Document, cite_row

ONE_FOLDER = "give the folder that holds both, so that their paths from it differ"
_BLOCK = 8_192
_PASSED_OVER = frozenset({"node_modules", "__pycache__"})  # besides what is hidden
_HIDDEN = (".", "~$")  # the second is how Office marks a file that is open
_SAVED_AS = {
    ".doc": ".docx",
    **dict.fromkeys((".ppt", ".odp"), ".pptx"),
    **dict.fromkeys((".xls", ".xlsb", ".ods"), ".xlsx"),
}
_INDEX = "store.sqlite3"  # what only the folder of an index holds
_EMBEDDED = re.compile(r"(?:part|errors)-\d{6,}-[0-9a-f]{16}\.parquet")  # what only a folder that `embed` filled holds
_BEGUN = frozenset({"manifest.json", "write.lock"})  # what it holds before its first part
_ADAPTERS = "latechunk.json"  # what only a folder of adapters holds, which `train` filled
# How what `export` and `inspect` write begins.
_OWN_FILE = re.compile(
    rb'\{"sha256":"[0-9a-f]{64}","kind":"latechunk-export"|'
    rb'<!doctype html>\s*<html[^>]*>\s*<head>\s*<meta charset="utf-8">\s*<meta name="generator" content="latechunk ',
    re.I,
)
_REPORT = frozenset({"report.html", "results.json", "work"})  # what `evaluate` leaves together


def find_files(
    paths: Iterable[Path],
    on_problem: Callable[[Problem], None],
    on_other: Callable[[Path], None] | None = None,
) -> list[SourceFile]:
    """List the regular files to read: those given, and those of a known format in folders given, in order, none twice.

    A file is named by its path from the folder given, or its own name if it was given itself, wherever the working
    directory is. Links inside a folder are not followed; hidden files and folders in it, Office's marks of open
    files, ``node_modules``, ``__pycache__``, indexes, folders that ``latechunk embed`` or ``train`` filled, and
    what ``latechunk evaluate``, ``inspect`` and ``export`` leave are passed over. ``on_problem`` is called for each
    path given that is missing or holds no text, for a file of another one's name, and for one whose path is not
    UTF-8; ``on_other`` for each file in a folder that is blank or of an unknown format.

    Raises:
        InputError: If ``paths`` is no list, or other iterable, of ``pathlib.Path``.
    """
    given = list(paths) if isinstance(paths, Iterable) else None
    if given is None or not all(isinstance(one, Path) for one in given):
        raise InputError(f'find_files takes a list of pathlib.Path, such as [Path("docs")], got {paths!r:.80}')
    found: dict[str, SourceFile] = {}
    names: dict[str, Path] = {}
    for path in given:
        try:
            is_folder = path.is_dir()
        except OSError as error:  # its name is too long, or nobody may look
            on_problem(Problem(str(path), error.strerror or str(error)))
            continue
        if is_folder:
            files = [(file, file.relative_to(path).as_posix()) for file in _files_below(path, on_problem, on_other)]
        elif reason := _why_not(path):
            on_problem(Problem(str(path), reason))
            continue
        else:
            files = [(path, path.name)]
        for file, name in files:
            place = os.path.abspath(file)
            if place in found:
                continue
            if not is_utf8(place):
                on_problem(Problem(str(file), "its path is not UTF-8, which an index cannot hold; rename it"))
                continue
            other = names.setdefault(name, file)
            if other is not file and file.suffix.lower() not in JSONL.suffixes:
                on_problem(Problem(str(file), f"its id would be {name}, as that of {other}; {ONE_FOLDER}"))
                continue
            found[place] = SourceFile(file, name)
    return list(found.values())


def find_place(document: Document, names: Mapping[str, str] | None = None) -> str:
    """Where a document was read: its file, named as in ``names``, with the row or line; else its id."""
    source = find_file(document.id, document.metadata)
    if source is None:
        return document.id
    path, row = (names or {}).get(source, source), find_row(document.metadata)
    if row is None:
        return path
    is_line = path.lower().endswith(JSONL.suffixes)
    return f"{path}:{row}" if is_line else f"{path}, {cite_row({**document.metadata, TABLE_ROW: row})}"


def _why_not(path: Path) -> str | None:
    """Why a file that was given cannot be read, or None."""
    if not path.exists():
        return "there is no such file or folder"
    if not path.is_file():
        return "this is not a regular file"
    if is_blank(path):
        return "it is blank"
    if _is_own(path):
        return "`latechunk export` or `inspect` wrote it, and it is no document; `latechunk import` reads an export"
    if not _is_read(path):
        if better := _SAVED_AS.get(path.suffix.lower()):
            return f"its format is not read; save it as {better}"
        return f"it holds no text, and is of no format that is read: {', '.join(READERS)}"
    return None


def is_blank(path: Path) -> bool:
    """Whether a text file holds nothing but white space.

    One that cannot be opened does not, nor does an empty file of a format that is no text, which is damaged.
    """
    if READERS.get(path.suffix.lower()) in BINARY:
        return False
    try:
        with path.open("rb") as file:
            return not any(block.strip() for block in iter(lambda: file.read(_BLOCK), b""))
    except OSError:
        return False


def _is_own(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return _OWN_FILE.match(file.read(_BLOCK)) is not None
    except OSError:
        return False


def _is_read(path: Path) -> bool:
    try:
        return find_reader(path) is not None
    except OSError:
        return True  # read_documents says why it cannot


def _files_below(
    folder: Path, on_problem: Callable[[Problem], None], on_other: Callable[[Path], None] | None
) -> Iterator[Path]:
    tell = lambda error: on_problem(Problem(str(error.filename), str(error)))  # noqa: E731
    for parent, folders, names in os.walk(folder, onerror=tell, followlinks=False):
        report = _REPORT if {*names, *folders} >= _REPORT else frozenset()
        folders[:] = sorted(name for name in {*folders} - report - _PASSED_OVER if not name.startswith("."))
        if _INDEX in names or _ADAPTERS in names or {*names} >= _BEGUN or any(map(_EMBEDDED.fullmatch, names)):
            folders.clear()
            continue
        for name in sorted({*names} - report):
            path = Path(parent, name)
            if name.startswith(_HIDDEN) or path.is_symlink() or not path.is_file() or _is_own(path):
                continue
            if not is_blank(path) and _is_read(path):
                yield path
            elif on_other:
                on_other(path)
