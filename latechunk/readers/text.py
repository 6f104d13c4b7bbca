"""Text and Markdown files: one document each, whose id is its name, the path from the folder that was given."""

from __future__ import annotations

from collections.abc import Iterator

from latechunk.readers.decoding import decode
from latechunk.readers.reader import Reader, Reading, SourceFile
from latechunk.types import Document


def _read(file: SourceFile, reading: Reading) -> Iterator[Document]:
    text, guess = decode(file.path.read_bytes(), reading.encoding)
    if guess:
        reading.on_note(str(file.path), f"read as {guess}, which was guessed (--encoding says it)")
    yield Document(id=file.name, text=text, metadata={"source": file.path.absolute().as_posix()})


TEXT = Reader(suffixes=(".txt", ".md"), read=_read, count=lambda path: 1)  # noqa: ARG005
