"""The embedding map: one point per node or item, coloured by class or by a number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphcl.report.figures import PALETTE, REST, Figure, label_text, layout, numbers
from graphcl.report.projection import MAXIMUM_POINTS, project
from graphcl.report.read import Run

MAXIMUM_CLASSES = 24
_SYMBOLS = ("circle", "diamond", "cross")  # three times the palette: 24 classes
POINTS_OF_A_PAGE = 12_000
"""Points of all maps together: they are most of a page's size, and UMAP most of its time."""
FEWEST_POINTS = 400
_NUMBER_WORDS = ("popularity", "degree", "count", "strength", "score")


def points_per_map(runs: Sequence[Run]) -> int:
    """How many points each map of a page of `runs` may have."""
    maps = sum(run.snapshot is not None for run in runs)
    return min(MAXIMUM_POINTS, max(FEWEST_POINTS, POINTS_OF_A_PAGE // max(maps, 1)))


def embedding_map(run: Run, most: int = MAXIMUM_POINTS) -> Figure | None:
    """The map of the run's snapshot, or None where there is nothing to draw."""
    if run.snapshot is None:
        return None
    projection = project(run.snapshot.embedding, most)
    if projection is None:
        return None
    colour = run.snapshot.colour[projection.index]
    name = run.snapshot.colour_name
    label = None if run.snapshot.label is None else run.snapshot.label[projection.index]
    if _is_class(colour, name):
        traces, note = _by_class(projection.points, colour, name, label), ""
    else:
        traces, note = _by_number(projection.points, colour, name, label)
    axis = {"showgrid": False, "zeroline": False, "showticklabels": False, "title": {"text": ""}}
    figure_layout = layout("", "", height=460, xaxis=axis, yaxis=axis)
    figure_layout["margin"] = {"l": 8, "r": 8, "t": 12, "b": 8}
    figure_layout["legend"]["itemsizing"] = "constant"
    count = len(projection.points)
    return Figure(
        title="embedding map",
        caption=f"{count:,} points of the first seed by {projection.description}; "
        f"coloured by {name}{note}.",
        label=f"Scatter plot of {count} embeddings coloured by {name}",
        spec={"data": traces, "layout": figure_layout},
        wide=True,
    )


def _is_class(colour: NDArray[Any], name: str) -> bool:
    if colour.dtype.kind in "US":
        return True
    if colour.dtype.kind == "f" or any(word in name.lower() for word in _NUMBER_WORDS):
        return False
    return len(np.unique(colour)) <= MAXIMUM_CLASSES


def _by_class(
    points: NDArray[np.float64], colour: NDArray[Any], name: str, label: NDArray[Any] | None
) -> list[dict[str, Any]]:
    values, counts = np.unique(colour, return_counts=True)
    if len(values) > MAXIMUM_CLASSES:  # names of many classes: the rest shares one grey
        values = np.sort(values[np.argsort(-counts, kind="stable")[: MAXIMUM_CLASSES - 1]])
    traces = []
    for number, value in enumerate(values):
        text = f"{name} {value}" if colour.dtype.kind not in "US" else str(value)
        shade = PALETTE[number % len(PALETTE)]
        symbol = _SYMBOLS[number // len(PALETTE)]
        traces.append(_points(points, text, colour == value, label, color=shade, symbol=symbol))
    rest = ~np.isin(colour, values)
    if rest.any():
        traces.append(_points(points, "all others", rest, label, color=REST, symbol="circle-open"))
    return traces


def _by_number(
    points: NDArray[np.float64], colour: NDArray[Any], name: str, label: NDArray[Any] | None
) -> tuple[list[dict[str, Any]], str]:
    values = colour.astype(np.float64)
    finite = values[np.isfinite(values)]
    bar: dict[str, Any] = {
        "title": {"text": label_text(name), "side": "top"},
        "orientation": "h",
        "thickness": 12,
        "y": 1.0,
        "yanchor": "bottom",
    }
    note = ""
    # Popularity falls off like a power law: on a linear scale everything is one colour.
    if len(finite) and finite.min() >= 0 and finite.max() > 20 * max(np.median(finite), 1.0):
        values = np.log10(1 + values)
        top = int(np.floor(np.log10(1 + finite.max())))
        ticks = [0, *(10**power for power in range(0, top + 1))]
        bar |= {
            "tickmode": "array",
            "tickvals": [float(np.log10(1 + tick)) for tick in ticks],
            "ticktext": [f"{tick:,}" for tick in ticks],
        }
        note = " (logarithmic scale)"
    order = np.argsort(values, kind="stable")  # the few popular ones on top
    trace = _points(
        points,
        name,
        order,
        label,
        color=numbers(values[order]),
        colorscale="Viridis",
        showscale=True,
        colorbar=bar,
    )
    return [{**trace, "showlegend": False}], note


def _points(
    points: NDArray[np.float64],
    name: str,
    chosen: NDArray[Any],
    label: NDArray[Any] | None,
    **marker: Any,
) -> dict[str, Any]:
    """The chosen points; hovering says their label, or the name of the whole trace."""
    told = {} if label is None else {"text": [label_text(text) for text in label[chosen]]}
    return {
        "type": "scatter",
        "mode": "markers",
        "name": label_text(name),
        "x": numbers(points[chosen, 0], 4),
        "y": numbers(points[chosen, 1], 4),
        **told,
        "hovertemplate": f"%{{{'text' if told else 'fullData.name'}}}<extra></extra>",
        "marker": {"size": 5, "opacity": 0.8, **marker},
    }
