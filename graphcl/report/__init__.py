"""Reports of finished runs: one self-contained HTML page, and the same table in the terminal.

Everything is read from run folders (`result.json`, `log.jsonl`, `snapshot.npz`); nothing is
trained or evaluated again. Importing this package costs no plotly, UMAP, scikit-learn or torch.
"""

from graphcl.report.page import write_report
from graphcl.report.read import Metric, Result, Run, Snapshot, read_run, read_runs
from graphcl.report.table import Cell, ComparisonTable, Row, comparison_table
from graphcl.report.terminal import terminal_table

__all__ = [
    "Cell",
    "ComparisonTable",
    "Metric",
    "Result",
    "Row",
    "Run",
    "Snapshot",
    "comparison_table",
    "read_run",
    "read_runs",
    "terminal_table",
    "write_report",
]
