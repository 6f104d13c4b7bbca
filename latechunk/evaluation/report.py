"""The report of an evaluation: a table for the terminal, ``results.json`` and a self-contained ``report.html``."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from rich.table import Table
from rich.text import Text

from latechunk.errors import InputError
from latechunk.evaluation.harness import SetResult, Setup
from latechunk.evaluation.plots import draw_gains, draw_shift
from latechunk.evaluation.summary import most_changed, summarise
from latechunk.evaluation.verdict import choose_compared, tell_first
from latechunk.manifest import package_versions
from latechunk.printing import printable
from latechunk.protocols import ReportsRuntime

TITLES = (("corpus", "In the corpus"), ("document", "Within the right document"))
_CHANGES = 20


@dataclass(frozen=True, slots=True)
class Report:
    """All that an evaluation found.

    Attributes:
        summary: What it comes to, a sentence for each set.
        rows: As ``latechunk.evaluation.summary.summarise`` gives them, of all sets.
        changes: The questions that changed most between ``reference`` and ``compared``, of all sets, most first.
        shifts: Context shift of the chunks of each set, at the first encoder and chunk size.
        made: When, with what, how long it took.
        encoders: Settings by name.
    """

    summary: Sequence[str]
    rows: Sequence[Mapping[str, Any]]
    changes: Sequence[Mapping[str, Any]]
    shifts: Mapping[str, Any]
    reference: str
    compared: str
    made: Mapping[str, Any]
    encoders: Mapping[str, Any]
    depth: int


def build_report(
    results: Sequence[SetResult], setup: Setup, seconds: Mapping[str, float], n_left_out: int = 0
) -> Report:
    """Sum up what was ranked; ``n_left_out`` counts questions that could not be asked."""
    compared, reference = choose_compared(setup.arms)
    is_only = len(results) * len(setup.encoders) * len(setup.max_tokens) == 1
    changes = [one for result in results for one in most_changed(result, compared, reference, setup.depth, _CHANGES)]
    shifted = [one for one in results if one.context_shift]
    made = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "arms": ", ".join(setup.arms),
        "chunks": ", ".join(f"at most {size} tokens" if size else "the index's" for size in setup.max_tokens),
        "questions_left_out": n_left_out,
        "seed": setup.seed,
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
        "versions": package_versions(),
    }
    return Report(
        summary=[tell_first(one, is_only=is_only) for one in results],
        rows=[row for result in results for row in summarise(result, reference, setup.depth)],
        changes=sorted(changes, key=lambda change: -abs(change["change"]))[:_CHANGES],
        shifts={one.evaluation_set.name: next(iter(one.context_shift.values())) for one in shifted},
        reference=reference,
        compared=compared,
        made=made,
        encoders={
            name: {
                **encoder.settings,
                **({"ran": dict(encoder.runtime)} if isinstance(encoder, ReportsRuntime) else {}),
            }
            for name, encoder in setup.encoders.items()
        },
        depth=setup.depth,
    )


def write_report(folder: Path, report: Report) -> None:
    """Write ``results.json`` and ``report.html``, each whole or not at all.

    Raises:
        InputError: If the folder cannot be written into.
    """
    content = {name: getattr(report, name) for name in ("summary", "made", "encoders", "reference", "rows")}
    texts = {
        "results.json": json.dumps(content, ensure_ascii=False, indent=1) + "\n",
        "report.html": render(report),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            unfinished = folder / f"{name}.unfinished"
            unfinished.write_text(text, encoding="utf-8")
            os.replace(unfinished, folder / name)
    except OSError as error:
        raise InputError(f"the report cannot be written to {folder}: {error}") from error


def render(report: Report) -> str:
    """The report as one page of HTML that needs nothing else; documents' texts are escaped."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["groups"] = _group_by_encoding
    template = environment.from_string(files("latechunk.evaluation").joinpath("report.html").read_text("utf-8"))
    is_only = len({(row["set"], row["max_tokens"], row["encoder"]) for row in report.rows}) == 1
    plots = {}
    for scope, title in TITLES:
        compared = [row for row in report.rows if row["scope"] == scope and row["comparison"]]
        plots[scope] = draw_gains(compared, f"{title}: gain over {report.reference}") if compared else ""
    return template.render(
        {field.name: getattr(report, field.name) for field in fields(report)},
        scopes=TITLES,
        plots=plots,
        shift=draw_shift(report.shifts) if report.shifts else "",
        many_encoders=len(report.encoders) > 1,
        one_headline=len({row["headline"] for row in report.rows}) == 1,
        verdicts=[] if is_only else tell_verdicts(report.rows, report.reference),
        details=[*tell_settings(report.made), *_tell_encoders(report.encoders)],
    )


def _group_by_encoding(rows: Iterable[Mapping[str, Any]]) -> list[tuple[tuple[Any, ...], list[Mapping[str, Any]]]]:
    """Rows of one set, chunk size and encoder together, in the order of their first."""
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["set"], row["max_tokens"], row["encoder"]), []).append(row)
    return list(groups.items())


def tell_settings(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Settings as names and texts, those within others by both names; of paths the last part, of digests the first."""
    told = []
    for key, value in settings.items():
        name = key.replace("_", " ")
        if isinstance(value, Mapping):
            told += [(f"{name}, {inner}", text) for inner, text in tell_settings(value)]
        elif value is not None:
            told.append((name, _tell_value(key, value)))
    return told


def _tell_encoders(encoders: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str]]:
    several = len(encoders) > 1
    return [
        (f"{Path(encoder).name}: {name}" if several else f"encoder: {name}", text)
        for encoder, settings in encoders.items()
        for name, text in tell_settings(settings)
    ]


def _tell_value(name: str, value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_tell_value(name, one) for one in value)
    if name.endswith("sha256"):
        return f"{value:.12}…"
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else str(value)


def tell_verdicts(rows: Sequence[Mapping[str, Any]], reference: str) -> list[str]:
    """A sentence for each arm and scope: how often it is better, worse, or not shown to differ."""
    lines = []
    for arm in dict.fromkeys(row["arm"] for row in rows if row["comparison"]):
        for scope, where in (("corpus", "in the corpus"), ("document", "within the right document")):
            found = [row["comparison"] for row in rows if row["arm"] == arm and row["scope"] == scope]
            if compared := [one for one in found if one]:
                sure = [one["difference"] > 0 for one in compared if one["is_sure"]]
                mean = sum(one["difference"] for one in compared) / len(compared)
                lines.append(
                    f"{arm}, {where}: better than {reference} in {sum(sure)} of {len(compared)} comparisons, worse in "
                    f"{len(sure) - sum(sure)}, no difference shown in {len(compared) - len(sure)}; {mean:+.2f} points "
                    f"on average"
                )
    return lines


def to_table(rows: Sequence[Mapping[str, Any]], reference: str) -> Table:
    """The headline of every set and arm, for the terminal; says "not shown" where a difference may be chance."""
    table = Table(title=f"gain over {reference}, 95 % interval over documents", title_justify="left", box=None)
    many = len({row["encoder"] for row in rows}) > 1
    for name in ("set", "chunk", *(("encoder",) if many else ()), "scope", "arm"):
        table.add_column(name)
    for name in ("measure", "value", "gain", "interval", ""):
        table.add_column(name, justify="right" if name in ("value", "gain") else "left")
    for row in rows:
        cells = [
            row["set"],
            str(row["max_tokens"] or "own"),
            *((row["encoder"],) if many else ()),
            row["scope"],
            row["arm"],
        ]
        cells += [row["headline"], f"{row['measures'][row['headline']]:.2f}", *_tell(row["comparison"])]
        table.add_row(*(Text(printable(cell)) for cell in cells))
    return table


def _tell(compared: Mapping[str, Any] | None) -> tuple[str, str, str]:
    if compared is None:
        return "", "", "reference"
    if compared["low"] is None:
        return f"{compared['difference']:+.2f}", "", "one document: no interval"
    better = "better" if compared["difference"] > 0 else "worse"
    verdict = better if compared["is_sure"] else f"not shown, p {compared['p_value']:.2f}"
    return f"{compared['difference']:+.2f}", f"{compared['low']:+.2f} to {compared['high']:+.2f}", verdict
