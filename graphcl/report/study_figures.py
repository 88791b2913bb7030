"""A study in pictures: history, importances, and every trial's settings as one line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from graphcl.report.figures import PALETTE, REST, Figure, label_text, layout, numbers
from graphcl.report.study import Range, Study, Trial

MOST_LINES = 150
"""Trials whose settings are drawn: the best ones, of so many."""
_STAR = {"symbol": "star", "size": 15, "color": "#E69F00", "line": {"width": 1, "color": "#5c4000"}}


def study_figures(study: Study) -> list[Figure]:
    """What there is to draw of a study."""
    if not any(trial.finite for trial in study.trials):
        return []
    figures = [_history(study)]
    if study.importances:
        figures.append(_importances(study))
    if study.ranges and study.whole:
        figures.append(_settings(study))
    return figures


def _history(study: Study) -> Figure:
    whole = study.whole
    pruned = [t for t in study.trials if t.pruned and t.finite]
    traces = [
        _markers("ran to its end", whole, {"size": 8, "color": PALETTE[0]}),
        _markers("pruned", pruned, {"size": 8, "color": REST, "symbol": "x"}),
    ]
    lost = [t for t in study.trials if t.value is not None and not t.finite]
    best, so_far = -math.inf, []
    for trial in whole:
        best = max(best, trial.value or best)
        so_far.append(best)
    traces.append(
        {
            "type": "scatter",
            "mode": "lines",
            "name": "best so far",
            "x": [trial.number for trial in whole],
            "y": numbers(so_far),
            "line": {"shape": "hv", "width": 2},
            "hoverinfo": "skip",
            "meta": "text-colour",
        }
    )
    if study.baseline is not None and study.baseline.finite:
        traces.append(_markers("where the search started", [study.baseline], _STAR))
    return Figure(
        title="history",
        caption="A pruned trial (✕) is drawn at the last value that it reported."
        + (" Trials without a finite value are left out." if lost else ""),
        label=f"Scatter plot of validation {study.metric} by trial, {len(study.trials)} trials",
        spec={
            "data": [trace for trace in traces if trace["x"]],
            "layout": layout("trial", f"validation {study.metric}", height=360),
        },
    )


def _markers(name: str, trials: Sequence[Trial], marker: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [trial.number for trial in trials],
        "y": numbers(trial.value or 0.0 for trial in trials),
        "text": [_told(trial) for trial in trials],
        "hovertemplate": "%{text}<extra></extra>",
        "marker": marker,
    }


def _told(trial: Trial) -> str:
    """What hovering over a trial says; the break is plotly's."""
    settings = "<br>".join(label_text(f"{k} = {_short(v)}") for k, v in trial.settings.items())
    return f"trial {trial.number}: {_short(trial.value)}<br>{settings}"


def _importances(study: Study) -> Figure:
    names = list(study.importances)[::-1]  # plotly draws upwards
    bars = {
        "type": "bar",
        "orientation": "h",
        "name": "importance",
        "x": numbers(100 * study.importances[name] for name in names),
        "y": [label_text(name) for name in names],
        "marker": {"color": PALETTE[0]},
    }
    figure_layout = layout("share of the variance (%)", "", height=max(360, 26 * len(names) + 90))
    return Figure(
        title="importance of the settings",
        caption=f"fANOVA over the {len(study.whole)} trials that ran to their end"
        f"{'; few, so read it with care' if len(study.whole) < 30 else ''}.",
        label=f"Bar chart of the importance of {len(names)} settings",
        spec={"data": [bars], "layout": figure_layout},
    )


def _settings(study: Study) -> Figure:
    """Parallel coordinates, lying: one row for each setting, so that a phone can show them."""
    ordered = sorted(study.whole, key=lambda trial: trial.value or 0.0)[-MOST_LINES:]
    values = [trial.value or 0.0 for trial in ordered]
    low, high = values[0], values[-1]
    names = [*(list(study.importances) or list(study.ranges)), f"validation {study.metric}"]
    rows = list(range(len(names)))[::-1]  # the first row on top
    ends = Range(low, high if high > low else low + 1e-9)
    traces = []
    for trial, value in zip(ordered, values, strict=True):
        places = [_place(study.ranges[name], trial.settings.get(name)) for name in names[:-1]]
        fraction = _place(ends, value) or 0.0
        look = {"color": PALETTE[0], "width": 1.5}
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": f"trial {trial.number}",
                "x": numbers([math.nan if p is None else p for p in (*places, fraction)], 4),
                "y": rows,
                "text": _told(trial),
                "hovertemplate": "%{text}<extra></extra>",
                "line": look,
                # On both backgrounds the bad ones fade, and the good ones stand out.
                "opacity": round(0.12 + 0.68 * fraction**2, 3),
            }
        )
        if trial.baseline:
            dotted = {"width": 3, "dash": "dot"}
            traces[-1] |= {"line": dotted, "opacity": 0.8, "meta": "text-colour"}
        if trial is ordered[-1]:
            chosen = {"color": PALETTE[1], "width": 4}
            traces[-1] |= {"line": chosen, "opacity": 1.0, "meta": ""}
    figure_layout = layout("", "", height=60 * len(names) + 60, showlegend=False)
    figure_layout["xaxis"] |= {"range": [-0.03, 1.03], "showticklabels": False}
    figure_layout["xaxis"] |= {"zeroline": False, "showgrid": False}
    figure_layout["yaxis"] |= {
        "range": [-0.5, len(names) - 0.4],
        "tickvals": rows,
        "ticktext": ["" for _ in names],
        "zeroline": False,
    }
    figure_layout["margin"] = {"l": 12, "r": 12, "t": 12, "b": 8}
    figure_layout["annotations"] = [
        note
        for row, name in zip(rows, names, strict=True)
        for note in _row_notes(row, name, study.ranges.get(name, ends))
    ]
    few = f"the best {MOST_LINES} of " if len(study.whole) > MOST_LINES else ""
    return Figure(
        title="settings of the trials",
        caption=f"One line for each of {few}{len(study.whole)} trials that ran to their end, the "
        "stronger the better; the thick one is the best, the dotted one is where the search "
        "started. Each row is one setting, from its lowest value to its highest.",
        label=f"Parallel coordinates of {len(ordered)} trials over {len(names)} rows",
        spec={"data": traces, "layout": figure_layout},
        wide=True,
    )


def _place(where: Range, value: Any) -> float | None:
    """Where a value lies in its range, from 0 to 1."""
    if where.choices is not None:
        if value not in where.choices:
            return None
        return where.choices.index(value) / max(len(where.choices) - 1, 1)
    if not isinstance(value, int | float):
        return None
    low, high, at = where.low, where.high, float(value)
    if where.log and low > 0 and at > 0:
        low, high, at = math.log(low), math.log(high), math.log(at)
    # Halved, since the distance of two finite numbers need not be finite.
    return (at / 2 - low / 2) / (high / 2 - low / 2) if high > low else 0.5


def _row_notes(row: int, name: str, where: Range) -> list[dict[str, Any]]:
    """The name of a row above it, and the ends of its range (or all choices) below."""
    shared = {"y": row, "showarrow": False, "xref": "x", "yref": "y"}
    scale = " (log)" if where.log else ""
    notes = [
        {**shared, "x": 0, "text": f"<b>{label_text(name)}</b>{scale}", "yshift": 12}
        | {"xanchor": "left"}
    ]
    marks = where.choices if where.choices is not None else (where.low, where.high)
    last = max(len(marks) - 1, 1)
    for place, mark in enumerate(marks):
        side = "left" if place == 0 else "right" if place == last else "center"
        text = label_text(_short(mark))
        notes.append(
            {**shared, "x": place / last, "text": text, "xanchor": side, "yshift": -11}
            | {"font": {"size": 11}}
        )
    return notes


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
