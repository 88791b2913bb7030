"""Writing files so that a crash leaves either the old file or the new one, never half of one."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from graphcl.errors import OutputError


def write_bytes(path: Path, content: bytes) -> None:
    """Write to a temporary file beside `path`, sync it, rename it over `path`, sync the folder.

    Raises:
        OutputError: the folder cannot be written or the disk is full; `path` is as it was.
    """
    temporary: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
        temporary = None
        _sync_folder(path.parent)
    except OSError as error:
        raise OutputError(f"cannot write '{path}': {error.strerror or error}") from None
    finally:
        if temporary is not None and os.path.exists(temporary):
            os.unlink(temporary)


def write_text(path: Path, content: str) -> None:
    """`write_bytes` for text in UTF-8."""
    write_bytes(path, content.encode("utf-8"))


def write_json(path: Path, content: Any) -> None:
    """`write_bytes` for JSON, indented, with a newline at the end."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def _sync_folder(folder: Path) -> None:
    # Without this the rename itself may be lost when the machine loses power. Some file
    # systems do not offer it; the file is in place all the same.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _umask() -> int:
    # mkstemp makes files private; a result is as readable as any other new file.
    mask = os.umask(0)
    os.umask(mask)
    return mask
