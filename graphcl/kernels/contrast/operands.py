"""What the tile passes work on and what the backward pass fills."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Operands:
    """Inputs of a tile pass; the scale is a plain number, multiplied into each product.

    When the plan is self-similar, `key` is `query` and `query_bias` is `key_bias`.
    """

    query: Tensor
    key: Tensor
    scale: float
    query_bias: Tensor | None
    key_bias: Tensor | None


@dataclass(frozen=True)
class Sums:
    """One number per row and, if the columns were summed, one per column.

    Used for the log-sum-exp and for the gradients that arrive for it. When the
    plan is self-similar, `columns` is `rows`.
    """

    rows: Tensor
    columns: Tensor | None


@dataclass(frozen=True)
class Gradients:
    """Accumulators, None where autograd did not ask; those of q and k lack the factor scale.

    When the plan is self-similar, `key` is `query` and `query_bias` is `key_bias`.
    """

    query: Tensor | None
    key: Tensor | None
    query_bias: Tensor | None
    key_bias: Tensor | None
