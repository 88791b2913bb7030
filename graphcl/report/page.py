"""The report: one HTML page that opens offline and asks the network for nothing."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from graphcl.atomic import write_text
from graphcl.errors import ConfigError
from graphcl.report.embedding_map import embedding_map
from graphcl.report.environment import environment_section
from graphcl.report.figures import Figure, curves, histograms
from graphcl.report.read import Run, read_runs
from graphcl.report.table import ComparisonTable, Row, comparison_table

# Nothing outside the page may be loaded, whatever a run folder managed to slip in. Plotly
# needs inline script and style; its "download as png" needs data and blob images.
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data: blob:; base-uri 'none'; form-action 'none'"
)

_CURVES_KEY = (
    '<p class="quiet">Thin lines: one seed each. Thick line: their mean, over the epochs that '
    "every seed reached. ★ the epoch that validation chose, whose model is tested. "
    "✕ where a seed stopped early.</p>"
)


def write_report(run_folders: Sequence[Path], output: Path) -> Path:
    """Write the report of `run_folders` to `output` and return `output`.

    An existing report is replaced only once the new one is complete.

    Raises:
        ConfigError: no folder was given, or plotly is not installed.
        MissingDataError: a folder or its `result.json` does not exist.
        DataError: a file of a run is corrupt.
        OutputError: `output` cannot be written.
    """
    output = Path(output)
    runs = read_runs(run_folders)
    write_text(output, _page(runs, _plotly_script()))
    return output


def _plotly_script() -> str:
    try:
        from plotly.offline import get_plotlyjs
    except ImportError:
        raise ConfigError(
            "a report draws with plotly, which is not installed; "
            'get it with `pip install "graphcl[report]"`'
        ) from None
    # A closing tag inside the library would end the script element early.
    return str(get_plotlyjs()).replace("</script", "<\\/script")


def _page(runs: Sequence[Run], plotly: str) -> str:
    charts = _Charts()
    names = _run_names(runs)
    methods = dict.fromkeys(run.result.method for run in runs)
    sections = [
        ("results", "Results", "".join(_table(t) for t in comparison_table(runs))),
        (
            "curves",
            "Learning curves",
            _CURVES_KEY + _per_run(runs, names, lambda run: _curves(run, charts)),
        ),
        ("maps", "Embedding maps", _per_run(runs, names, lambda run: _map(run, charts))),
        ("views", "Views and spectrum", _per_run(runs, names, lambda r: _histograms(r, charts))),
        ("environment", "Environment", environment_section(runs, names)),
    ]
    shown = [section for section in sections if section[2]]
    title = f"graphcl report: {', '.join(methods)}"
    links = "".join(f'<li><a href="#{key}">{heading}</a></li>' for key, heading, _ in shown)
    body = "".join(
        f'<section id="{key}" aria-labelledby="{key}-heading">'
        f'<h2 id="{key}-heading">{heading}</h2>{content}</section>\n'
        for key, heading, content in shown
    )
    count = f"{len(runs)} run{'s' if len(runs) != 1 else ''}"
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="graphcl">
<link rel="icon" href="data:,">
<title>{html.escape(title)}</title>
<style>
{_asset("page.css")}</style>
</head>
<body>
<header>
<h1>{html.escape(title)}</h1>
<p class="quiet">{count}; everything on this page is inside this file.</p>
<nav aria-label="Sections"><ul>{links}</ul></nav>
</header>
<main>
<noscript><p>The charts need JavaScript; the tables do not.</p></noscript>
{body}</main>
<script>{plotly}</script>
<script type="application/json" id="chart-data">{charts.json()}</script>
<script>
{_asset("draw.js")}</script>
</body>
</html>
"""


class _Charts:
    """Collects the figures of the page and numbers their places."""

    def __init__(self) -> None:
        self._specs: dict[str, Mapping[str, Any]] = {}

    def place(self, figures: Iterable[Figure]) -> str:
        """The figures' HTML; the drawing comes with `json`."""
        content = "".join(self._figure(figure) for figure in figures)
        return f'<div class="charts">{content}</div>' if content else ""

    def json(self) -> str:
        """All specifications, unable to end the script element they stand in."""
        text = json.dumps(self._specs, allow_nan=False, separators=(",", ":"))
        return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")

    def _figure(self, figure: Figure) -> str:
        key = f"chart-{len(self._specs) + 1}"
        self._specs[key] = figure.spec
        caption = f"<p>{html.escape(figure.caption)}</p>" if figure.caption else ""
        wide = ' class="wide"' if figure.wide else ""
        return (
            f"<figure{wide}>"
            f"<figcaption>{html.escape(figure.title)}{caption}</figcaption>"
            f'<div class="chart" id="{key}" role="group" '
            f'aria-label="{html.escape(figure.label)}"></div></figure>\n'
        )


def _asset(name: str) -> str:
    return resources.files("graphcl.report").joinpath(name).read_text(encoding="utf-8")


def _run_names(runs: Sequence[Run]) -> list[str]:
    """Method, data set and folder: enough to tell two runs apart."""
    return [f"{run.result.method} on {run.result.dataset['name']} ({run.name})" for run in runs]


def _per_run(runs: Sequence[Run], names: Sequence[str], content: Callable[[Run], str]) -> str:
    parts = [(name, content(run)) for run, name in zip(runs, names, strict=True)]
    return "".join(f"<h3>{html.escape(name)}</h3>{text}\n" for name, text in parts if text)


def _curves(run: Run, charts: _Charts) -> str:
    placed = charts.place(curves(run))
    return placed or '<p class="quiet">This run trained no epochs, so it has no curves.</p>'


def _map(run: Run, charts: _Charts) -> str:
    figure = embedding_map(run)
    if figure is not None:
        return charts.place([figure])
    return '<p class="quiet">This run kept no embeddings that could be drawn.</p>'


def _histograms(run: Run, charts: _Charts) -> str:
    return charts.place(histograms(run))


def _table(table: ComparisonTable) -> str:
    caption = html.escape(table.title)
    head = "".join(f'<th scope="col">{html.escape(text)}</th>' for text in table.header)
    methods = [row for row in table.rows if not row.is_baseline]
    baselines = [row for row in table.rows if row.is_baseline]
    body = f"<tbody>{''.join(_row(row, table) for row in methods)}</tbody>\n"
    if baselines:
        rows = "".join(_row(row, table) for row in baselines)
        group = f'<th scope="rowgroup" colspan="{len(table.header)}">Baselines</th>'
        body += f'<tbody><tr class="group">{group}</tr>{rows}</tbody>\n'
    sentences = "".join(f'<p class="quiet">{html.escape(text)}</p>' for text in table.sentences)
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{caption}">'
        f"<table><caption><span>{caption}</span></caption>\n<thead><tr>{head}</tr></thead>\n{body}"
        f"</table></div>\n{sentences}\n"
    )


def _row(row: Row, table: ComparisonTable) -> str:
    # `<wbr>`: a narrow column breaks settings where a reader would.
    breakable = re.sub("([=_/-])", r"\1<wbr>", html.escape(row.note))
    note = f"<small>{breakable}</small>" if breakable else ""
    cells = "".join(
        f'<td class="best"><strong>{html.escape(cell.text)}</strong></td>'
        if cell.best
        else f"<td>{html.escape(cell.text)}</td>"
        for cell in row.cells
    )
    p = f"<td>{html.escape(row.p_value) or '–'}</td>" if table.has_p_values else ""
    cost = "".join(f"<td>{html.escape(text)}</td>" for text in row.cost)
    return f'<tr><th scope="row">{html.escape(row.method)}{note}</th>{cells}{p}{cost}</tr>\n'
