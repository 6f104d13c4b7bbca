"""Mailboxes (.mbox): a document for each message, read as a file of its own would be."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

from latechunk.errors import DocumentError
from latechunk.readers import eml
from latechunk.readers.limits import MAX_BYTES, read_lines
from latechunk.readers.origin import with_origin
from latechunk.readers.reader import Problem, Reader, Reading, SourceFile, parse_file
from latechunk.types import Document

_BEGIN = re.compile(rb"(?:\xef\xbb\xbf)?From \S.*\d:\d\d")  # with the time, and a header after it, as no sentence has
_HEADER = re.compile(rb"[!-9;-~]+:")
# The flag 8 of Thunderbird, which keeps what was deleted in the file until it compacts the folder.
_DELETED = re.compile(rb"(?:X-[^\n]*\n){0,9}X-Mozilla-Status: *[0-9a-f]{3}[89a-f]\b", re.I)
_LEFT_OUT = "deleted in Thunderbird, and in the file until it compacts the folder; left out"
_QUOTED = re.compile(rb"^>(?=>*From )")  # a line of a text that would begin a message


def _read(file: SourceFile, reading: Reading) -> Iterator[Document]:
    with TemporaryDirectory() as folder:
        part = SourceFile(Path(folder, "message"), file.name)
        for number, message in enumerate(_split(file.path), start=1):
            place = f"{file.path}, message {number}"
            if _DELETED.match(message):
                reading.on_note(place, _LEFT_OUT)
                continue
            part.path.write_bytes(message)
            try:
                parsed = parse_file(eml.__name__, part, _named(reading, place))
            except DocumentError as error:
                reading.on_problem(Problem(place, str(error)))
                continue
            metadata = with_origin(parsed.metadata, file, number, ())
            yield Document(f"{file.name}#{number}", parsed.text, metadata, outline=parsed.outline)


def _named(reading: Reading, place: str) -> Reading:
    """Tell of a message what is told of the file that holds it alone."""
    return replace(
        reading,
        on_problem=lambda problem: reading.on_problem(Problem(place, problem.reason)),
        on_note=lambda _, note: reading.on_note(place, note),
    )


def _split(path: Path) -> Iterator[bytes]:
    """The messages of a mailbox, and what stands before the first; of a message too large, more than what is read."""
    message = bytearray()
    has_begun, is_after_blank = False, True
    with path.open("rb") as box:
        for line, after in pairwise(chain(read_lines(box), [b""])):
            if is_after_blank and _BEGIN.match(line) and _HEADER.match(after):
                if has_begun or message.strip():
                    yield bytes(message)
                message.clear()
                has_begun = True
            elif len(message) <= MAX_BYTES:
                message += _QUOTED.sub(b"", line)
            is_after_blank = not line.strip()
    if not has_begun:
        raise DocumentError("it is no mailbox: no line begins a message as 'From a@example.org Mon Jan 1 10:00' does")
    yield bytes(message)


def _count(path: Path, rows: bool) -> int:  # noqa: ARG001
    try:
        return sum(1 for _ in _split(path))
    except (OSError, DocumentError):
        return 0  # which reading it will tell


MBOX = Reader(suffixes=(".mbox",), read=_read, count=_count)
