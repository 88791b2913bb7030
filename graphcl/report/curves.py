"""Learning curves: validation and every loss part by epoch, and all runs beside each other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphcl.report.figures import Figure, layout, lines, numbers, thin
from graphcl.report.read import Run

POINTS_OF_A_PAGE = 100_000
"""Points of all curves together: about a megabyte."""
FEWEST, MOST = 60, 400
"""Points of one curve; more than 400 are more than its width in pixels."""
_SEED_COLOUR = "#3A8FD0"  # reads on white and on near-black


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


def points_per_curve(runs: Sequence[Run]) -> int:
    """How many points each curve of a page of `runs` may have, so that the page stays small."""
    total = sum(
        len({record["seed"] for record in run.log})
        * (len(_names(run.log, "loss")) + len(_names(run.log, "validation")[:1]))
        for run in runs
    )
    return min(MOST, max(FEWEST, POINTS_OF_A_PAGE // max(total, 1)))


def curves(run: Run, points: int = MOST) -> list[Figure]:
    """The selecting validation metric, the total loss and every other loss part."""
    metric = validation_metric(run)
    figures = []
    if metric is not None:
        figures.append(_curve(run, "validation", metric, f"validation {metric}", points))
    parts = sorted(_names(run.log, "loss"), key=lambda name: name != "total")
    if _only_part(run.log, parts):
        return [*figures, _curve(run, "loss", "total", f"total loss: {parts[1]} alone", points)]
    for part in parts:
        title = "total loss" if part == "total" else f"loss part: {part}"
        figures.append(_curve(run, "loss", part, title, points))
    return figures


def _only_part(log: Sequence[Mapping[str, Any]], parts: Sequence[str]) -> bool:
    """Whether the total has one part, which it equals all along: one chart says both."""
    if len(parts) != 2 or parts[0] != "total":
        return False
    return all(
        record["loss"].get("total") == record["loss"].get(parts[1])
        for record in log
        if "loss" in record
    )


def compared_curves(runs: Sequence[Run], names: Sequence[str], points: int = MOST) -> list[Figure]:
    """Validation of several runs of one table in one chart: the mean over each run's seeds."""
    chosen = [(run, name, validation_metric(run)) for run, name in zip(runs, names, strict=True)]
    metric = next((metric for _, _, metric in chosen if metric is not None), None)
    if metric is None:
        return []
    shown = [(_series(run.log, "validation", metric), name) for run, name, _ in chosen]
    shown = [(series, name) for series, name in shown if series]
    if len(shown) < 2:
        return []
    means = []
    for series, _ in shown:
        epochs, values = _mean(series)
        kept = thin(len(epochs), points)
        means.append((epochs[kept].tolist(), numbers(values[kept])))
    figure_layout = layout("epoch", f"validation {metric}", height=400)
    return [
        Figure(
            title=f"validation {metric} of {len(shown)} runs",
            caption="Each line is the mean over a run's seeds, over the epochs that all reached.",
            label=f"Line chart of validation {metric} by epoch, one line for each of "
            f"{len(shown)} runs",
            spec={"data": lines([name for _, name in shown], means), "layout": figure_layout},
            wide=True,
        )
    ]


def validation_metric(run: Run) -> str | None:
    """The metric of the validation curve: the selecting one where it was logged."""
    measured = _names(run.log, "validation")
    select = run.result.select
    return select if select in measured else next(iter(measured), None)


def _names(log: Sequence[Mapping[str, Any]], kind: str) -> list[str]:
    return list(dict.fromkeys(name for record in log for name in record.get(kind, {})))


def _curve(run: Run, kind: str, name: str, title: str, points: int) -> Figure:
    series = _series(run.log, kind, name)
    several = len(series) > 1
    longest = max((len(one.epochs) for one in series), default=0)
    traces = [_seed_trace(one, several, points) for one in series]
    if several:
        traces.append(_mean_trace(series, points))
    stops = {r["seed"]: r["epoch"] for r in run.log if r.get("stopped") == "early"}
    traces += _mark(series, _best_epochs(run), "best epoch", "star", "#E69F00")
    traces += _mark(series, stops, "stopped early", "x-thin", "#D55E00")
    thinned = longest > points
    return Figure(
        title=title,
        caption=f"{points} of {longest:,} points of a curve are drawn." if thinned else "",
        label=f"Line chart of {title} by epoch for {run.result.method}, {len(series)} seeds",
        spec={"data": traces, "layout": layout("epoch", name, showlegend=False)},
    )


def _seed_trace(one: _Series, several: bool, points: int) -> dict[str, Any]:
    kept = thin(len(one.epochs), points)
    return {
        "type": "scatter",
        "mode": "lines+markers" if len(one.epochs) <= 30 else "lines",
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


def _mean(series: Sequence[_Series]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    # Beyond the first seed to stop, the mean would jump to whoever is left.
    shared = sorted(set.intersection(*(set(one.epochs.tolist()) for one in series)))
    epochs = np.array(shared, dtype=np.int64)
    stacked = np.array([one.values[np.searchsorted(one.epochs, epochs)] for one in series])
    return epochs, stacked.mean(axis=0)


def _mean_trace(series: Sequence[_Series], points: int) -> dict[str, Any]:
    epochs, values = _mean(series)
    kept = thin(len(epochs), points)
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "mean",
        "x": epochs[kept].tolist(),
        "y": numbers(values[kept]),
        # The page gives this line the colour of its text.
        "line": {"width": 3},
        "meta": "text-colour",
    }


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
