"""The command line, called in this process."""

from __future__ import annotations

import sys

import pytest

from graphcl.app.main import main


@pytest.fixture
def command(monkeypatch, capsys):
    """Calls `graphcl ...`; returns exit code, output and error text."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["graphcl", *map(str, arguments)])
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call
