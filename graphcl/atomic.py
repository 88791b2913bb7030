"""Writing files so that a crash leaves either the old file or the new one, never half of one."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from graphcl.errors import OutputError


def write_bytes(path: Path, content: bytes, *, keep: Path | None = None) -> None:
    """Write to a temporary file beside `path`, sync it, rename it over `path`, sync the folder.

    What `path` was before becomes `keep`, where that is given: once the new content is on the
    disk, so that at no instant both are missing.

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
        if keep is not None and path.exists():
            os.replace(path, keep)
        os.replace(temporary, path)
        temporary = None
        _sync_folder(path.parent)
    except OSError as error:
        raise _unwritable(path, error) from None
    finally:
        if temporary is not None and os.path.exists(temporary):
            os.unlink(temporary)


def write_text(path: Path, content: str) -> None:
    """`write_bytes` for text in UTF-8."""
    write_bytes(path, content.encode("utf-8"))


def write_json(path: Path, content: Any) -> None:
    """`write_bytes` for JSON, indented, with a newline at the end."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside `path`, which becomes `path` when the block ends well.

    When it does not, nothing of it is left. Files are to be written with the functions above,
    which sync them.

    Raises:
        OutputError: `path` is there and not an empty folder, or cannot be written.
    """
    if path.is_dir() and not path.is_symlink():
        if any(path.iterdir()):
            raise OutputError(f"the folder '{path}' is not empty; give another one")
    elif os.path.lexists(path):
        raise OutputError(f"'{path}' is there already and is not a folder; give another one")
    temporary: str | None = None
    try:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.")
        except OSError as error:
            raise _unwritable(path, error) from None
        yield Path(temporary)
        try:
            os.chmod(temporary, 0o777 & ~_umask())
            _sync_folder(Path(temporary))
            os.rename(temporary, path)  # onto an empty folder it replaces that
            temporary = None
            _sync_folder(path.parent)
        except OSError as error:
            raise _unwritable(path, error) from None
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _unwritable(path: Path, error: OSError) -> OutputError:
    return OutputError(f"cannot write '{path}': {error.strerror or error}")


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
