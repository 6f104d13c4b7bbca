"""Plain text, and source code and any other text: one document each, as it is."""

from __future__ import annotations

from collections.abc import Iterator

from latechunk.errors import DocumentError
from latechunk.readers.reader import Reader, Reading, SourceFile, read_text
from latechunk.types import Block, Document


def _read(file: SourceFile, reading: Reading) -> Iterator[Document]:
    yield Document(file.name, read_text(file, reading), file.metadata)


def _read_code(file: SourceFile, reading: Reading) -> Iterator[Document]:
    text = read_text(file, reading)
    outline = (Block("code", 0, len(text)),) if text else ()  # "# ..." is a comment there, and no heading
    yield Document(file.name, text, file.metadata, outline=outline)


def _refuse_rtf(file: SourceFile, reading: Reading) -> Iterator[Document]:  # noqa: ARG001
    raise DocumentError("it is Rich Text (RTF), whose text is lost among its signs; save it as .docx")


TEXT = Reader(suffixes=(".txt", ".text"), read=_read)
CODE = Reader(suffixes=(), read=_read_code)
"""Text of any other suffix: source code, settings, logs, XML."""
RTF = Reader(suffixes=(), read=_refuse_rtf)
