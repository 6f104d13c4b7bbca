"""The values that pass between the packages: documents, tokens, spans, chunks, hits."""

from latechunk.types.arrays import BoolArray, FloatArray, IntArray, Mode, ScoreArray, Settings
from latechunk.types.citation import PageNumber, cite_row, without_row
from latechunk.types.documents import Block, BlockKind, Document, Page
from latechunk.types.metadata import (
    FIRST_LINE,
    RECORD_FILE,
    TABLE_ROW,
    TABLE_SHEET,
    encode_metadata,
    require_ids,
    require_text,
    to_plain,
)
from latechunk.types.passages import Chunk, Hit, Span
from latechunk.types.tokens import PoolingTask, Tokens, WindowPlan

__all__ = [
    "FIRST_LINE",
    "RECORD_FILE",
    "TABLE_ROW",
    "TABLE_SHEET",
    "Block",
    "BlockKind",
    "BoolArray",
    "Chunk",
    "Document",
    "FloatArray",
    "Hit",
    "IntArray",
    "Mode",
    "Page",
    "PageNumber",
    "PoolingTask",
    "ScoreArray",
    "Settings",
    "Span",
    "Tokens",
    "WindowPlan",
    "cite_row",
    "encode_metadata",
    "require_ids",
    "require_text",
    "to_plain",
    "without_row",
]
