"""The charts of a page: a place for each in the HTML, and all their data in one element."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any

from graphcl.report.figures import Figure


class Charts:
    """Collects the figures of the page and numbers their places."""

    def __init__(self) -> None:
        self._specs: dict[str, Mapping[str, Any]] = {}

    def place(self, figures: Iterable[Figure]) -> str:
        """The figures' HTML; the drawing comes with `json`."""
        # A wide one has a row of its own, so that the others fill theirs.
        rows = groupby(figures, key=lambda figure: figure.wide)
        return "".join(
            f'<div class="charts">{"".join(self._figure(figure) for figure in row)}</div>\n'
            for _, row in rows
        )

    def json(self) -> str:
        """All specifications, unable to end the script element they stand in."""
        text = json.dumps(self._specs, allow_nan=False, separators=(",", ":"))
        return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")

    def _figure(self, figure: Figure) -> str:
        key = f"chart-{len(self._specs) + 1}"
        self._specs[key] = figure.spec
        caption = f"<p>{html.escape(figure.caption)}</p>" if figure.caption else ""
        # The height is there before the chart is, so that nothing jumps while reading.
        height = f' style="min-height:{int(figure.spec["layout"]["height"])}px"'
        return (
            f"<figure>"
            f"<figcaption>{html.escape(figure.title)}{caption}</figcaption>"
            f'<div class="chart" id="{key}"{height} role="group" '
            f'aria-label="{html.escape(figure.label)}"></div></figure>\n'
        )
