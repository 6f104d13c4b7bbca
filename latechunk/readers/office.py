"""What the files of Microsoft's Office have in common: parts that name each other, and what they say of themselves."""

from __future__ import annotations

import contextlib
import posixpath
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from latechunk.errors import DocumentError
from latechunk.readers.archive import Archive

_CORE = "docProps/core.xml"
_METADATA = {"title": "title", "creator": "author", "created": "created"}


class Relationship(NamedTuple):
    """What one part says of another: how they are related (the last word of the type), and its name in the archive."""

    kind: str
    target: str


def read_relationships(archive: Archive, part: str) -> dict[str, Relationship]:
    """The parts that a part names, by its ids for them; ``""`` is the whole file. Links out of it are left out."""
    folder, name = posixpath.split(part)
    found: dict[str, Relationship] = {}

    def start(tag: str, attributes: Mapping[str, str]) -> None:
        if tag == "Relationship" and attributes.get("TargetMode") != "External":
            kind = attributes.get("Type", "").rpartition("/")[2]
            target = posixpath.normpath(posixpath.join("/", folder, attributes.get("Target", ""))).lstrip("/")
            found[attributes.get("Id", "")] = Relationship(kind, target)

    listed = posixpath.join(folder, "_rels", f"{name}.rels")
    if listed in archive:
        archive.parse(listed, start)
    return found


def find_main_part(archive: Archive, usual: str) -> str | None:
    """The part that holds the document, of whatever name, in the folder of the usual one; None if there is none."""
    if usual in archive:
        return usual
    parts = (one.target for one in read_relationships(archive, "").values() if one.kind == "officeDocument")
    main = next(parts, "")
    return main if posixpath.dirname(main) == posixpath.dirname(usual) else None


def join_runs(parts: Sequence[str]) -> str:
    r"""The text of a paragraph: its parts, without white space at the ends of lines and without blank lines.

    Examples:
        >>> join_runs(["One ", "line.", "\n", " ", "\n", "Another."])
        'One line.\nAnother.'
    """
    return "\n".join(line.strip() for line in "".join(parts).split("\n") if line.strip())


def read_metadata(archive: Archive, part: str = _CORE, names: Mapping[str, str] = _METADATA) -> dict[str, Any]:
    """Title, author and date, the first of each, as far as a part says them; where it is damaged, what stood before.

    ``names`` are the metadata's by the part's elements.
    """
    said: dict[str, Any] = {}
    name, texts = "", list[str]()

    def start(tag: str, attributes: Mapping[str, str]) -> None:  # noqa: ARG001
        nonlocal name
        name = names.get(tag, "")
        texts.clear()

    def end(tag: str) -> None:  # noqa: ARG001
        nonlocal name
        if name and (value := "".join(texts).strip()):
            said.setdefault(name, value)
        name = ""

    if part in archive:
        with contextlib.suppress(DocumentError):  # no text is lost with it
            archive.parse(part, start, end, texts.append)
    return said
