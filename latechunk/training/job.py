"""All that ``latechunk train`` does: prepare a run from a request, train, measure, and describe the result."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from latechunk.encoding.encoder import Encoder
from latechunk.errors import InputError
from latechunk.evaluation.dataset import EvaluationSet
from latechunk.evaluation.loaders import read_sets
from latechunk.models.adapter_manifest import (
    MANIFEST_FILE,
    AdapterManifest,
    fingerprint,
    read_adapter_manifest,
    write_adapter_manifest,
)
from latechunk.models.catalogue import find_known_model
from latechunk.models.checkpoint import find_checkpoint
from latechunk.models.device import choose_device
from latechunk.training.average import average_adapters
from latechunk.training.budget import Estimate
from latechunk.training.choose import choose_manifest, choose_settings, choose_steps, keep_sets
from latechunk.training.data import TrainingData, prepare
from latechunk.training.evaluator import HeldOutEvaluator, Measurer, References, compare_scores, means, to_metrics
from latechunk.training.lookalikes import generate_lookalikes
from latechunk.training.progress import OnProgress, ProgressReporter
from latechunk.training.report import result_rows, write_results
from latechunk.training.request import TrainingRequest
from latechunk.training.run import RUN, Trained, recorded_settings, train
from latechunk.training.sets import split_sets, usable_questions, weighted_sets
from latechunk.training.settings import TrainingSettings
from latechunk.training.trainer import require_device
from latechunk.training.warm_start import require_fitting


@dataclass(frozen=True, slots=True)
class Job:
    """A run that is ready to begin, and will take the encoder over.

    Attributes:
        origin: Where what is held out is from, or why there is nothing.
        bundle: How the adapters are to be used.
        estimate: None for a run that continues.
    """

    request: TrainingRequest
    encoder: Encoder
    data: TrainingData
    held_out: Sequence[EvaluationSet]
    origin: str
    settings: TrainingSettings
    bundle: AdapterManifest
    estimate: Estimate | None


def is_finished(out: Path) -> bool:
    """Whether a folder holds finished adapters: their description is written last."""
    return (out / MANIFEST_FILE).is_file()


def prepare_job(request: TrainingRequest, on_progress: OnProgress, *, dry_run: bool = False) -> Job:
    """Read the data, load the base model, try a few steps, and settle how the run goes. Writes nothing.

    A dry run returns the questions that cannot be trained on instead of raising.

    Raises:
        InputError: If the request cannot be met or the data cannot be trained on.
        ModelError: If the base model cannot be used.
    """
    require_device(choose_device(request.device))
    _require_free(request)
    on_progress("reading", 0.0)
    skip_unusable = request.skip_unusable or dry_run
    usable, unusable = usable_questions(weighted_sets(request, read_sets(request.data)), skip_unusable=skip_unusable)
    sets, held_out, origin = split_sets(request, usable)
    _require_measured_as_begun(request, held_out)
    on_progress("loading", 0.0)
    encoder = _load_base(request)
    settings = choose_settings(request, encoder)
    if request.adapters is not None:
        require_fitting(request.adapters, request.base, encoder, settings, "to begin with")
    for one in request.average:
        require_fitting(one, request.base, encoder, settings, "to average")
    bundle = choose_manifest(request, encoder, settings)
    on_progress("tokenising", 0.0)
    if request.lookalikes:
        known = find_known_model(request.base)
        sets = [*sets, *generate_lookalikes(seed=request.seed, languages=known.languages if known else ())]
    data = prepare(encoder, sets, settings.segments.chunk_tokens, skip_unusable=skip_unusable)
    data = replace(data, unusable=(*unusable, *data.unusable))
    settings = keep_sets(settings, list(data.counts()), request.lookalikes)
    on_progress("trying a few steps", 0.0)
    settings, estimate = choose_steps(request, encoder, data, held_out, settings)
    if estimate is not None:
        encoder = _load_base(request)  # the trial has taken the other one over
    return Job(request, encoder, data, held_out, origin, settings, bundle, estimate)


def carry_out(job: Job, on_progress: OnProgress) -> Sequence[Mapping[str, Any]]:
    """Train, measure, and write all files of a folder of adapters.

    Returns:
        Results by scope, as the card has them; none where nothing was held out.

    Raises:
        InputError: If the run in the folder is another one.
    """
    out = job.request.out
    out.mkdir(parents=True, exist_ok=True)
    if recorded_settings(out) is None:  # killed before its settings were settled
        _references_path(out).unlink(missing_ok=True)
    reporter = ProgressReporter(job.settings.run.n_steps, on_progress)
    references, evaluator = None, None
    if job.held_out:
        measurer = Measurer(
            base=job.request.base,
            device=str(job.encoder.device),
            dtype=job.settings.run.precision,
            sets=job.held_out,
            bundle=job.bundle,
            on_characters=reporter.measure,
            start=job.request.adapters,
        )
        references = measurer.references(_references_path(out), _references_key(job))
        evaluator = HeldOutEvaluator(measurer)
    trained = train(
        job.encoder,
        job.data,
        out,
        job.settings,
        resume=job.request.resume,
        start=job.request.adapters,
        evaluator=evaluator,
        on_progress=reporter.train,
    )
    on_progress("describing", 1.0)
    if job.request.average:
        average_adapters(out, job.request.average, job.settings.adapter_names)
    rows = _measure_end(job, trained, references, evaluator) if references and evaluator else []
    write_results(job, trained, rows)
    write_adapter_manifest(out, job.bundle)
    tidy_up(job.request)
    return rows


def tidy_up(request: TrainingRequest) -> None:
    """Delete checkpoints that are not wanted from a finished folder."""
    if request.keep_nothing:
        shutil.rmtree(request.out / RUN, ignore_errors=True)


def _require_free(request: TrainingRequest) -> None:
    """Raise unless the folder is empty, or holds a run of ours to continue."""
    out = request.out
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out} is a file; name a folder")
    if is_finished(out):
        raise InputError(f"{out} holds adapters that are finished; choose another folder with --out")
    entries = sorted(path.name for path in out.iterdir()) if out.is_dir() else []
    if recorded_settings(out) or (entries == [RUN] and _references_path(out).is_file()):
        if not request.resume:
            raise InputError(
                f"{out} holds a run that is not finished; continue it with --resume, or choose another --out"
            )
    elif entries:
        raise InputError(
            f"--out {out} holds {', '.join(entries[:5])}, which no run of latechunk left there; choose a folder that "
            f"is empty or does not exist yet"
        )


def _require_measured_as_begun(request: TrainingRequest, held_out: Sequence[EvaluationSet]) -> None:
    """Raise if a run to continue began with measuring and now has nothing to measure with, or the reverse."""
    recorded = recorded_settings(request.out) if request.resume else None
    if recorded is None or bool(recorded["run"]["evaluate_steps"]) == bool(held_out):
        return
    if held_out:
        raise InputError(f"the run in {request.out} began without measuring; give --no-evaluate, without --evaluate")
    raise InputError(
        f"the run in {request.out} began with measuring, and now nothing is held out; give the same --evaluate, or "
        f"leave --no-evaluate out"
    )


def _load_base(request: TrainingRequest) -> Encoder:
    known = find_checkpoint(request.base, revision=None, download=True).known
    return Encoder.load(
        request.base,
        device=request.device,
        dtype="float32",
        adapters=None,
        local_global=known.trained_local_global if known else None,
    )


def _references_path(out: Path) -> Path:
    return out / RUN / "references.npz"


def _references_key(job: Job) -> str:
    """All that decides the references: questions, base, how chunks are read, adapters to begin with."""
    start = job.request.adapters
    begun_with = fingerprint(start, read_adapter_manifest(start)) if start else None
    decisive = [
        [one.fingerprint for one in job.held_out],
        job.bundle.model_dump(),
        job.settings.run.precision,
        begun_with,
    ]
    return json.dumps(decisive, sort_keys=True)


def _measure_end(
    job: Job, trained: Trained, references: References, evaluator: HeldOutEvaluator
) -> list[dict[str, Any]]:
    """Compare the finished adapters with the references; measures them unless the last evaluation was of them."""
    n_steps = job.settings.run.n_steps
    scores, figures = evaluator.finish(job.request.out, None if job.request.average else n_steps)
    last = {f"eval_{name}": value for name, value in figures.items()}
    is_there = any(one["step"] == n_steps and last.keys() <= one.keys() for one in trained.log)
    if job.request.average or not is_there:
        trained.log.append({"step": n_steps, **last})
    first = {f"eval_{name}": value for name, value in to_metrics(references["begin"]).items()}
    trained.log.insert(0, {"step": 0, **first})
    return result_rows(
        {name: means(one) for name, one in {**references, "trained": scores}.items()},
        compare_scores(scores, references["untrained"], job.held_out),
        compare_scores(scores, references["naive"], job.held_out),
    )
