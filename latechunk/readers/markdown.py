"""Markdown files: one document each; front matter in YAML or TOML becomes metadata and is no part of the text.

The rows of long tables have the names of their columns.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from typing import Any

from latechunk.errors import DocumentError
from latechunk.readers.markdown_tables import name_columns
from latechunk.readers.reader import Reader, Reading, SourceFile, read_text, with_source
from latechunk.types import FIRST_LINE, Document, encode_metadata

_MOST_FRONT_MATTER = 65_536  # characters; a longer one is no front matter
_MOST_LEVELS = 50
_FENCE = re.compile(r"(---|\+\+\+)[ \t]*\r?\n")
_ENDS = {
    mark: re.compile(rf"^(?:{ends})[ \t]*(?:\r?\n|\Z)", re.MULTILINE)
    for mark, ends in (("---", r"---|\.\.\."), ("+++", r"\+\+\+"))  # of YAML, and of TOML, as Hugo has it
}


def _read(file: SourceFile, reading: Reading) -> Iterator[Document]:
    text = read_text(file, reading)
    try:
        metadata, body = split_front_matter(text)
        encode_metadata(metadata, file.name)
    except DocumentError as error:
        reading.on_note(str(file.path), f"front matter that is left in the text: {error}")
        metadata, body = {}, text
    if len(body) < len(text):
        metadata = {**metadata, FIRST_LINE: 1 + text.count("\n", 0, len(text) - len(body))}
    yield Document(file.name, name_columns(body), with_source(metadata, file))


def split_front_matter(text: str) -> tuple[dict[str, Any], str]:
    """Split front matter from the text after it; none if the text does not begin with a mapping between fences.

    Raises:
        DocumentError: If it is neither YAML nor, between ``+++``, TOML, or has aliases or anything but plain values.
    """
    begin = _FENCE.match(text)
    end = _ENDS[begin[1]].search(text, begin.end(), _MOST_FRONT_MATTER) if begin else None
    if not begin or not end:
        return {}, text
    content = (_parse_yaml if begin[1] == "---" else _parse_toml)(text[begin.end() : end.start()])
    if not isinstance(content, dict):  # two thematic breaks, and what stands between them
        return ({}, text[end.end() :]) if content is None else ({}, text)
    return content, text[end.end() :]


def _parse_yaml(text: str) -> Any:
    import yaml

    try:
        n_levels = 0
        for event in yaml.parse(text, yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent):
                raise DocumentError("it has aliases (*name), and a few lines of them can stand for gigabytes")
            n_levels += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if n_levels > _MOST_LEVELS:  # PyYAML takes minutes for thousands of them
                raise DocumentError(f"it is nested more than {_MOST_LEVELS} levels deep")
        return yaml.safe_load(text)
    except DocumentError:
        raise
    except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise DocumentError(f"not YAML: {' '.join(str(error).split()):.200}") from error


def _parse_toml(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text.replace("\r\n", "\n"))
    except (ValueError, RecursionError) as error:
        raise DocumentError(f"not TOML: {' '.join(str(error).split()):.200}") from error


MARKDOWN = Reader(suffixes=(".md", ".markdown", ".mdx"), read=_read)
