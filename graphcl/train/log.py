"""`log.jsonl`: one JSON object a line, appended, and rewound to the checkpoint on resume."""

from __future__ import annotations

import json
from pathlib import Path

from graphcl.atomic import write_bytes
from graphcl.errors import OutputError
from graphcl.files import check_regular
from graphcl.train.sinks.contract import Record, Sink


def rewind(path: Path, seed: int, epoch: int) -> None:
    """Drop what `seed` logged after `epoch`, and lines torn by a kill, before it goes on.

    The resumed run writes those epochs again, so keeping them would log them twice. Records
    of other seeds stay, whatever their order.

    Raises:
        OutputError: the file cannot be read or written; it is as it was.
    """
    check_regular(path, OutputError)
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return
    except OSError as error:
        raise OutputError(f"cannot read '{path}': {error.strerror or error}") from None
    kept = [line for line in lines if _stays(line, seed, epoch)]
    write_bytes(path, b"".join(line + b"\n" for line in kept))


def seed_records(path: Path, seed: int) -> list[Record]:
    """The records of `seed` in a log that was rewound; [] where there is none.

    Raises:
        OutputError: the file cannot be read.
    """
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise OutputError(f"cannot read '{path}': {error.strerror or error}") from None
    return [record for record in map(json.loads, lines) if record["seed"] == seed]


def _stays(line: bytes, seed: int, epoch: int) -> bool:
    try:
        record = json.loads(line)
        ending = "stopped" in record or "test" in record
        return record["seed"] != seed or (record["epoch"] <= epoch and not ending)
    except (ValueError, KeyError, TypeError):
        return False


class RunLog(Sink):
    """Appends records to a JSON-lines file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab")
        except OSError as error:
            raise OutputError(f"cannot write '{path}': {error.strerror or error}") from None

    def write(self, record: Record) -> None:
        """Append one record and hand it to the operating system at once."""
        try:
            self._file.write(json.dumps(dict(record)).encode() + b"\n")
            self._file.flush()
        except OSError as error:
            raise OutputError(f"cannot write '{self.path}': {error.strerror or error}") from None

    def close(self, failed: bool) -> None:
        """Close the file."""
        self._file.close()
