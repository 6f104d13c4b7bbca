"""Words what a run is doing, and how much of it is done."""

from __future__ import annotations

from collections.abc import Callable, Mapping

OnProgress = Callable[[str, float], None]


class ProgressReporter:
    """Passes the events of a run on as a text and the share that is done."""

    def __init__(self, n_steps: int, on_progress: OnProgress) -> None:
        """Set up for a run of ``n_steps``."""
        self._n_steps = n_steps
        self._on_progress = on_progress
        self._share, self._loss = 0.0, ""

    def train(self, done: int, figures: Mapping[str, float]) -> None:
        """Take what ``latechunk.training.run.train`` reports."""
        if "loss" in figures:
            self._loss = f", loss {figures['loss']:.3f}"
        self._share = done / self._n_steps
        self._on_progress(f"step {done} of {self._n_steps}{self._loss}", self._share)

    def measure(self, n_characters: int) -> None:  # noqa: ARG002  what the evaluation reports
        """Take what an evaluation reports."""
        self._on_progress("measuring held-out questions", self._share)
