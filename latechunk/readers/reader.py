"""What a reader of one file format is, and what readers share."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from latechunk.readers.decoding import decode_declared
from latechunk.readers.limits import read_whole
from latechunk.readers.parsed import Parsed
from latechunk.readers.parser_process import ParserProcess
from latechunk.types import Document

_XML = re.compile(rb"""<\?xml\b[^>]{0,200}?\sencoding\s*=\s*["']([A-Za-z][\w.-]{0,40})["']""")


@dataclass(frozen=True, slots=True)
class Problem:
    """What could not be read: a path, with a line or page where it is known, and why."""

    place: str
    reason: str

    def __post_init__(self) -> None:
        for name in ("place", "reason"):  # the name of a file may be any bytes, and reports are UTF-8
            text = getattr(self, name).encode("utf-8", "backslashreplace").decode()
            object.__setattr__(self, name, text)


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file to read, and its name: its path from the folder that was given, or its own name if it was given itself."""

    path: Path
    name: str

    @property
    def metadata(self) -> dict[str, Any]:
        """What every document of a file knows of it."""
        return {"source": full_path(self.path)}


def full_path(path: Path) -> str:
    """The absolute path of a file or folder, the same from every working directory: ``..`` is left where a link is."""
    plain = os.path.abspath(path)
    is_same = ".." not in path.parts or os.path.realpath(plain) == os.path.realpath(path)
    return (Path(plain) if is_same else path.absolute()).as_posix()


def is_utf8(path: str) -> bool:
    """Whether an index can hold a path; the name of a file may be any bytes."""
    return path == path.encode("utf-8", "replace").decode()


@dataclass(frozen=True, slots=True)
class Reading:
    """What readers are told and tell.

    Attributes:
        on_problem: Called for each file or part that cannot be read, which is then left out.
        on_note: Called with a place, and what was done with it that the user may want to know.
        encoding: Of what has no mark and is not UTF-8; None to guess.
        rows: Whether each row of a table and each element of a JSON array is a document of its own.
        password: Of encrypted files.
        process: Where parsers run.
    """

    on_problem: Callable[[Problem], None]
    on_note: Callable[[str, str], None]
    encoding: str | None = None
    rows: bool = False
    password: str | None = None
    process: ParserProcess = field(default_factory=ParserProcess)


@dataclass(frozen=True, slots=True)
class Reader:
    """How files of one format are read.

    Attributes:
        suffixes: Of the files, in lower case, with the dot.
        read: Yields the documents of a file. It tells of a part that cannot be read and goes on; what it raises
            (``OSError``, ``UnicodeDecodeError``, ``LateChunkError``) ends the file.
        count: How many documents a file holds at most, for a progress bar, given whether rows are documents.
    """

    suffixes: tuple[str, ...]
    read: Callable[[SourceFile, Reading], Iterator[Document]]
    count: Callable[[Path, bool], int] = lambda path, rows: 1  # noqa: ARG005


def read_text(file: SourceFile, reading: Reading) -> str:
    """Read a text file whole, and tell of an encoding that was guessed."""
    data = read_whole(file.path)
    declared = _XML.match(data)
    text, guess = decode_declared(data, declared[1].decode() if declared else "", reading.encoding)
    if guess:
        reading.on_note(str(file.path), f"read as {guess}, which was guessed (--encoding says it)")
    return text


def parsed_reader(module: str, *suffixes: str) -> Reader:
    """A reader whose files are parsed by ``module.parse`` in a process of its own."""

    def read(file: SourceFile, reading: Reading) -> Iterator[Document]:
        parsed = parse_file(module, file, reading)
        metadata = with_source(parsed.metadata, file)
        yield Document(file.name, parsed.text, metadata, pages=parsed.pages, outline=parsed.outline)

    return Reader(suffixes, read)


def parse_file(module: str, file: SourceFile, reading: Reading) -> Parsed:
    """Parse a file by ``module.parse`` in a process of its own, and tell what is noted and wrong."""
    parsed = reading.process.parse(
        module, file.path, password=reading.password, encoding=reading.encoding, rows=reading.rows
    )
    for note in parsed.notes:
        reading.on_note(str(file.path), note)
    for part, reason in parsed.problems:
        reading.on_problem(Problem(f"{file.path}, {part}", reason))
    return parsed


def with_source(metadata: Mapping[str, Any], file: SourceFile) -> dict[str, Any]:
    """Metadata that a file gives of itself, and its path, which stands above what the file says."""
    return {**metadata, **file.metadata}
