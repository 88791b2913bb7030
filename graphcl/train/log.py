"""`log.jsonl`: one JSON object a line, appended, and cut back to a known place on resume."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Any

from graphcl.errors import OutputError


class RunLog:
    """Appends records to a JSON-lines file; `position` says where a resumed run goes on."""

    def __init__(self, path: Path, position: int = 0) -> None:
        """Open `path` to append, first dropping everything after byte `position`.

        What follows the last checkpoint is written again by the resumed run, so keeping
        it would log those epochs twice; a line torn by a kill goes with it.
        """
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab")
            # A log that was lost or cut is not padded up to its old length.
            self._file.truncate(min(position, self._file.tell()))
        except OSError as error:
            raise OutputError(f"cannot write '{path}': {error.strerror or error}") from None

    def write(self, record: dict[str, Any]) -> None:
        """Append one record and hand it to the operating system at once."""
        try:
            self._file.write(json.dumps(record).encode() + b"\n")
            self._file.flush()
        except OSError as error:
            raise OutputError(f"cannot write '{self.path}': {error.strerror or error}") from None

    @property
    def position(self) -> int:
        """Bytes written so far."""
        return self._file.tell()

    def __enter__(self) -> RunLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()
