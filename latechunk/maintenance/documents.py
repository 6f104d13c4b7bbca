"""A stored document in, what is wrong with it out: its id, metadata, text, chunks and vectors."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from latechunk.errors import DocumentError
from latechunk.maintenance.problems import Findings, Part, Problem
from latechunk.maintenance.tables import DocumentRow, VectorRow, read_chunks, text_of
from latechunk.maintenance.texts import TextMeasure, TextPlaces, measure
from latechunk.storage.rows import hash_vectors
from latechunk.storage.schema import LAST_NUMBER
from latechunk.types import encode_metadata

_UNIT_TOLERANCE = 1e-3
_BLOCK = 1_024  # vectors looked at together


@dataclass(frozen=True, slots=True)
class Shape:
    """What all documents of an index have in common: length of vectors, names of granularities."""

    dims: int
    granularities: Sequence[str]

    def name_of(self, granularity: int | None) -> str:
        """The name of a granularity, also of one that there is not."""
        is_known = granularity is not None and 0 <= granularity < len(self.granularities)
        return self.granularities[granularity] if is_known and granularity is not None else f"number {granularity}"


def check_document(connection: sqlite3.Connection, row: DocumentRow, shape: Shape, findings: Findings) -> None:
    """Look at everything of one document; what is wrong goes into ``findings``, with what can be done about it."""
    faults = _check_names(row)
    text, text_faults = _check_text(connection, row)
    faults += text_faults
    if faults:
        findings.drop[row.number] = row.name
        for what in faults:
            findings.add(Problem("document", what, "drop", row.name))
    if not faults and not _is_canonical(row):
        findings.rewrite[row.number] = row.name
        findings.add(Problem("document", "its metadata are not written as they should be", "rewrite", row.name))
    if text is None:
        return
    with text_of(connection, row.number) as blob:
        chunks = _Chunks(row, shape, TextPlaces(blob, text), text)
        checksum = hash_vectors(chunks.checked(read_chunks(connection, row.number, shape.dims)))
    if not chunks.faults and checksum != row.vectors_sha256:
        chunks.add("document", "its chunks and vectors are not those that its checksum was made of")
    if chunks.faults:
        if not faults:
            findings.encode[row.number] = row.name
        for fault in chunks.faults:
            findings.add(fault.to_problem(row.name, shape, is_text_sound=not faults))


@dataclass(frozen=True, slots=True)
class _Fault:
    part: Part
    what: str
    granularity: int | None = None
    place: int | None = None

    def to_problem(self, document: str, shape: Shape, *, is_text_sound: bool) -> Problem:
        name = None if self.place is None else shape.name_of(self.granularity)
        return Problem(self.part, self.what, "encode" if is_text_sound else "drop", document, name, self.place)


def _check_names(row: DocumentRow) -> list[str]:
    """What is wrong with id and metadata that nothing else could tell us."""
    faults = []
    if row.id is None or not row.id or not _is_utf8(row.id):
        faults.append("its id is not a text that is not empty")
    if row.metadata is None or _parse(row.metadata) is None:
        faults.append("its metadata are not a JSON object that an index can hold")
    return faults


def _check_text(connection: sqlite3.Connection, row: DocumentRow) -> tuple[TextMeasure | None, list[str]]:
    if row.text_type not in ("blob", "text"):
        return None, [f"its text is of type {row.text_type} and not text in UTF-8"]
    with text_of(connection, row.number) as blob:
        text = measure(blob)
    faults = []
    if text.sha256 != row.text_sha256:
        faults.append("its text is not the one that was stored: the SHA-256 differs")
    if text.fault is not None:
        faults.append(f"its text is not UTF-8: {text.fault}")
    return text, faults


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _parse(metadata: bytes) -> str | None:
    """Metadata in canonical form, or None if they are none."""
    try:
        value = json.loads(metadata)
        return encode_metadata(value, "") if isinstance(value, dict) else None
    except (ValueError, RecursionError, DocumentError):
        return None


def _is_canonical(row: DocumentRow) -> bool:
    return row.metadata is not None and (_parse(row.metadata) or "").encode("utf-8") == row.metadata


@dataclass(slots=True)
class _Chunks:
    """Looks at a document's chunks as they pass by."""

    row: DocumentRow
    shape: Shape
    places: TextPlaces
    text: TextMeasure
    faults: list[_Fault] = field(default_factory=list)
    _last: VectorRow | None = None
    _block: list[VectorRow] = field(default_factory=list)

    def add(self, part: Part, what: str, row: VectorRow | None = None) -> None:
        place = (row.granularity, row.place) if row else ()
        self.faults.append(_Fault(part, what, *place))

    def checked(self, rows: Iterator[VectorRow]) -> Iterator[tuple[object, ...]]:
        """Pass rows on as they are hashed."""
        if self.row.n_tokens is None or not 0 < self.row.n_tokens < LAST_NUMBER:
            self.add("document", f"its number of tokens is {self.row.n_tokens}, and must be at least 1")
        if self.row.number > LAST_NUMBER:
            self.add("document", f"its number {self.row.number} is higher than any that is given")
        seen = set()
        for row in rows:
            seen.add(row.granularity)
            self._check_order(row)
            self._check_span(row)
            self._check_vector(row)
            self._last = row
            yield row.to_hash()
        self._check_block()
        for granularity, name in enumerate(self.shape.granularities):
            if granularity not in seen:
                self.add("document", f"it has no chunk of the granularity {name!r}")

    def _check_order(self, row: VectorRow) -> None:
        """Numbers ascend by granularity, then by place, which counts from 0."""
        before = self._last
        if row.granularity is None or row.place is None or not 0 <= row.granularity < len(self.shape.granularities):
            self.add("chunk", f"chunk number {row.number} is of no granularity that there is, or at no place")
            return
        if not 0 < row.number <= LAST_NUMBER:
            self.add("chunk", f"its number {row.number} is none that is given", row)
        is_next = before is not None and (row.granularity, row.place - 1) == (before.granularity, before.place)
        is_first = row.place == 0 and (before is None or row.granularity > (before.granularity or 0))
        if not is_next and not is_first:
            self.add("chunk", "the chunks before it are missing or come behind it", row)
        if is_next and before is not None and (row.start or 0) < (before.start or 0):
            self.add("chunk", "it starts before the chunk before it", row)

    def _check_span(self, row: VectorRow) -> None:
        span, byte_span = (row.start, row.end), (row.byte_start, row.byte_end)
        if None in span or None in byte_span:
            self.add("chunk", "its characters or bytes are no whole numbers", row)
            return
        start, end, byte_start, byte_end = (int(one or 0) for one in (*span, *byte_span))
        if not 0 <= start < end <= self.text.n_characters:
            self.add("chunk", f"its characters [{start}, {end}) do not lie in the text's {self.text.n_characters}", row)
        elif (self.places.character_at(byte_start), self.places.character_at(byte_end)) != (start, end):
            self.add("chunk", f"its bytes [{byte_start}, {byte_end}) are not its characters [{start}, {end})", row)

    def _check_vector(self, row: VectorRow) -> None:
        if row.vector is not None:
            self._block.append(row)
            if len(self._block) == _BLOCK:
                self._check_block()
        elif not row.has_vector:
            self.add("vector", "it has no vector", row)
        else:
            size = "no bytes" if row.vector_bytes is None else f"{row.vector_bytes} bytes"
            self.add("vector", f"its vector has {size} and not those of {self.shape.dims} numbers", row)

    def _check_block(self) -> None:
        """Whether vectors are finite and of unit length."""
        if not self._block:
            return
        with np.errstate(all="ignore"):  # bytes of any kind may stand there
            vectors = np.frombuffer(b"".join(row.vector or b"" for row in self._block), dtype="<f4")
            norms = np.linalg.norm(vectors.reshape(len(self._block), -1).astype(np.float64), axis=1)
            wrong = ~(np.abs(norms - 1) < _UNIT_TOLERANCE)  # also where a norm is not a number
        for place in np.flatnonzero(wrong):
            what = f"its vector has the length {norms[place]:.6g} and not 1"
            self.add("vector", what, self._block[place])
        self._block.clear()
