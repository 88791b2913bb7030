"""How exact the products of the contrast engine must be, apart from torch's other products."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Literal, get_args

from graphcl.errors import ArgumentError

Precision = Literal["highest", "high", "medium"]
"""`torch.set_float32_matmul_precision`'s words."""

_chosen: ContextVar[Precision | None] = ContextVar("contrast precision", default=None)


def contrast_precision(precision: Precision) -> AbstractContextManager[None]:
    """Inside the block, float32 contrasts are as exact as `precision`, whatever torch is set to.

    For a small encoder below a large contrast: roundings to bfloat16 make the contrast several
    times faster, and small products slower than float32, since a CPU prepares them anew for every
    shape. A gradient is taken as exactly as its value was, wherever `backward` is called. A thread
    that is started inside does not inherit it.

    The backends `native` and `triton` follow it. `dense` and `tiles` multiply with torch, as torch
    is set; `auto` takes `dense` for what is small.

    Args:
        precision: a word of `torch.set_float32_matmul_precision`.

    Raises:
        ArgumentError: another word.
    """
    if precision not in get_args(Precision):
        raise ArgumentError(
            f"precision must be one of {', '.join(get_args(Precision))} (got {precision!r})"
        )
    return _precision(precision)


@contextmanager
def _precision(precision: Precision) -> Iterator[None]:
    before = _chosen.set(precision)
    try:
        yield
    finally:
        _chosen.reset(before)


def chosen_precision() -> Precision | None:
    """What `contrast_precision` asks for here; None outside its blocks."""
    return _chosen.get()
