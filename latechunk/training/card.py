"""The model card of trained adapters, as the model hub reads it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from latechunk.evaluation.ranking import Scope
from latechunk.evaluation.statistics import Comparison
from latechunk.training.settings import TrainingSettings

SCOPE_TITLES: Mapping[Scope, str] = {"corpus": "in the corpus", "document": "within the right document"}
_FACT = re.compile(r"^\s*[-*]\s*((?:licen[cs]e|source|upstream)\b.*)$", re.IGNORECASE)
_MOST_README = 100_000  # characters of a set's README.md that are looked through


def render_card(values: Mapping[str, Any]) -> str:
    """Fill the card's template.

    Args:
        values: All that ``card.md`` names.
    """
    template = files("latechunk.training").joinpath("card.md").read_text(encoding="utf-8")
    environment = Environment(  # noqa: S701  Markdown, not HTML; every value is made plain by plain()
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, finalize=plain
    )
    return environment.from_string(template).render(values)


def plain(value: Any) -> Any:
    """One line of text that ends no table's cell and opens no tag."""
    if not isinstance(value, str):
        return value
    return " ".join(value.split()).replace("|", "\\|").replace("<", "&lt;") if value.strip() else value


def read_facts(folder: Path) -> list[str]:
    """The lines of a set's README.md that say its source and its licence, as they are there."""
    try:
        text = (folder / "README.md").read_text(encoding="utf-8", errors="replace")[:_MOST_README]
    except OSError:
        return []
    return [found.group(1).strip() for line in text.splitlines() if (found := _FACT.match(line))]


def word_gain(compared: Comparison) -> str:
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
            "over_untrained": word_gain(over_untrained[scope]),
            "over_naive": word_gain(over_naive[scope]),
        }
        for scope in over_untrained
    ]


def list_settings(settings: TrainingSettings) -> list[tuple[str, str]]:
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
