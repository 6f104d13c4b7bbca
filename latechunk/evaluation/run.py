"""All that ``latechunk evaluate`` does: load the encoders, evaluate the sets of a folder, write the report."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
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
    _require_writable(request.out)
    sets = [_with_language(one, request.language) for one in read_sets(request.data)]
    setup = Setup(
        encoders=_load_encoders(request),
        max_tokens=request.max_tokens,
        arms=request.arms,
        depth=request.depth,
    )
    results, seconds = [], {}
    for one in sets:
        begin = time.perf_counter()
        results.append(evaluate(one, setup, request.out / "work", on_progress))
        seconds[one.name] = time.perf_counter() - begin
    on_progress("writing the report", 1.0)
    report = build_report(results, setup, seconds)
    write_report(request.out, report)
    return report


def _require_writable(out: Path) -> None:
    """Raise now, and not after everything was encoded, if the results cannot be kept."""
    try:
        (out / "work").mkdir(parents=True, exist_ok=True)
        probe = out / "work" / ".probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(f"the report cannot be written to {out}: {error}; choose another folder with --out") from error


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
    for model in request.models or (DEFAULT_MODEL,):
        for dims in request.dims or (None,):
            for window in request.windows or (None,):
                options: dict[str, Any] = {
                    "device": request.device,
                    "dtype": request.dtype,
                    "dims": dims,
                    "adapters": request.adapters,
                }
                name = model + _describe_adapters(request.adapters) + (f", {dims} dims" if dims else "")
                if window:
                    options |= {"window_tokens": window, "context": "windows"}
                    name += f", windows of {window}"
                encoders[name] = Encoder.load(model, **options)
    return encoders


def _describe_adapters(adapters: str | None) -> str:
    """What a table adds to the model's name; nothing where nothing was asked for."""
    if adapters is None:
        return ", no adapters"
    return "" if adapters == "auto" else f", adapters {Path(adapters).name}"
