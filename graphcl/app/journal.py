"""Optuna's journal file, made to survive a worker that is killed while it appends.

A journal is one JSON record a line. A kill in the middle of an append leaves half a record; the
next append then glues a whole one to it, and Optuna can never open the file again. Here the tail
is mended under the journal's own lock, before anything is appended.

A journal also has no heartbeat of its own; here workers note one in their running trial.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import JournalStorage
from optuna.storages._heartbeat import BaseHeartbeat
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.trial import TrialState

from graphcl.atomic import write_bytes
from graphcl.errors import DataError

_BLOCK = 4096


class HeartbeatJournal(JournalStorage, BaseHeartbeat):
    """Optuna's journal storage in the file `path`, with repair and a heartbeat."""

    def __init__(self, path: Path, interval: int) -> None:
        lock = RepairingLock(str(path))
        if path.exists():
            lock.acquire()
            try:
                split_glued_records(path)
            finally:
                lock.release()
        super().__init__(JournalFileBackend(str(path), lock_obj=lock))
        self._interval = interval

    def record_heartbeat(self, trial_id: int) -> None:
        """Note the time in the trial."""
        try:
            self.set_trial_system_attr(trial_id, "heartbeat", time.time())
        except UpdateFinishedTrialError:
            return  # given up by another worker; the end of the trial will find that out

    def get_heartbeat_interval(self) -> int:
        """Seconds between two heartbeats."""
        return self._interval

    def get_heartbeat_stale_trial_callback(self) -> Callable[..., None] | None:
        """None: stale trials are queued again by `graphcl.app.study`."""
        return None

    get_failed_trial_callback = get_heartbeat_stale_trial_callback  # its name in Optuna 4

    def _get_stale_trial_ids(self, study_id: int) -> list[int]:
        oldest = time.time() - 2 * self._interval
        return [
            trial._trial_id
            for trial in self.get_all_trials(study_id, deepcopy=False, states=(TrialState.RUNNING,))
            if trial.system_attrs.get("heartbeat", oldest) < oldest
        ]


class RepairingLock(JournalFileSymlinkLock):
    """Optuna's lock of a journal; whoever gets it first cuts off a torn tail."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._path = path

    def acquire(self) -> bool:
        """Wait for the lock, then mend the file."""
        taken = super().acquire()
        try:
            cut_torn_tail(self._path)
        except BaseException:
            self.release()
            raise
        return taken


def cut_torn_tail(path: str) -> None:
    """Cut off what follows the last line end: a record that was never written to its end."""
    if not os.path.exists(path):
        return
    with open(path, "r+b") as file:
        end = file.seek(0, os.SEEK_END)
        place = end
        while place > 0:
            start = max(0, place - _BLOCK)
            file.seek(start)
            newline = file.read(place - start).rfind(b"\n")
            if newline >= 0:
                place = start + newline + 1
                break
            place = start
        if place < end:
            file.truncate(place)
            os.fsync(file.fileno())


def split_glued_records(path: Path) -> None:
    """Free whole records that were appended to half of one, as Optuna by itself does.

    Raises:
        DataError: a line in the middle is no record in any way; the file is as it was.
    """
    lines = path.read_bytes().split(b"\n")[:-1]
    mended = [_record(line, number, path) for number, line in enumerate(lines, start=1)]
    if mended != lines:
        write_bytes(path, b"".join(line + b"\n" for line in mended))


def _record(line: bytes, number: int, path: Path) -> bytes:
    start = 0
    while start >= 0:
        if _is_record(line[start:]):
            return line[start:]
        start = line.find(b"{", start + 1)
    raise DataError(
        f"'{path}', line {number} is not a record of an Optuna journal (got {line[:40]!r})"
    )


def _is_record(line: bytes) -> bool:
    try:
        content: Any = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(content, dict) and "op_code" in content
