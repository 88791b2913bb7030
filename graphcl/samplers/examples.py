"""Small samplers for documentation and the contract tests."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor


class SamplerExample(NamedTuple):
    """A sampler, rows (M,) to draw for, the number of items, and pairs it must never draw."""

    sampler: Any
    rows: Tensor
    num_items: int
    known: tuple[Tensor, Tensor] | None = None
    targets: Tensor | None = None


def known_pairs() -> tuple[Tensor, Tensor]:
    """Of 8 items: row 0 takes three, row 1 none, row 2 all, row 3 the ends, row 4 all but one."""
    taken = [[1, 2, 6], [], list(range(8)), [0, 7], [0, 1, 2, 3, 4, 6, 7]]
    rows = [row for row, items in enumerate(taken) for _ in items]
    return torch.tensor(rows), torch.tensor([item for items in taken for item in items])
