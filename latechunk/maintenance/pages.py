"""The pages of a database file in, documents whose way from the table's root is broken out.

A damaged inner page hides all rows below it, though they are whole. Their pages are found by reading the file from end
to end, as https://www.sqlite.org/fileformat2.html describes it. Pages of deleted rows look the same, so the caller must
know which documents there should be.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeAlias

Value: TypeAlias = int | bytes | None
Row: TypeAlias = tuple[int, bytes, bytes, bytes, bytes, int, bytes]

_LEAF = 0x0D  # of a table
_HEADER = 100  # bytes of the file's header, on its first page
_INTEGERS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}  # bytes by serial type


def find_documents(path: Path, numbers: Container[int]) -> Iterator[Row]:
    """Read documents from the leaves of the table, wherever they are in the file.

    Args:
        path: The database; what lies in its log is not seen.
        numbers: Of the documents that are wanted.

    Yields:
        Rows of the table ``documents`` as it is made, texts as bytes, each with a text that has its checksum.
    """
    with path.open("rb") as file:
        header = file.read(_HEADER)
        size = int.from_bytes(header[16:18], "big")
        size = 65_536 if size == 1 else size
        if size < 512 or size & (size - 1):
            return
        pages = _Pages(file, size, size - header[20], path.stat().st_size // size)
        for number in range(1, pages.count + 1):
            yield from _documents_on(pages, number, numbers)


def _documents_on(pages: _Pages, page_number: int, numbers: Container[int]) -> Iterator[Row]:
    page = pages.read(page_number)
    start = _HEADER if page_number == 1 else 0
    if page[start] != _LEAF:
        return
    n_cells = int.from_bytes(page[start + 3 : start + 5], "big")
    for cell in range(min(n_cells, len(page) // 4)):
        place = start + 8 + 2 * cell
        try:
            row = _parse_cell(pages, page, int.from_bytes(page[place : place + 2], "big"), numbers)
        except (IndexError, ValueError, struct.error):
            continue  # no cell, or a damaged one
        if row is not None:
            yield row


@dataclass(frozen=True, slots=True)
class _Pages:
    file: BinaryIO
    size: int
    usable: int
    count: int

    def read(self, number: int) -> bytes:
        if not 1 <= number <= self.count:
            raise IndexError(number)
        self.file.seek((number - 1) * self.size)
        return self.file.read(self.size)

    def read_payload(self, page: bytes, start: int, n_bytes: int) -> bytes:
        """A cell's content, which may go on in a chain of other pages."""
        if not 0 < n_bytes <= self.count * self.size:
            raise ValueError(n_bytes)
        most = self.usable - 35
        least = (self.usable - 12) * 32 // 255 - 23
        fitting = least + (n_bytes - least) % (self.usable - 4)
        n_local = n_bytes if n_bytes <= most else (fitting if fitting <= most else least)
        parts = [page[start : start + n_local]]
        left = n_bytes - n_local
        follows = int.from_bytes(page[start + n_local : start + n_local + 4], "big") if left else 0
        while left > 0:
            further = self.read(follows)
            follows = int.from_bytes(further[:4], "big")
            parts.append(further[4 : 4 + min(left, self.usable - 4)])
            left -= len(parts[-1])
        return b"".join(parts)


def _parse_cell(pages: _Pages, page: bytes, place: int, numbers: Container[int]) -> Row | None:
    n_bytes, place = _varint(page, place)
    number, place = _varint(page, place)
    if number not in numbers:
        return None
    values = _parse_record(pages.read_payload(page, place, n_bytes))
    match values:
        case [None, bytes(name), bytes(metadata), bytes(text_sha256), bytes(checksum), int(n_tokens), bytes(text)]:
            is_whole = hashlib.sha256(text).digest() == text_sha256
            return (number, name, metadata, text_sha256, checksum, n_tokens, text) if is_whole else None
    return None


def _parse_record(payload: bytes) -> list[Value]:
    n_header, place = _varint(payload, 0)
    values: list[Value] = []
    body = n_header
    while place < n_header:
        kind, place = _varint(payload, place)
        size = _INTEGERS.get(kind, (kind - 12) // 2 if kind >= 12 else 0)
        content = payload[body : body + size]
        if len(content) < size:
            raise ValueError("the record is cut off")
        values.append(_to_value(kind, content))
        body += size
    return values


def _to_value(kind: int, content: bytes) -> Value:
    if kind in _INTEGERS:
        return int.from_bytes(content, "big", signed=True)
    if kind in (8, 9):
        return kind - 8
    return content if kind >= 12 else None


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """A number of 1 to 9 bytes, and where the next one begins."""
    value = 0
    for number in range(9):
        byte = data[place + number]
        if number == 8:
            return value << 8 | byte, place + 9
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, place + number + 1
    raise ValueError("no number")
