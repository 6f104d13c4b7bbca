"""A run that is settled or done in, what a person reads of it out: summary, log, curve, card and command line."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latechunk.models.catalogue import find_known_model

if TYPE_CHECKING:
    from latechunk.training.job import Job, Wishes
    from latechunk.training.run import Trained

CARD, CURVE, LOG = "README.md", "curve.png", "log.jsonl"


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
        "settings": asdict(settings),
        "estimate": {**asdict(found), "seconds": found.seconds} if found else None,
    }


def write_results(job: Job, trained: Trained, rows: Sequence[Mapping[str, Any]]) -> None:
    """Log, curve and card."""
    from latechunk.evaluation.ranking import SCOPES
    from latechunk.training.card import render_card
    from latechunk.training.curve import draw_curve
    from latechunk.training.evaluator import METRIC

    out = job.wishes.out
    lines = [json.dumps(entry) + "\n" for entry in trained.log]
    (out / LOG).write_text("".join(lines), encoding="utf-8")
    points = {
        scope: [(int(one["step"]), one[name]) for one in trained.log if (name := f"eval_{METRIC}{scope}") in one]
        for scope in SCOPES
    }
    draw_curve(
        out / CURVE,
        [(int(one["step"]), one["loss"]) for one in trained.log if "loss" in one],
        points,
        {name: {row["scope"]: row[name] for row in rows} for name in ("untrained", "naive")},
        f"{job.bundle.base}, {job.settings.run.n_steps} steps",
    )
    (out / CARD).write_text(render_card(_card_values(job, trained, rows)), encoding="utf-8")


def command(wishes: Wishes) -> str:
    """The command line that asks for the same; folders by their last part, since they are of one machine."""
    parts = [
        "latechunk",
        "train",
        wishes.data.resolve().name,
        "--base",
        label(wishes.base),
        "--out",
        wishes.out.resolve().name,
    ]
    for name in ("adapters", "evaluate"):
        if (folder := getattr(wishes, name)) is not None:
            parts += [f"--{name}", folder.resolve().name]
    for name in (
        "minutes",
        "steps",
        "rank",
        "layers",
        "learning_rate",
        "late_weight",
        "index_late_weight",
        "evaluate_every",
    ):
        if (value := getattr(wishes, name)) is not None:
            parts += [f"--{name.replace('_', '-')}", f"{value:g}" if isinstance(value, float) else str(value)]
    if wishes.chunk_tokens:
        parts += ["--chunk-tokens", ",".join(map(str, wishes.chunk_tokens))]
    for name in ("skip_unusable", "no_evaluate"):
        parts += [f"--{name.replace('_', '-')}"] if getattr(wishes, name) else []
    parts += [] if wishes.query_adapter else ["--no-query-adapter"]
    for name, weight in wishes.weights.items():
        parts += ["--weight", f"{name}={weight:g}"]
    for name in wishes.own_document_only:
        parts += ["--own-document-only", name]
    parts += ["--licence", wishes.licence] if wishes.licence else []
    return shlex.join([*parts, "--seed", str(wishes.seed)])


def label(base: str) -> str:
    """A base's name; of a folder on this machine, its last part."""
    return Path(base).resolve().name if Path(base).exists() else base


def _card_values(job: Job, trained: Trained, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """All that the card's template names."""
    from latechunk.manifest import package_versions
    from latechunk.training.card import list_settings, read_facts
    from latechunk.training.heldout import CHUNK_TOKENS, DEPTH

    wishes, bundle = job.wishes, job.bundle
    known = find_known_model(wishes.base)
    is_hub = known is None and not Path(wishes.base).exists()
    counts = job.data.counts()
    alone = len(counts) == 1 and not (wishes.data / next(iter(counts))).is_dir()
    sets = [
        {"name": name, **found, "lines": read_facts(wishes.data if alone else wishes.data / name)}
        for name, found in counts.items()
    ]
    versions = package_versions() | {"peft": version("peft")}
    return {
        "licence": wishes.licence,
        "base": bundle.base,
        "base_hub": known.repository if known else wishes.base if is_hub else "",
        "base_licence": known.licence if known else "",
        "base_sha256": bundle.base_weights_sha256,
        "mode": bundle.mode,
        "late_weight": f"{bundle.late_weight:g}",
        "query_adapter": job.settings.query_adapter,
        "rows": rows,
        "begun_with": wishes.adapters is not None,
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
        "command": command(wishes),
        "versions": ", ".join(f"{name} {number}" for name, number in sorted(versions.items())),
    }


def _count(number: int, name: str) -> str:
    return f"{number:,} {name}{'' if number == 1 else 's'}"
