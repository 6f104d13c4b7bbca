"""A stored text in, its checksum, its characters and where they stand among its bytes out: read in pieces."""

from __future__ import annotations

import codecs
import hashlib
import sqlite3
from dataclasses import dataclass

import numpy as np

from latechunk.types import IntArray

_PIECE = 65_536


@dataclass(frozen=True, slots=True)
class TextMeasure:
    """What one reading of a text gives.

    Attributes:
        sha256: Of its bytes.
        n_bytes: How many.
        n_characters: Unicode code points.
        fault: Why it is not UTF-8, or None.
        before: Characters that start before each piece of 65,536 bytes, shape ``(n_pieces + 1,)``.
    """

    sha256: bytes
    n_bytes: int
    n_characters: int
    fault: str | None
    before: IntArray


def measure(blob: sqlite3.Blob) -> TextMeasure:
    """Read a text once, piece by piece."""
    digest = hashlib.sha256()
    decoder = codecs.getincrementaldecoder("utf-8")()
    fault = None
    counts = [0]
    blob.seek(0)
    while piece := blob.read(_PIECE):
        digest.update(piece)
        counts.append(int(np.count_nonzero(_starts(piece))))
        fault = fault or _decode(decoder, piece, final=False)
    fault = fault or _decode(decoder, b"", final=True)
    before = np.cumsum(counts)
    return TextMeasure(digest.digest(), len(blob), int(before[-1]), fault, before)


class TextPlaces:
    """Says which character starts at which byte of a text in UTF-8. Quickest where it is asked in order."""

    def __init__(self, blob: sqlite3.Blob, text: TextMeasure) -> None:
        self._blob = blob
        self._text = text
        self._piece = -1
        self._starts = np.zeros(0, dtype=np.bool_)
        self._before = np.zeros(1, dtype=np.int64)

    def character_at(self, byte: int) -> int | None:
        """How many characters stand before this byte; None where it lies outside the text or within a character."""
        if not 0 <= byte <= self._text.n_bytes:
            return None
        if byte == self._text.n_bytes:
            return self._text.n_characters
        number, place = divmod(byte, _PIECE)
        if number != self._piece:
            self._read(number)
        return int(self._text.before[number] + self._before[place]) if self._starts[place] else None

    def _read(self, number: int) -> None:
        self._blob.seek(number * _PIECE)
        self._starts = _starts(self._blob.read(_PIECE))
        self._before = np.concatenate([[0], np.cumsum(self._starts)])
        self._piece = number


def _starts(piece: bytes) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Whether each byte is the first of a character."""
    starts: np.ndarray[tuple[int], np.dtype[np.bool_]] = (np.frombuffer(piece, dtype=np.uint8) & 0xC0) != 0x80
    return starts


def _decode(decoder: codecs.IncrementalDecoder, piece: bytes, *, final: bool) -> str | None:
    try:
        decoder.decode(piece, final)
    except UnicodeDecodeError as error:
        return error.reason
    return None
