"""One-sided InfoNCE of some rows of one view against all nodes of the other."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from graphcl.errors import ArgumentError
from graphcl.kernels.contrast import contrast
from graphcl.losses.arguments import (
    anchor_values,
    check_alike,
    check_reduction,
    check_rows,
    check_tensor,
    inverse_temperature,
    number,
    plain,
    reduce,
)
from graphcl.losses.examples import rows_and_table
from graphcl.losses.unit_rows import unit_rows


def info_nce_all_nodes(
    query: Tensor,
    key: Tensor,
    positive: Tensor,
    temperature: float | Tensor = 0.2,
    *,
    normalise: bool = True,
    positive_limit: float | None = None,
    column_bias: Tensor | None = None,
    reduction: str = "mean",
    backend: str = "auto",
) -> Tensor:
    """Functional twin of `InfoNCEAllNodes`; the same arguments."""
    _check_limit(positive_limit)
    check_rows("query", query)
    check_rows("key", key, query.shape[1])
    check_alike(("query", "key"), query, key)
    check_tensor("positive", positive)
    if normalise:
        query, key = unit_rows(query), unit_rows(key)
    output = contrast(
        query,
        key,
        scale=inverse_temperature(temperature),
        positive=positive,
        column_bias=column_bias,
        backend=backend,
    )
    logit = output.positive
    if positive_limit is not None:
        logit = logit.clamp(-positive_limit, positive_limit)
    present = positive >= 0
    values = torch.where(present, anchor_values(output.denominator, logit), 0.0)
    return reduce(values, reduction, present)


class InfoNCEAllNodes(nn.Module):
    r"""InfoNCE of a batch of rows against all nodes of the other view, in one direction.

    .. math::
        L_i = -l_{i,p(i)} + \log \sum_{j=1}^{N} e^{l_{ij}}, \qquad
        l_{ij} = \langle q_i, k_j \rangle / \tau + b_j

    on unit vectors, or with `normalise=False` on the embeddings as they are. It
    is the contrastive term of LightGCL (Cai et al. 2023, arXiv 2302.08191),
    whose public code uses dot products and clamps the positive logit to
    [-5, 5]: `normalise=False, positive_limit=5.0`. Deviation: where that code
    takes log(sum(exp(.)) + 1e-8), which overflows, this is an exact log-sum-exp
    and stays finite. Memory is linear in B + N.

    Args:
        temperature: τ in [1e-3, 10], a number, or a 0-d tensor or Parameter to learn.
        normalise: use cosines instead of dot products.
        positive_limit: clamp the positive logit to plus or minus this; None: do not.
        reduction: "mean" (over rows with a positive), "sum" or "none".
        backend: of `graphcl.kernels.contrast.contrast`.

    Shape:
        query (B, d); key (N, d); positive (B,) int64 row of `key`, -1 for none
        (value 0); column_bias (N,) log-weight of every node. Output: 0-d, or
        (B,) with reduction "none".

    Raises:
        ArgumentError: for a shape, dtype, index, temperature, reduction or backend
            out of range.
        NonFiniteArgumentError: for NaN or infinity in query or key.

    Example:
        >>> loss = InfoNCEAllNodes(0.2)
        >>> nodes = torch.tensor([3, 5])
        >>> value = loss(torch.randn(2, 32), torch.randn(100, 32), nodes)
    """

    functional = staticmethod(info_nce_all_nodes)
    example = staticmethod(rows_and_table)

    def __init__(
        self,
        temperature: float | Tensor = 0.2,
        *,
        normalise: bool = True,
        positive_limit: float | None = None,
        reduction: str = "mean",
        backend: str = "auto",
    ) -> None:
        super().__init__()
        inverse_temperature(temperature)
        check_reduction(reduction)
        _check_limit(positive_limit)
        self.temperature = temperature
        self.normalise = normalise
        self.positive_limit = positive_limit
        self.reduction = reduction
        self.backend = backend

    def forward(
        self, query: Tensor, key: Tensor, positive: Tensor, column_bias: Tensor | None = None
    ) -> Tensor:
        """The loss of query rows (B, d) against all keys (N, d)."""
        return info_nce_all_nodes(
            query,
            key,
            positive,
            self.temperature,
            normalise=self.normalise,
            positive_limit=self.positive_limit,
            column_bias=column_bias,
            reduction=self.reduction,
            backend=self.backend,
        )

    def extra_repr(self) -> str:
        """The settings, for `print`."""
        return (
            f"temperature={plain(self.temperature):g}, normalise={self.normalise}, "
            f"positive_limit={self.positive_limit}, reduction={self.reduction!r}"
        )


def _check_limit(positive_limit: float | None) -> None:
    if positive_limit is not None and not number("positive_limit", positive_limit) > 0:
        raise ArgumentError(f"positive_limit must be positive or None; got {positive_limit}")
