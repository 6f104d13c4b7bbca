"""Run a training: from a base model and training data to a folder of adapters, resumable at its checkpoints."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.evaluation import SentenceEvaluator
from transformers.utils import logging as transformers_logging

from latechunk.encoding.encoder import Encoder
from latechunk.encoding.local_global import LocalGlobalPass
from latechunk.errors import InputError
from latechunk.training.batches import BatchMaker, MakeBatch
from latechunk.training.data import TrainingData
from latechunk.training.lora import TrainableAdapters, find_targets
from latechunk.training.loss import SpanContrastiveLoss
from latechunk.training.model import build_model
from latechunk.training.settings import RunSettings, TrainingSettings
from latechunk.training.trainer import AdapterTrainer, last_checkpoint
from latechunk.types import Settings

RUN = "run"  # folder of the checkpoints
STATES = "states"  # folder in it, of what frozen layers give

_SETTINGS = "settings.json"

OnProgress = Callable[[int, Mapping[str, float]], None]


@dataclass(frozen=True, slots=True)
class Trained:
    """What a run gave.

    Attributes:
        log: What was logged, in order: ``step`` and figures.
        resumed_from: The step that the run went on from, 0 for the start.
    """

    log: list[dict[str, float]]
    n_parameters: int
    resumed_from: int


@dataclass(frozen=True, slots=True)
class Assembled:
    """What a run computes with, for one step or for all: ``loss`` takes the batches that ``make`` gives."""

    model: SentenceTransformer
    adapters: TrainableAdapters
    loss: SpanContrastiveLoss
    make: BatchMaker


def assemble(
    encoder: Encoder,
    data: TrainingData,
    settings: TrainingSettings,
    start: Path | None = None,
    kept: Path | None = None,
) -> Assembled:
    """Put adapters into an encoder that ``require_trainable`` takes, which cannot be used by itself afterwards.

    The arguments are those of ``train``; ``kept`` is a folder for what frozen layers give.
    """
    model, plan = encoder.parts
    torch.manual_seed(settings.run.seed)
    long_pass = None
    if plan.local_global:
        long_pass = LocalGlobalPass(model.transformer.model, plan.local_global, pad_id=model.pad_id)
    n_fixed = plan.local_global.local_layers if plan.local_global else 0
    adapters = TrainableAdapters(model.transformer.model, settings.adapter_names, settings.lora, n_fixed)
    if start is not None:
        adapters.load(start)
    trained = build_model(model, adapters, long_pass, settings.run.precision)
    make = BatchMaker(encoder, data, long_pass, trained, settings, kept)
    return Assembled(trained, adapters, SpanContrastiveLoss(trained, settings.loss), make)


def require_trainable(encoder: Encoder, data: TrainingData, settings: TrainingSettings) -> None:
    """Raise InputError if a run cannot begin: by the encoder's precision, its layers, or the length of some data."""
    model, plan = encoder.parts
    if model.transformer.model.dtype != torch.float32:
        raise InputError(
            f'training needs weights in float32, got {encoder.dtype}: pass dtype="float32" to Encoder.load'
        )
    find_targets(model.transformer.model, settings.lora, plan.local_global.local_layers if plan.local_global else 0)
    if settings.run.n_batches is not None and not plan.local_global:
        raise InputError(
            "going through the same batches again (--batches) spares the work of frozen layers, and this model, which "
            "reads in plain passes, has none; leave it out"
        )
    _require_readable(encoder, data, settings)


def _require_readable(encoder: Encoder, data: TrainingData, settings: TrainingSettings) -> None:
    """Raise for chunks and questions that the model cannot read in one plain pass, as training reads them."""
    model, plan = encoder.parts
    if model.n_positions is None:
        return
    most = model.n_positions - len(plan.prefix_ids) - len(plan.suffix_ids)
    (letter,) = encoder.tokenize(["a"])
    largest = max(settings.segments.chunk_tokens) + len(letter.prompt_ids)
    if settings.loss.late_weight < 1 and largest > most:
        raise InputError(
            f"chunk_tokens may be at most {most - len(letter.prompt_ids)} with this model, which reads each chunk "
            f"alone too, got {max(settings.segments.chunk_tokens)}; train smaller chunks, or late vectors alone "
            f"(late_weight=1)"
        )
    for question, tokens in zip(
        data.questions, encoder.tokenize_queries([one.text for one in data.questions]), strict=True
    ):
        if len(tokens) + len(tokens.prompt_ids) > most:
            raise InputError(
                f"a question of {len(tokens)} tokens is longer than the {most} that this model reads at once: "
                f"{question.text:.80}...; shorten it or leave it out"
            )


def train(
    encoder: Encoder,
    data: TrainingData,
    folder: Path,
    settings: TrainingSettings,
    *,
    resume: bool = False,
    start: Path | None = None,
    evaluator: SentenceEvaluator | None = None,
    on_progress: OnProgress | None = None,
) -> Trained:
    """Train adapters, and leave them in ``folder``, with checkpoints in ``folder/run``.

    The encoder is the base model, loaded without adapters, in float32; it cannot be used afterwards. ``resume`` goes on
    from the last checkpoint in the folder. ``start`` is a folder with adapters of the same shape to begin with.
    ``on_progress`` gets the steps that are done, and what was logged after them.

    Raises:
        InputError: If the folder holds a run and ``resume`` is False, or one of other settings or data; or the encoder
            cannot be trained.
    """
    run = folder / RUN
    require_trainable(encoder, data, settings)
    require_same_run(run, {**settings.model_dump(mode="json"), **_fingerprints(encoder, data, start)}, resume=resume)
    states = None if settings.run.n_batches is None else run / STATES
    parts = assemble(encoder, data, settings, start, states)
    trained = take_steps(
        parts.model,
        parts.adapters,
        parts.loss,
        parts.make,
        settings.run,
        run,
        resume=resume,
        evaluator=evaluator,
        on_progress=on_progress,
    )
    parts.adapters.save(folder, dtype=torch.float16)
    if states is not None:
        shutil.rmtree(states)  # they are large, and of no use to another run
    return trained


def take_steps(
    model: SentenceTransformer,
    adapters: TrainableAdapters,
    loss: torch.nn.Module,
    make: MakeBatch,
    settings: RunSettings,
    run: Path,
    *,
    resume: bool,
    evaluator: SentenceEvaluator | None = None,
    on_progress: OnProgress | None = None,
) -> Trained:
    """Take all steps of a run, or with ``resume`` those after its last checkpoint in the folder ``run``."""
    report = on_progress or (lambda *_: None)
    with _quiet():
        trainer = AdapterTrainer(
            model,
            adapters,
            loss,
            make,
            settings,
            run,
            evaluator=evaluator,
            on_log=lambda figures, step: report(step, figures),
        )
        checkpoint = last_checkpoint(run) if resume else None
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    return Trained(
        log=[dict(entry) for entry in trainer.state.log_history],
        n_parameters=adapters.n_parameters,
        resumed_from=int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0,
    )


def recorded_settings(folder: Path, run: str = RUN) -> Mapping[str, Any] | None:
    """What the run in a folder was begun with, None if there is no run; InputError if its file is damaged."""
    path = folder / run / _SETTINGS
    if not path.is_file():
        return None
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        RunSettings(**found["run"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise InputError(
            f"{path} cannot be read as latechunk writes it: {error}; begin another run in another folder"
        ) from error
    return found


def _fingerprints(encoder: Encoder, data: TrainingData, start: Path | None) -> dict[str, str | None]:
    """What else decides a run."""
    beginning = None
    if start is not None:
        files = sorted(start.glob("*/*.safetensors"))
        beginning = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    return {"data": fingerprint(encoder.settings, data), "start": beginning}


def fingerprint(encoder: Settings, data: TrainingData) -> str:
    """SHA-256 over the base model and what is trained on."""
    digest = hashlib.sha256()
    digest.update(json.dumps(dict(encoder), sort_keys=True, default=str).encode())
    for document in data.documents:
        digest.update(json.dumps(document.set_name).encode() + document.tokens.ids.tobytes())
        for size, ranges in document.cuts.items():
            digest.update(f"{size}:".encode() + ranges.tobytes())
    for question in data.questions:
        digest.update(json.dumps([question.text, question.document, question.answers.tolist()]).encode())
    return digest.hexdigest()


def require_same_run(run: Path, wanted: Mapping[str, Any], *, resume: bool) -> None:
    """Start a run's folder, or see to it that a run goes on under what it began with.

    ``wanted`` is JSON with ``run``, as in ``RunSettings``, and ``data``, a fingerprint. InputError if a run is there
    without ``resume``, or was begun with something else.
    """
    found = recorded_settings(run.parent, run.name)
    if found is None:
        run.mkdir(parents=True, exist_ok=True)
        unfinished = run / f"{_SETTINGS}.new"
        unfinished.write_text(json.dumps(wanted, indent=1), encoding="utf-8")
        unfinished.replace(run / _SETTINGS)
        return
    if not resume:
        raise InputError(f"{run} holds a run; continue it with resume=True (--resume), or choose another folder")
    if found.get("data") != wanted["data"]:
        raise InputError(
            f"the run in {run} was begun with other data or another base model; give the same, or begin another run "
            f"in another folder"
        )
    differing = list(_differences(found, wanted))
    if differing:
        raise InputError(f"the run in {run} was begun with other settings: {'; '.join(differing)}; give the same")


def _differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[str]:
    """What differs, each in a few words."""
    for name, value in wanted.items():
        before = found.get(name)
        if isinstance(value, dict) and isinstance(before, dict):
            yield from _differences(before, value)
        elif before != value:
            yield f"{name} was {before!r}, now {value!r}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the trainer's own notes off the terminal; what it logs comes by the callback."""
    level = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
