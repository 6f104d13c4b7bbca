"""Plots of the report as SVG, by matplotlib; lines and words take the colour of the page, light or dark."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from latechunk.evaluation.arms import ARMS

_LONGEST_LABEL = 40
_INK = "#010203"  # stands for the page's own colour


def draw_gains(rows: Sequence[Mapping[str, Any]], title: str) -> str:
    """Gains with their 95 % intervals, of rows with a comparison: a line for each set, chunk size and encoder."""
    groups = list(dict.fromkeys((row["set"], row["max_tokens"], row["encoder"]) for row in rows))
    arms = list(dict.fromkeys(row["arm"] for row in rows))
    figure, axes = _figure(0.9 + len(groups) * (0.16 * len(arms) + 0.16))
    for row in rows:
        group = groups.index((row["set"], row["max_tokens"], row["encoder"]))
        place = group + (arms.index(row["arm"]) - (len(arms) - 1) / 2) * 0.8 / max(len(arms), 1)
        compared = row["comparison"]
        low, high = compared["low"], compared["high"]
        if low is not None:
            axes.plot([low, high], [place, place], color=ARMS[row["arm"]].colour, linewidth=1.6)
        filled = ARMS[row["arm"]].colour if compared["is_sure"] else "none"
        axes.plot(compared["difference"], place, marker="o", markersize=5, color=ARMS[row["arm"]].colour, mfc=filled)
    several = len({encoder for _, _, encoder in groups}) > 1
    names = [
        f"{_plain(name)}, {size or 'own chunks'}" + (f"\n{_plain(encoder)}" if several else "")
        for name, size, encoder in groups
    ]
    axes.set_yticks(range(len(groups)), names)
    axes.set_ylim(len(groups) - 0.5, -0.5)
    axes.axvline(0, color=_INK, linewidth=0.8)
    axes.set_xlabel(f"{title}, points")
    handles = [axes.plot([], [], marker="o", color=ARMS[arm].colour, label=arm)[0] for arm in arms]
    axes.legend(
        handles=handles,
        frameon=False,
        labelcolor=_INK,
        ncols=min(len(arms), 5),
        loc="lower left",
        bbox_to_anchor=(0, 1),
    )
    return _to_svg(figure, title)


def draw_shift(shifts: Mapping[str, np.ndarray]) -> str:
    """How many chunks moved how far: histograms of the context shift, each as a share of its chunks."""
    figure, axes = _figure(3.0)
    most = max(float(np.quantile(one, 0.999)) for one in shifts.values())
    bins = np.linspace(0, max(most, 1e-3), 41)
    for number, (name, shift) in enumerate(shifts.items()):
        counts, _ = np.histogram(np.clip(shift, 0, bins[-1]), bins)
        axes.stairs(100 * counts / len(shift), bins, label=_plain(name), color=f"C{number % 10}", linewidth=1.4)
    axes.set_xlabel("context shift: 1 - cosine of a chunk's late and naive vector")
    axes.set_ylabel("% of chunks")
    axes.legend(frameon=False, labelcolor=_INK, fontsize=8)
    return _to_svg(figure, "Context shift")


def _plain(name: str) -> str:
    """A label that is no mathematics, no secret of the legend's, and not too long."""
    shown = name if len(name) <= _LONGEST_LABEL else f"{name[: _LONGEST_LABEL - 1]}…"
    return " " * shown.startswith("_") + shown.replace("$", r"\$")


def _figure(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(7.6, height), layout="constrained")
    axes = figure.add_subplot()
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("bottom", "left"):
        axes.spines[side].set_color(_INK)
    axes.tick_params(colors=_INK, labelsize=9)
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set_color(_INK)
    return figure, axes


def _to_svg(figure: Figure, title: str) -> str:
    """SVG to put into a page, with a title for who cannot see it."""
    buffer = io.StringIO()
    with (
        warnings.catch_warnings(),
        rc_context({"svg.fonttype": "none", "svg.hashsalt": "latechunk", "font.family": "sans-serif"}),
    ):
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the page's own fonts draw the words
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = text.replace(_INK, "currentColor")
    return text.replace("<svg ", f'<svg role="img" aria-label="{title}" ', 1)
