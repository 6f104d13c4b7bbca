"""What a user asks of a training run, checked; ``latechunk train`` has an option for each field."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from latechunk.errors import InputError
from latechunk.models.catalogue import DEFAULT_MODEL, find_known_model
from latechunk.validation import Validated


class TrainingRequest(Validated):
    """What to train; None where the default is wanted. The help of ``latechunk train`` says what each field is.

    Raises:
        InputError: If a value is out of range, two contradict each other, or the base cannot be trained over.
    """

    data: Path
    out: Path
    base: str = DEFAULT_MODEL
    adapters: Path | None = None
    average: tuple[Path, ...] = ()
    resume: bool = False
    skip_unusable: bool = False
    minutes: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    steps: int | None = None
    batches: int | None = None
    batch_segments: int | None = None
    rank: int | None = None
    layers: int | None = None
    learning_rate: float | None = None
    chunk_tokens: tuple[int, ...] = ()
    segment_tokens: tuple[int, ...] | None = None
    anchor: float | None = None
    late_weight: float | None = None
    index_late_weight: Annotated[float, Field(gt=0, lt=1)] | None = None
    query_adapter: bool = True
    evaluate: Path | None = None
    no_evaluate: bool = False
    evaluate_every: int | None = None
    seed: int = 0
    device: str = "auto"
    weights: Mapping[str, float] = {}
    lookalikes: Annotated[float, Field(ge=0, lt=1)] = 0.0
    own_document_only: tuple[str, ...] = ()
    licence: str = ""
    keep_nothing: bool = False
    command: str = ""

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.minutes is not None and self.steps is not None:
            raise InputError("--minutes chooses the steps; give it or --steps, not both")
        if self.segment_tokens is not None:
            given = ",".join(map(str, self.segment_tokens))
            if len(self.segment_tokens) != 2:
                raise InputError(f"--segment-tokens must be two numbers such as 255,1022, got {given}")
            if self.segment_tokens[0] > self.segment_tokens[1]:
                raise InputError(f"--segment-tokens must be the least and the most, got {given}")
        if self.no_evaluate and (self.evaluate is not None or self.evaluate_every is not None):
            raise InputError(
                "--no-evaluate leaves nothing to measure; leave it out, or --evaluate and --evaluate-every"
            )
        require_trainable_base(self.base)
        return self

    @property
    def base_label(self) -> str:
        """What the base is called."""
        return label_of(self.base)


def require_trainable_base(base: str) -> None:
    """Raise InputError for a model that is known to be nothing without adapters, before it is downloaded."""
    known = find_known_model(base)
    if known and known.tasks:
        raise InputError(
            f"--base must be a model that embeds without adapters, and {base!r} only does under task adapters of its "
            f"own ({', '.join(task.name for task in known.tasks)}), which cannot be trained over; choose another"
        )


def label_of(base: str) -> str:
    """The base's name; of a folder on this machine, its last part."""
    return Path(base).resolve().name if Path(base).exists() else base
