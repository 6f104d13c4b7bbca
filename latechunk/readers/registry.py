"""The readers by suffix. A new format is a module in this package and an entry here."""

from __future__ import annotations

from collections.abc import Mapping

from latechunk.readers.jsonl import JSONL
from latechunk.readers.reader import Reader
from latechunk.readers.text import TEXT

READERS: Mapping[str, Reader] = {suffix: reader for reader in (TEXT, JSONL) for suffix in reader.suffixes}
