"""Estimate a run before it begins: its steps and sizes, and from a short trial its time, memory and disk."""

from __future__ import annotations

import math
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from latechunk.encoding.encoder import Encoder
from latechunk.errors import InputError
from latechunk.training.data import TrainingData, TrainingDocument, TrainingQuestion
from latechunk.training.model import computing_in
from latechunk.training.reading import move_to
from latechunk.training.run import Assembled, assemble, require_trainable
from latechunk.training.segments import SegmentSource
from latechunk.training.settings import SegmentSettings, TrainingSettings
from latechunk.types import PoolingTask

PASSES = 4
LEAST_STEPS, MOST_STEPS = 100, 2_000
_LEAST_IN_TIME = 10  # steps; fewer teach nothing
_DRAWN = 32  # batches drawn to know how large they are
_TRIED = 3  # batches of the trial
_SAMPLE_TOKENS = 8_000
_WHOLE_CHECKPOINTS = 3  # two are kept, and one is being written
_GROWTH = 1.8  # on the CPU, runs of the default model ended at 1.65 and 1.8 times what the trial took
_STATE_NUMBERS = 3  # of each parameter in a checkpoint: itself and AdamW's two moments, in float32


@dataclass(frozen=True, slots=True)
class BatchSize:
    """What an average step reads: content tokens of its segments, and questions asked of them."""

    n_tokens: float
    n_questions: float


@dataclass(frozen=True, slots=True)
class Trial:
    """What was measured on a few documents.

    Attributes:
        step_seconds: Of training, for a content token of a batch.
        frozen_seconds: Of them, for what is spared where the batch was read before.
        read_seconds: Of reading a document as an index does, for a content token.
        peak_bytes: The most memory taken, after a step of the longest segments; None where it cannot be told.
        kept_bytes: Of what frozen layers give, for a content token of a batch.
    """

    step_seconds: float
    frozen_seconds: float
    read_seconds: float
    peak_bytes: int | None
    n_parameters: int
    kept_bytes: float = 0.0


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run will take: time, memory (None where it cannot be told), and disk.

    Attributes:
        kept_bytes: Of what frozen layers give, where the run goes through the same batches again.
        adapter_bytes: In float16.
    """

    n_steps: int
    train_seconds: float
    evaluate_seconds: float
    peak_bytes: int | None
    checkpoint_bytes: int
    kept_bytes: int
    n_parameters: int
    adapter_bytes: int

    @property
    def seconds(self) -> float:
        """For everything."""
        return self.train_seconds + self.evaluate_seconds


def default_steps(n_examples: int, n_in_step: float) -> int:
    """About four passes over the examples, at least 100 steps and at most 2,000."""
    return min(MOST_STEPS, max(LEAST_STEPS, math.ceil(PASSES * n_examples / n_in_step)))


def steps_within(seconds: float, fixed_seconds: float, seconds_per_step: float) -> int:
    """How many steps fit a time, after what has to be done in any case; InputError if fewer than 10 do."""
    n_steps = int((seconds - fixed_seconds) / seconds_per_step)
    if n_steps < _LEAST_IN_TIME:
        needed = (fixed_seconds + _LEAST_IN_TIME * seconds_per_step) / 60
        raise InputError(
            f"in {seconds / 60:g} minutes there is time for {max(n_steps, 0)} steps here, after {fixed_seconds:.0f} "
            f"seconds for measuring, and a run needs at least {_LEAST_IN_TIME}; give at least "
            f"{needed:.1f} minutes, or fewer data"
        )
    return n_steps


def estimate(trial: Trial, batch: BatchSize, n_steps: int, n_measured: int, n_batches: int | None = None) -> Estimate:
    """Estimate what a run takes, with ``n_measured`` tokens in all measuring, and ``n_batches`` different batches."""
    n_read = min(n_steps, n_batches or n_steps)
    n_again = n_steps - n_read
    return Estimate(
        n_steps=n_steps,
        train_seconds=batch.n_tokens * (trial.step_seconds * n_steps - trial.frozen_seconds * n_again),
        evaluate_seconds=trial.read_seconds * n_measured,
        peak_bytes=trial.peak_bytes,
        checkpoint_bytes=_WHOLE_CHECKPOINTS * _STATE_NUMBERS * 4 * trial.n_parameters,
        kept_bytes=round(trial.kept_bytes * batch.n_tokens * n_read) if n_batches else 0,
        n_parameters=trial.n_parameters,
        adapter_bytes=2 * trial.n_parameters,
    )


def draw_sizes(data: TrainingData, settings: TrainingSettings) -> BatchSize:
    """Draw some batches of a run to see how large they are."""
    source = SegmentSource(data, settings.segments, settings.run.seed)
    batches = [source.draw(number, settings.run.batch_segments) for number in range(_DRAWN)]
    return BatchSize(
        n_tokens=float(np.mean([sum(one.end - one.start for one in batch) for batch in batches])),
        n_questions=float(np.mean([sum(len(one.questions) for one in batch) for batch in batches])),
    )


def fit_segments(encoder: Encoder, settings: SegmentSettings) -> SegmentSettings:
    """Segments no longer than the window that an encoder reads in one pass; where that cuts them, from a quarter."""
    (letter,) = encoder.tokenize(["a"])
    _, plan = encoder.parts
    room = plan.window_tokens - plan.n_special - len(letter.prompt_ids)
    if settings.most_tokens <= room:
        return settings
    return settings.replaced(most_tokens=room, least_tokens=min(settings.least_tokens, max(2, room // 4)))


def take_sample(data: TrainingData, settings: TrainingSettings) -> TrainingData:
    """The documents of the first segments that a run draws, up to some thousand tokens, with their questions."""
    source = SegmentSource(data, settings.segments, settings.run.seed)
    drawn = [one.document for number in range(_TRIED) for one in source.draw(number, settings.run.batch_segments)]
    numbers: dict[int, int] = {}
    n_tokens = 0
    for number in dict.fromkeys(drawn):
        if numbers and n_tokens >= _SAMPLE_TOKENS:
            break
        numbers[number] = len(numbers)
        n_tokens += len(data.documents[number].tokens)
    documents: list[TrainingDocument] = []
    questions: list[TrainingQuestion] = []
    for number, place in numbers.items():
        document = data.documents[number]
        asked = range(len(questions), len(questions) + len(document.asked))
        questions += [replace(data.questions[one], document=place) for one in document.asked]
        documents.append(replace(document, asked=tuple(asked)))
    return TrainingData(tuple(documents), tuple(questions))


def measure_trial(encoder: Encoder, data: TrainingData, settings: TrainingSettings, start: Path | None = None) -> Trial:
    """Run a few steps on a sample; the encoder cannot be used afterwards.

    Raises:
        InputError: If the run would be refused.
    """
    require_trainable(encoder, data, settings)
    sample = take_sample(data, settings)
    settings = settings.replaced(segments=settings.segments.replaced(mixture={}, own_document_only=()))
    tasks = [PoolingTask.whole(one.tokens) for one in sample.documents]
    with computing_in(settings.run.precision, encoder.device):
        encoder.encode_spans(tasks[:1])
        begin = time.perf_counter()
        encoder.encode_spans(tasks)
        read = time.perf_counter() - begin
    parts = assemble(encoder, sample, settings, start)
    return _try_steps(parts, sample, settings, read / sample.n_tokens)


def _try_steps(parts: Assembled, sample: TrainingData, settings: TrainingSettings, read_seconds: float) -> Trial:
    """Run a few steps, the first of which, with the longest segments, takes the most memory."""
    optimizer = torch.optim.AdamW(parts.adapters.parameters(), lr=settings.run.learning_rate)
    device = parts.adapters.parameters()[0].device
    longest = settings.segments.replaced(least_tokens=settings.segments.most_tokens)
    whole, frozen, kept, n_tokens = 0.0, 0.0, 0, 0
    for number, segments in enumerate([longest, *[settings.segments] * _TRIED]):
        batch = SegmentSource(sample, segments, settings.run.seed).draw(number, settings.run.batch_segments)
        begin = time.perf_counter()
        made = parts.make.of(batch)
        read = time.perf_counter()
        features, labels = move_to(made, device)
        torch.stack(list(parts.loss(features, labels).values())).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if number:  # the first one pays for what is set up once
            whole, frozen = whole + time.perf_counter() - begin, frozen + read - begin
            kept += sum(2 * one["states"].numel() for one in features if "states" in one)  # in float16
            n_tokens += sum(one.end - one.start for one in batch)
    return Trial(
        step_seconds=whole / n_tokens,
        frozen_seconds=frozen / n_tokens,
        read_seconds=read_seconds,
        peak_bytes=_peak_bytes(device),
        n_parameters=parts.adapters.n_parameters,
        kept_bytes=kept / n_tokens,
    )


def _peak_bytes(device: torch.device) -> int | None:
    """The most that this process will take, by the most that it has: of the GPU's memory, or of the machine's."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # not on Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1_024
    return int(_GROWTH * unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
