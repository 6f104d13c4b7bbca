"""Zip archives as untrusted input: members are read up to limits, as XML without entities, or whole."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Self
from xml.parsers import expat

from latechunk.errors import DocumentError

MAX_MEMBERS = 20_000
MAX_UNPACKED = 300_000_000
"""Bytes that all members that are read may have together."""
MAX_RATIO = 200
"""Times the size of its packed form that a member of more than 1 MB may have."""
MAX_DEPTH = 500
"""Elements of XML within each other."""

_CHUNK = 65_536
_FREE_OF_RATIO = 1_000_000
_EXPAT_ENCODINGS = ("UTF-8", "UTF-16", "UTF-16LE", "UTF-16BE", "US-ASCII", "ISO-8859-1")
_OLE = b"\xd0\xcf\x11\xe0"

Start = Callable[[str, Mapping[str, str]], None]


def _ignore(_: str) -> None:
    pass


class Archive:
    """A zip archive that is read; a context manager."""

    def __init__(self, path: Path) -> None:
        try:
            self._zip = zipfile.ZipFile(path)
        except (
            zipfile.BadZipFile,
            ValueError,
            OverflowError,
            NotImplementedError,
            OSError,
        ) as error:  # a place before 0
            with path.open("rb") as file:
                if file.read(len(_OLE)) == _OLE:
                    raise DocumentError(
                        "it is encrypted, or of a format of before 2007; save it as .docx, .pptx or .xlsx without a "
                        "password"
                    ) from error
            raise DocumentError(f"it is no zip archive, as its format must be, or damaged: {error}") from error
        # Programs write "xl\\workbook.xml", and "xl/SharedStrings.xml" where another part says "sharedStrings.xml".
        self._members = {one.filename.replace("\\", "/"): one for one in self._zip.infolist()}
        self._in_any_case = {name.lower(): one for name, one in self._members.items()}
        self._n_bytes = 0
        if len(self._zip.infolist()) > MAX_MEMBERS:
            raise DocumentError(f"it has {len(self._zip.infolist()):,} members, and at most {MAX_MEMBERS:,} are read")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def __contains__(self, name: str) -> bool:
        return name in self._members or name.lower() in self._in_any_case

    @property
    def names(self) -> list[str]:
        """Of the members."""
        return [*self._members]

    def chunks(self, name: str) -> Iterator[bytes]:
        """The content of a member, piece by piece.

        Raises:
            DocumentError: If it is missing, damaged, encrypted, or unpacks to more than the limits.
        """
        member = self._members.get(name) or self._in_any_case.get(name.lower())
        if member is None:
            raise DocumentError(f"it lacks {name}, which its format must have")
        n_bytes = 0
        try:
            with self._zip.open(member) as file:
                while chunk := file.read(_CHUNK):
                    n_bytes += len(chunk)
                    self._n_bytes += len(chunk)
                    self._require_limits(name, n_bytes, member.compress_size)
                    yield chunk
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, OSError) as error:
            if isinstance(error, DocumentError):
                raise
            raise DocumentError(f"{name} is damaged: {error}") from error
        except RuntimeError as error:  # what zipfile raises where a password is needed
            raise DocumentError(f"{name} is encrypted") from error

    def read(self, name: str) -> bytes:
        """The content of a member."""
        return b"".join(self.chunks(name))

    def parse(
        self, name: str, start: Start, end: Callable[[str], None] = _ignore, text: Callable[[str], None] = _ignore
    ) -> None:
        """Parse a member as XML, without namespaces: ``start`` of an element with its attributes, its end, and text."""
        parser = expat.ParserCreate(namespace_separator="}")
        parser.buffer_text = True
        depth = 0

        def on_start(tag: str, attributes: dict[str, str]) -> None:
            nonlocal depth
            depth += 1
            if depth > MAX_DEPTH:
                raise DocumentError(f"{name} nests more than {MAX_DEPTH} elements")
            found = {_local(key): value for key, value in attributes.items()}
            if len(found) < len(attributes):  # "r:id" and "id" in whatever order: that of another namespace counts
                found.update((_local(key), value) for key, value in attributes.items() if "}" in key)
            start(_local(tag), found)

        def on_end(tag: str) -> None:
            nonlocal depth
            depth -= 1
            end(_local(tag))

        def on_entity(*_: object) -> None:
            raise DocumentError(f"{name} declares entities, which are not read")

        def on_declaration(_: str, encoding: str | None, __: int) -> None:
            if encoding and not _is_known(encoding):
                raise DocumentError(f"{name} declares the encoding {encoding!r:.40}, which is not read in XML")

        parser.XmlDeclHandler = on_declaration
        parser.StartElementHandler, parser.EndElementHandler = on_start, on_end
        parser.CharacterDataHandler, parser.EntityDeclHandler = text, on_entity
        try:
            for chunk in self.chunks(name):
                parser.Parse(chunk, False)
            parser.Parse(b"", True)
        except expat.ExpatError as error:
            raise DocumentError(f"{name} is damaged: {error}") from error

    def values(self, name: str, tag: str, attribute: str) -> list[str]:
        """An attribute of all elements of a tag in a member, in order; empty of those that lack it."""
        found: list[str] = []
        self.parse(name, lambda one, attributes: found.append(attributes.get(attribute, "")) if one == tag else None)
        return found

    def _require_limits(self, name: str, n_bytes: int, n_packed: int) -> None:
        if n_bytes > max(_FREE_OF_RATIO, MAX_RATIO * n_packed):
            raise DocumentError(f"{name} unpacks to more than {MAX_RATIO} times its size, as only bombs do")
        if self._n_bytes > MAX_UNPACKED:
            raise DocumentError(f"it unpacks to more than {MAX_UNPACKED / 1e6:,.0f} MB")


def _is_known(encoding: str) -> bool:
    """Whether expat reads this encoding: one of its own, or one of single bytes."""
    if encoding.upper() in _EXPAT_ENCODINGS:
        return True
    try:
        return len(bytes(range(256)).decode(encoding, "replace")) == 256
    except (LookupError, ValueError):
        return False


def _local(name: str) -> str:
    return name.rpartition("}")[2]
