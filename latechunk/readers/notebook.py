"""Jupyter notebooks: one document each, in Markdown, with code cells as fenced code; outputs are left out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from latechunk.errors import DocumentError
from latechunk.readers.reader import Reader, Reading, SourceFile, read_text, with_source
from latechunk.types import Document


def _read(file: SourceFile, reading: Reading) -> Iterator[Document]:
    try:
        notebook = json.loads(read_text(file, reading))
    except (ValueError, RecursionError) as error:
        raise DocumentError(f"a notebook must be JSON: {error}") from error
    texts = [text for cell in _cells(notebook) if (text := _render(cell, _language(notebook)))]
    if not texts:
        raise DocumentError("this notebook has no cell with text")
    title = _get(notebook, "metadata", "title")
    yield Document(
        file.name, "\n\n".join(texts) + "\n", with_source({"title": title} if isinstance(title, str) else {}, file)
    )


def _cells(notebook: Any) -> list[Any]:
    if not isinstance(notebook, dict):
        raise DocumentError(f'a notebook must be an object with "cells", got {type(notebook).__name__}')
    sheets = notebook.get("worksheets")  # before format 4
    lists = [_get(one, "cells") for one in (notebook, *(sheets if isinstance(sheets, list) else ()))]
    return [cell for cells in lists if isinstance(cells, list) for cell in cells]


def _render(cell: Any, language: str) -> str:
    source = _get(cell, "source", default=_get(cell, "input"))
    text = "".join(one for one in source if isinstance(one, str)) if isinstance(source, list) else source
    if not isinstance(text, str) or not text.strip():
        return ""
    if _get(cell, "cell_type") != "code":
        return text.strip("\r\n")
    runs = re.findall(r"`{3,}", text)
    fence = "`" * max(3, 1 + max(map(len, runs), default=0))
    return f"{fence}{language}\n{text.strip(chr(10))}\n{fence}"


def _language(notebook: Any) -> str:
    name = _get(
        notebook, "metadata", "kernelspec", "language", default=_get(notebook, "metadata", "language_info", "name")
    )
    return name if isinstance(name, str) and re.fullmatch(r"[\w+#.-]{1,30}", name) else ""


def _get(value: Any, *keys: str, default: Any = None) -> Any:
    for key in keys:
        if not isinstance(value, Mapping) or key not in value:
            return default
        value = value[key]
    return value


NOTEBOOK = Reader(suffixes=(".ipynb",), read=_read)
