"""What a user asks of a training on whole texts, checked; ``latechunk train --task`` has an option for each field."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from latechunk.models.catalogue import DEFAULT_MODEL
from latechunk.training.request import require_trainable_base
from latechunk.training.tasks.data import TextTask
from latechunk.validation import Validated


class TextTrainingRequest(Validated):
    """What to train; None where the default is wanted. The help of ``latechunk train`` says what each field is.

    Raises:
        InputError: If a value is out of range, or the base cannot be trained over.
    """

    data: Path
    out: Path
    task: TextTask
    base: str = DEFAULT_MODEL
    prompt: str | None = None
    steps: Annotated[int, Field(ge=1)] | None = None
    rank: int | None = None
    layers: int | None = None
    learning_rate: float | None = None
    no_evaluate: bool = False
    resume: bool = False
    seed: int = 0
    device: str = "auto"
    licence: str = ""
    keep_nothing: bool = False
    command: str = ""

    @model_validator(mode="after")
    def _base_embeds_by_itself(self) -> Self:
        require_trainable_base(self.base)
        return self

    @property
    def adapter(self) -> str:
        """The subfolder of the adapter."""
        return self.task.replace("-", "_")

    @property
    def run(self) -> str:
        """The subfolder of the checkpoints."""
        return f"run-{self.task}"
