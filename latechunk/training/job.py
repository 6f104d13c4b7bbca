"""What a user asks for in, adapters trained, measured and described out: all that ``latechunk train`` does."""

from __future__ import annotations

import importlib.util
import json
import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latechunk.errors import InputError, MissingDependencyError
from latechunk.models.catalogue import DEFAULT_MODEL, find_known_model
from latechunk.training.report import label, write_results

if TYPE_CHECKING:
    from latechunk.encoding.encoder import Encoder
    from latechunk.evaluation.dataset import EvaluationSet
    from latechunk.models.adapter_manifest import Bundle
    from latechunk.training.budget import Estimate
    from latechunk.training.data import TrainingData, UnusableQuestion
    from latechunk.training.evaluator import HeldOutEvaluator, Measurer, References
    from latechunk.training.run import Trained
    from latechunk.training.settings import Precision, RunSettings, TrainingSettings

_PACKAGES = ("peft", "datasets", "accelerate", "jinja2", "matplotlib", "ir_measures", "scipy")
_EVALUATIONS = 5  # in a run
_CHECKPOINTS = 10
_MOST_STEPS_LOST = 50  # between two checkpoints
_MOST_WARMUP = 30
_READINGS_BEFORE = 2  # of what is held out: by the base alone, and under the run's settings

OnProgress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What to train; None where the default is wanted.

    Attributes:
        data: What :func:`latechunk.evaluation.loaders.read_sets` reads.
        out: The folder of the adapters.
        base: Name or folder of the base model.
        adapters: A folder with adapters to begin with.
        resume: Whether to go on with the run in ``out``.
        skip_unusable: Whether to leave out questions that cannot be trained on.
        minutes: How long the run may take; steps are chosen by a trial.
        steps: How many steps.
        rank: Of the adapters.
        layers: How many layers are adapted.
        learning_rate: At its peak.
        chunk_tokens: Sizes of chunks.
        late_weight: Share of the late vector in the chunk vectors that are trained.
        index_late_weight: Likewise in those that are measured, and of indexes made with the adapters; None for the
            same.
        query_adapter: Whether questions get an adapter.
        evaluate: A held-out set.
        no_evaluate: Whether to hold nothing out.
        evaluate_every: Steps between two evaluations.
        seed: Of everything drawn.
        device: To train on.
        weights: Of sets, by name.
        own_document_only: Sets whose questions are asked of many documents.
        licence: Of the adapters, for the card.
        keep_nothing: Whether to delete checkpoints too when the run is done.
    """

    data: Path
    out: Path
    base: str = DEFAULT_MODEL
    adapters: Path | None = None
    resume: bool = False
    skip_unusable: bool = False
    minutes: float | None = None
    steps: int | None = None
    rank: int | None = None
    layers: int | None = None
    learning_rate: float | None = None
    chunk_tokens: tuple[int, ...] = ()
    late_weight: float | None = None
    index_late_weight: float | None = None
    query_adapter: bool = True
    evaluate: Path | None = None
    no_evaluate: bool = False
    evaluate_every: int | None = None
    seed: int = 0
    device: str = "auto"
    weights: Mapping[str, float] = field(default_factory=dict)
    own_document_only: tuple[str, ...] = ()
    licence: str = ""
    keep_nothing: bool = False

    def __post_init__(self) -> None:
        if self.index_late_weight is not None and not 0 < self.index_late_weight < 1:
            raise InputError(
                f"--index-late-weight must be strictly between 0 and 1, the share in a blend, got "
                f"{self.index_late_weight}"
            )
        if self.minutes is not None and self.steps is not None:
            raise InputError("--minutes chooses the steps; give it or --steps, not both")
        if self.minutes is not None and not (math.isfinite(self.minutes) and self.minutes > 0):
            raise InputError(f"--minutes must be above 0, got {self.minutes}")
        if self.no_evaluate and (self.evaluate is not None or self.evaluate_every is not None):
            raise InputError(
                "--no-evaluate leaves nothing to measure; leave it out, or --evaluate and --evaluate-every"
            )


@dataclass(frozen=True, slots=True)
class Job:
    """A run that is ready to begin.

    Attributes:
        wishes: What was asked for.
        encoder: The base model, for the run to take over.
        data: What is trained on.
        held_out: What is measured with; empty for nothing.
        origin: Where that is from, or why there is none.
        settings: Of the run.
        bundle: How the adapters are to be used.
        estimate: Of time, memory and disk; None for a run that goes on.
    """

    wishes: Wishes
    encoder: Encoder
    data: TrainingData
    held_out: Sequence[EvaluationSet]
    origin: str
    settings: TrainingSettings
    bundle: Bundle
    estimate: Estimate | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run gave.

    Attributes:
        trained: By the trainer.
        rows: Results by scope, as the card has them; empty where nothing was held out.
        seconds: That it took, the time before a resumption left out.
    """

    trained: Trained
    rows: Sequence[Mapping[str, Any]]
    seconds: float


def require_packages() -> None:
    """Raise unless the packages are there that training needs beside the core.

    Raises:
        MissingDependencyError: It names them and the extra.
    """
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingDependencyError(f'training needs {", ".join(missing)}; run: pip install "latechunk[train]"')


def is_finished(out: Path) -> bool:
    """Whether a folder holds adapters that are done: their description is written last."""
    from latechunk.models.adapter_manifest import BUNDLE_FILE

    return (out / BUNDLE_FILE).is_file()


def prepare_job(wishes: Wishes, on_progress: OnProgress, *, dry_run: bool = False) -> Job:
    """Read the data, load the base model, try a few steps, and settle how the run goes. Writes nothing.

    Args:
        wishes: What is asked for.
        on_progress: Called with what is being done and the share done of it.
        dry_run: Whether questions that cannot be trained on are to be told of, not raised.

    Raises:
        InputError: If a wish cannot be met or the data cannot be trained on.
        ModelError: If the base model cannot be used.
    """
    from latechunk.evaluation.loaders import read_sets
    from latechunk.models.device import choose_device
    from latechunk.training.data import prepare
    from latechunk.training.trainer import require_device
    from latechunk.training.warm_start import require_fitting

    _require_plain_base(wishes.base)
    require_device(choose_device(wishes.device))
    _require_free(wishes)
    on_progress("reading", 0.0)
    skip_unusable = wishes.skip_unusable or dry_run
    usable, unusable = _leave_out_unusable(_leave_out(wishes, read_sets(wishes.data)), skip_unusable=skip_unusable)
    sets, held_out, origin = _split(wishes, usable)
    _require_measured_as_begun(wishes, held_out)
    on_progress("loading", 0.0)
    encoder = _load_base(wishes)
    settings = _choose_settings(wishes, encoder)
    if wishes.adapters is not None:
        require_fitting(wishes.adapters, wishes.base, encoder, settings)
    bundle = _describe(wishes, encoder, settings)
    on_progress("tokenising", 0.0)
    data = prepare(encoder, sets, settings.stretches.chunk_tokens, skip_unusable=skip_unusable)
    data = replace(data, unusable=(*unusable, *data.unusable))
    settings = _keep_sets(settings, list(data.counts()))
    settings, estimate = _choose_steps(wishes, encoder, data, held_out, settings, on_progress)
    if estimate is not None:
        encoder = _load_base(wishes)  # the trial has taken the other one over
    return Job(wishes, encoder, data, held_out, origin, settings, bundle, estimate)


def carry_out(job: Job, on_progress: OnProgress) -> Outcome:
    """Train, measure, and write everything that a folder of adapters has.

    Raises:
        InputError: If the run in the folder is another one.
    """
    from latechunk.models.adapter_manifest import write_bundle
    from latechunk.training.evaluator import HeldOutEvaluator
    from latechunk.training.run import recorded_settings, train

    begin = time.perf_counter()
    out = job.wishes.out
    out.mkdir(parents=True, exist_ok=True)
    if recorded_settings(out) is None:  # killed before its settings were settled
        _references_path(out).unlink(missing_ok=True)
    reporter = _Reporter(job, on_progress)
    references, evaluator = None, None
    if job.held_out:
        measurer = _make_measurer(job, reporter)
        references = measurer.references(_references_path(out), _references_key(job))
        evaluator = HeldOutEvaluator(measurer)
    trained = train(
        job.encoder,
        job.data,
        out,
        job.settings,
        resume=job.wishes.resume,
        start=job.wishes.adapters,
        evaluator=evaluator,
        on_progress=reporter.train,
    )
    on_progress("describing", 1.0)
    rows = _measure_end(job, trained, references, evaluator) if references and evaluator else []
    write_results(job, trained, rows)
    _delete_kept(out)  # before the folder is finished: a finished one is looked at no more
    write_bundle(out, job.bundle)
    tidy_up(job.wishes)
    return Outcome(trained, rows, time.perf_counter() - begin)


def tidy_up(wishes: Wishes) -> None:
    """Delete what a finished folder needs no more: what the frozen pass gave, and checkpoints if they are unwanted."""
    from latechunk.training.run import RUN

    _delete_kept(wishes.out)
    if wishes.keep_nothing:
        shutil.rmtree(wishes.out / RUN, ignore_errors=True)


def _delete_kept(out: Path) -> None:
    from latechunk.training.run import KEPT, RUN

    shutil.rmtree(out / RUN / KEPT, ignore_errors=True)


def _require_plain_base(base: str) -> None:
    """Raise for a model that is nothing without adapters of its own, before it is downloaded."""
    known = find_known_model(base)
    if known and known.tasks:
        raise InputError(
            f"--base must be a model that embeds without adapters, and {base!r} only does under task adapters of its "
            f"own ({', '.join(task.name for task in known.tasks)}), which cannot be trained over; choose another"
        )


def _require_free(wishes: Wishes) -> None:
    """Raise unless the folder is empty, or holds a run of ours to go on with."""
    from latechunk.training.run import RUN, recorded_settings

    out = wishes.out
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out} is a file; name a folder")
    if is_finished(out):
        raise InputError(f"{out} holds adapters that are finished; choose another folder with --out")
    entries = sorted(path.name for path in out.iterdir()) if out.is_dir() else []
    if recorded_settings(out) or (entries == [RUN] and _references_path(out).is_file()):
        if not wishes.resume:
            raise InputError(
                f"{out} holds a run that is not finished; go on with it by --resume, or choose another --out"
            )
    elif entries:
        raise InputError(
            f"--out {out} holds {', '.join(entries[:5])}, which no run of latechunk left there; choose a folder that "
            f"is empty or not there yet"
        )


def _leave_out(wishes: Wishes, sets: Sequence[EvaluationSet]) -> list[EvaluationSet]:
    """The sets that are trained on: those with a weight of 0 are read, and not tokenised.

    Raises:
        InputError: If a set that is named is not there, or none is left.
    """
    names = [one.name for one in sets]
    unknown = [name for name in (*wishes.weights, *wishes.own_document_only) if name not in names]
    if unknown:
        raise InputError(f"there is no set {unknown[0]!r} in {wishes.data}; there are {', '.join(names)}")
    left = [one for one in sets if wishes.weights.get(one.name, 1.0) != 0]
    if not left:
        raise InputError("every set has the weight 0; give one more")
    return left


def _leave_out_unusable(
    sets: Sequence[EvaluationSet], *, skip_unusable: bool
) -> tuple[list[EvaluationSet], tuple[UnusableQuestion, ...]]:
    """Sets without the questions that no characters answer, and those questions: also what will be held out.

    Raises:
        InputError: If there are some and they are not to be left out; it names the first of them.
    """
    from latechunk.training.data import NO_CHARACTERS, TrainingData, UnusableQuestion, require_usable

    unusable = tuple(
        UnusableQuestion(one.name, question.id, NO_CHARACTERS)
        for one in sets
        for question in one.questions
        if not question.has_spans
    )
    if not skip_unusable:
        require_usable(TrainingData((), (), unusable))
    usable = [(one, tuple(question for question in one.questions if question.has_spans)) for one in sets]
    return [replace(one, questions=questions) for one, questions in usable if questions], unusable


def _split(
    wishes: Wishes, sets: Sequence[EvaluationSet]
) -> tuple[Sequence[EvaluationSet], Sequence[EvaluationSet], str]:
    """Sets to train on, sets to measure with, and where those are from."""
    from latechunk.evaluation.loaders import read_sets
    from latechunk.training.heldout import LEAST_DOCUMENTS, hold_out, require_apart

    if wishes.no_evaluate:
        return sets, [], "the run was told not to"
    if wishes.evaluate is not None:
        given = read_sets(wishes.evaluate)
        require_apart(sets, given)
        return sets, given, f"given apart: {', '.join(one.name for one in given)}"
    kept, held_out = hold_out(sets, wishes.seed)
    if not held_out:
        return sets, [], f"there are fewer than {LEAST_DOCUMENTS} documents with questions"
    return kept, held_out, "drawn from the data below by document, and left out of it"


def _require_measured_as_begun(wishes: Wishes, held_out: Sequence[EvaluationSet]) -> None:
    """Raise if a run to go on with was begun with measuring and now has nothing to measure with, or the reverse."""
    from latechunk.training.run import recorded_settings

    recorded = recorded_settings(wishes.out) if wishes.resume else None
    if recorded is None or bool(recorded["run"]["evaluate_steps"]) == bool(held_out):
        return
    if held_out:
        raise InputError(
            f"the run in {wishes.out} was begun without measuring; give --no-evaluate, and leave --evaluate out"
        )
    raise InputError(
        f"the run in {wishes.out} was begun with measuring, and now nothing is held out; give the same --evaluate, or "
        f"leave --no-evaluate out"
    )


def _load_base(wishes: Wishes) -> Encoder:
    from latechunk.encoding.encoder import Encoder
    from latechunk.models.checkpoint import find_checkpoint

    known = find_checkpoint(wishes.base, revision=None, download=True).known
    return Encoder.load(
        wishes.base,
        device=wishes.device,
        dtype="float32",
        adapters=None,
        local_global=known.trained_local_global if known else None,
    )


def _choose_settings(wishes: Wishes, encoder: Encoder) -> TrainingSettings:
    """All settings but those that depend on the number of steps, or on which sets can be trained on."""
    from latechunk.models.device import choose_dtype, name_of
    from latechunk.training.budget import fit_stretches
    from latechunk.training.settings import LoraSettings, LossSettings, RunSettings, StretchSettings, TrainingSettings

    blends = encoder.recommended_embedding["mode"] == "blend"
    late_weight = LossSettings().late_weight if blends else 1.0
    lora, run = LoraSettings(n_layers=wishes.layers), RunSettings(seed=wishes.seed)
    if wishes.rank is not None:
        lora = replace(lora, rank=wishes.rank, alpha=2.0 * wishes.rank)
    if wishes.learning_rate is not None:
        run = replace(run, learning_rate=wishes.learning_rate)
    precision: Precision = "bfloat16" if name_of(choose_dtype("auto", encoder.device)) == "bfloat16" else "float32"
    stretches = StretchSettings(
        chunk_tokens=wishes.chunk_tokens or StretchSettings().chunk_tokens,
        mixture={name: weight for name, weight in wishes.weights.items() if weight},
        own_document_only=wishes.own_document_only,
    )
    return TrainingSettings(
        lora=lora,
        loss=LossSettings(late_weight=late_weight if wishes.late_weight is None else wishes.late_weight),
        stretches=fit_stretches(encoder, stretches),
        run=replace(run, precision=precision),
        query_adapter=wishes.query_adapter,
    )


def _keep_sets(settings: TrainingSettings, names: Sequence[str]) -> TrainingSettings:
    """Settings that name no set but those that have something to train on: others are held out whole, or unusable."""
    stretches = settings.stretches
    stretches = replace(
        stretches,
        mixture={name: weight for name, weight in stretches.mixture.items() if name in names},
        own_document_only=tuple(name for name in stretches.own_document_only if name in names),
    )
    return replace(settings, stretches=stretches)


def _describe(wishes: Wishes, encoder: Encoder, settings: TrainingSettings) -> Bundle:
    """How the adapters will be used: as they are trained, but for another share of the late vector if it is wished.

    Raises:
        InputError: If that is wished and no blend is trained.
    """
    from latechunk.models.adapter_manifest import Bundle
    from latechunk.models.catalogue import Task
    from latechunk.training.run import PASSAGE, QUERY

    _, plan = encoder.parts
    own, late_weight = encoder.settings, settings.loss.late_weight
    if wishes.index_late_weight is not None:
        if late_weight == 1:
            raise InputError(
                "--index-late-weight is the late share of a blend, and this run trains late vectors alone; leave it "
                "out, or train a blend with --late-weight below 1"
            )
        late_weight = wishes.index_late_weight
    tasks = [Task("retrieval.passage", PASSAGE, own["document_prompt"])]
    if settings.query_adapter:
        tasks.append(Task("retrieval.query", QUERY, own["query_prompt"]))
    return Bundle(
        base=label(wishes.base),
        base_weights_sha256=own["weights_sha256"],
        tasks=tuple(tasks),
        document_task=tasks[0].name,
        query_task=tasks[1].name if settings.query_adapter else None,
        local_global=plan.local_global,
        special_tokens=own["special_tokens"],
        **({"mode": "blend", "late_weight": late_weight} if late_weight < 1 else {"mode": "late"}),
    )


def _choose_steps(
    wishes: Wishes,
    encoder: Encoder,
    data: TrainingData,
    held_out: Sequence[EvaluationSet],
    settings: TrainingSettings,
    on_progress: OnProgress,
) -> tuple[TrainingSettings, Estimate | None]:
    """Settle the number of steps and what depends on it: from a trial, or as the run to go on with has it."""
    from latechunk.training.budget import default_steps, draw_sizes, estimate, measure_trial, n_beside, steps_within
    from latechunk.training.frozen import kept_bytes
    from latechunk.training.run import recorded_settings

    recorded = recorded_settings(wishes.out) if wishes.resume else None
    if recorded is not None:
        return replace(settings, run=_as_begun(wishes, settings.run, recorded["run"])), None
    batch = draw_sizes(data, settings)
    on_progress("trying a few steps", 0.0)
    trial = measure_trial(encoder, data, settings, wishes.adapters)
    n_read = _count_tokens(encoder, held_out) * (1 if settings.loss.late_weight == 1 else 2)
    read_seconds = trial.read_seconds * n_read
    if wishes.steps is not None:
        n_steps = wishes.steps
    elif wishes.minutes is not None:
        n_fixed = _READINGS_BEFORE + (0 if wishes.evaluate_every else _EVALUATIONS)
        fixed = trial.prepare_seconds * data.n_tokens + n_fixed * read_seconds
        each = trial.step_seconds * batch.n_tokens + (
            read_seconds / wishes.evaluate_every if wishes.evaluate_every else 0
        )
        n_steps = steps_within(60 * wishes.minutes, fixed, each)
    else:
        n_steps = default_steps(len(data.questions), batch)
    settings = replace(settings, run=_settle(wishes, settings, n_steps, with_evaluation=bool(held_out)))
    n_measured = _READINGS_BEFORE + math.ceil(n_steps / settings.run.evaluate_steps) if held_out else 0
    model, plan = encoder.parts
    kept = kept_bytes(
        data,
        model.hidden,
        model.dims,
        n_beside=n_beside(encoder, data.documents[0].tokens.prompt_ids),
        with_states=plan.local_global is not None,
    )
    return settings, estimate(trial, batch, n_steps, data.n_tokens, n_measured * n_read, kept)


def _as_begun(wishes: Wishes, run: RunSettings, recorded: Mapping[str, Any]) -> RunSettings:
    """What was chosen when a run began; what the user asks for by name is compared with it later."""
    chosen = {name: recorded[name] for name in ("n_steps", "warmup_steps", "evaluate_steps", "save_steps", "precision")}
    if wishes.steps is not None:
        chosen["n_steps"] = wishes.steps
    if wishes.evaluate_every is not None:
        chosen["evaluate_steps"] = wishes.evaluate_every
    return replace(run, **chosen)


def _settle(wishes: Wishes, settings: TrainingSettings, n_steps: int, *, with_evaluation: bool) -> RunSettings:
    every = wishes.evaluate_every or math.ceil(n_steps / _EVALUATIONS)
    return replace(
        settings.run,
        n_steps=n_steps,
        warmup_steps=min(_MOST_WARMUP, n_steps // 10),
        evaluate_steps=every if with_evaluation else 0,
        save_steps=min(_MOST_STEPS_LOST, math.ceil(n_steps / _CHECKPOINTS)),
    )


def _count_tokens(encoder: Encoder, sets: Sequence[EvaluationSet]) -> int:
    return sum(
        len(tokens) for one in sets for tokens in encoder.tokenize([document.text for document in one.documents])
    )


class _Reporter:
    """Words what a run is doing, and how much of it is done."""

    def __init__(self, job: Job, on_progress: OnProgress) -> None:
        self._n_tokens = max(1, job.data.n_tokens)
        self._n_steps = job.settings.run.n_steps
        self._on_progress = on_progress
        self._tokens_done, self._share, self._loss = 0, 0.0, ""

    def train(self, phase: str, done: int, figures: Mapping[str, float]) -> None:
        """Take what :func:`latechunk.training.run.train` reports."""
        if phase == "prepare":
            self._tokens_done += done
            self._on_progress("what stays frozen", min(1.0, self._tokens_done / self._n_tokens))
            return
        if "loss" in figures:
            self._loss = f", loss {figures['loss']:.3f}"
        self._share = done / self._n_steps
        self._on_progress(f"step {done} of {self._n_steps}{self._loss}", self._share)

    def measure(self, n_characters: int) -> None:  # noqa: ARG002  what the harness reports
        """Take what the measuring reports."""
        self._on_progress("measuring held-out questions", self._share)


def _make_measurer(job: Job, reporter: _Reporter) -> Measurer:
    from latechunk.training.evaluator import Measurer

    return Measurer(
        base=job.wishes.base,
        device=str(job.encoder.device),
        dtype=job.settings.run.precision,
        sets=job.held_out,
        bundle=job.bundle,
        on_characters=reporter.measure,
        start=job.wishes.adapters,
    )


def _references_path(out: Path) -> Path:
    from latechunk.training.run import RUN

    return out / RUN / "references.npz"


def _references_key(job: Job) -> str:
    """Of what decides them: questions, base, how chunks are read, adapters to begin with."""
    from latechunk.models.adapter_manifest import fingerprint, read_bundle

    start = job.wishes.adapters
    begun_with = fingerprint(start, read_bundle(start)) if start else None
    decisive = [[one.fingerprint for one in job.held_out], asdict(job.bundle), job.settings.run.precision, begun_with]
    return json.dumps(decisive, sort_keys=True)


def _measure_end(
    job: Job, trained: Trained, references: References, evaluator: HeldOutEvaluator
) -> list[dict[str, Any]]:
    """Compare the finished adapters with the references; measures them unless the last evaluation was of them."""
    from latechunk.evaluation.ranking import SCOPES
    from latechunk.training.card import result_rows
    from latechunk.training.evaluator import METRIC
    from latechunk.training.heldout import compare_scores, means

    n_steps = job.settings.run.n_steps
    scores, figures = evaluator.finish(job.wishes.out, n_steps)
    last = {f"eval_{name}": value for name, value in figures.items()}
    if not any(one["step"] == n_steps and last.keys() <= one.keys() for one in trained.log):
        trained.log.append({"step": n_steps, **last})
    by_name = {name: means(getattr(references, name)) for name in ("naive", "untrained", "begin")}
    first = {f"eval_{METRIC}{scope}": by_name["begin"][scope] for scope in SCOPES}
    trained.log.insert(0, {"step": 0, **{name: value for name, value in first.items() if not math.isnan(value)}})
    return result_rows(
        by_name | {"trained": means(scores)},
        compare_scores(scores, references.untrained, job.held_out),
        compare_scores(scores, references.naive, job.held_out),
    )
