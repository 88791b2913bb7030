"""The comparison table in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphcl.report.table import ComparisonTable

if TYPE_CHECKING:
    from rich.table import Table


PAGE_ONLY = ("parameters", "epochs")
"""Columns that a terminal has no room for."""


def terminal_table(table: ComparisonTable, *, notes: bool = False) -> Table:
    """`table` for `rich.console.Console.print`: best in bold, baselines below a line.

    Args:
        table: one of `comparison_table(runs)`.
        notes: append what tells rows of one method apart (settings, folder).
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    printed = Table(
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        # Text, not str: names from a result are never read as rich markup.
        title=Text(table.title, style="bold"),
    )
    longest = max((len(row.method) for row in table.rows), default=0)
    shown = [i for i, heading in enumerate(table.header) if heading not in PAGE_ONLY]
    for index in shown:
        heading = table.header[index]
        printed.add_column(
            Text(heading.replace(" (", "\n(")),
            justify="left" if index == 0 else "right",
            min_width=min(longest, 12) if index == 0 else None,
            no_wrap=0 < index <= len(table.metrics),
            overflow="fold",
        )
    for index, (row, texts) in enumerate(zip(table.rows, table.body(), strict=True)):
        best = {1 + number for number, cell in enumerate(row.cells) if cell.best}
        cells = [
            # Where the terminal is narrow, the spread goes to a line of its own.
            Text(text.replace("± ", "±"), style="bold" if i in best else "")
            for i, text in ((i, texts[i]) for i in shown)
        ]
        if row.is_baseline:
            cells[0].append(" (baseline)", style="dim")
        if notes and row.note:
            cells[0].append(f"\n{row.note}", style="dim")
        following = table.rows[index + 1] if index + 1 < len(table.rows) else None
        ends_methods = following is not None and following.is_baseline and not row.is_baseline
        printed.add_row(*cells, end_section=ends_methods)
    return printed
