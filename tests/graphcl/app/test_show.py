"""What `graphcl show` prints fits a terminal: prose is filled again, formulas and code stay."""

from __future__ import annotations

import pytest

from graphcl.app.catalogue import load_class, method_table, operator_table, task_table
from graphcl.app.documentation import CODE, fit
from graphcl.app.show import _documentation

TABLES = {
    "method": method_table,
    "task": task_table,
    "view": lambda: operator_table("graphcl.views"),
    "loss": lambda: operator_table("graphcl.losses"),
}

TEXT = """\
A first line that is short.

A paragraph whose first line is too wide for forty columns
and ends here.

- an entry that is too wide for forty columns too;
- a short one;
  of two lines.

    y = f(x)   = g(x) + h(x) + something(x, y, z)

Args:
    rate: in [0, 1], and some more words here,
        and an end.
    short: yes.

Shape:
    (N, d) and other words, and more of them,
    to an end.

Example:
    >>> value = one_function(of_this, and_that, 3)
"""

FITTED = """\
A first line that is short.

A paragraph whose first line is too wide
for forty columns and ends here.

- an entry that is too wide for forty
  columns too;
- a short one;
  of two lines.

    y = f(x)   = g(x) + h(x) +
        something(x, y, z)

Args:
    rate: in [0, 1], and some more words
        here, and an end.
    short: yes.

Shape:
    (N, d) and other words, and more of
    them, to an end.

Example:
    >>> value = one_function(of_this, and_that, 3)
"""


def test_what_is_too_wide_is_filled_again():
    assert fit(TEXT, 40) == FITTED.rstrip("\n")
    assert fit(TEXT, 58) == TEXT.rstrip("\n")


@pytest.mark.parametrize("kind", TABLES)
def test_every_documentation_fits_eighty_columns_and_loses_no_word(kind):
    table = TABLES[kind]()
    for name in table:
        text = _documentation(load_class(kind, name, table), kind)
        assert fit(text, 100) == text, f"{name} is written for a hundred columns"
        fitted = fit(text, 80)
        assert fitted.split() == text.split()
        for line in fitted.splitlines():
            assert len(line) <= 80 or line.lstrip().startswith(CODE), f"{name}: {line!r}"


@pytest.mark.parametrize("name", ["two-view", "csgcl", "ranking", "InfoNCE", "DropNodes"])
def test_show_keeps_within_the_terminal(command, monkeypatch, name):
    monkeypatch.setenv("COLUMNS", "80")
    code, printed, text = command("show", name)
    assert code == 0, text
    for line in printed.splitlines():
        assert len(line) <= 80 or line.lstrip().startswith(CODE), line
        assert "…" not in line
        assert "collections.abc" not in line
