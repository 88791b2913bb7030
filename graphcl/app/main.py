"""The program `graphcl`: its commands, and how it ends."""

from __future__ import annotations

import os
import signal
import sys

import typer

from graphcl.app.commands import app
from graphcl.app.passwords import without_password
from graphcl.errors import GraphclError
from graphcl.memory import memory_errors

INTERRUPTED = 130
"""What typer turns a KeyboardInterrupt into."""

PIPE_CLOSED = 141
"""What a shell says of a program that SIGPIPE ended: whoever read its output has seen enough."""

CONTINUED_BY = {"run": "the same command with --resume", "tune": "the same command"}
"""Commands that go on from where they were stopped."""

# The base of typer's own complaints about arguments; typer exports only this subclass.
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]


def main() -> None:
    """Run the command line; an error that a user can cause is one sentence and exit code 2."""
    # Threads that wait for each other by spinning lose a busy machine's time slices: an
    # epoch on two cores took eight times as long. Read by OpenMP when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    signal.signal(signal.SIGTERM, _interrupt)
    debug = "--debug" in sys.argv[1:]
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    # Services that are told of a run look here for its command.
    sys.argv[1:] = [without_password(argument) for argument in sys.argv[1:]]
    if not _is_first() and not {"run", "tune"} & set(arguments[:1]):
        sys.exit(0)  # nothing is gained by doing it twice
    try:
        with memory_errors():
            code = app(arguments, standalone_mode=False)
        if sys.stdout is not None:  # as it is where it was closed before the start
            sys.stdout.flush()
    except SystemExit as stop:
        # What rich makes of a closed pipe.
        sys.exit(PIPE_CLOSED if isinstance(stop.__context__, BrokenPipeError) else stop.code)
    except (GraphclError, _UsageError, OSError) as error:
        if isinstance(error, BrokenPipeError) and _output_is_closed():
            sys.exit(PIPE_CLOSED)
        if isinstance(error, _UsageError) and not _is_first():
            sys.exit(0)  # the first says it; torchrun would end it early if this one failed
        if debug:
            raise
        typer.secho(f"error: {_sentence(error)}", err=True, fg="red")
        sys.exit(2)
    if code == INTERRUPTED:
        by = CONTINUED_BY.get(next(iter(arguments), ""))
        typer.secho(f"stopped; {by} continues it" if by else "stopped", err=True)
    sys.exit(code)


def _is_first() -> bool:
    """Whether no other process of `torchrun` speaks for this one."""
    return os.environ.get("RANK", "0") == "0"


def _output_is_closed() -> bool:
    """Whether nobody reads the output any more; what was still to be written is then dropped."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False


def _interrupt(number: int, frame: object) -> None:
    # Temporary files are removed and the reason is said, as for Ctrl-C.
    raise KeyboardInterrupt


def _sentence(error: Exception) -> str:
    if isinstance(error, GraphclError):
        return without_password(str(error))
    if isinstance(error, OSError):
        where = "" if error.filename is None else f": '{error.filename}'"
        return f"{error.strerror or error}{where}"
    text: str = error.format_message()  # type: ignore[attr-defined]
    return without_password(" ".join(text.split()))
