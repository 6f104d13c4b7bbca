"""Pages and outlines as what JSON holds, and back: the one form in which they are stored and travel."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from latechunk.errors import DocumentError
from latechunk.types import Block, Page


def list_pages(pages: Sequence[Page]) -> list[list[Any]]:
    """Each page as ``[start, end, label]``.

    Examples:
        >>> list_pages((Page(0, 9, "i"), Page(10, 14)))
        [[0, 9, 'i'], [10, 14, None]]
    """
    return [[page.start, page.end, page.label] for page in pages]


def list_blocks(outline: Sequence[Block]) -> list[list[Any]]:
    """Each block as ``[kind, start, end, level]``.

    Examples:
        >>> list_blocks((Block("heading", 0, 8, 1),))
        [['heading', 0, 8, 1]]
    """
    return [[block.kind, block.start, block.end, block.level] for block in outline]


def parse_pages(value: object) -> tuple[Page, ...]:
    """What ``list_pages`` gave; a DocumentError if it is something else."""
    return tuple(Page(*one) for one in _rows(value, "pages", "[start, end, label]", 3))


def parse_blocks(value: object) -> tuple[Block, ...]:
    """What ``list_blocks`` gave; a DocumentError if it is something else."""
    return tuple(Block(*one) for one in _rows(value, "blocks", "[kind, start, end, level]", 4))


# To make an encoder takes longer than to write a list.
to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
"""The one way in which pages, outlines and such lists are stored, so that equal ones are equal strings."""


def _rows(value: object, what: str, form: str, size: int) -> list[list[Any]]:
    if not isinstance(value, list) or not all(isinstance(one, list) and len(one) == size for one in value):
        raise DocumentError(f"{what} must be a list of {form}, got {value!r:.80}")
    return value
