"""What a person reads of a run: the summary before it; log and model card after it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latechunk.manifest import package_versions
from latechunk.models.catalogue import find_known_model
from latechunk.training.card import list_settings, read_facts, render_card
from latechunk.training.heldout import CHUNK_TOKENS, DEPTH
from latechunk.training.run import Trained

if TYPE_CHECKING:
    from latechunk.training.job import Job

CARD, LOG = "README.md", "log.jsonl"


def summarise(job: Job) -> dict[str, Any]:
    """What a run will be, as JSON: printed before it begins."""
    settings, found = job.settings, job.estimate
    _, plan = job.encoder.parts
    return {
        "base": job.bundle.base,
        "context": "local-global" if plan.local_global else "windows",
        "sets": job.data.counts(),
        "held_out": {
            "documents": sum(len(one.documents) for one in job.held_out),
            "questions": sum(len(one.questions) for one in job.held_out),
            "origin": job.origin,
        },
        "unusable": [str(one) for one in job.data.unusable],
        "settings": settings.model_dump(mode="json"),
        "estimate": {**asdict(found), "seconds": found.seconds} if found else None,
    }


def write_results(job: Job, trained: Trained, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the log and the card."""
    out = job.request.out
    lines = [json.dumps(entry) + "\n" for entry in trained.log]
    (out / LOG).write_text("".join(lines), encoding="utf-8")
    (out / CARD).write_text(render_card(_card_values(job, trained, rows)), encoding="utf-8")


def _card_values(job: Job, trained: Trained, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """All that the card's template names."""
    request, bundle = job.request, job.bundle
    known = find_known_model(request.base)
    is_hub = known is None and not Path(request.base).exists()
    counts = job.data.counts()
    alone = len(counts) == 1 and not (request.data / next(iter(counts))).is_dir()
    sets = [
        {"name": name, **found, "lines": read_facts(request.data if alone else request.data / name)}
        for name, found in counts.items()
    ]
    versions = package_versions() | {"peft": version("peft")}
    return {
        "licence": request.licence,
        "base": bundle.base,
        "base_hub": known.repository if known else request.base if is_hub else "",
        "base_licence": known.licence if known else "",
        "base_sha256": bundle.base_weights_sha256,
        "mode": bundle.mode,
        "late_weight": f"{bundle.late_weight:g}",
        "query_adapter": job.settings.query_adapter,
        "rows": rows,
        "begun_with": request.adapters is not None,
        "depth": DEPTH,
        "chunk_tokens": CHUNK_TOKENS,
        "held_out": {
            "questions": _count(sum(len(one.questions) for one in job.held_out), "question"),
            "documents": _count(sum(len(one.documents) for one in job.held_out), "document"),
            "origin": job.origin,
        },
        "sets": sets,
        "n_unusable": len(job.data.unusable),
        "settings": [
            ("parameters trained", f"{trained.n_parameters:,}"),
            *list_settings(job.settings),
            ("index late weight", f"{bundle.late_weight:g}" if bundle.mode == "blend" else "none"),
        ],
        "command": request.command,
        "versions": ", ".join(f"{name} {number}" for name, number in sorted(versions.items())),
    }


def _count(number: int, name: str) -> str:
    return f"{number:,} {name}{'' if number == 1 else 's'}"
