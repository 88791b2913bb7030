"""One sentence for sizes that no memory holds, whichever library noticed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from graphcl.errors import GraphclError, TooLargeError

TOO_LARGE = (
    "can't allocate memory",  # torch, processor
    "out of memory",  # torch, CUDA
    "Storage size calculation overflowed",  # torch
    "numel: integer multiplication overflow",  # torch
    "Overflow when unpacking long",  # torch, a size beyond int64
    "array is too big",  # numpy
    "Maximum allowed dimension exceeded",  # numpy
)
"""How torch and numpy say it; their classes, RuntimeError and ValueError, say nothing."""


def is_too_large(error: Exception) -> bool:
    """Whether the cause of `error` is a size alone: more than can be allocated, or addressed."""
    if isinstance(error, GraphclError):
        return False
    return isinstance(error, MemoryError) or any(words in str(error) for words in TOO_LARGE)


@contextmanager
def memory_errors() -> Iterator[None]:
    """Turn a failed allocation into a `TooLargeError`; every other error passes unchanged.

    Raises:
        TooLargeError: the block asked for more memory than there is.
    """
    try:
        yield
    except (MemoryError, RuntimeError, ValueError, TypeError) as error:
        if not is_too_large(error):
            raise
        reason = " ".join(str(error).split())[:200] or "no memory is left"
        other = ", or --device cpu" if "CUDA" in reason else ""
        raise TooLargeError(
            f"this takes more memory than there is; smaller sizes{other} may fit ({reason})"
        ) from error
