"""The comparison table: methods and baselines as rows, one table per protocol.

Numbers measured under different protocols are never put under one heading: a run belongs
to the table of its task, its data set (with content hash) and every choice of its protocol.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from graphcl.report.paired import paired_p_value
from graphcl.report.read import Baseline, Metric, Result, Run
from graphcl.report.words import dataset_sentence, protocol_sentence

_RANKING_METRICS = {"mrr", "ndcg", "recall", "hit", "hits", "map", "coverage", "novelty"}


@dataclass(frozen=True)
class Cell:
    """One metric of one row, ready to print."""

    text: str
    """`81.23 ± 0.45`, or `–` where the row has no such metric."""
    mean: float | None = None
    """As in `result.json` (a fraction)."""
    best: bool = False
    """The highest of its column, at the precision printed. Ties are all best."""


@dataclass(frozen=True)
class Row:
    """One method, or one baseline that ran beside it."""

    method: str
    note: str
    """What sets this row apart from others of the same method; the folder of a run."""
    is_baseline: bool
    metrics: Mapping[str, Metric]
    seeds: tuple[int, ...]
    cells: tuple[Cell, ...]
    """One per metric of the table."""
    p_value: str
    cost: tuple[str, str, str, str]
    """Seeds, parameters, epochs, wall time."""


@dataclass(frozen=True)
class ComparisonTable:
    """All runs of one task, data set and protocol."""

    title: str
    metrics: tuple[str, ...]
    """Metric names; the one that validation selects on comes first."""
    header: tuple[str, ...]
    """All column headings: method, metrics, p, seeds, parameters, epochs, wall time."""
    rows: tuple[Row, ...]
    """Methods, best first; then baselines, best first."""
    sentences: tuple[str, ...]
    """Protocol, data set and how to read the numbers."""

    def body(self) -> list[list[str]]:
        """The printed text of every row, in the order of `header`."""
        return [
            [row.method, *(c.text for c in row.cells), *self._p(row), *row.cost]
            for row in self.rows
        ]

    @property
    def has_p_values(self) -> bool:
        """Whether the p column is there: some row shares three seeds with the best row."""
        return any(row.p_value for row in self.rows)

    def _p(self, row: Row) -> list[str]:
        return [row.p_value] if self.has_p_values else []


def comparison_table(runs: Sequence[Run]) -> list[ComparisonTable]:
    """One table per (task, data set, protocol), in the order in which the runs name them."""
    return [_table(group, title) for title, group in comparable(runs)]


def comparable(runs: Sequence[Run]) -> list[tuple[str, list[Run]]]:
    """The runs that may stand beside each other, under the heading of their table."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(_group_key(run.result), []).append(run)
    return [(_heading(group[0].result, runs), group) for group in groups.values()]


def is_ranking_metric(metric: str) -> bool:
    """Whether the field prints `metric` as a fraction with four decimals, not in percent."""
    return "@" in metric or metric.lower() in _RANKING_METRICS


def _group_key(result: Result) -> str:
    identity = [result.task, result.dataset["name"], result.dataset.get("hash"), result.protocol]
    return json.dumps(identity, sort_keys=True, default=str)


def _heading(result: Result, runs: Sequence[Run]) -> str:
    """Task, data set and protocol, with the choices that tell it from a namesake."""
    name = result.protocol["name"]
    title = f"{result.task} on {result.dataset['name']}, protocol {name}"
    namesakes = [
        other.result
        for other in runs
        if (other.result.task, other.result.dataset["name"], other.result.protocol["name"])
        == (result.task, result.dataset["name"], name)
    ]
    choices = [
        f"{key}={result.protocol.get(key, 'not set')}"
        for key in dict.fromkeys(key for other in namesakes for key in other.protocol)
        if any(other.protocol.get(key) != result.protocol.get(key) for other in namesakes)
    ]
    if any(other.dataset.get("hash") != result.dataset.get("hash") for other in namesakes):
        choices.append(f"data hash {str(result.dataset.get('hash'))[:12]}")
    return f"{title} ({', '.join(choices)})" if choices else title


def _table(runs: Sequence[Run], title: str) -> ComparisonTable:
    first = runs[0].result
    rows = _method_rows(runs)
    rows += _baseline_rows(runs, rows)
    measured = dict.fromkeys(name for row in rows for name in row.metrics)
    names = [name for name in first.headline if name in measured] or list(measured)
    metrics = tuple(sorted(names, key=lambda name: name != first.select))  # stable: select first
    if metrics:
        rows.sort(key=lambda row: (row.is_baseline, -_mean(row, metrics[0])))
    best = {name: max((_rounded(row, name) for row in rows), default=-math.inf) for name in metrics}
    p_values = _p_values(rows, metrics[0]) if metrics else [""] * len(rows)
    rows = [
        replace(
            row,
            cells=tuple(
                _cell(row, name, best[name] if len(rows) > 1 else math.inf) for name in metrics
            ),
            p_value=p_value,
        )
        for row, p_value in zip(rows, p_values, strict=True)
    ]
    has_p = any(p_values)
    return ComparisonTable(
        title=title,
        metrics=metrics,
        header=(
            "method",
            *(name if is_ranking_metric(name) else f"{name} (%)" for name in metrics),
            *(["p"] if has_p else []),
            "seeds",
            "parameters",
            "epochs",
            "wall time",
        ),
        rows=tuple(rows),
        sentences=(
            protocol_sentence(first.protocol),
            dataset_sentence(first.dataset),
            _reading_sentence(metrics, has_p, first.select, left_out=len(measured) - len(names)),
        ),
    )


def _method_rows(runs: Sequence[Run]) -> list[Row]:
    return [
        Row(
            method=run.result.method,
            note=_note(run, runs),
            is_baseline=False,
            metrics=run.result.metrics,
            seeds=tuple(run.result.seeds),
            cells=(),
            p_value="",
            cost=_cost(run.result),
        )
        for run in runs
    ]


def _note(run: Run, runs: Sequence[Run]) -> str:
    """The folder, after the settings in which the run differs from others of its method."""
    others = [other.result.settings for other in runs if other.result.method == run.result.method]
    keys = dict.fromkeys(key for settings in others for key in settings)
    mine = run.result.settings
    differing = [
        f"{key}={mine.get(key, 'not set')}"
        for key in keys
        if any(settings.get(key) != mine.get(key) for settings in others)
    ]
    shown = differing[:3] + (["…"] if len(differing) > 3 else [])
    return "; ".join([*([", ".join(shown)] if shown else []), run.name])


def _baseline_rows(runs: Sequence[Run], method_rows: Sequence[Row]) -> list[Row]:
    """Baselines of all runs; those with the same numbers on the same seeds appear once."""
    seen = {_identity(row.method, row.metrics, row.seeds) for row in method_rows}
    rows: list[Row] = []
    for run in runs:
        for name, baseline in run.result.baselines.items():
            identity = _identity(name, baseline.metrics, baseline.seeds)
            if identity in seen:
                continue
            seen.add(identity)
            namesake = any(row.method == name for row in (*method_rows, *rows))
            rows.append(
                Row(
                    method=name,
                    note=f"beside {run.name}" if namesake else "",
                    is_baseline=True,
                    metrics=baseline.metrics,
                    seeds=tuple(baseline.seeds),
                    cells=(),
                    p_value="",
                    cost=_cost(baseline),
                )
            )
    return rows


def _identity(name: str, metrics: Mapping[str, Metric], seeds: Iterable[int]) -> str:
    # Six digits: a baseline computed twice may differ in the last bit of a sum.
    means = {key: None if m.mean is None else round(m.mean, 6) for key, m in metrics.items()}
    return json.dumps([name, means, list(seeds)], sort_keys=True)


def _mean(row: Row, metric: str) -> float:
    mean = row.metrics[metric].mean if metric in row.metrics else None
    return -math.inf if mean is None or math.isnan(mean) else mean


def _rounded(row: Row, metric: str) -> float:
    mean = _mean(row, metric)
    return round(mean, 4) if math.isfinite(mean) else mean


def _cell(row: Row, name: str, best: float) -> Cell:
    mean = _mean(row, name)
    if not math.isfinite(mean):
        return Cell("–")
    std = row.metrics[name].std if len(row.seeds) > 1 else None
    ranking = is_ranking_metric(name)
    texts = [
        f"{value:.4f}" if ranking else f"{100 * value:.2f}"
        for value in (mean, std)
        if value is not None
    ]
    return Cell(" ± ".join(texts), mean, _rounded(row, name) >= best)


def _p_values(rows: Sequence[Row], metric: str) -> list[str]:
    top = max(rows, key=lambda row: _mean(row, metric))
    return ["" if row is top else _p_value(top, row, metric) for row in rows]


def _p_value(top: Row, row: Row, metric: str) -> str:
    sides: list[dict[int, Any]] = []
    for side in (top, row):
        values = side.metrics[metric].values if metric in side.metrics else []
        sides.append(dict(zip(side.seeds, values, strict=False)))
    shared = [
        seed for seed in sides[0] if sides[0][seed] is not None and sides[1].get(seed) is not None
    ]
    p = paired_p_value([sides[0][s] for s in shared], [sides[1][s] for s in shared])
    if p is None:
        return ""
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def _cost(result: Result | Baseline) -> tuple[str, str, str, str]:
    return (
        str(len(result.seeds)),
        "–" if result.parameters is None else f"{result.parameters:,}",
        _span(result.epochs),
        "–" if result.seconds is None else duration(result.seconds),
    )


def _span(epochs: Sequence[int]) -> str:
    if not epochs:
        return "–"
    low, high = min(epochs), max(epochs)
    return str(low) if low == high else f"{low}–{high}"


def duration(seconds: float) -> str:
    """A wall time a person reads: `0.42 s`, `12.3 s`, `3 min 05 s`, `2 h 07 min`."""
    if seconds < 59.95:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _reading_sentence(
    metrics: Sequence[str], has_p: bool, select: str | None, left_out: int
) -> str:
    percent = any(not is_ranking_metric(name) for name in metrics)
    text = "Test metrics, mean ± standard deviation over seeds"
    text += " (percent where the heading says so)" if percent else ""
    text += "; the best of a column is bold; wall time is over all seeds."
    if select in metrics:
        text += f" Validation selects on {select}."
    if left_out:
        text += f" {left_out} more metrics are in each run's result.json."
    if has_p:
        text += (
            f" p: two-sided paired t-test against the row with the highest {metrics[0]}, over "
            "shared seeds, not corrected for the number of rows."
        )
    return text
