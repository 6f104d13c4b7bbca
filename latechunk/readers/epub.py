"""EPUB books: their chapters in the order of reading as one document, through the reader of HTML."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote

from latechunk.errors import DocumentError, MissingDependencyError
from latechunk.readers.archive import Archive
from latechunk.readers.epub_contents import read_contents, with_titles
from latechunk.readers.html import parse_html
from latechunk.readers.parsed import Parsed, ParserOptions
from latechunk.readers.reader import parsed_reader
from latechunk.readers.structured import StructuredText

_CONTAINER = "META-INF/container.xml"
_ENCRYPTION = "META-INF/encryption.xml"
_CHAPTERS = ("application/xhtml+xml", "text/html", "application/xml", "text/xml", "text/x-oeb1-document")
_NCX = "application/x-dtbncx+xml"
_METADATA = {"title": "title", "creator": "author", "date": "created", "language": "lang"}


def parse(path: Path, options: ParserOptions) -> Parsed:
    """Read a book; see ``ParserProcess.parse``."""
    with Archive(path) as archive:
        package = _Package(archive, _package_name(archive))
        protected = _protected(archive)
        chapters: list[tuple[str, StructuredText]] = []
        problems: list[tuple[str, str]] = []
        for name in package.chapters:
            options.tick()
            try:
                if name in protected:
                    raise DocumentError("it is protected (DRM), and cannot be read")
                chapters.append((name, parse_html(archive.read(name), options, whole=True)[0]))
            except MissingDependencyError:
                raise
            except (DocumentError, UnicodeDecodeError) as error:
                problems.append((f"chapter {name}", str(error)))
        contents = read_contents(archive, package.contents)
    whole = StructuredText()
    for chapter in with_titles(chapters, contents):
        whole.append(chapter)
    if not str(whole):
        raise DocumentError(f"{problems[0][0]}: {problems[0][1]}" if problems else "it holds no text")
    return Parsed(str(whole), outline=whole.outline, metadata=package.metadata, problems=tuple(problems))


class _Package:
    """What the package file says: metadata, and the chapters in the order of reading."""

    def __init__(self, archive: Archive, name: str) -> None:
        self._folder = posixpath.dirname(name)
        self._chapters: dict[str, str] = {}
        self._order: list[str] = []
        self._contents: list[str] = []
        self._said: dict[str, list[str]] = {}
        self._open: str | None = None
        archive.parse(name, self._start, self._end, self._text)

    @property
    def chapters(self) -> list[str]:
        """Names of the members, none twice."""
        return list(dict.fromkeys(self._chapters[one] for one in self._order if one in self._chapters))

    @property
    def contents(self) -> list[str]:
        """Names of the members that hold the table of contents, that of EPUB 3 first."""
        return sorted(self._contents, key=lambda name: name.endswith(".ncx"))

    @property
    def metadata(self) -> dict[str, str]:
        """Title, author, date and language, the first of each."""
        return {name: said for name, parts in self._said.items() if (said := " ".join("".join(parts).split()))}

    def _start(self, tag: str, attributes: Mapping[str, str]) -> None:
        name = _METADATA.get(tag)
        self._open = None
        if name and name not in self._said:
            self._said[name] = []
            self._open = name
        elif tag == "item":
            place = unquote(attributes.get("href", "").partition("#")[0])
            target = posixpath.normpath(posixpath.join(self._folder, place))
            kind = attributes.get("media-type", "").partition(";")[0].strip()
            if kind == _NCX or "nav" in attributes.get("properties", "").split():
                self._contents.append(target)
            elif kind in _CHAPTERS:
                self._chapters[attributes.get("id", "")] = target
        elif tag == "itemref":  # what is not linear are notes and answers, which readers open by links
            self._order.append(attributes.get("idref", ""))

    def _end(self, tag: str) -> None:  # noqa: ARG002
        self._open = None

    def _text(self, text: str) -> None:
        if self._open:
            self._said[self._open].append(text)


def _package_name(archive: Archive) -> str:
    names = archive.values(_CONTAINER, "rootfile", "full-path")
    if not names:
        raise DocumentError(f"it is no book: {_CONTAINER} names no package")
    return names[0]


def _protected(archive: Archive) -> set[str]:
    """The members that are encrypted; fonts may be so in any book."""
    return set(map(unquote, archive.values(_ENCRYPTION, "CipherReference", "URI"))) if _ENCRYPTION in archive else set()


EPUB = parsed_reader(__name__, ".epub")
