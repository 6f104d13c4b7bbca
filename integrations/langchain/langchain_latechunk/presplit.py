"""Refuse documents that are surely pieces that a text splitter made.

A late chunk's vector is pooled from the token embeddings of its whole document. A piece that comes alone has no
document, and the result would be the naive vector that this package exists to avoid, without anybody noticing.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from itertools import pairwise

from langchain_core.documents import Document

from langchain_latechunk.passages import DOCUMENT_ID, KEYS
from latechunk.errors import DocumentError

_LEAST_OVERLAP = 20  # characters; splitters overlap by hundreds, whole documents hardly by a word
_MOST_OVERLAP = 4_000  # what splitters are commonly told, and more
_FILE = re.compile(r"[/\\]|\.[A-Za-z]\w{1,7}$")  # a path, an address, or a name that ends in one of a format
_HEADING = re.compile(r"(Header|Heading|h)[ _]?[1-6]", re.IGNORECASE)  # what the splitters' documentation calls them
_PIECE_KEYS = ("element_id", "dl_meta", "page_number")  # of UnstructuredLoader and DoclingLoader, which give pieces
_REMEDY = (
    "add the document as it was before the splitter: this package cuts it itself, and each chunk's vector needs the "
    "text around it"
)


class PreSplitError(DocumentError):
    """Pieces of a document came where the whole document is needed."""


class PreSplitWarning(UserWarning):
    """Documents look like pieces of one, though they may be whole."""


def require_whole(documents: Sequence[Document], names: Sequence[str | None]) -> None:
    """Let only documents pass that are not known to be pieces.

    Certain, and refused: ``start_index`` in the metadata, which text splitters write; the metadata of a chunk that
    this package gave back; neighbours with the same metadata of which one begins with the end of the other. A key of
    the metadata that passages have is refused, too. Likely, and
    warned about: several documents whose ``source`` is the same file or address, with the same metadata or with a key
    of loaders that give pieces; and several that have headings in their metadata, as splitters at headings write them.
    """
    called = [
        f"document number {number} of the list" if n is None else f"document {n!r}" for number, n in enumerate(names)
    ]
    for name, document in zip(called, documents, strict=True):
        if type(document.metadata.get("start_index")) is int:
            raise PreSplitError(
                f"{name} is a piece of a larger one: its metadata have start_index "
                f"{document.metadata['start_index']}, which a text splitter writes; {_REMEDY}. If the key means "
                f"something else, give it another name"
            )
        if DOCUMENT_ID in document.metadata:
            raise PreSplitError(
                f"{name} is a chunk that was found in {document.metadata[DOCUMENT_ID]!r}; {_REMEDY}. Keys that begin "
                f"with {DOCUMENT_ID.removesuffix('document_id')!r} are for chunks that were found"
            )
        taken = [key for key in KEYS if key in document.metadata]
        if taken:
            raise DocumentError(
                f"{name} has {', '.join(map(repr, taken))} in its metadata, where each passage has its place, so what "
                f"it says would be lost; give it another name"
            )
    for name, (left, right) in zip(called[1:], pairwise(documents), strict=True):
        if left.metadata == right.metadata and _overlap(left.page_content, right.page_content):
            raise PreSplitError(
                f"{name} begins with the end of the one before it, as the pieces of a text splitter do; {_REMEDY}. If "
                f"both are whole, give them metadata that differ"
            )
    _warn_of_shared_source(documents)
    if sum(any(_HEADING.fullmatch(str(key)) for key in document.metadata) for document in documents) > 1:
        _warn('several documents have a heading in their metadata, such as "Header 1", as splitters write it')


def _overlap(left: str, right: str) -> bool:
    """Whether a true end of ``left`` is a true beginning of ``right``, of more than a few characters.

    What ``left`` begins with as well is the head and foot of a form.
    """
    head = right[:_LEAST_OVERLAP]
    if len(head) < _LEAST_OVERLAP or not head.strip() or left.startswith(right) or right.startswith(left):
        return False
    place = left.find(head, max(0, len(left) - _MOST_OVERLAP))
    while place >= 0:
        if right.startswith(left[place:]) and not left.startswith(left[place:]):
            return True
        place = left.find(head, place + 1)
    return False


def _warn_of_shared_source(documents: Sequence[Document]) -> None:
    first: dict[str, Document] = {}
    for document in documents:
        source = document.metadata.get("source")
        if not isinstance(source, str) or not _FILE.search(source):
            continue
        other = first.setdefault(source, document)
        if other is document:
            continue
        named = [key for key in _PIECE_KEYS if key in document.metadata]
        if named or other.metadata == document.metadata:
            shared = f"{named[0]!r}, which loaders of pieces write" if named else "the same metadata"
            _warn(f"several documents have the source {source!r:.80} and {shared}")
            return


def _warn(seen: str) -> None:
    warnings.warn(
        f"{seen}: if they are pieces of one document, {_REMEDY}; if they are whole, other metadata silence this",
        PreSplitWarning,
        stacklevel=6,
    )
