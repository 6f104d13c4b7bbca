"""What a person reads of a run: the summary before it; log and model card after it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, StrictUndefined

from latechunk.evaluation.ranking import Scope
from latechunk.evaluation.statistics import Comparison
from latechunk.manifest import package_versions
from latechunk.models.catalogue import find_known_model
from latechunk.printing import counted
from latechunk.training.evaluator import CHUNK_TOKENS, DEPTH
from latechunk.training.lookalikes import PREFIX
from latechunk.training.request import TrainingRequest
from latechunk.training.run import Trained
from latechunk.training.settings import TrainingSettings

if TYPE_CHECKING:
    from latechunk.training.job import Job

SCOPE_TITLES: Mapping[Scope, str] = {"corpus": "in the corpus", "document": "within the right document"}
_FACT = re.compile(r"^\s*[-*]\s*((?:licen[cs]e|source|upstream)\b.*)$", re.IGNORECASE)
_GENERATED = "source: generated from latechunk's own templates, by --lookalikes; licence: Apache-2.0, as latechunk"
_MOST_README = 100_000  # characters of a set's README.md that are looked through


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
        "unusable": list(job.data.unusable),
        "settings": settings.model_dump(mode="json"),
        "estimate": {**asdict(found), "seconds": found.seconds} if found else None,
    }


def write_results(job: Job, trained: Trained, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the log and the card."""
    write_files(job.request.out, "latechunk.training", _card_values(job, trained, rows), trained)


def _card_values(job: Job, trained: Trained, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """All that the card's template names."""
    request, bundle = job.request, job.bundle
    known = find_known_model(request.base)
    is_hub = known is None and not Path(request.base).exists()
    counts = job.data.counts()
    sets = [{"name": name, **found, "lines": _find_facts(request, name)} for name, found in counts.items()]
    return {
        "licence": request.licence,
        "base": bundle.base,
        "base_hub": known.repository or "" if known else request.base if is_hub else "",
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
            "questions": counted(sum(len(one.questions) for one in job.held_out), "question"),
            "documents": counted(sum(len(one.documents) for one in job.held_out), "document"),
            "origin": job.origin,
        },
        "sets": sets,
        "n_unusable": len(job.data.unusable),
        "settings": [
            ("parameters trained", f"{trained.n_parameters:,}"),
            *_list_settings(job.settings),
            ("index late weight", f"{bundle.late_weight:g}" if bundle.mode == "blend" else "none"),
        ],
        "command": request.command,
    }


def write_files(folder: Path, package: str, values: Mapping[str, Any], trained: Trained) -> None:
    """Write the log of a run, and a package's template of a card filled with ``values`` and versions."""
    versions = package_versions() | {"peft": version("peft")}
    told = ", ".join(f"{name} {number}" for name, number in sorted(versions.items()))
    lines = [json.dumps(entry) + "\n" for entry in trained.log]
    (folder / "log.jsonl").write_text("".join(lines), encoding="utf-8")
    (folder / "README.md").write_text(_render_card(package, {**values, "versions": told}), encoding="utf-8")


def _render_card(package: str, values: Mapping[str, Any]) -> str:
    template = files(package).joinpath("card.md").read_text(encoding="utf-8")
    environment = Environment(  # noqa: S701  Markdown, not HTML; every value is made plain by _plain()
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, finalize=_plain
    )
    return environment.from_string(template).render(values)


def _plain(value: Any) -> Any:
    """One line of text that ends no table's cell and opens no tag."""
    if not isinstance(value, str):
        return value
    return " ".join(value.split()).replace("|", "\\|").replace("<", "&lt;") if value.strip() else value


def _find_facts(request: TrainingRequest, name: str) -> list[str]:
    """What is known of a set's source and licence."""
    if request.lookalikes and name.startswith(PREFIX):
        return [_GENERATED]
    folder = request.data / name
    return _read_facts(folder if folder.is_dir() else request.data)


def _read_facts(folder: Path) -> list[str]:
    """The lines of a set's README.md that say its source and its licence, as they are there."""
    try:
        text = (folder / "README.md").read_text(encoding="utf-8", errors="replace")[:_MOST_README]
    except OSError:
        return []
    return [found.group(1).strip() for line in text.splitlines() if (found := _FACT.match(line))]


def _word_gain(compared: Comparison) -> str:
    """``+3.21 [+1.05, +5.40]``; without an interval where there is one document."""
    gain = f"{compared.difference:+.2f}"
    if not math.isfinite(compared.low):
        return f"{gain} (one document: no interval)"
    return f"{gain} [{compared.low:+.2f}, {compared.high:+.2f}]"


def result_rows(
    means: Mapping[str, Mapping[Any, float]],
    over_untrained: Mapping[Any, Comparison],
    over_naive: Mapping[Any, Comparison],
) -> list[dict[str, Any]]:
    """A column of the card's table for each scope that was measured."""
    return [
        {
            "title": SCOPE_TITLES[scope],
            "scope": scope,
            **{name: values[scope] for name, values in means.items()},
            "over_untrained": _word_gain(over_untrained[scope]),
            "over_naive": _word_gain(over_naive[scope]),
        }
        for scope in over_untrained
    ]


def _list_settings(settings: TrainingSettings) -> list[tuple[str, str]]:
    """All settings by name, in order, as short text."""
    found: list[tuple[str, str]] = []
    for group, values in settings.model_dump().items():
        rows: Sequence[tuple[str, Any]] = list(values.items()) if isinstance(values, dict) else [("", values)]
        found += [(f"{group} {name}".strip().replace("_", " "), _word(value)) for name, value in rows]
    return found


def _word(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_word(one)}" for name, one in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(_word, value)) or "none"
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value is None else str(value)
