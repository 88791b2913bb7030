"""How a method draws its views, as histograms; and the singular spectra of embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphcl.report.figures import PALETTE, Figure, label_text, layout, lines, numbers, thin
from graphcl.report.read import Run

_BINS = 50
_ROUNDING = 1e-8
"""Singular values below this share of the largest are rounding: they come from squares."""


def histograms(run: Run) -> list[Figure]:
    """One chart for each title of the snapshot's histograms, its series over each other."""
    if run.snapshot is None:
        return []
    titles: dict[str, dict[str, NDArray[np.float64]]] = {}
    for name, values in run.snapshot.histograms.items():
        title, _, series = name.partition("/")
        finite = values[np.isfinite(values)]
        if len(finite):
            titles.setdefault(title, {})[series] = finite
    return [_histogram(title, series) for title, series in titles.items()]


def _histogram(title: str, series: Mapping[str, NDArray[np.float64]]) -> Figure:
    together = np.concatenate(list(series.values()))
    edges = np.histogram_bin_edges(together, bins=_BINS)
    traces = []
    for place, (name, values) in enumerate(series.items()):
        shares = 100 * np.histogram(values, bins=edges)[0] / len(values)
        traces.append(
            {
                "type": "bar",
                "name": label_text(name or title),
                "x": numbers((edges[:-1] + edges[1:]) / 2),
                "y": numbers(shares, 4),
                "width": float(edges[1] - edges[0]),
                "marker": {"color": PALETTE[place % len(PALETTE)]},
                "opacity": 1.0 if len(series) == 1 else 0.65,
            }
        )
    figure_layout = layout(
        title, "share of values (%)", bargap=0, barmode="overlay", showlegend=len(series) > 1
    )
    return Figure(
        title=title,
        caption="Each colour adds up to 100 %." if len(series) > 1 else "",
        label=f"Histogram of {title}, {len(together)} values",
        spec={"data": traces, "layout": figure_layout},
    )


def spectra(runs: Sequence[Run], names: Sequence[str]) -> list[Figure]:
    """The singular values of the runs' embeddings, each as a share of its largest."""
    shown = []
    for run, name in zip(runs, names, strict=True):
        values = None if run.snapshot is None else run.snapshot.spectrum
        if values is not None and len(values) and np.isfinite(values).all() and values.max() > 0:
            shown.append((name, values / values.max()))
    if not shown:
        return []
    points: list[tuple[list[Any], list[float | None]]] = []
    for _, values in shown:
        kept = thin(len(values), 200)
        drawn = np.where(values > _ROUNDING, values, np.nan)[kept]
        points.append(((kept + 1).tolist(), numbers(drawn, 4)))
    named = [f"{name}: rank {effective_rank(v):.1f} of {len(v)}" for name, v in shown]
    figure_layout = layout("place", "share of the largest", height=360)
    figure_layout["yaxis"] |= {"type": "log", "exponentformat": "power"}
    lowest = min(y for _, drawn in points for y in drawn if y is not None)
    figure_layout["yaxis"]["dtick"] = 1 if lowest < 0.05 else "D2"  # powers of ten, and 2 and 5
    return [
        Figure(
            title="singular values of the embedding",
            caption="Of the embedding minus its mean row. A steep fall means that few dimensions "
            "are used: rank is the effective one, the exponential of the entropy of the values.",
            label=f"Line chart of the singular values of {len(shown)} embeddings by rank",
            spec={"data": lines(named, points), "layout": figure_layout},
            wide=True,
        )
    ]


def effective_rank(values: NDArray[np.float64]) -> float:
    """Exponential of the entropy of singular values (Roy and Vetterli 2007)."""
    shares = values[values > 0] / values.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))
