"""Texts, ids and metadata that can be stored: UTF-8, and what JSON holds."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import date, time
from enum import Enum
from pathlib import PurePath
from typing import Any
from uuid import UUID

import numpy as np

from latechunk.errors import DocumentError, InputError

FIRST_LINE = "first_line"
"""The metadata key of the line of its file on which a document's text begins, where that is not the first."""
RECORD_FILE = "latechunk_file"
"""The metadata key of the file and row, ``/data/corpus.jsonl#7``, of a record that names a source of its own."""

TABLE_ROW = "table_row"
"""The metadata key of the number, from 1, of the row of its table that a document is."""

TABLE_SHEET = "table_sheet"
"""The metadata key of the name of the sheet that this row stands on, in a workbook."""

MOST_LEVELS = 100  # of metadata, of which SQLite reads 1,000 and no more


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


def require_ids(ids: object, name: str) -> None:
    """Raise an InputError unless ``ids`` is a list of texts; ``name`` is the argument's."""
    if isinstance(ids, str) or not isinstance(ids, Sequence) or not all(isinstance(one, str) for one in ids):
        raise InputError(f"{name} must be a list of ids, got {ids!r:.80}")
    for one in ids:
        require_text(one, "a document id", InputError)


def encode_metadata(metadata: Mapping[str, Any], document_id: str) -> str:
    """Write metadata as canonical JSON; DocumentError, which names the key, if JSON cannot hold it."""
    name = f"the metadata of document {document_id!r}"
    try:
        plain = _to_json(metadata, "", MOST_LEVELS)
        encoded = json.dumps(plain, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise DocumentError(
            f"{name} must be what JSON can hold (text, finite numbers, booleans, null, lists, mappings, and dates, "
            f"times, paths, UUIDs, enums and numpy values, which become text or numbers): {error}"
        ) from error
    require_text(encoded, name, DocumentError)
    return encoded


def to_plain(value: Any) -> Any:
    """Give dates, times, paths, UUIDs, enums and numpy's values their usual form in JSON; anything else as it is.

    A missing date is NaN, which is refused like a missing number.
    """
    if type(value) in (str, int, float, bool, type(None)):
        return value
    if isinstance(value, Enum):
        return to_plain(value.value)
    if isinstance(value, date | time | np.datetime64):  # a datetime is a date
        form = str(value) if isinstance(value, np.datetime64) else value.isoformat()
        return math.nan if form == "NaT" else form  # a missing date of numpy or pandas
    if isinstance(value, UUID | PurePath):
        return str(value)
    if isinstance(value, np.ndarray):  # element by element, since tolist makes whole numbers of dates
        return list(value) if value.ndim else to_plain(value[()])
    if isinstance(value, np.generic) and not isinstance(value, np.timedelta64):
        return value.tolist()
    return str(value) if isinstance(value, str) else value


def _to_json(value: Any, place: str, n_levels: int) -> Any:
    if isinstance(value, Mapping | list | tuple | np.ndarray) and not n_levels:
        raise ValueError(f"it is nested more than {MOST_LEVELS} levels deep")
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
