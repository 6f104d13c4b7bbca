"""What is indexed: documents with their pages and outlines."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self, TypeAlias, TypeVar, get_args

from latechunk.errors import DocumentError
from latechunk.types.metadata import encode_metadata, require_text

BlockKind: TypeAlias = Literal["heading", "table", "code", "list"]

_Part = TypeVar("_Part", "Page", "Block")

_MOST_LEVELS = 100  # of headings


@dataclass(frozen=True, slots=True)
class Page:
    r"""A page of a document: ``document.text[start:end]``.

    Attributes:
        start: First character, in Unicode code points.
        end: One past the last character; equal to ``start`` if the page is blank.
        label: What is printed on the page, such as "iii"; None if that is not known.

    Raises:
        DocumentError: If it ends before it starts, or starts before 0.

    Examples:
        >>> Document("a.pdf", "Berlin is\nbig.", pages=(Page(0, 9, "i"), Page(10, 14, "ii"))).pages[1].label
        'ii'
    """

    start: int
    end: int
    label: str | None = None

    def __post_init__(self) -> None:
        _require_range(self, self.start, self.end)
        if self.label is not None:
            require_text(self.label, "the label of a page", DocumentError)


@dataclass(frozen=True, slots=True)
class Block:
    r"""A part of a document that is not plain prose: ``document.text[start:end]``.

    Attributes:
        kind: ``"heading"``, ``"table"``, ``"code"`` or ``"list"``.
        start: First character, in Unicode code points.
        end: One past the last character.
        level: Of a heading, 1 being the outermost and 100 the deepest; 0 for any other block.

    Raises:
        DocumentError: If it is empty, starts before 0, or has another kind or level.

    Examples:
        >>> Document("berlin.md", "# Berlin\nBerlin is big.", outline=(Block("heading", 0, 8, 1),)).outline[0].level
        1
    """

    kind: BlockKind
    start: int
    end: int
    level: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.kind, str) or self.kind not in get_args(BlockKind):
            raise DocumentError(f"the kind of a block must be one of {get_args(BlockKind)}, got {self.kind!r:.80}")
        _require_range(self, self.start, self.end)
        if self.start == self.end:
            raise DocumentError(f"a block must hold text, got {self}")
        lowest, highest = (1, _MOST_LEVELS) if self.kind == "heading" else (0, 0)
        if type(self.level) is not int or not lowest <= self.level <= highest:
            raise DocumentError(f"the level of a heading is 1 to {_MOST_LEVELS}, and of any other block 0, got {self}")


def _require_range(what: Page | Block, start: object, end: object) -> None:
    if type(start) is not int or type(end) is not int or not 0 <= start <= end:
        raise DocumentError(f"a {type(what).__name__.lower()} needs whole numbers with 0 <= start <= end, got {what}")


@dataclass(frozen=True, slots=True)
class Document:
    """A text to index, whole.

    Attributes:
        id: The user's name for the document, unique in an index and not empty.
        text: The whole text; all offsets count its Unicode code points.
        metadata: What JSON can hold, with string keys; comes back with every hit. Dates and times become ISO strings,
            paths and UUIDs strings, enums their values, numpy's values numbers and lists, and come back as those.
        pages: The pages in order, which do not overlap; what stands between two belongs to neither. Empty if there are
            none.
        outline: Headings, tables, code and lists, sorted by start, and the longer first of those that start together.
            They may overlap. ``()`` says that there are none; None, that nobody knows: an index then looks for them in
            the text, by the conventions of Markdown.
        metadata_json: The same as canonical JSON: keys sorted, no white space, UTF-8 as it is.
        text_sha256: SHA-256 of the text's UTF-8.

    Raises:
        DocumentError: If a field is of the wrong type or cannot be stored.

    Examples:
        >>> Document("berlin", "Berlin is big.", {"lang": "en"}).metadata_json
        '{"lang":"en"}'
    """

    id: str
    text: str
    metadata: Mapping[str, Any] = field(default_factory=dict, hash=False)  # a mapping has none
    pages: tuple[Page, ...] = field(default=(), kw_only=True)
    outline: tuple[Block, ...] | None = field(default=None, kw_only=True)
    metadata_json: str = field(init=False, repr=False, compare=False)
    text_sha256: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        require_text(self.id, "the id of a document", DocumentError)
        if not self.id:
            raise DocumentError("the id of a document must not be empty; give each document a name of its own")
        require_text(self.text, f"the text of document {self.id!r}", DocumentError)
        if not isinstance(self.metadata, Mapping):
            raise DocumentError(
                f"the metadata of document {self.id!r} must be a mapping, got {type(self.metadata).__name__}"
            )
        self._check_pages()
        if self.outline is not None:
            self._check_outline(self.outline)
        object.__setattr__(self, "metadata_json", encode_metadata(self.metadata, self.id))
        # A copy, so that what was checked cannot change afterwards.
        object.__setattr__(self, "metadata", json.loads(self.metadata_json))
        object.__setattr__(self, "text_sha256", hashlib.sha256(self.text.encode("utf-8")).digest())

    def with_outline(self, outline: tuple[Block, ...]) -> Self:
        """The same document with an outline; its text is not hashed again.

        Raises:
            DocumentError: If the outline does not fit the text.
        """
        self._check_outline(outline)
        same = copy.copy(self)
        object.__setattr__(same, "outline", outline)
        return same

    def _check_pages(self) -> None:
        end = 0
        for number, page in enumerate(self._checked_parts("pages", self.pages, Page)):
            if page.start < end:
                raise DocumentError(
                    f"page {number} of document {self.id!r} starts at {page.start}, before the last one ends at {end}; "
                    f"pages must be in order and must not overlap"
                )
            end = page.end

    def _check_outline(self, outline: tuple[Block, ...]) -> None:
        last = (0, -len(self.text))
        for block in self._checked_parts("outline", outline, Block):
            place = (block.start, -block.end)
            if place < last:
                raise DocumentError(
                    f"the outline of document {self.id!r} must be sorted by start, and the longer first of what starts "
                    f"together; {block} comes too late"
                )
            last = place

    def _checked_parts(self, name: str, parts: tuple[_Part, ...], kind: type[_Part]) -> Iterator[_Part]:
        if not isinstance(parts, tuple):
            raise DocumentError(
                f"the {name} of document {self.id!r} must be a tuple of latechunk.{kind.__name__}, "
                f"got {type(parts).__name__}"
            )
        for part in parts:
            if not isinstance(part, kind):
                raise DocumentError(
                    f"the {name} of document {self.id!r} must hold latechunk.{kind.__name__}, "
                    f"got {type(part).__name__}: {part!r:.80}"
                )
            if part.end > len(self.text):
                raise DocumentError(
                    f"the text of document {self.id!r} has {len(self.text)} characters, too few for {part}"
                )
            yield part
