"""What a user asks for in, encoders loaded, sets evaluated, the report written and given back out."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from latechunk.chunking.chunkers import SentenceChunker
from latechunk.errors import InputError, MissingDependencyError
from latechunk.evaluation.dataset import EvaluationSet
from latechunk.models.catalogue import DEFAULT_MODEL
from latechunk.protocols import SpanEncoder

if TYPE_CHECKING:
    from latechunk.evaluation.report import Report

_PACKAGES = ("ir_measures", "scipy", "jinja2", "matplotlib")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
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


def require_packages() -> None:
    """Raise unless the packages are there that an evaluation needs beside the core.

    Raises:
        MissingDependencyError: It names them and the extra.
    """
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingDependencyError(
            f'an evaluation needs {", ".join(missing)}; run: pip install "latechunk[evaluation]"'
        )


def evaluate_folder(wishes: Wishes, on_progress: Callable[[str, float], None]) -> Report:
    """Evaluate all sets of a folder and write the report.

    Raises:
        InputError: If a wish cannot be met or the data cannot be read.
        ModelError: If a model cannot be used.
    """
    from latechunk.evaluation.harness import Arm, Setup, evaluate
    from latechunk.evaluation.loaders import read_sets
    from latechunk.evaluation.report import build_report, write_report

    _require_writable(wishes.out)
    sets = [_with_language(one, wishes.language) for one in read_sets(wishes.data)]
    setup = Setup(
        encoders=_load_encoders(wishes),
        max_tokens=wishes.max_tokens,
        arms=cast("tuple[Arm, ...]", wishes.arms),
        depth=wishes.depth,
    )
    results, seconds = [], {}
    for one in sets:
        begin = time.perf_counter()
        results.append(evaluate(one, setup, wishes.out / "work", on_progress))
        seconds[one.name] = time.perf_counter() - begin
    on_progress("writing the report", 1.0)
    report = build_report(results, setup, seconds)
    write_report(wishes.out, report)
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


def _load_encoders(wishes: Wishes) -> dict[str, SpanEncoder]:
    """An encoder for each model, length of vectors and window."""
    from latechunk.encoding.encoder import Encoder

    encoders: dict[str, SpanEncoder] = {}
    for model in wishes.models or (DEFAULT_MODEL,):
        for dims in wishes.dims or (None,):
            for window in wishes.windows or (None,):
                options: dict[str, Any] = {
                    "device": wishes.device,
                    "dtype": wishes.dtype,
                    "dims": dims,
                    "adapters": wishes.adapters,
                }
                name = model + _describe_adapters(wishes.adapters) + (f", {dims} dims" if dims else "")
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
