"""Named errors: one sentence with the value got and what is allowed.

Everything here derives from `GraphclError`; the command line turns a
`GraphclError` into that one sentence and exit code 2. Each class also derives
from the built-in a Python user would catch.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class GraphclError(Exception):
    """Base of every error that a user can cause."""


class ArgumentError(GraphclError, ValueError):
    """An operator (view, loss, kernel, encoder) was given a value outside its domain."""


class ConfigError(GraphclError, ValueError):
    """A setting is unknown, of the wrong type or out of range."""


class UnknownNameError(ConfigError):
    """A method, task, data set or setting does not exist; the message names the nearest one."""


class DataError(GraphclError, ValueError):
    """A data set is malformed: bad file, bad id, NaN, or empty."""


class MissingDataError(DataError):
    """A data set was found nowhere along the search order."""


class ChecksumError(DataError):
    """A file does not have the sha256 that its card states."""


class NonFiniteError(GraphclError, ArithmeticError):
    """A loss part or a gradient became NaN or infinite during training."""


class NonFiniteArgumentError(ArgumentError, NonFiniteError):
    """An operator was given NaN or infinite numbers, for instance embeddings that blew up."""


class CheckpointError(GraphclError, RuntimeError):
    """A checkpoint is corrupt, foreign, or belongs to another configuration."""


class OutputError(GraphclError, OSError):
    """An output folder cannot be written, or holds something that would be overwritten."""


class TooLargeError(GraphclError, MemoryError):
    """Settings or data ask for more memory than there is."""


class ProcessError(GraphclError, RuntimeError):
    """Another process of the same run stopped or cannot be reached."""


class SealedError(GraphclError, RuntimeError):
    """The test split was opened a second time."""


def nearest(name: str, allowed: Iterable[str]) -> str | None:
    """The allowed name closest to `name`, or None when nothing is close.

    Comparison ignores case and reads `_` and spaces as `-`.
    """
    spelled = {item.lower().replace("_", "-"): item for item in allowed}
    wanted = name.lower().replace("_", "-").replace(" ", "-")
    close = difflib.get_close_matches(wanted, list(spelled), n=1, cutoff=0.5)
    # A beginning of a long name is a good guess too, though its letters are few.
    close = close or [item for item in spelled if len(wanted) > 1 and item.startswith(wanted)]
    return spelled[close[0]] if close else None


def unknown_name(kind: str, name: str, allowed: Iterable[str]) -> UnknownNameError:
    """An `UnknownNameError` saying what `kind` of thing `name` is not, and the nearest one."""
    names = sorted(allowed)
    guess = nearest(name, names)
    hint = f"did you mean '{guess}'?" if guess else f"known: {', '.join(names)}"
    return UnknownNameError(f"unknown {kind} '{name}'; {hint}")
