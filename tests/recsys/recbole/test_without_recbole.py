"""The bridge where RecBole is not there."""

from __future__ import annotations

import subprocess
import sys

import pytest

from graphcl.errors import ConfigError
from recsys.recbole import recbole_run


def test_says_which_extra_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "recbole", None)
    with pytest.raises(ConfigError, match=r"graphcl\[recbole\]"):
        recbole_run("lightgcl", "ml-100k")


def test_importing_the_bridge_imports_no_recbole() -> None:
    code = "import sys, recsys.recbole; print('recbole' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
