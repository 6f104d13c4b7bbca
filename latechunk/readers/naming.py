"""Give documents their ids: their own, else the file or address they are from, else a hash of their text."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, TypeVar

from latechunk.types import TABLE_ROW

# Loaders number with these what is part of a source.
_PARTS = ("page", "page_label", "page_number", "row", TABLE_ROW, "seq_num")
_FILE = re.compile(r"[/\\]|\.[A-Za-z]\w{0,7}$")  # a path, an address, or a name that ends in one of a format

Original = TypeVar("Original")


def name_documents(
    documents: Iterable[Original],
    read: Callable[[Original], tuple[str | None, str, Mapping[str, Any]]],
    *,
    source_keys: Sequence[str] = ("source",),
) -> Iterator[tuple[str, Original]]:
    """Give each document the id that it has whenever it comes, so that adding it twice changes nothing.

    That is its own id, if it has one; else its source, the first of ``source_keys`` that its metadata have; else a hash
    of its text. Neighbours that share a source, what the metadata number as a part of it (``page``, ``row``), and what
    has a ``source`` that is no file and no address, such as "tweet", are not the whole of it: their ids are hashes of
    source and text. Equal texts are numbered as they come. This is for adapters, as ``join_pages``.

    Args:
        documents: Of any kind, one by one.
        read: Tells a document's id, None if nobody chose one, its text and its metadata.
        source_keys: Where the metadata name the source.

    Examples:
        >>> texts = [(None, "Berlin is big.", {"source": "berlin.md"}), ("own", "Paris.", {})]
        >>> [name for name, _ in name_documents(texts, lambda document: document)]
        ['berlin.md', 'own']
    """
    parts = ((one, *read(one)) for one in documents)
    seen: Counter[str] = Counter()

    def hashed(text: str) -> str:
        name = _hash(text)
        seen[name] += 1  # the second of two equal documents is another one, whenever both come
        return name if seen[name] == 1 else _hash(f"{name}\0{seen[name]}")

    for source, run in groupby(parts, lambda part: _source_of(part[1], part[3], source_keys)):
        if source is None:
            yield from ((hashed(text) if own is None else own, one) for one, own, text, _ in run)
            continue
        members = list(run)
        metadata = members[0][3]
        is_file = _FILE.search(source) or source != str(metadata.get("source"))  # as file_path says by its name
        is_whole = len(members) == 1 and is_file and not any(key in metadata for key in _PARTS)
        yield from ((source if is_whole else hashed(f"{source}\0{text}"), one) for one, _, text, _ in members)


def _source_of(own: str | None, metadata: Mapping[str, Any], source_keys: Sequence[str]) -> str | None:
    if own is not None:
        return None
    return next((str(metadata[key]) for key in source_keys if metadata.get(key) and str(metadata[key]).strip()), None)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
