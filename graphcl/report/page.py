"""The report: one HTML page that opens offline and asks the network for nothing."""

from __future__ import annotations

import base64
import gzip
import html
import re
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path

from graphcl.atomic import write_text
from graphcl.errors import ConfigError
from graphcl.report.charts import Charts
from graphcl.report.curves import compared_curves, curves, points_per_curve
from graphcl.report.distributions import histograms, spectra
from graphcl.report.embedding_map import embedding_map, points_per_map
from graphcl.report.environment import environment_section
from graphcl.report.examples_section import EXPLANATION, examples_section
from graphcl.report.figures import Figure
from graphcl.report.plane import planes
from graphcl.report.read import Run, read_runs
from graphcl.report.study import Study, read_studies
from graphcl.report.study_section import study_section, study_title
from graphcl.report.table import comparable, comparison_table
from graphcl.report.tables import comparison

MOST_OPEN = 4
"""Runs whose own parts are unfolded; of more, a reader opens what is of interest."""

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
_NO_CURVES = '<p class="quiet">This run trained no epochs, so it has no curves.</p>'
_NO_MAP = '<p class="quiet">This run kept no embeddings that could be drawn.</p>'


def write_report(folders: Sequence[Path], output: Path, storage: str | None = None) -> Path:
    """Write the report of `folders`, runs and studies, to `output` and return `output`.

    A study (a folder that `graphcl tune` wrote) brings its trials, and the run of its chosen
    settings where that was tested. An existing report is replaced only once the new one is
    complete. `storage` is the URL of the database of those studies that a server keeps.

    Raises:
        ConfigError: no folder was given, or plotly is not installed.
        MissingDataError: a folder, its `result.json` or the storage of a study does not exist.
        DataError: a file of a run or a study is corrupt.
        OutputError: `output` cannot be written.
    """
    output = Path(output)
    runs, studies = read_runs(folders), read_studies(folders, storage)
    write_text(output, _page(runs, studies, _plotly_script()))
    return output


def _plotly_script() -> str:
    """plotly.js in an element that `draw.js` unpacks: a third of its size."""
    try:
        from plotly.offline import get_plotlyjs
    except ImportError:
        raise ConfigError(
            "a report draws with plotly, which is not installed; "
            'get it with `pip install "graphcl[report]"`'
        ) from None
    source = get_plotlyjs()
    # Its licence asks for the notice; no time stamp, so that the same runs give the same page.
    notice = re.match(r"/\*.*?\*/", source, re.DOTALL)
    packed = base64.b64encode(gzip.compress(source.encode(), mtime=0)).decode()
    said = html.escape(notice[0]) if notice else ""
    return f'<!-- {said} -->\n<script type="application/gzip" id="plotly">{packed}</script>'


def _page(runs: Sequence[Run], studies: Sequence[Study], plotly: str) -> str:
    charts = Charts()
    names = _run_names(runs)
    methods = dict.fromkeys(run.result.method for run in runs)
    methods |= dict.fromkeys(str(study.specification.get("method", "?")) for study in studies)
    points, most = points_per_curve(runs), points_per_map(runs)

    def together(figures: Callable[[Sequence[Run], Sequence[str]], list[Figure]]) -> str:
        return _together(runs, charts, figures)

    def each(figures: Callable[[Run], list[Figure]], otherwise: str = "") -> str:
        return _each(runs, names, lambda run: charts.place(figures(run)) or otherwise)

    sections = [
        ("results", "Results", "".join(comparison(table) for table in comparison_table(runs))),
        ("tuning", "Tuning", _tuning(studies, charts)),
        (
            "curves",
            "Learning curves",
            together(lambda group, shown: compared_curves(group, shown, points))
            + (_CURVES_KEY if runs else "")
            + each(lambda run: curves(run, points), _NO_CURVES),
        ),
        ("plane", "Alignment and uniformity", together(planes)),
        ("spectrum", "Singular spectrum", together(spectra)),
        ("examples", "Recommendations", _examples(runs, names)),
        ("maps", "Embedding maps", each(lambda run: _map(run, most), _NO_MAP)),
        ("views", "Views", each(histograms)),
        ("environment", "Environment", environment_section(runs, names) if runs else ""),
    ]
    shown = [section for section in sections if section[2]]
    title = f"graphcl report: {', '.join(methods)}"
    links = "".join(f'<li><a href="#{key}">{heading}</a></li>' for key, heading, _ in shown)
    body = "".join(
        f'<section id="{key}" aria-labelledby="{key}-heading">'
        f'<h2 id="{key}-heading">{heading}</h2>{content}</section>\n'
        for key, heading, content in shown
    )
    count = " and ".join(_counted(len(of), one, many) for of, one, many in (
        (runs, "run", "runs"), (studies, "study", "studies")
    ) if of)  # fmt: skip
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
{plotly}
<script type="application/json" id="chart-data">{charts.json()}</script>
<script>
{_asset("draw.js")}</script>
</body>
</html>
"""


def _counted(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def _asset(name: str) -> str:
    return resources.files("graphcl.report").joinpath(name).read_text(encoding="utf-8")


def _run_names(runs: Sequence[Run]) -> list[str]:
    """Method, data set and folder: enough to tell two runs apart."""
    return [f"{run.result.method} on {run.result.dataset['name']} ({run.name})" for run in runs]


def _short_names(runs: Sequence[Run]) -> list[str]:
    """The method, and the folder where the method is not enough."""
    methods = [run.result.method for run in runs]
    return [
        run.result.method
        if methods.count(run.result.method) == 1
        else f"{run.result.method} ({run.name})"
        for run in runs
    ]


def _together(
    runs: Sequence[Run],
    charts: Charts,
    figures: Callable[[Sequence[Run], Sequence[str]], list[Figure]],
) -> str:
    """Charts of all runs of a table at once."""
    parts = [
        (title, charts.place(figures(group, _short_names(group))))
        for title, group in comparable(runs)
    ]
    return "".join(f"<h3>{html.escape(title)}</h3>{text}\n" for title, text in parts if text)


def _each(runs: Sequence[Run], names: Sequence[str], content: Callable[[Run], str]) -> str:
    """A part for each run, folded where there are many."""
    state = " open" if len(runs) <= MOST_OPEN else ""
    parts = [(name, content(run)) for run, name in zip(runs, names, strict=True)]
    return "".join(
        f'<details class="run"{state}><summary>{html.escape(name)}</summary>{text}</details>\n'
        for name, text in parts
        if text
    )


def _examples(runs: Sequence[Run], names: Sequence[str]) -> str:
    content = _each(
        runs, names, lambda r: examples_section(r.snapshot.examples if r.snapshot else ())
    )
    return EXPLANATION + content if content else ""


def _map(run: Run, most: int) -> list[Figure]:
    figure = embedding_map(run, most)
    return [] if figure is None else [figure]


def _tuning(studies: Sequence[Study], charts: Charts) -> str:
    return "".join(
        f"<h3>{html.escape(study_title(study))}</h3>{study_section(study, charts)}\n"
        for study in studies
    )
