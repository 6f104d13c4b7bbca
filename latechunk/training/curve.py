"""Draw the learning curve of a run, by matplotlib."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from latechunk.evaluation.arms import ARMS
from latechunk.evaluation.ranking import SCOPES, Scope
from latechunk.training.card import SCOPE_TITLES

_GREY, _LOSS = "#8c8c8c", "#444444"
_SMOOTHED = 9  # logged values

Points = Mapping[Scope, Sequence[tuple[int, float]]]
Levels = Mapping[str, Mapping[Scope, float]]


def draw_curve(path: Path, loss: Sequence[tuple[int, float]], points: Points, levels: Levels, title: str) -> None:
    """Draw loss and held-out nDCG against steps.

    Args:
        path: The PNG to write.
        loss: Steps with the mean loss since the last.
        points: By scope, steps with the nDCG@10 measured there; empty where nothing was.
        levels: Horizontal lines: by name, the nDCG@10 by scope; none where a scope is left out.
        title: Over the figure.
    """
    scopes = [scope for scope in SCOPES if points.get(scope)]
    figure = Figure(figsize=(7.6, 2.6 + 2.3 * len(scopes)), layout="constrained")
    rows = figure.subplots(1 + len(scopes), 1, sharex=True, squeeze=False)[:, 0]
    figure.suptitle(_plain(title), fontsize=11)
    _draw_loss(rows[0], loss)
    for axes, scope in zip(rows[1:], scopes, strict=True):
        _draw_measured(axes, scope, points[scope], levels)
    for axes in rows:
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        axes.tick_params(labelsize=9)
        axes.grid(axis="y", color="#e6e6e6", linewidth=0.7)
        axes.set_axisbelow(True)
    rows[-1].set_xlabel("step")
    rows[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    last = max([step for step, _ in loss] + [step for scope in scopes for step, _ in points[scope]], default=1)
    rows[-1].set_xlim(0, 1.07 * last)  # with room for the last figure
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a name in a script that the font lacks shows as boxes
        figure.savefig(path, format="png", dpi=150, metadata={"Software": None})


def _draw_loss(axes: Axes, loss: Sequence[tuple[int, float]]) -> None:
    steps, values = np.array(loss, dtype=np.float64).reshape(-1, 2).T
    width = min(_SMOOTHED, len(values))
    axes.plot(steps, values, color=_GREY, linewidth=0.9, alpha=0.6, label="as logged")
    if width > 2:
        smooth = [values[max(0, place - width // 2) : place + width // 2 + 1].mean() for place in range(len(values))]
        axes.plot(steps, smooth, color=_LOSS, linewidth=1.8, label=f"mean of {width}")
        axes.legend(frameon=False, fontsize=8, loc="upper right")
    axes.set_ylabel("loss")


def _draw_measured(axes: Axes, scope: Scope, points: Sequence[tuple[int, float]], levels: Levels) -> None:
    steps, values = zip(*points, strict=True)
    axes.plot(steps, values, color=ARMS["blend"].colour, marker="o", markersize=4.5, linewidth=1.8, label="trained")
    styles = (("late", "--"), ("naive", ":"))
    for (name, level), (colour, style) in zip(levels.items(), styles, strict=True):
        if scope in level:
            axes.axhline(level[scope], color=ARMS[colour].colour, linestyle=style, linewidth=1.5, label=name)
    axes.annotate(
        f"{values[-1]:.1f}", (steps[-1], values[-1]), xytext=(5, 0), textcoords="offset points", va="center", fontsize=9
    )
    axes.set_ylabel("nDCG@10, × 100")
    axes.set_title(f"held-out questions, {SCOPE_TITLES[scope]}", fontsize=9, loc="left")
    axes.margins(y=0.15)
    axes.legend(frameon=False, fontsize=8, loc="best")


def _plain(text: str) -> str:
    return text.replace("$", r"\$")
