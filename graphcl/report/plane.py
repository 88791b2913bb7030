"""The alignment/uniformity plane: one point for each run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from graphcl.report.figures import PALETTE, Figure, label_text, layout, numbers
from graphcl.report.read import Run

MOST_NAMES = 12
"""Points that carry their name; of more, hovering tells."""
_SIDES = ("top center", "bottom center", "middle right", "middle left")


def planes(runs: Sequence[Run], names: Sequence[str]) -> list[Figure]:
    """The runs of one table, by what their positive pairs are."""
    kinds: dict[str, list[tuple[Run, str]]] = {}
    for run, name in zip(runs, names, strict=True):
        place = run.snapshot
        if place is None or place.alignment is None or place.uniformity is None:
            continue
        if math.isfinite(place.alignment) and math.isfinite(place.uniformity):
            kinds.setdefault(place.positives, []).append((run, name))
    return [_plane(shown, positives) for positives, shown in kinds.items()]


def _plane(shown: Sequence[tuple[Run, str]], positives: str) -> Figure:
    places = [run.snapshot for run, _ in shown if run.snapshot is not None]
    x = [float(place.alignment or 0) for place in places]
    y = [float(place.uniformity or 0) for place in places]
    metric, values = _colouring(shown)
    marker: dict[str, Any] = {"size": 13, "color": PALETTE[0]}
    if values is not None:
        marker |= {
            "color": numbers(values),
            "colorscale": "Viridis",
            "showscale": True,
            "colorbar": {"title": {"text": label_text(metric), "side": "right"}, "thickness": 12},
        }
    trace = {
        "type": "scatter",
        "mode": "markers+text" if len(shown) <= MOST_NAMES else "markers",
        "name": "",
        "x": numbers(x),
        "y": numbers(y),
        "text": [label_text(name) for _, name in shown],
        "textposition": _sides(x, y),
        "cliponaxis": False,
        "hovertemplate": "%{text}: alignment %{x}, uniformity %{y}<extra></extra>",
        "marker": marker,
    }
    figure_layout = layout(
        "alignment (← nearer)", "uniformity (↓ more even)", height=400, showlegend=False
    )
    figure_layout["xaxis"]["range"] = _roomy(x, 0.25)
    figure_layout["yaxis"]["range"] = _roomy(y, 0.15)
    return Figure(
        title="alignment and uniformity",
        caption="Lower is better on both axes. Alignment: mean squared distance on the unit "
        f"sphere of {positives}. Uniformity: logarithm of the mean of exp(−2 · squared distance) "
        f"over all pairs. First seed{'' if values is None else '; the colour is the test mean'}.",
        label=f"Scatter plot of alignment and uniformity of {len(shown)} runs",
        spec={"data": [trace], "layout": figure_layout},
        wide=True,
    )


def _colouring(shown: Sequence[tuple[Run, str]]) -> tuple[str, list[float] | None]:
    """The test metric that colours the points, where three runs have one."""
    result = shown[0][0].result
    name = result.select or next(iter(result.headline or result.metrics), "")
    means = [run.result.metrics[name].mean for run, _ in shown if name in run.result.metrics]
    values = [mean for mean in means if mean is not None]
    return f"test {name}", values if len(values) == len(shown) >= 3 else None


def _sides(x: Sequence[float], y: Sequence[float]) -> list[str]:
    """Where each name stands, so that those of near points do not lie on each other."""
    width, height = (max(max(values) - min(values), 1e-12) for values in (x, y))
    sides = []
    for place in range(len(x)):
        near = sum(
            abs(x[place] - x[other]) < 0.1 * width and abs(y[place] - y[other]) < 0.1 * height
            for other in range(place)
        )
        sides.append(_SIDES[near % len(_SIDES)])
    return sides


def _roomy(values: Sequence[float], room: float) -> list[float]:
    """The range of `values` with `room` on both sides, for the names."""
    low, high = min(values), max(values)
    more = room * (high - low or abs(high) or 1.0)
    return [low - more, high + more]
