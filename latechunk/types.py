"""The values that pass between the packages: documents, tokens, spans, chunks, hits."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, time
from enum import Enum
from pathlib import PurePath, PurePosixPath, PureWindowsPath
from typing import Any, Literal, NamedTuple, Self, TypeAlias, TypeVar, get_args
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from latechunk.errors import DocumentError, InputError, SpanError

IntArray: TypeAlias = NDArray[np.int64]
FloatArray: TypeAlias = NDArray[np.float32]
ScoreArray: TypeAlias = NDArray[np.float64]
BoolArray: TypeAlias = NDArray[np.bool_]
Settings: TypeAlias = Mapping[str, Any]
"""What made something, as JSON: two things made alike have equal settings."""
Mode: TypeAlias = Literal["late", "naive", "blend"]
"""How chunk vectors are made; see ``latechunk.Embedding``."""
BlockKind: TypeAlias = Literal["heading", "table", "code", "list"]


FIRST_LINE = "first_line"
"""The metadata key of the line of its file on which a document's text begins, where that is not the first."""
TABLE_ROW = "table_row"
"""The metadata key of the number, from 1, of the row of its table that a document is."""

_Part = TypeVar("_Part", "Page", "Block")

_MOST_LEVELS = 100  # of metadata, of which SQLite reads 1,000 and no more, and of headings


def require_text(value: object, name: str, error: type[InputError]) -> None:
    """Raise ``error`` unless ``value`` is a string that UTF-8 can hold."""
    if not isinstance(value, str):
        raise error(f"{name} must be a string, got {type(value).__name__}: {value!r:.80}")
    if value.isascii():  # known without a look at the text
        return
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as found:
        raise error(
            f"{name} has the lone surrogate {value[found.start]!r} at character {found.start}, which no UTF-8 text "
            f"can hold; decode the source with the right encoding or replace the character first"
        ) from None


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
    metadata: Mapping[str, Any] = field(default_factory=dict)
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


def encode_metadata(metadata: Mapping[str, Any], document_id: str) -> str:
    """Write metadata as canonical JSON; DocumentError, which names the key, if JSON cannot hold it."""
    name = f"the metadata of document {document_id!r}"
    try:
        plain = _to_json(metadata, "", _MOST_LEVELS)
        encoded = json.dumps(plain, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise DocumentError(
            f"{name} must be what JSON can hold (text, finite numbers, booleans, null, lists, mappings, and dates, "
            f"times, paths, UUIDs, enums and numpy values, which become text or numbers): {error}"
        ) from error
    require_text(encoded, name, DocumentError)
    return encoded


def to_plain(value: Any) -> Any:
    """Give dates, times, paths, UUIDs, enums and numpy's values their usual form in JSON; anything else as it is."""
    if type(value) in (str, int, float, bool, type(None)):
        return value
    if isinstance(value, Enum):
        return to_plain(value.value)
    if isinstance(value, date | time):  # a datetime is a date
        return value.isoformat()
    if isinstance(value, np.datetime64):
        return str(value)
    if isinstance(value, UUID | PurePath):
        return str(value)
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    return str(value) if isinstance(value, str) else value


def _to_json(value: Any, place: str, n_levels: int) -> Any:
    if isinstance(value, Mapping | list | tuple | np.ndarray) and not n_levels:
        raise ValueError(f"it is nested more than {_MOST_LEVELS} levels deep")
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise ValueError(f"{key!r:.80}{f' in {place!r}' if place else ''} must be a string to be a key")
        return {key: _to_json(item, f"{place}.{key}" if place else key, n_levels - 1) for key, item in value.items()}
    plain = to_plain(value)
    if isinstance(plain, list | tuple):
        return [_to_json(item, f"{place}[{number}]", n_levels - 1) for number, item in enumerate(plain)]
    if isinstance(plain, float) and not math.isfinite(plain):
        raise ValueError(f"{place!r} is {plain}; leave it out, or give None")
    if not isinstance(plain, str | int | float | None):
        kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
        raise ValueError(f"{place!r} is of type {kind}; turn it into one of these, or leave it out")
    return plain


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A half-open range of characters (Unicode code points) of one document's text.

    Raises:
        SpanError: If it is empty or starts before 0.

    Examples:
        >>> Span(0, 6)
        Span(start=0, end=6)
    """

    start: int
    end: int

    def __post_init__(self) -> None:
        try:
            start, end = operator.index(self.start), operator.index(self.end)
        except TypeError as error:
            raise SpanError(f"a span needs whole numbers, got [{self.start!r:.40}, {self.end!r:.40})") from error
        if not 0 <= start < end:
            raise SpanError(f"a span needs 0 <= start < end, got [{start}, {end})")
        object.__setattr__(self, "start", start)  # plain int, whatever kind of whole number came
        object.__setattr__(self, "end", end)


@dataclass(frozen=True, slots=True)
class Tokens:
    """One text as a model reads it, without special tokens and without truncation.

    Attributes:
        prompt_ids: Ids of the prompt's tokens, which precede the content in every window.
        ids: Ids of the content tokens, shape ``(n_tokens,)``.
        offsets: Half-open character range of each content token in the text, both columns non-decreasing and
            no range empty, shape ``(n_tokens, 2)``. Tokens of one character share its range.
    """

    prompt_ids: tuple[int, ...]
    ids: IntArray
    offsets: IntArray

    def __len__(self) -> int:
        return len(self.ids)


class PageNumber(NamedTuple):
    """A page on which a passage stands: its place among the document's pages, from 0, and its label."""

    number: int
    label: str | None


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage of a document: ``document.text[start:end]``, to the character.

    Attributes:
        document_id: The document it is from.
        number: Its place among the document's chunks, from 0.
        start: First character, in Unicode code points.
        end: One past the last character.
        text: The characters themselves.
        metadata: The document's metadata.
        granularity: The name of the chunking that it belongs to.
        headings: The headings under which it stands, outermost first.
        pages: The pages on which it stands, the first to the last. White space at its ends does not count.
        line: The line on which it begins, from 1: of the file where that is read as it is, else of the document's text.
            None if that is not known.

    Examples:
        >>> chunk = index.chunks("berlin")[0]
        >>> documents[0].text[chunk.start : chunk.end] == chunk.text
        True
        >>> chunk.citation
        'berlin:1'
    """

    document_id: str
    number: int
    start: int
    end: int
    text: str
    metadata: Mapping[str, Any]
    granularity: str = "chunks"
    headings: tuple[str, ...] = ()
    pages: tuple[PageNumber, ...] = ()
    line: int | None = None

    @property
    def citation(self) -> str:
        """Its place as people cite it: ``guide.pdf, p. iii, Refunds > Shipping``.

        The first is its source, as the metadata of files have it, else the document's id; a page without a label has
        its number from 1. A row of a table is cited by its number, ``people.csv, row 7``, and any other passage
        without pages and headings by its line, ``notes.txt:12``.
        """
        source = _name_source(self.document_id, self.metadata)
        row = self.metadata.get(TABLE_ROW)
        parts = [_cite_pages(self.pages), f"row {row}" if type(row) is int else "", " > ".join(self.headings)]
        if not any(parts):
            return source if self.line is None else f"{source}:{self.line}"
        return ", ".join(part for part in (source, *parts) if part)


def _name_source(document_id: str, metadata: Mapping[str, Any]) -> str:
    """The file as it is named where it is, or its name alone where that is a place of one machine; else the id."""
    given = (metadata.get(key) for key in ("source", "file_path", "file_name"))
    source = next((one for one in given if isinstance(one, str) and one.strip()), document_id)
    name = without_row(document_id, metadata)
    if source.endswith(f"/{name}"):  # the id is the path from the folder that was indexed
        source = name
    for flavour in (PurePosixPath, PureWindowsPath):
        if flavour(source).is_absolute():
            return flavour(source).name or source
    return source


def without_row(document_id: str, metadata: Mapping[str, Any]) -> str:
    """The id that the file of a row has, ``people.csv`` for ``people.csv#7``; any other id as it is."""
    return document_id.removesuffix(f"#{metadata.get(TABLE_ROW)}")


def _cite_pages(pages: Sequence[PageNumber]) -> str:
    named = [str(page.number + 1) if page.label is None else page.label for page in pages]
    return "" if not named else f"p. {named[0]}" if named[0] == named[-1] else f"pp. {named[0]}-{named[-1]}"


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage that was found.

    Attributes:
        score: How well it answers the query, more being better. In dense search it is ``dense``, in lexical search
            ``lexical``. In hybrid search it is the weighted sum of both in standard deviations above their means over
            all chunks of the index: 0 is an average chunk, and all are 0 where no chunk differs. With
            ``fusion="rrf"`` it is a sum of ``weight / (60 + rank)``, at most 1 / 61. With a reranker it is what that
            gave.
        chunk: The passage. Where chunks were joined or replaced by a larger one, its ``number`` and ``granularity``
            are those of its first part or of the larger one.
        found: The chunks that were found in the passage, best first, where it is not one of them itself.
        dense: The cosine of its vector with the query's, in [-1, 1]; None in lexical search. Of a passage of several
            chunks, this and the next are of the best one.
        lexical: Its BM25 score with what its document and its headings add, from 0, without an upper bound; None in
            dense search.

    Examples:
        >>> index.search("people in Berlin", k=1)[0].chunk.document_id
        'berlin'
    """

    score: float
    chunk: Chunk
    found: tuple[Chunk, ...] = ()
    dense: float | None = None
    lexical: float | None = None

    @property
    def citation(self) -> str:
        """The place of its passage, as people cite it; see ``Chunk.citation``."""
        return self.chunk.citation


@dataclass(frozen=True, slots=True)
class PoolingTask:
    """A tokenised text and the token ranges, half-open, shape ``(n_spans, 2)``, whose means are wanted."""

    tokens: Tokens
    ranges: IntArray

    @classmethod
    def whole(cls, tokens: Tokens) -> Self:
        """One span that holds all tokens of a text."""
        return cls(tokens, np.array([[0, len(tokens)]], dtype=np.int64))


@dataclass(frozen=True, slots=True)
class WindowPlan:
    """The windows of one text, in order.

    Attributes:
        starts: First token of each window, shape ``(n_windows,)``.
        ends: One past the last token of each window, shape ``(n_windows,)``.
        seams: Window ``i`` owns the tokens from ``seams[i]`` to ``seams[i + 1]``, shape ``(n_windows + 1,)``.
    """

    starts: IntArray
    ends: IntArray
    seams: IntArray

    def __len__(self) -> int:
        return len(self.starts)
