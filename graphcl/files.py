"""What is checked of a path before it is opened."""

from __future__ import annotations

from pathlib import Path

from graphcl.errors import GraphclError


def check_regular(path: Path, error: type[GraphclError]) -> None:
    """Refuse what exists and is no file: a folder, or a pipe, whose reader would wait for ever.

    Raises:
        GraphclError: of the class `error`.
    """
    if path.exists() and not path.is_file():
        kind = "a folder" if path.is_dir() else "a pipe, socket or device"
        raise error(f"'{path}' must be a file (got {kind})")
