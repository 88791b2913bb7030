"""What all charts share: a figure as plain plotly.js data, its layout, colours and numbers.

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

# Okabe and Ito's palette, told apart by the colour-blind; black and yellow left out because
# each vanishes on one of the two backgrounds.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6BB1", "#8A8A8A")
DASHES = ("solid", "dash", "dot")
"""Three times the palette: so many lines of one chart can be told apart."""
MOST_LINES = len(PALETTE) * len(DASHES)
REST = "#9a9a9a"
"""What can no longer be told apart."""


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
    """Whether it has the whole width of the page."""


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


def numbers(values: Iterable[float], digits: int = 6) -> list[float | None]:
    """Six digits are more than a screen shows; JSON has no NaN."""
    return [float(f"{value:.{digits}g}") if math.isfinite(value) else None for value in values]


def line_look(place: int) -> dict[str, Any]:
    """Colour and dash of line `place` of a chart of many lines; grey beyond `MOST_LINES`."""
    if place >= MOST_LINES:
        return {"color": REST, "dash": "solid", "width": 1}
    return {
        "color": PALETTE[place % len(PALETTE)],
        "dash": DASHES[place // len(PALETTE)],
        "width": 2,
    }


def lines(
    names: Sequence[str], points: Sequence[tuple[list[Any], list[float | None]]]
) -> list[dict[str, Any]]:
    """One line for each name; where there are too many to tell apart, the rest shares a grey."""
    return [
        {
            "type": "scatter",
            "mode": "lines+markers" if len(x) <= 30 else "lines",
            "name": label_text(name),
            "x": x,
            "y": y,
            "line": line_look(place),
            "marker": {"size": 4},
            "showlegend": place < MOST_LINES,
        }
        for place, (name, (x, y)) in enumerate(zip(names, points, strict=True))
    ]


def thin(count: int, most: int) -> NDArray[np.int64]:
    """Evenly spaced places below `count`, at most `most`, the first and the last among them."""
    places = np.linspace(0, count - 1, min(count, most))
    return np.unique(np.round(places).astype(np.int64))
