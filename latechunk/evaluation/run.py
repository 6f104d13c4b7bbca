"""All that ``latechunk evaluate`` does: load encoders or open an index, evaluate sets, write the report."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from latechunk.chunking.languages import said_language
from latechunk.chunking.structure import StructureChunker
from latechunk.encoding.encoder import Encoder
from latechunk.errors import InputError
from latechunk.evaluation.dataset import EvaluationSet
from latechunk.evaluation.harness import Setup, evaluate
from latechunk.evaluation.loaders import read_questions, read_sets
from latechunk.evaluation.report import Report, build_report, write_report
from latechunk.index import Index
from latechunk.manifest import IndexInfo
from latechunk.models.catalogue import DEFAULT_MODEL
from latechunk.models.device import Dtype
from latechunk.protocols import SpanEncoder
from latechunk.readers.origin import find_file
from latechunk.readers.reader import full_path
from latechunk.storage.directory import STORE
from latechunk.types import Document
from latechunk.validation import Validated

_LOG = logging.getLogger("latechunk")
_MOST_TOKENS = 200_000  # of an index whose chunks are read alone unasked: at 4 to 5 thousand tokens a second


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
    language: str | None = None
    depth: int = 10
    device: str = "auto"
    dtype: str = "auto"


class IndexRequest(Validated):
    """Which index to evaluate, on which questions; ``arms`` are empty for those that suit it."""

    index: Path
    questions: Path
    out: Path
    arms: tuple[str, ...] = ()
    depth: int = 10
    device: str = "auto"
    dtype: Dtype = "auto"


def evaluate_folder(request: EvaluationRequest, on_progress: Callable[[str, float], None]) -> Report:
    """Evaluate all sets of a folder and write the report.

    Raises:
        InputError: If the request cannot be met or the data cannot be read.
        ModelError: If a model cannot be used.
    """
    if (request.data / STORE).is_file():
        raise InputError(f"{request.data} is an index: name the questions that it is to answer, too")
    work = _make_work(request.out)
    StructureChunker(language=request.language)  # an error if there is no such language
    sets = read_sets(request.data)
    if request.language is not None:
        sets = [_with_language(one, request.language) for one in sets]
    setup = Setup(_load_encoders(request), max_tokens=request.max_tokens, arms=request.arms, depth=request.depth)
    return _evaluate(sets, setup, work, request.out, on_progress)


def evaluate_index(request: IndexRequest, on_progress: Callable[[str, float], None]) -> tuple[Report, list[str]]:
    """Evaluate an index on questions with quotes, by the search that its users get, and write the report.

    Returns:
        The report, and why rows of the questions were left out.

    Raises:
        InputError: If the questions cannot be read, are in the index themselves, or none has its quote in one place of
            it.
        StoreError: If the index cannot be opened.
        ModelError: If its model is not on this machine.
    """
    if request.index.is_dir() and not (request.index / STORE).is_file():
        raise InputError(
            f"{request.index} is no index, and questions are named with an index alone: make one of the folder with "
            f"`latechunk index`, or name a folder that holds them as questions.csv"
        )
    work = _make_work(request.out)
    with Index.open(request.index, read_only=True, device=request.device, dtype=request.dtype) as index:
        documents = tuple(document for name in index.ids() if (document := index.get(name)) is not None)
        if not documents:
            raise InputError(f"{request.index} holds no document; add some with `latechunk index`")
        _require_elsewhere(request.questions, documents)
        questions, left_out = read_questions(request.questions, documents)
        one = EvaluationSet(request.index.resolve().name, documents, questions)
        model = str(index.encoder.settings.get("model", index.encoder.settings.get("kind", "encoder")))
        setup = Setup(
            {model: index.encoder}, arms=request.arms or choose_arms(index.info()), depth=request.depth, index=index
        )
        return _evaluate([one], setup, work, request.out, on_progress, len(left_out)), left_out


def _require_elsewhere(questions: Path, documents: Sequence[Document]) -> None:
    """Refuse an index of the questions, each of which would be found by itself."""
    place = full_path(questions)
    if held := [one.id for one in documents if find_file(one.id, one.metadata) == place]:
        raise InputError(
            f"the index holds {questions} itself, as {held[0]!r}, where each question would be found first: delete it "
            f"from the index, and keep the questions outside of the folder of its documents"
        )


def choose_arms(info: IndexInfo) -> tuple[str, ...]:
    """The arms that suit an index: its searches, and naive chunking where to encode the chunks takes a minute or less.

    The default is hybrid search where words are indexed, with dense and lexical search beside it, and dense search
    where they are not; naive vectors are those of dense search where the index has them.
    """
    is_small = info.n_tokens <= _MOST_TOKENS
    naive = ("naive",) if is_small and info.embedding["mode"] != "naive" else ()
    parts = ("dense", "lexical") if info.search["words"] else ()
    return (*naive, "default", *parts)


def _evaluate(
    sets: Sequence[EvaluationSet],
    setup: Setup,
    work: Path,
    out: Path,
    on_progress: Callable[[str, float], None],
    n_left_out: int = 0,
) -> Report:
    results, seconds = [], {}
    for one in sets:
        if twins := one.unnamed_twins:
            _LOG.warning(
                "%s: documents that count as wrong, though they have the text of one that answers: %d, such as %r; "
                "leave them out, or judge them, too",
                one.name,
                len(twins),
                twins[0],
            )
        begin = time.perf_counter()
        results.append(evaluate(one, setup, work, on_progress))
        seconds[one.name] = time.perf_counter() - begin
    on_progress("writing the report", 1.0)
    report = build_report(results, setup, seconds, n_left_out)
    write_report(out, report)
    return report


def _make_work(out: Path) -> Path:
    """The folder for what is finished; made now, to know that it can be before everything is encoded."""
    work = out / "work"
    try:
        work.mkdir(parents=True, exist_ok=True)
        (work / ".probe").touch()
        (work / ".probe").unlink()
    except OSError as error:
        message = f"the report cannot be written to {out}: {error}; choose another folder with --out"
        raise InputError(message) from error
    return work


def _with_language(one: EvaluationSet, language: str) -> EvaluationSet:
    """Documents that do not say their language are taken to be of the one that the user says."""
    documents = (
        document
        if said_language(document.metadata)
        else replace(document, metadata={**document.metadata, "lang": language})
        for document in one.documents
    )
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
        name += (f", {dims} dims" if dims else "") + ("" if window is None else f", windows of {window}")
        options: dict[str, Any] = {"device": request.device, "dtype": request.dtype, "dims": dims, "adapters": adapters}
        options |= {} if window is None else {"window_tokens": window, "context": "windows"}
        encoders[name] = Encoder.load(model, **options)
    return encoders
