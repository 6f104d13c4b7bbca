"""What an exported index is made of: a header, and documents with their chunks and vectors; checked when read."""

from __future__ import annotations

import binascii
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np

from latechunk.errors import IndexDamagedError, InputError, TransferError
from latechunk.manifest import IndexManifest
from latechunk.storage.schema import LAST_NUMBER
from latechunk.storage.store import Counts, StoredDocument
from latechunk.types import Document, FloatArray, Settings, Span

KIND = "latechunk-export"
VERSION = 1
LARGEST_DOCUMENT = 2**30  # bytes that one document may take in a file, so that reading one is bounded, too
_UNIT_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class Header:
    """What stands before the documents: the index's settings, and how much is to come."""

    settings: Mapping[str, Mapping[str, Any]]
    counts: Counts

    @property
    def dims(self) -> int:
        """Length of the vectors."""
        return int(self.settings["encoder"]["dims"])

    @property
    def granularities(self) -> list[str]:
        """Names of the chunkings, in order."""
        return list(self.settings["chunkers"])

    def to_json(self) -> str:
        """The header in one line."""
        value = {
            "kind": KIND,
            "version": VERSION,
            **asdict(self.counts),
            "settings": self.settings,
            "settings_sha256": _checksum(self.settings),
        }
        return json.dumps(value, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Record:
    """A document with all that is stored of it, and the checksum of its chunks and vectors."""

    stored: StoredDocument
    vectors_sha256: bytes

    def checksums(self) -> dict[str, str]:
        """SHA-256 of the text, of chunks and vectors, and of everything, each in hexadecimal digits."""
        document = self.stored.document
        text, vectors = document.text_sha256().hex(), self.vectors_sha256.hex()
        everything = _checksum([document.id, document.metadata_json, self.stored.n_tokens, text, vectors])
        return {"text_sha256": text, "vectors_sha256": vectors, "sha256": everything}


class Reader(Protocol):
    """An export that is open for reading."""

    @property
    def header(self) -> Header:
        """What it says of itself."""
        ...

    def records(self) -> Iterator[tuple[str, Record]]:
        """Where each document stands, in words, and the document."""
        ...


def parse_header(text: str | bytes, where: str) -> Header:
    """Read what :meth:`Header.to_json` wrote.

    Raises:
        TransferError: If it is something else, of a newer version, or not the header of an index that can be opened.
    """
    fields = parse_json(text, where)
    if fields.get("kind") != KIND:
        raise TransferError(f'{where} must be the header of an export of latechunk, with "kind": "{KIND}"')
    version = require_count(fields.get("version"), f"{where}: version")
    if version > VERSION:
        raise TransferError(
            f"{where}: the export has version {version}, and this latechunk reads versions up to {VERSION}: upgrade "
            f"latechunk"
        )
    settings = fields.get("settings")
    if not isinstance(settings, dict) or not all(isinstance(one, dict) for one in settings.values()):
        raise TransferError(f"{where}: settings must be an object of objects, got {settings!r:.80}")
    try:
        IndexManifest.read(settings)
    except IndexDamagedError as error:
        raise TransferError(f"{where}: {error}") from error
    if fields.get("settings_sha256") != _checksum(settings):
        raise TransferError(f"{where}: the settings are not those that were exported: their SHA-256 differs")
    names = ("n_documents", "n_chunks", "n_tokens")
    return Header(settings, Counts(*(require_count(fields.get(name), f"{where}: {name}") for name in names)))


def parse_json(text: str | bytes, where: str) -> dict[str, Any]:
    """An object, or an error that says where there is none."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TransferError(f"{where} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise TransferError(f"{where} must be an object, got {type(value).__name__}")
    return value


def require_count(value: object, what: str) -> int:
    """A whole number of at least 0 that a database can hold."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < LAST_NUMBER:
        raise TransferError(f"{what} must be a whole number of at least 0, got {value!r:.80}")
    return value


def build_record(
    header: Header,
    where: str,
    *,
    document_id: Any,
    text: Any,
    metadata: Any,
    n_tokens: Any,
    checksums: Mapping[str, Any],
    chunkings: Sequence[Sequence[tuple[Any, Any]]],
    vectors: FloatArray,
) -> Record:
    """Check everything that was read of a document.

    Args:
        header: Of the file.
        where: Where in it this stands.
        document_id: As it was read; likewise what follows.
        text: The whole text.
        metadata: An object.
        n_tokens: Content tokens.
        checksums: As :meth:`Record.checksums` gives them.
        chunkings: Starts and ends, for each granularity.
        vectors: Of all chunks, shape ``(n_chunks, dims)``.

    Raises:
        TransferError: If it is not what an index can hold; the message says where and what.
    """
    try:
        document = Document(document_id, text, metadata)
    except InputError as error:
        raise TransferError(f"{where}: {error}") from error
    place = f"{where}: document {document.id!r:.80}"
    if document.text_sha256() != _parse_checksum(checksums, "text_sha256", place):
        raise TransferError(f"{place}: its text is not the one that was exported: the SHA-256 differs")
    if not require_count(n_tokens, f"{place}: n_tokens"):
        raise TransferError(f"{place}: n_tokens must be at least 1")
    spans = [_to_spans(one, len(document.text), f"{place}, {name!r:.40}") for name, one in _named(header, chunkings)]
    _require_unit(vectors, place)
    stored = StoredDocument(document, n_tokens, spans, vectors)
    record = Record(stored, _parse_checksum(checksums, "vectors_sha256", place))
    if record.checksums()["sha256"] != checksums["sha256"]:
        raise TransferError(f"{place}: it is not the document that was exported: its SHA-256 differs")
    return record


def _checksum(value: Settings | Sequence[Any]) -> str:
    return hashlib.sha256(json.dumps(value, ensure_ascii=False).encode("utf-8")).hexdigest()


def _parse_checksum(checksums: Mapping[str, Any], name: str, place: str) -> bytes:
    value = checksums[name]
    try:
        checksum = binascii.unhexlify(value) if isinstance(value, str) else b""
    except ValueError:
        checksum = b""
    if len(checksum) != 32:
        raise TransferError(f"{place}: {name} must be a SHA-256 of 64 hexadecimal digits, got {value!r:.80}")
    return checksum


def _named(header: Header, chunkings: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    return zip(header.granularities, chunkings, strict=True)


def _to_spans(pairs: Sequence[tuple[Any, Any]], n_characters: int, place: str) -> list[Span]:
    if not pairs:
        raise TransferError(f"{place}: there must be at least one chunk")
    spans: list[Span] = []
    for number, pair in enumerate(pairs):
        what = f"{place}, chunk {number}"
        start, end = require_count(pair[0], f"{what}: start"), require_count(pair[1], f"{what}: end")
        if not start < end <= n_characters:
            raise TransferError(f"{what}: [{start}, {end}) is no passage of a text of {n_characters} characters")
        if spans and start < spans[-1].start:
            raise TransferError(f"{what}: it starts before the chunk before it")
        spans.append(Span(start, end))
    return spans


def _require_unit(vectors: FloatArray, place: str) -> None:
    with np.errstate(all="ignore"):  # bytes of any kind may stand there
        norms = np.linalg.norm(vectors.astype(np.float64), axis=1)
        wrong = np.flatnonzero(~(np.abs(norms - 1) < _UNIT_TOLERANCE))  # also where a norm is not a number
    if len(wrong):
        number = int(wrong[0])
        raise TransferError(f"{place}: vector {number} must be of unit length, and has {norms[number]:.6g}")
