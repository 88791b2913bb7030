"""Full softmax cross-entropy over a table of items, without storing the logits."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from graphcl.kernels.contrast import contrast
from graphcl.kernels.contrast.checks import check_bias, check_positive
from graphcl.losses.arguments import (
    anchor_values,
    check_alike,
    check_reduction,
    check_rows,
    check_tensor,
    inverse_temperature,
    plain,
    reduce,
)
from graphcl.losses.examples import rows_and_table
from graphcl.losses.precision import widened


def cross_entropy(
    query: Tensor,
    items: Tensor,
    target: Tensor,
    temperature: float | Tensor = 1.0,
    *,
    item_bias: Tensor | None = None,
    reduction: str = "mean",
    backend: str = "auto",
) -> Tensor:
    """Functional twin of `CrossEntropy`; the same arguments."""
    check_rows("query", query)
    check_rows("items", items, query.shape[1])
    check_alike(("query", "items"), query, items)
    check_tensor("target", target)
    check_positive("target", target, query.shape[0], items.shape[0], query)
    check_bias("item_bias", item_bias, items.shape[0], query)
    output = contrast(
        widened(query),
        widened(items),
        scale=inverse_temperature(temperature),
        positive=target,
        column_bias=item_bias,
        backend=backend,
    )
    present = target >= 0
    values = torch.where(present, anchor_values(*output), 0.0)
    return reduce(values, reduction, present)


class CrossEntropy(nn.Module):
    r"""Softmax cross-entropy of query states against every item of a table.

    .. math::
        L_i = -l_{i,t(i)} + \log \sum_{j=1}^{N} e^{l_{ij}}, \qquad
        l_{ij} = \langle q_i, e_j \rangle / \tau + b_j

    the full-softmax objective of next-item recommendation (for instance Sun et
    al. 2019, BERT4Rec, arXiv 1904.06690). It equals
    `torch.nn.functional.cross_entropy(query @ items.T / τ + b, target)`, with
    memory linear in M + N above a small size. The scores are dot products, not
    cosines: they must not overflow the dtype.

    Args:
        temperature: τ in [1e-3, 10], a number, or a 0-d tensor or Parameter to learn.
        reduction: "mean" (over rows with a target), "sum" or "none".
        backend: of `graphcl.kernels.contrast.contrast`.

    Shape:
        query (M, d); items (N, d); target (M,) int64 item index, -1 for padding
        (value 0); item_bias (N,). Output: 0-d, or (M,) with reduction "none".

    Raises:
        ArgumentError: for a shape, dtype, index, temperature, reduction or backend
            out of range.
        NonFiniteArgumentError: for NaN or infinity in query or items.

    Example:
        >>> loss = CrossEntropy()
        >>> value = loss(torch.randn(8, 32), torch.randn(500, 32), torch.randint(500, (8,)))
    """

    functional = staticmethod(cross_entropy)
    example = staticmethod(rows_and_table)

    def __init__(
        self,
        temperature: float | Tensor = 1.0,
        *,
        reduction: str = "mean",
        backend: str = "auto",
    ) -> None:
        super().__init__()
        inverse_temperature(temperature)
        check_reduction(reduction)
        self.temperature = temperature
        self.reduction = reduction
        self.backend = backend

    def forward(
        self, query: Tensor, items: Tensor, target: Tensor, item_bias: Tensor | None = None
    ) -> Tensor:
        """The loss of query rows (M, d) with target items (M,)."""
        return cross_entropy(
            query,
            items,
            target,
            self.temperature,
            item_bias=item_bias,
            reduction=self.reduction,
            backend=self.backend,
        )

    def extra_repr(self) -> str:
        """The settings, for `print`."""
        return f"temperature={plain(self.temperature):g}, reduction={self.reduction!r}"
