"""How an adapter is trained, as data that checks itself."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from latechunk.errors import InputError

Precision: TypeAlias = Literal["float32", "bfloat16"]

LINEAR_LAYERS = r"(query|key|value|dense|q_proj|k_proj|v_proj|o_proj|Wqkv|Wo|Wi)"
"""Names of the linear layers of the encoders that latechunk knows, as a regular expression of the last part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraSettings:
    """The shape of the adapters.

    Attributes:
        rank: Of the two factors of each update.
        alpha: The update is scaled by ``alpha / rank``.
        n_layers: How many layers, counted from the top, are adapted. None for those that read the whole sequence where
            the encoder has a local-global context, else for all.
        targets: Regular expression of the names, within a layer, of the linear layers that are adapted.

    Raises:
        InputError: If a setting is out of range.
    """

    rank: int = 64
    alpha: float = 128.0
    n_layers: int | None = None
    targets: str = LINEAR_LAYERS

    def __post_init__(self) -> None:
        _require_at_least("rank", self.rank, 1)
        _require_positive("alpha", self.alpha)
        if self.n_layers is not None:
            _require_at_least("n_layers", self.n_layers, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class LossSettings:
    """What is made small.

    Attributes:
        temperature: What cosines are divided by.
        late_weight: Share of the late vector in the blend that is trained, the rest being that of the chunk's text read
            alone; 1 to train the late vector alone, in less than half the time.
        document_weight: Share of the loss against the chunks of the same stretch; the rest is against those of the
            whole batch and the bank.
        reverse_weight: Weight of the loss from chunks to questions, beside that from questions to chunks.
        anchor: Weight of 1 less the cosine of late vectors with those of the untrained model.
        query_anchor: The same for questions, where they have an adapter.
        bank_stretches: How many stretches back chunks serve as further negatives.
        matryoshka: Shorter lengths, at which the loss is taken too, as an equal part of the mean.

    Raises:
        InputError: If a setting is out of range.
    """

    temperature: float = 0.05
    late_weight: float = 0.7
    document_weight: float = 0.5
    reverse_weight: float = 0.0
    anchor: float = 3.0
    query_anchor: float = 3.0
    bank_stretches: int = 24
    matryoshka: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        _require_positive("temperature", self.temperature)
        for name in ("late_weight", "document_weight"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} must be from 0 to 1, got {getattr(self, name)!r}")
        if self.late_weight == 0:
            raise InputError("late_weight must be above 0: naive vectors alone are not trained")
        for name in ("reverse_weight", "anchor", "query_anchor"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise InputError(f"{name} must be finite and at least 0, got {getattr(self, name)!r}")
        _require_at_least("bank_stretches", self.bank_stretches, 0)
        for size in self.matryoshka:
            _require_at_least("a length of matryoshka", size, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class StretchSettings:
    """What one training example is: a stretch of a document, cut into chunks, and questions that it answers.

    Attributes:
        chunk_tokens: Sizes of chunks, in tokens; each stretch is cut to one of them.
        least_tokens: The shortest stretch, in content tokens.
        most_tokens: The longest; lengths between are drawn evenly on a logarithmic scale, one for each batch.
        most_questions: The most questions asked of a stretch.
        mixture: Weight of each set, by name; sets that are not named have weight 1, and a weight of 0 leaves a set out.
        own_document_only: Sets whose questions are asked of many documents, and thus only of chunks of their own.

    Raises:
        InputError: If a setting is out of range.
    """

    chunk_tokens: tuple[int, ...] = (48, 64, 96, 128)
    least_tokens: int = 512
    most_tokens: int = 2_046
    most_questions: int = 16
    mixture: Mapping[str, float] = field(default_factory=dict)
    own_document_only: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not self.chunk_tokens:
            raise InputError("chunk_tokens must name at least one size")
        for size in self.chunk_tokens:
            _require_at_least("a size of chunk_tokens", size, 1)
        _require_at_least("least_tokens", self.least_tokens, 2)
        _require_at_least("most_tokens", self.most_tokens, self.least_tokens)
        _require_at_least("most_questions", self.most_questions, 1)
        for name, weight in self.mixture.items():
            if not (math.isfinite(weight) and weight >= 0):
                raise InputError(f"the weight of {name!r} must be finite and at least 0, got {weight!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """How the run goes.

    Attributes:
        n_steps: Optimiser steps.
        batch_stretches: Stretches of a step.
        cached_stretches: Stretches that are in memory with their gradients at once (a gradient cache); None for all
            of a step. Fewer take less memory and a second forward pass, and change no gradient.
        learning_rate: At its peak, of AdamW.
        warmup_steps: Until the peak; from there it falls as a cosine does.
        weight_decay: Of AdamW.
        max_gradient_norm: Gradients are clipped to it.
        seed: Of everything drawn at random.
        precision: What the forward pass computes in; weights are float32.
        evaluate_steps: Between two evaluations; 0 for none.
        save_steps: Between two checkpoints.

    Raises:
        InputError: If a setting is out of range.
    """

    n_steps: int = 450
    batch_stretches: int = 4
    cached_stretches: int | None = None
    learning_rate: float = 3e-4
    warmup_steps: int = 30
    weight_decay: float = 0.01
    max_gradient_norm: float = 1.0
    seed: int = 0
    precision: Precision = "float32"
    evaluate_steps: int = 0
    save_steps: int = 100

    def __post_init__(self) -> None:
        for name, least in (
            ("n_steps", 1),
            ("batch_stretches", 1),
            ("warmup_steps", 0),
            ("seed", 0),
            ("evaluate_steps", 0),
            ("save_steps", 1),
        ):
            _require_at_least(name, getattr(self, name), least)
        if self.cached_stretches is not None:
            _require_at_least("cached_stretches", self.cached_stretches, 1)
        _require_positive("learning_rate", self.learning_rate)
        _require_positive("max_gradient_norm", self.max_gradient_norm)
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise InputError(f"weight_decay must be finite and at least 0, got {self.weight_decay!r}")
        if self.precision not in ("float32", "bfloat16"):
            raise InputError(f'precision must be "float32" or "bfloat16", got {self.precision!r}')


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """All that decides what a run gives, beside the data and the base model.

    Attributes:
        lora: The shape of the adapters.
        loss: What is made small.
        stretches: What the examples are.
        run: How the run goes.
        query_adapter: Whether questions get an adapter too; without one they are read by the base model.
    """

    lora: LoraSettings = field(default_factory=LoraSettings)
    loss: LossSettings = field(default_factory=LossSettings)
    stretches: StretchSettings = field(default_factory=StretchSettings)
    run: RunSettings = field(default_factory=RunSettings)
    query_adapter: bool = True


def _require_at_least(name: str, value: int, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InputError(f"{name} must be a whole number of at least {least}, got {value!r}")


def _require_positive(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"{name} must be finite and above 0, got {value!r}")
