"""Runs a group of processes as `torchrun` would start them, without its seconds of imports.

Started as a process of its own, it imports the library once and forks the members of every group.
A request is a JSON line on stdin, the answer a JSON line on stdout:

    {"arguments": [...], "count": n}                       `graphcl ...` in n processes
    {..., "kill": rank, "log": f, "lines": n}              of which one is killed at that length
    {"gradients": [method, ...], "data": {task: path}, "folder": f, "count": n}
    {..., "settings": {setting: value}}                    other than the default ones

The answer holds exit code, output and error text of every process.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch.distributed import TCPStore

from graphcl.app.catalogue import load_class, method_table, task_table
from graphcl.app.main import main
from graphcl.methods.sharing import Sharing
from graphcl.train.processes import joined
from graphcl.train.seeds import seed_everything


def handle(request: dict[str, Any]) -> dict[str, Any]:
    """Fork the group, kill where asked, wait for all."""
    count = request["count"]
    # As with torchrun, the store outlives every member.
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    with tempfile.TemporaryDirectory() as folder:
        members = [fork(request, rank, store.port, Path(folder)) for rank in range(count)]
        codes = wait(request, members)
        texts = {
            kind: [(Path(folder) / f"{rank}.{kind}").read_text() for rank in range(count)]
            for kind in ("out", "err")
        }
    return {"codes": codes, **texts}


def fork(request: dict[str, Any], rank: int, port: int, folder: Path) -> int:
    process = os.fork()
    if process:
        return process
    for number, kind in ((1, "out"), (2, "err")):
        os.dup2(os.open(folder / f"{rank}.{kind}", os.O_WRONLY | os.O_CREAT), number)
    os.environ |= {
        "RANK": str(rank), "WORLD_SIZE": str(request["count"]),
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
        "TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "0",
    }  # fmt: skip
    code: Any = 1
    try:
        if "gradients" in request:
            gradients(request)
        else:
            sys.argv = ["graphcl", *request["arguments"]]
            main()
        code = 0
    except SystemExit as stop:
        code = stop.code or 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)


def wait(request: dict[str, Any], members: list[int]) -> list[int]:
    codes: dict[int, int] = {}
    deadline = time.monotonic() + 300
    while len(codes) < len(members):
        for process in set(members) - codes.keys():
            done, status = os.waitpid(process, os.WNOHANG)
            if done:
                codes[process] = os.waitstatus_to_exitcode(status)
        victim = members[request.get("kill", 0)]
        if victim not in codes and lines(request.get("log")) >= request.get("lines", 1e9):
            os.kill(victim, signal.SIGKILL)
        if time.monotonic() > deadline:
            for process in set(members) - codes.keys():
                os.kill(process, signal.SIGKILL)
        time.sleep(0.002)
    return [codes[process] for process in members]


def lines(log: str | None) -> int:
    try:
        with open(log or "", "rb") as file:
            return file.read().count(b"\n")
    except OSError:
        return 0


def gradients(request: dict[str, Any]) -> None:
    """The first step's loss parts and gradients, alone and in the group, of every method."""
    with joined() as processes:
        for name in request["gradients"]:
            method_class = load_class("method", name, method_table())
            task = load_class("task", method_class.tasks[0], task_table())()
            data = task.load(request["data"][task.name], None, 0).train
            # What is drawn for own rows differs between the processes.
            fields = method_class.Config.model_fields
            without = {key: 0.0 for key in ("dropout", "attention_dropout") if key in fields}
            settings = {**without, **request.get("settings", {})}
            found = {}
            for kind, sharing in (
                ("alone", Sharing()),
                ("group", Sharing(processes.rank, processes.count)),
            ):
                generator = seed_everything(0)
                method = method_class(method_class.Config(**settings), data)
                method.sharing = sharing
                method.train()
                method.epoch_start(1, generator)
                parts = method.loss(next(iter(method.batches(generator))), generator)
                parts["total"].backward()
                if sharing.count > 1:
                    parts = processes.average(method, parts)
                found[kind] = {
                    "parts": {part: value.detach() for part, value in parts.items()},
                    "gradients": {key: value.grad for key, value in method.named_parameters()},
                    "stream": generator.get_state(),
                }
            torch.save(found, Path(request["folder"]) / f"{name}.{processes.rank}.pt")


def warm_up() -> None:
    """Import, before the first fork, what the commands need."""
    for table in (method_table(), task_table()):
        for target in table.values():
            importlib.import_module(target.partition(":")[0])
    for module in ("graphcl.app.run", "graphcl.app.tables", "graphcl.app.tuning", "graphcl.report"):
        importlib.import_module(module)
    torch.set_num_threads(1)


if __name__ == "__main__":
    warm_up()
    for line in sys.stdin:
        print(json.dumps(handle(json.loads(line))), flush=True)
