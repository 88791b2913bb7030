"""A study on the page: what was chosen and from what, then the pictures."""

from __future__ import annotations

import html
from typing import Any

from graphcl.report.charts import Charts
from graphcl.report.study import Range, Study
from graphcl.report.study_figures import study_figures
from graphcl.report.tables import scrolling


def study_section(study: Study, charts: Charts) -> str:
    """One study: two sentences, the settings that were chosen, and its charts."""
    sentences = "".join(f"<p>{html.escape(text)}</p>" for text in _sentences(study))
    return f"{sentences}{_settings(study)}{charts.place(study_figures(study))}"


def study_title(study: Study) -> str:
    """Method, data set and name."""
    of = [str(study.specification.get(key, "")) for key in ("method", "dataset")]
    what = " on ".join(part for part in of if part)
    return f"{what} (study {study.name})" if what else f"study {study.name}"


def _sentences(study: Study) -> list[str]:
    pruned = sum(trial.pruned for trial in study.trials)
    ended = len(study.trials) - pruned
    counted = f"{len(study.trials)} trials: {ended} ran to their end, {pruned} were pruned."
    if lost := ended - len(study.whole):
        counted += f" Of those that ran to their end, {lost} have no finite value and are left out."
    best, baseline = study.best, study.baseline
    if best is None:
        return [counted]
    text = f"Best: trial {best.number}, validation {study.metric} {best.value:.4f}."
    if baseline is not None and baseline.finite:
        when = " when it was pruned" if baseline.pruned else ""
        text += (
            f" The settings that the search started from (★, trial {baseline.number}) "
            f"had {baseline.value:.4f}{when}."
        )
    read = "The test split was not read while searching"
    tested = (study.folder / "best" / "result.json").exists()
    read += ": the table has the one test of the chosen settings." if tested else "."
    return [counted, f"{text} {read}"]


def _settings(study: Study) -> str:
    best, baseline = study.best, study.baseline
    if best is None or not best.settings:
        return ""
    started = {} if baseline is None else baseline.settings
    names = [*study.importances, *(name for name in study.ranges if name not in study.importances)]
    rows = "".join(
        f'<tr><th scope="row">{html.escape(name)}</th>'
        f"<td>{_value(best.settings.get(name))}</td><td>{_value(started.get(name))}</td>"
        f"<td>{html.escape(_searched(study.ranges[name]))}</td>"
        f"<td>{_share(study.importances.get(name))}</td></tr>\n"
        for name in names
    )
    head = ("setting", "chosen", "started from", "searched", "importance")
    return scrolling(f"Settings of study {study.name}", head, f"<tbody>{rows}</tbody>\n")


def _value(value: Any) -> str:
    if value is None:
        return "–"
    return html.escape(f"{value:.4g}" if isinstance(value, float) else str(value))


def _searched(where: Range) -> str:
    if where.choices is not None:
        return ", ".join(str(choice) for choice in where.choices)
    return f"{where.low:g} to {where.high:g}" + (" (log)" if where.log else "")


def _share(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.0f} %"
