"""Tables of the page: each scrolls in a box of its own."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

from graphcl.report.table import ComparisonTable, Row


def scrolling(caption: str, head: Sequence[str], body: str, kind: str = "") -> str:
    """A table with a caption and headings around the rows `body`, which is HTML already.

    `kind` is a class of the page's style.
    """
    caption = html.escape(caption)
    headings = "".join(f'<th scope="col">{html.escape(text)}</th>' for text in head)
    look = f' class="{kind}"' if kind else ""
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{caption}">'
        f"<table{look}><caption><span>{caption}</span></caption>\n"
        f"<thead><tr>{headings}</tr></thead>\n{body}</table></div>\n"
    )


def breakable(text: str) -> str:
    """Escaped text that a narrow column breaks where a reader would."""
    return re.sub("([=_/-])", r"\1<wbr>", html.escape(text))


def comparison(table: ComparisonTable) -> str:
    """Methods, baselines below, and how to read them."""
    methods = [row for row in table.rows if not row.is_baseline]
    baselines = [row for row in table.rows if row.is_baseline]
    body = f"<tbody>{''.join(_row(row, table) for row in methods)}</tbody>\n"
    if baselines:
        rows = "".join(_row(row, table) for row in baselines)
        group = f'<th scope="rowgroup" colspan="{len(table.header)}">Baselines</th>'
        body += f'<tbody><tr class="group">{group}</tr>{rows}</tbody>\n'
    sentences = "".join(f'<p class="quiet">{html.escape(text)}</p>' for text in table.sentences)
    return f"{scrolling(table.title, table.header, body)}{sentences}\n"


def _row(row: Row, table: ComparisonTable) -> str:
    note = f"<small>{breakable(row.note)}</small>" if row.note else ""
    cells = "".join(
        f'<td class="best"><strong>{html.escape(cell.text)}</strong></td>'
        if cell.best
        else f"<td>{html.escape(cell.text)}</td>"
        for cell in row.cells
    )
    p = f"<td>{html.escape(row.p_value) or '–'}</td>" if table.has_p_values else ""
    cost = "".join(f"<td>{html.escape(text)}</td>" for text in row.cost)
    return f'<tr><th scope="row">{html.escape(row.method)}{note}</th>{cells}{p}{cost}</tr>\n'
