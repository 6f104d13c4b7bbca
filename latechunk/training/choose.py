"""Choose the settings of a run: by the request, by what suits the base model, and by a short trial."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from latechunk.encoding.encoder import Encoder
from latechunk.errors import InputError
from latechunk.evaluation.dataset import EvaluationSet
from latechunk.models.adapter_manifest import AdapterManifest
from latechunk.models.catalogue import Task, find_known_model
from latechunk.models.device import choose_dtype, name_of
from latechunk.training.budget import (
    BatchSize,
    Estimate,
    Trial,
    default_steps,
    draw_sizes,
    estimate,
    fit_segments,
    measure_trial,
    steps_within,
)
from latechunk.training.data import TrainingData
from latechunk.training.lookalikes import PREFIX
from latechunk.training.request import TrainingRequest
from latechunk.training.run import recorded_settings
from latechunk.training.settings import (
    PASSAGE,
    QUERY,
    LoraSettings,
    LossSettings,
    Precision,
    RunSettings,
    SegmentSettings,
    TrainingSettings,
)

_EVALUATIONS = 5  # in a run
_CHECKPOINTS = 10
_MOST_STEPS_LOST = 50  # between two checkpoints
_MOST_WARMUP = 30
_READINGS_BEFORE = 2  # of what is held out: by the base alone, and under the run's settings


def choose_settings(request: TrainingRequest, encoder: Encoder) -> TrainingSettings:
    """All settings but those that depend on the number of steps, or on which sets can be trained on."""
    blends = encoder.recommended_embedding["mode"] == "blend"
    late_weight = LossSettings().late_weight if blends else 1.0
    known = find_known_model(request.base)
    run = RunSettings(
        seed=request.seed,
        learning_rate=RunSettings().learning_rate if request.learning_rate is None else request.learning_rate,
        n_batches=request.batches,
        batch_segments=request.batch_segments or RunSettings().batch_segments,
        precision=choose_precision(encoder.device),
    )
    usual = SegmentSettings()
    least, most = request.segment_tokens or (usual.least_tokens, usual.most_tokens)
    segments = SegmentSettings(
        chunk_tokens=request.chunk_tokens or usual.chunk_tokens,
        least_tokens=least,
        most_tokens=most,
        mixture={name: weight for name, weight in request.weights.items() if weight},
        own_document_only=request.own_document_only,
    )
    loss = LossSettings()
    if request.anchor is not None:
        loss = loss.replaced(anchor=request.anchor, query_anchor=request.anchor)
    return TrainingSettings(
        lora=choose_lora(request.rank, request.layers),
        loss=loss.replaced(
            temperature=(known and known.temperature) or loss.temperature,
            late_weight=late_weight if request.late_weight is None else request.late_weight,
        ),
        segments=fit_segments(encoder, segments),
        run=run,
        query_adapter=request.query_adapter,
    )


def choose_lora(rank: int | None, layers: int | None) -> LoraSettings:
    """The shape of the adapters; updates of another rank are scaled alike."""
    lora = LoraSettings(n_layers=layers)
    return lora if rank is None else lora.replaced(rank=rank, alpha=2.0 * rank)


def choose_precision(device: torch.device) -> Precision:
    """What the forward pass computes in on a device."""
    return "bfloat16" if name_of(choose_dtype("auto", device)) == "bfloat16" else "float32"


def warmup_of(n_steps: int) -> int:
    """Steps until the learning rate is at its peak: a tenth, at most 30."""
    return min(_MOST_WARMUP, n_steps // 10)


def keep_sets(settings: TrainingSettings, names: Sequence[str], lookalikes: float) -> TrainingSettings:
    """Drop the sets that have nothing to train on, since they are held out whole or unusable, from the settings.

    Those that were generated get an equal part of the share ``lookalikes`` of all draws each, and are read whole.
    """
    mixture = {name: weight for name, weight in settings.segments.mixture.items() if name in names}
    generated = [name for name in names if name.startswith(PREFIX)] if lookalikes else []
    total = sum(mixture.get(name, 1.0) for name in names if name not in generated)
    mixture |= {name: total * lookalikes / (1 - lookalikes) / len(generated) for name in generated}
    segments = settings.segments.replaced(
        mixture=mixture,
        own_document_only=tuple(name for name in settings.segments.own_document_only if name in names),
        whole=tuple(generated),
    )
    return settings.replaced(segments=segments)


def choose_manifest(request: TrainingRequest, encoder: Encoder, settings: TrainingSettings) -> AdapterManifest:
    """How the adapters will be used: as they are trained, but with another late share if the request names one."""
    _, plan = encoder.parts
    own, late_weight = encoder.settings, settings.loss.late_weight
    if request.index_late_weight is not None:
        if late_weight == 1:
            raise InputError(
                "--index-late-weight is the late share of a blend, and this run trains late vectors alone; leave it "
                "out, or train a blend with --late-weight below 1"
            )
        late_weight = request.index_late_weight
    tasks = [Task(name="retrieval.passage", adapter=PASSAGE, prompt=own["document_prompt"])]
    if settings.query_adapter:
        tasks.append(Task(name="retrieval.query", adapter=QUERY, prompt=own["query_prompt"]))
    return AdapterManifest(
        base=request.base_label,
        base_weights_sha256=own["weights_sha256"],
        tasks=tuple(tasks),
        document_task=tasks[0].name,
        query_task=tasks[1].name if settings.query_adapter else None,
        local_global=plan.local_global,
        special_tokens=own["special_tokens"],
        **({"mode": "blend", "late_weight": late_weight} if late_weight < 1 else {"mode": "late"}),
    )


def choose_steps(
    request: TrainingRequest,
    encoder: Encoder,
    data: TrainingData,
    held_out: Sequence[EvaluationSet],
    settings: TrainingSettings,
) -> tuple[TrainingSettings, Estimate | None]:
    """Settle the number of steps and what depends on it.

    A run that continues keeps its numbers, and gets no estimate. For a new one a trial on a few documents measures the
    seconds of a token, since what fits into ``--minutes`` depends on the machine. The trial takes the encoder over.
    """
    recorded = recorded_settings(request.out) if request.resume else None
    if recorded is not None:
        return settings.replaced(run=_as_begun(request, settings.run, recorded["run"])), None
    batch = draw_sizes(data, settings)
    trial = measure_trial(encoder, data, settings, request.adapters)
    texts = [document.text for one in held_out for document in one.documents]
    n_read = sum(map(len, encoder.tokenize(texts))) * (1 if settings.loss.late_weight == 1 else 2)  # chunks alone, too
    if request.steps is not None:
        n_steps = request.steps
    elif request.minutes is not None:
        n_steps = _steps_in_time(request, trial, batch, n_read)
    else:
        n_steps = default_steps(len(data.questions), batch.n_questions)
    settings = settings.replaced(run=_settle(request, settings.run, n_steps, with_evaluation=bool(held_out)))
    n_measured = _READINGS_BEFORE + math.ceil(n_steps / settings.run.evaluate_steps) if held_out else 0
    return settings, estimate(trial, batch, n_steps, n_measured * n_read, request.batches)


def _steps_in_time(request: TrainingRequest, trial: Trial, batch: BatchSize, n_read: int) -> int:
    """Steps that fit into the minutes: what is left after the evaluations."""
    read_seconds = trial.read_seconds * n_read
    n_fixed = _READINGS_BEFORE + (0 if request.evaluate_every else _EVALUATIONS)
    fixed = n_fixed * read_seconds
    measuring = read_seconds / request.evaluate_every if request.evaluate_every else 0
    each = trial.step_seconds * batch.n_tokens + measuring
    n_steps = steps_within(60 * (request.minutes or 0), fixed, each)
    if request.batches is None or n_steps <= request.batches:
        return n_steps
    reading = trial.frozen_seconds * batch.n_tokens
    return steps_within(60 * (request.minutes or 0), fixed + reading * request.batches, each - reading)


def _as_begun(request: TrainingRequest, run: RunSettings, recorded: Mapping[str, Any]) -> RunSettings:
    """What was chosen when a run began; what the request names is compared with it later."""
    chosen = {name: recorded[name] for name in ("n_steps", "warmup_steps", "evaluate_steps", "save_steps", "precision")}
    if request.steps is not None:
        chosen["n_steps"] = request.steps
    if request.evaluate_every is not None:
        chosen["evaluate_steps"] = request.evaluate_every
    return run.replaced(**chosen)


def _settle(request: TrainingRequest, run: RunSettings, n_steps: int, *, with_evaluation: bool) -> RunSettings:
    every = request.evaluate_every or math.ceil(n_steps / _EVALUATIONS)
    return run.replaced(
        n_steps=n_steps,
        warmup_steps=warmup_of(n_steps),
        evaluate_steps=every if with_evaluation else 0,
        save_steps=min(_MOST_STEPS_LOST, math.ceil(n_steps / _CHECKPOINTS)),
    )
