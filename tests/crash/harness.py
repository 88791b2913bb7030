"""Runs `graphcl` commands in children that are killed at a chosen moment.

Started as a process of its own, it imports the library once and forks for every command, since a
fresh interpreter for each of twenty kills would spend its time on imports. A request is a JSON
line on stdin, the answer a JSON line on stdout:

    {"arguments": [...], "step": n}             killed at the n-th step of a write to disk
    {"arguments": [...], "full": n}             the disk is full from the n-th such step on
    {"arguments": [...], "log": f, "lines": n}  killed once the file has that many lines
    {"arguments": [...]}                        runs to its end

The steps of a write (file begun, half of it there, all of it there, synced, renamed) are where a
kill could hurt, and a signal sent from outside seldom meets them.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import graphcl.atomic
from graphcl.app.main import main


class Steps:
    """Stands in for the module `os` inside `graphcl.atomic`: at the n-th step things go wrong."""

    def __init__(self, last: int, wrong: Callable[[], None]) -> None:
        self._left = last
        self._wrong = wrong

    def step(self) -> None:
        self._left -= 1
        if self._left <= 0:
            self._wrong()

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def fsync(self, handle: int) -> None:
        self.step()
        os.fsync(handle)

    def replace(self, source: str, target: str) -> None:
        self.step()
        os.replace(source, target)
        self.step()

    def fdopen(self, handle: int, mode: str) -> HalfWrites:
        self.step()
        return HalfWrites(os.fdopen(handle, mode), self.step)


class HalfWrites:
    """A file that is at a step when half of what is written has reached it."""

    def __init__(self, file: Any, step: Callable[[], None]) -> None:
        self._file = file
        self._step = step

    def __enter__(self) -> HalfWrites:
        return self

    def __exit__(self, *what: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, content: bytes) -> int:
        middle = len(content) // 2
        self._file.write(content[:middle])
        self._file.flush()
        self._step()
        return middle + self._file.write(content[middle:])


def be_killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def refuse() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def child(request: dict[str, Any]) -> None:
    """Become the command; never returns."""
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    if "errors" in request:
        os.dup2(os.open(request["errors"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    if "step" in request:
        graphcl.atomic.os = Steps(request["step"], be_killed)  # type: ignore[attr-defined]
    if "full" in request:
        graphcl.atomic.os = Steps(request["full"], refuse)  # type: ignore[attr-defined]
    sys.argv = ["graphcl", *request["arguments"]]
    code: Any = 1
    try:
        main()
        code = 0
    except SystemExit as stop:
        code = stop.code or 0
    finally:
        os._exit(code if isinstance(code, int) else 1)


def handle(request: dict[str, Any]) -> dict[str, Any]:
    """Fork, kill where asked, wait."""
    process = os.fork()
    if process == 0:
        child(request)
    deadline = time.monotonic() + 120
    while True:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            return {"code": os.waitstatus_to_exitcode(status)}
        if time.monotonic() > deadline or lines(request.get("log")) >= request.get("lines", 1e9):
            os.kill(process, signal.SIGKILL)
        time.sleep(0.002)


def lines(log: str | None) -> int:
    try:
        with open(log or "", "rb") as file:
            return file.read().count(b"\n")
    except OSError:
        return 0


def warm_up() -> None:
    """Import, before the first fork, what the commands need."""
    import torch

    import recsys.evaluate
    import recsys.evaluate.ranking
    import recsys.methods.lightgcn  # noqa: F401

    torch.set_num_threads(1)


if __name__ == "__main__":
    warm_up()
    for line in sys.stdin:
        print(json.dumps(handle(json.loads(line))), flush=True)
