"""The environment block: what one needs to run the same thing again."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any

from graphcl.report.read import Run
from graphcl.report.table import duration
from graphcl.report.words import phrase

MOST_CARDS = 4
"""Runs whose cards are unfolded."""


def environment_section(runs: Sequence[Run], names: Sequence[str]) -> str:
    """One card a run, folded where there are many; versions that all share are said once."""
    versions = [run.result.versions for run in runs]
    shared = bool(versions[0]) and all(version == versions[0] for version in versions)
    text = ""
    if shared:
        same = " (the same in every run)" if len(runs) > 1 else ""
        listed = ", ".join(f"{name} {version}" for name, version in versions[0].items())
        text = f"<p>Versions{same}: {html.escape(listed)}.</p>\n"
    cards = "".join(
        f'<div class="card"><h3>{html.escape(name)}</h3>{_card(run, not shared)}</div>\n'
        for run, name in zip(runs, names, strict=True)
    )
    cards = f'<div class="cards">{cards}</div>'
    if len(runs) <= MOST_CARDS:
        return text + cards
    return f"{text}<details><summary>Commands, settings and protocols</summary>{cards}</details>"


def _card(run: Run, with_versions: bool) -> str:
    result = run.result
    facts: list[tuple[str, str]] = [
        ("command", f"<code>{html.escape(result.command)}</code>" if result.command else ""),
        ("folder", f"<code>{html.escape(str(run.folder))}</code>"),
        ("started", html.escape(result.started)),
        ("device", html.escape(result.device)),
        ("seeds", html.escape(phrase(result.seeds))),
        ("wall time", "" if result.seconds is None else duration(result.seconds)),
        ("peak memory", _bytes(result.peak_memory_bytes)),
        ("peak device memory", _bytes(result.peak_device_memory_bytes)),
        ("data hash", f"<code>{html.escape(str(result.dataset.get('hash') or '–'))}</code>"),
    ]
    if with_versions:
        facts += [("versions", html.escape(phrase(result.versions)) if result.versions else "")]
    text = _list(facts)
    for title, values in (("Settings", result.settings), ("Protocol", result.protocol)):
        if values:
            inner = _list((html.escape(str(k)), html.escape(_value(v))) for k, v in values.items())
            text += f"<details><summary>{title}</summary>{inner}</details>"
    return text


def _list(facts: Iterable[tuple[str, str]]) -> str:
    return (
        f"<dl>{''.join(f'<dt>{term}</dt><dd>{value}</dd>' for term, value in facts if value)}</dl>"
    )


def _value(value: Any) -> str:
    # Settings are typed back in, so numbers stay as they were written.
    return str(value) if isinstance(value, int | float) else phrase(value)


def _bytes(count: int | None) -> str:
    if count is None:
        return ""
    mebibytes = count / 2**20
    return f"{mebibytes:.0f} MiB" if mebibytes < 1024 else f"{mebibytes / 1024:.1f} GiB"
