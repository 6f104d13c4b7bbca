"""All that ``latechunk evaluate`` does: load the encoders, evaluate the sets of a folder, write the report."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from latechunk.chunking.sentence import SentenceChunker
from latechunk.encoding.encoder import Encoder
from latechunk.errors import InputError
from latechunk.evaluation.dataset import EvaluationSet
from latechunk.evaluation.harness import Setup, evaluate
from latechunk.evaluation.loaders import read_sets
from latechunk.evaluation.report import Report, build_report, write_report
from latechunk.models.catalogue import DEFAULT_MODEL
from latechunk.protocols import SpanEncoder
from latechunk.validation import Validated


class EvaluationRequest(Validated):
    """What to evaluate; empty where the default is wanted. ``adapters`` is as the encoder takes it, None for none."""

    data: Path
    out: Path
    arms: tuple[str, ...]
    max_tokens: tuple[int, ...]
    models: tuple[str, ...] = ()
    adapters: str | None = "auto"
    dims: tuple[int, ...] = ()
    windows: tuple[int, ...] = ()
    language: str = "en"
    depth: int = 10
    device: str = "auto"
    dtype: str = "auto"


def evaluate_folder(request: EvaluationRequest, on_progress: Callable[[str, float], None]) -> Report:
    """Evaluate all sets of a folder and write the report.

    Raises:
        InputError: If the request cannot be met or the data cannot be read.
        ModelError: If a model cannot be used.
    """
    work = request.out / "work"
    try:  # now, and not after everything was encoded
        work.mkdir(parents=True, exist_ok=True)
        (work / ".probe").touch()
        (work / ".probe").unlink()
    except OSError as error:
        message = f"the report cannot be written to {request.out}: {error}; choose another folder with --out"
        raise InputError(message) from error
    sets = [_with_language(one, request.language) for one in read_sets(request.data)]
    setup = Setup(_load_encoders(request), max_tokens=request.max_tokens, arms=request.arms, depth=request.depth)
    results, seconds = [], {}
    for one in sets:
        begin = time.perf_counter()
        results.append(evaluate(one, setup, work, on_progress))
        seconds[one.name] = time.perf_counter() - begin
    on_progress("writing the report", 1.0)
    report = build_report(results, setup, seconds)
    write_report(request.out, report)
    return report


def _with_language(one: EvaluationSet, language: str) -> EvaluationSet:
    """Documents that do not say their language are taken to be of the one that the user says."""
    documents = []
    for document in one.documents:
        told = document.metadata.get("lang", language)
        try:
            SentenceChunker(language=told)
        except InputError as error:
            raise InputError(f"{one.name}: document {document.id!r}: {error}") from error
        documents.append(replace(document, metadata={**document.metadata, "lang": told}))
    return replace(one, documents=tuple(documents))


def _load_encoders(request: EvaluationRequest) -> dict[str, SpanEncoder]:
    """An encoder for each model, length of vectors and window."""
    encoders: dict[str, SpanEncoder] = {}
    adapters = request.adapters
    for model, dims, window in product(
        request.models or (DEFAULT_MODEL,), request.dims or (None,), request.windows or (None,)
    ):
        name = model + (", no adapters" if adapters is None else "")
        name += f", adapters {Path(adapters).name}" if adapters not in (None, "auto") else ""
        name += (f", {dims} dims" if dims else "") + (f", windows of {window}" if window else "")
        options: dict[str, Any] = {"device": request.device, "dtype": request.dtype, "dims": dims, "adapters": adapters}
        options |= {"window_tokens": window, "context": "windows"} if window else {}
        encoders[name] = Encoder.load(model, **options)
    return encoders
