"""Figures as plain plotly.js specifications: loss and validation curves, histograms, spectrum.

A figure is data, not a plotly object, so nothing is imported to make one. Colours of text and
grid are left to the page, which knows whether it is light or dark.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphcl.report.read import Run

# Okabe and Ito's palette, told apart by the colour-blind; black and yellow left out because
# each vanishes on one of the two backgrounds.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6BB1", "#8A8A8A")
MAXIMUM_CURVE_POINTS = 1000
_BINS = 50
_SEED_COLOUR = "#3A8FD0"  # reads on white and on near-black


@dataclass(frozen=True)
class Figure:
    """One chart: what the page draws, and the words beside it."""

    title: str
    caption: str
    label: str
    """What the chart shows, for those who cannot see it."""
    spec: Mapping[str, Any]
    """`data` and `layout` of plotly.js."""
    wide: bool = False


@dataclass(frozen=True)
class _Series:
    """One curve of one seed."""

    seed: int
    epochs: NDArray[np.int64]
    values: NDArray[np.float64]

    def at(self, epoch: int) -> float | None:
        """The value at `epoch`, or at the last point before it."""
        place = int(np.searchsorted(self.epochs, epoch, side="right")) - 1
        return float(self.values[place]) if place >= 0 else None


def curves(run: Run) -> list[Figure]:
    """The selecting validation metric, the total loss and every other loss part."""
    select = run.result.select
    measured = _names(run.log, "validation")
    metric = select if select in measured else next(iter(measured), None)
    figures = []
    if metric is not None:
        figures.append(_curve(run, "validation", metric, f"validation {metric}"))
    parts = sorted(_names(run.log, "loss"), key=lambda name: name != "total")
    for part in parts:
        title = "total loss" if part == "total" else f"loss part: {part}"
        figures.append(_curve(run, "loss", part, title))
    return figures


def histograms(run: Run) -> list[Figure]:
    """The histograms and the singular spectrum of the snapshot."""
    if run.snapshot is None:
        return []
    figures = [
        _histogram(title, values)
        for title, values in run.snapshot.histograms.items()
        if np.isfinite(values).any()
    ]
    if run.snapshot.spectrum is not None and np.isfinite(run.snapshot.spectrum).any():
        figures.append(_spectrum(run.snapshot.spectrum))
    return figures


def label_text(text: object) -> str:
    """User text for a figure: plotly.js reads `<b>` and `<a>` in labels, so they are escaped."""
    return html.escape(str(text), quote=False)


def layout(horizontal: str, vertical: str, **more: Any) -> dict[str, Any]:
    """The layout that all charts share."""
    return {
        "height": 290,
        "margin": {"l": 56, "r": 16, "t": 24, "b": 48},
        "xaxis": {"title": {"text": label_text(horizontal)}, "automargin": True},
        "yaxis": {"title": {"text": label_text(vertical)}, "automargin": True},
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        "hovermode": "closest",
        **more,
    }


def numbers(values: Iterable[float]) -> list[float | None]:
    """Six digits are more than a screen shows; JSON has no NaN."""
    return [float(f"{value:.6g}") if math.isfinite(value) else None for value in values]


def _names(log: Sequence[Mapping[str, Any]], kind: str) -> dict[str, None]:
    return {name: None for record in log for name in record.get(kind, {})}


def _curve(run: Run, kind: str, name: str, title: str) -> Figure:
    series = _series(run.log, kind, name)
    several = len(series) > 1
    longest = max((len(one.epochs) for one in series), default=0)
    traces = [_seed_trace(one, several, markers=longest <= 30) for one in series]
    if several:
        traces.append(_mean_trace(series))
    stops = {r["seed"]: r["epoch"] for r in run.log if r.get("stopped") == "early"}
    traces += _mark(series, _best_epochs(run), "best epoch", "star", "#E69F00")
    traces += _mark(series, stops, "stopped early", "x-thin", "#D55E00")
    thinned = longest > MAXIMUM_CURVE_POINTS
    return Figure(
        title=title,
        caption=f"At most {MAXIMUM_CURVE_POINTS:,} points of a curve are drawn." if thinned else "",
        label=f"Line chart of {title} by epoch for {run.result.method}, {len(series)} seeds",
        spec={"data": traces, "layout": layout("epoch", name, showlegend=False)},
    )


def _seed_trace(one: _Series, several: bool, markers: bool) -> dict[str, Any]:
    kept = _thin(len(one.epochs))
    return {
        "type": "scatter",
        "mode": "lines+markers" if markers else "lines",
        "name": f"seed {one.seed}",
        "x": one.epochs[kept].tolist(),
        "y": numbers(one.values[kept]),
        "line": {"width": 1 if several else 2, "color": _SEED_COLOUR},
        "marker": {"size": 4},
        "opacity": 0.7 if several else 1.0,
    }


def _series(log: Sequence[Mapping[str, Any]], kind: str, name: str) -> list[_Series]:
    by_seed: dict[int, dict[int, float]] = {}
    for record in log:
        if name in record.get(kind, {}):
            value = record[kind][name]
            number = math.nan if value is None else float(value)
            by_seed.setdefault(record["seed"], {})[record["epoch"]] = number
    return [
        _Series(
            seed,
            np.array(sorted(points), dtype=np.int64),
            np.array([points[epoch] for epoch in sorted(points)]),
        )
        for seed, points in by_seed.items()
    ]


def _mean_trace(series: Sequence[_Series]) -> dict[str, Any]:
    # Beyond the first seed to stop, the mean would jump to whoever is left.
    shared = sorted(set.intersection(*(set(one.epochs.tolist()) for one in series)))
    epochs = np.array(shared, dtype=np.int64)
    stacked = np.array([one.values[np.searchsorted(one.epochs, epochs)] for one in series])
    kept = _thin(len(epochs))
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "mean",
        "x": epochs[kept].tolist(),
        "y": numbers(stacked.mean(axis=0)[kept]),
        # The page gives this line the colour of its text.
        "line": {"width": 3},
        "meta": "text-colour",
    }


def _thin(count: int) -> NDArray[np.int64]:
    """Evenly spaced places, the first and the last among them."""
    places = np.linspace(0, count - 1, min(count, MAXIMUM_CURVE_POINTS))
    return np.unique(np.round(places).astype(np.int64))


def _best_epochs(run: Run) -> dict[int, int]:
    given = zip(run.result.seeds, run.result.best_epoch, strict=False)
    best = {seed: epoch for seed, epoch in given if epoch is not None}
    if not best:
        best = {r["seed"]: r["epoch"] for r in run.log if r.get("best") is True}
    return best


def _mark(
    series: Sequence[_Series], epochs: Mapping[int, int], name: str, symbol: str, colour: str
) -> list[dict[str, Any]]:
    places = [
        (epochs[one.seed], one.seed, value)
        for one in series
        if one.seed in epochs and (value := one.at(epochs[one.seed])) is not None
    ]
    if not places:
        return []
    thin = symbol.endswith("thin")
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "name": name,
            "x": [epoch for epoch, _, _ in places],
            "y": numbers(value for _, _, value in places),
            "text": [f"{name}, seed {seed}" for _, seed, _ in places],
            "hovertemplate": "%{text}: epoch %{x}, %{y}<extra></extra>",
            "marker": {
                "symbol": symbol,
                "size": 11 if thin else 12,
                "color": colour,
                "line": {"width": 2.5 if thin else 1, "color": colour if thin else "#5c4000"},
            },
        }
    ]


def _histogram(title: str, values: NDArray[np.float64]) -> Figure:
    finite = values[np.isfinite(values)]
    counts, edges = np.histogram(finite, bins=_BINS)
    centres = (edges[:-1] + edges[1:]) / 2
    bars = {
        "type": "bar",
        "name": label_text(title),
        "x": numbers(centres),
        "y": counts.tolist(),
        "width": float(edges[1] - edges[0]),
        "marker": {"color": PALETTE[0]},
    }
    return Figure(
        title=title,
        caption=f"{len(finite):,} values in {_BINS} bins.",
        label=f"Histogram of {title}, {len(finite)} values",
        spec={"data": [bars], "layout": layout(title, "count", bargap=0, showlegend=False)},
    )


def _spectrum(values: NDArray[np.float64]) -> Figure:
    line = {
        "type": "scatter",
        "mode": "lines+markers" if len(values) <= 64 else "lines",
        "name": "singular value",
        "x": list(range(1, len(values) + 1)),
        "y": numbers(values),
        "line": {"color": PALETTE[0], "width": 2},
        "marker": {"size": 4},
    }
    figure_layout = layout("rank", "singular value", showlegend=False)
    if (values > 0).all():
        figure_layout["yaxis"]["type"] = "log"
        figure_layout["yaxis"]["exponentformat"] = "power"
        if values.max() > 100 * values.min():
            figure_layout["yaxis"]["dtick"] = 1  # powers of ten only
    return Figure(
        title="singular values of the embedding",
        caption="A steep fall means that the embedding uses few of its dimensions.",
        label=f"Line chart of {len(values)} singular values by rank",
        spec={"data": [line], "layout": figure_layout},
    )
