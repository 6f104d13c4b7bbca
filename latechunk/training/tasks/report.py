"""The card of an adapter for texts compared as wholes, and the log of its run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from latechunk.training.report import write_files
from latechunk.training.run import Trained
from latechunk.training.tasks.data import TextTask
from latechunk.training.tasks.measure import MEASURES

if TYPE_CHECKING:
    from latechunk.training.tasks.job import TextJob

LOSSES: Mapping[TextTask, str] = {
    "text-matching": "CoSENT of pairs with scores",
    "classification": "InfoNCE of texts with those of their label",
    "separation": "CoSENT of all pairs of texts, by whether they have the same label",
}
_RUN = ("n_steps", "learning_rate", "warmup_steps", "weight_decay", "max_gradient_norm", "seed", "precision")


def write_card(job: TextJob, folder: Path, trained: Trained, measured: Mapping[str, float] | None) -> None:
    """Write README.md and log.jsonl into the adapter's folder."""
    summary, request = job.summary(), job.request
    values = {
        "task": request.task,
        "base": summary["base"],
        "licence": request.licence,
        "measure": MEASURES[request.task],
        "measured": measured,
        "rows": summary["rows"],
        "texts": summary["texts"],
        "data": request.data.name,
        "loss": LOSSES[request.task],
        "settings": [
            ("parameters trained", f"{summary['n_parameters']:,}"),
            ("prompt", json.dumps(summary["prompt"], ensure_ascii=False)),
            ("rows of a batch", f"{summary['batch_rows']}"),
            ("temperature", f"{summary['temperature']:g}"),
            ("lengths of vectors", ", ".join(map(str, summary["dims"]))),
            *((name.replace("_", " "), f"{summary['run'][name]}") for name in _RUN),
            *((name.replace("_", " "), f"{value}") for name, value in summary["lora"].items()),
        ],
        "command": request.command,
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_files(folder, "latechunk.training.tasks", values, trained)
