"""What the passes over the products work on and what the backward pass fills."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Operands:
    """Inputs of a pass: products are scale <query_i, key_j>, with `scale` 0-d.

    In a self-similar problem `key` is `query` and `query_bias` is `key_bias`; that
    the key is the query does not make a problem self-similar.
    """

    query: Tensor
    key: Tensor
    scale: Tensor
    query_bias: Tensor | None
    key_bias: Tensor | None
    self_similar: bool


@dataclass(frozen=True)
class Sums:
    """One number per row and, if the columns were summed, one per column.

    Used for the log-sum-exp and for the gradients that arrive for it. In a
    self-similar problem `columns` is `rows`.
    """

    rows: Tensor
    columns: Tensor | None


@dataclass(frozen=True)
class Gradients:
    """Accumulators, None where autograd did not ask; those of q and k lack the factor scale.

    In a self-similar problem `key` is `query` and `query_bias` is `key_bias`.
    """

    query: Tensor | None
    key: Tensor | None
    query_bias: Tensor | None
    key_bias: Tensor | None
