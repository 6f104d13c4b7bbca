"""Train an adapter for texts compared as wholes, and add it as a task to a folder of adapters."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformer

from latechunk.encoding.encoder import Encoder
from latechunk.models.adapter_manifest import MANIFEST_FILE, AdapterManifest, write_adapter_manifest
from latechunk.models.catalogue import find_known_model
from latechunk.models.device import choose_device
from latechunk.training.budget import default_steps
from latechunk.training.choose import choose_lora, choose_precision, warmup_of
from latechunk.training.lora import TrainableAdapters
from latechunk.training.model import build_model
from latechunk.training.progress import OnProgress, ProgressReporter
from latechunk.training.reading import Reading, move_to
from latechunk.training.run import require_same_run, take_steps
from latechunk.training.settings import LoraSettings, LossSettings, RunSettings
from latechunk.training.tasks.batches import TextBatches, encode_tokenised, tokenize_texts
from latechunk.training.tasks.data import TextData, read_texts
from latechunk.training.tasks.folder import add_task, find_folder
from latechunk.training.tasks.loss import TextLoss
from latechunk.training.tasks.measure import measure_texts
from latechunk.training.tasks.report import write_card
from latechunk.training.tasks.request import TextTrainingRequest
from latechunk.training.trainer import require_device
from latechunk.types import FloatArray

BATCH_ROWS = 32
_TRIED = 3  # steps, the first of which pays for what is set up once


@dataclass(frozen=True, slots=True)
class TextJob:
    """A run that is ready to begin.

    Attributes:
        manifest: Of the folder, with the task.
        n_left_out: Rows that share a text with those held out.
        copied: The adapters that the model has, which go into a new folder; None if there are none.
        fingerprint: SHA-256 over base and data.
        seconds: Of all steps, by a trial.
    """

    request: TextTrainingRequest
    encoder: Encoder
    model: SentenceTransformer
    adapters: TrainableAdapters
    loss: TextLoss
    make: TextBatches
    reading: Reading
    train: TextData
    held_out: TextData | None
    n_left_out: int
    run: RunSettings
    lora: LoraSettings
    sizes: tuple[int, ...]
    temperature: float
    manifest: AdapterManifest
    copied: Path | None
    fingerprint: str
    seconds: float

    def encode(self, adapter: str | None) -> Callable[[tuple[str, ...]], FloatArray]:
        """What gives unit vectors of texts under an adapter or none."""
        return lambda texts: encode_tokenised(
            self.model, self.reading, tokenize_texts(self.encoder, texts), adapter, BATCH_ROWS
        )

    def summary(self) -> dict[str, Any]:
        """What the run will be, as JSON."""
        return {
            "task": self.request.task,
            "base": self.manifest.base,
            "rows": {
                "trained": self.train.n_rows,
                "held_out": self.held_out.n_rows if self.held_out else 0,
                "left_out": self.n_left_out,
            },
            "texts": len(self.train.texts),
            "prompt": self.manifest.task_set.find(self.request.task).prompt,  # type: ignore[union-attr]  # just added
            "dims": list(self.sizes),
            "temperature": self.temperature,
            "batch_rows": BATCH_ROWS,
            "run": self.run.model_dump(mode="json"),
            "lora": self.lora.model_dump(mode="json"),
            "n_parameters": self.adapters.n_parameters,
            "adapter_bytes": 2 * self.adapters.n_parameters,
            "seconds": self.seconds,
        }


def prepare_text_job(request: TextTrainingRequest, on_progress: OnProgress) -> TextJob:
    """Read the data, load the base model, try a few steps, and settle how the run goes. Writes nothing.

    Raises:
        InputError: If the request cannot be met or the data cannot be trained on.
        ModelError: If the base model or the adapters in the folder cannot be used.
    """
    require_device(choose_device(request.device))
    found = find_folder(request)
    on_progress("reading", 0.0)
    everything = read_texts(request.data, request.task)
    train, held_out = (everything, None) if request.no_evaluate else everything.hold_out(request.seed)
    on_progress("loading", 0.0)
    encoder = Encoder.load(
        request.base, device=request.device, dtype="float32", adapters=None, query_prompt=request.prompt
    )
    manifest = add_task(request, encoder, found)
    digest = _fingerprint(encoder, train)
    run, lora = _choose_settings(request, encoder, train.n_rows)
    loaded, _ = encoder.parts
    torch.manual_seed(request.seed)
    adapters = TrainableAdapters(loaded.transformer.model, (request.adapter,), lora, n_fixed=0)
    model = build_model(loaded, adapters, None, run.precision)
    known = find_known_model(request.base)
    sizes, temperature = encoder.sizes, (known and known.temperature) or LossSettings().temperature
    reading = Reading(encoder, None, run.precision)
    make = TextBatches(encoder, reading, train, request.task, request.adapter, size=BATCH_ROWS, seed=request.seed)
    loss = TextLoss(model, sizes, temperature, centred=bool(known and known.layer_norm))
    on_progress("trying a few steps", 0.0)
    return TextJob(
        request=request,
        encoder=encoder,
        model=model,
        adapters=adapters,
        loss=loss,
        make=make,
        reading=reading,
        train=train,
        held_out=held_out,
        n_left_out=everything.n_rows - train.n_rows - (held_out.n_rows if held_out else 0),
        run=run,
        lora=lora,
        sizes=sizes,
        temperature=temperature,
        manifest=manifest,
        copied=found if found != request.out else None,
        fingerprint=digest,
        seconds=run.n_steps * _try_steps(loss, make, encoder.device),
    )


def carry_out_text_job(job: TextJob, on_progress: OnProgress) -> Mapping[str, float] | None:
    """Train, measure, and put adapter, card and task into the folder.

    Returns:
        The measure of the held-out texts, times 100, by the model as it is (``base``) and ``trained``; None where
        nothing was held out.

    Raises:
        InputError: If a run in the folder is another one.
    """
    request, out = job.request, job.request.out
    out.mkdir(parents=True, exist_ok=True)
    run = out / request.run
    wanted = {
        name: value for name, value in job.summary().items() if name not in ("seconds", "n_parameters", "adapter_bytes")
    }
    require_same_run(run, {**wanted, "data": job.fingerprint}, resume=request.resume)
    reporter = ProgressReporter(job.run.n_steps, on_progress)
    trained = take_steps(
        job.model,
        job.adapters,
        job.loss,
        job.make,
        job.run,
        run,
        resume=request.resume,
        on_progress=reporter.train,
    )
    measured = _measure(job, on_progress)
    if job.copied is not None:
        shutil.copytree(job.copied, out, dirs_exist_ok=True, ignore=shutil.ignore_patterns(MANIFEST_FILE, "run*"))
    job.adapters.save(out, dtype=torch.float16)
    write_card(job, out / request.adapter, trained, measured)
    # Last, so that what it names is whole; read again, since the folder may have got another task meanwhile.
    found = out if (out / MANIFEST_FILE).is_file() else job.copied
    write_adapter_manifest(out, add_task(request, job.encoder, found))
    if request.keep_nothing:
        shutil.rmtree(run, ignore_errors=True)
    return measured


def _choose_settings(request: TextTrainingRequest, encoder: Encoder, n_rows: int) -> tuple[RunSettings, LoraSettings]:
    """About four passes over the rows, at least 100 steps and at most 2,000, unless the request says how many."""
    n_steps = request.steps or default_steps(n_rows, BATCH_ROWS)
    run = RunSettings(
        n_steps=n_steps,
        learning_rate=RunSettings().learning_rate if request.learning_rate is None else request.learning_rate,
        warmup_steps=warmup_of(n_steps),
        seed=request.seed,
        precision=choose_precision(encoder.device),
    )
    return run, choose_lora(request.rank, request.layers)


def _try_steps(loss: TextLoss, make: TextBatches, device: torch.device) -> float:
    """Seconds of a step; nothing is changed by it."""
    begin = 0.0
    for number in range(_TRIED + 1):
        if number == 1:
            begin = time.perf_counter()
        features, labels = move_to(make(number), device)
        torch.stack(list(loss(features, labels).values())).sum().backward()  # type: ignore[no-untyped-call]
        loss.zero_grad()
    return (time.perf_counter() - begin) / _TRIED


def _measure(job: TextJob, on_progress: OnProgress) -> Mapping[str, float] | None:
    if job.held_out is None:
        return None
    on_progress("measuring held-out texts", 1.0)
    ways = {"base": None, "trained": job.request.adapter}
    return {
        name: measure_texts(job.request.task, job.encode(adapter), job.train, job.held_out, job.request.seed)
        for name, adapter in ways.items()
    }


def _fingerprint(encoder: Encoder, data: TextData) -> str:
    """SHA-256 over the base model and what is trained on."""
    digest = hashlib.sha256(json.dumps(dict(encoder.settings), sort_keys=True, default=str).encode())
    digest.update(json.dumps([data.texts, data.rows]).encode())
    return digest.hexdigest()
