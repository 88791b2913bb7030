"""Reports of finished runs: one self-contained HTML page, and the same table in the terminal.

Everything is read from run folders (`result.json`, `log.jsonl`, `snapshot.npz`) and from studies
that `graphcl tune` wrote; nothing is trained or evaluated again. Importing this package costs
no plotly, UMAP, scikit-learn, torch or optuna.
"""

from graphcl.report.page import write_report
from graphcl.report.read import Metric, Result, Run, read_run, read_runs
from graphcl.report.snapshot import Example, Snapshot
from graphcl.report.study import Study, Trial, read_studies
from graphcl.report.table import Cell, ComparisonTable, Row, comparison_table
from graphcl.report.terminal import terminal_table

__all__ = [
    "Cell",
    "ComparisonTable",
    "Example",
    "Metric",
    "Result",
    "Row",
    "Run",
    "Snapshot",
    "Study",
    "Trial",
    "comparison_table",
    "read_run",
    "read_runs",
    "read_studies",
    "terminal_table",
    "write_report",
]
