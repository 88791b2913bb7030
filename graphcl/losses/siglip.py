"""SigLIP: every pair of the batch is a yes-or-no question."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from graphcl.errors import ArgumentError
from graphcl.kernels.contrast import pair_sum
from graphcl.kernels.contrast.checks import check_vector
from graphcl.losses.arguments import (
    check_reduction,
    check_two_views,
    number,
    plain,
    reduce,
    softplus,
)
from graphcl.losses.examples import two_views
from graphcl.losses.log_scale import number_or_parameter, scale_from_log
from graphcl.losses.unit_rows import row_products, unit_rows

LOG_SCALE = math.log(10.0)
BIAS = -10.0


def siglip(
    z1: Tensor,
    z2: Tensor,
    ids: Tensor | None = None,
    log_scale: float | Tensor = LOG_SCALE,
    bias: float | Tensor = BIAS,
    *,
    count_bias: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """Functional twin of `SigLIP`; the same arguments."""
    check_two_views(z1, z2)
    scale = scale_from_log(log_scale)
    _check_bias(bias)
    u, v = unit_rows(z1), unit_rows(z2)
    count = u.shape[0]
    if ids is None:
        ids = torch.arange(count, device=u.device)
    check_vector("ids", ids, count, u, floating=False)
    shift = u.new_zeros(count) + bias
    if count_bias:
        shift = shift - math.log(max(count, 1))
    # The diagonal shares its id with itself, so that what is left are the negatives.
    repelled = pair_sum(
        u, v, function=softplus, scale=scale, row_bias=shift, row_ids=ids, column_ids=ids
    )
    attracted = softplus(-(scale * row_products(u, v) + shift))
    return reduce(repelled + attracted, reduction)


def _check_bias(bias: float | Tensor) -> None:
    if not math.isfinite(number("bias", bias)):
        raise ArgumentError(f"bias must be finite; got {number('bias', bias)}")


class SigLIP(nn.Module):
    r"""Sigmoid loss: each pair of the batch is a match or not, without a softmax.

    .. math::
        L_i = \sum_{j \in C(i)} \log\left(1 + e^{-y_{ij} (e^{s} \theta(u_i, v_j) + b)}\right),
        \qquad y_{ii} = 1, \quad y_{ij} = -1 \text{ for } j \ne i

    with the cosine θ. Zhai et al. 2023, "Sigmoid Loss for Language Image
    Pre-Training", arXiv 2303.15343; the mean over i is their loss. C(i) is the
    whole batch, without the nodes j ≠ i of the same id as i where `ids` are given:
    known matches (copies of one item, one community) are not taught as mismatches.

    The paper's bias of -10 balances the many mismatches of a batch of about
    e^10. `count_bias=True` adds -log N, which does the same for any batch; start
    the bias at 0 then. The paper divides by N only, so that the value grows with N.

    Deviation: the scale must stay in [0.1, 1000]; clamp `log_scale` after a step
    where it may leave this range. Memory is linear in N.

    Args:
        log_scale: s, a number, a 0-d tensor or a Parameter; None: a new Parameter
            that starts at log 10, as in the paper.
        bias: b, likewise; None: a new Parameter that starts at -10, as in the paper.
        count_bias: add -log N to the bias.
        reduction: "mean" or "sum" over the N nodes, or "none".

    Shape:
        z1, z2 (N, d), un-normalised, row i of both being the same node; ids (N,)
        integers. Output: 0-d, or (N,) with reduction "none".

    Raises:
        ArgumentError: for a shape, dtype, scale, bias or reduction out of range.
        NonFiniteArgumentError: for NaN or infinity in z1 or z2.

    Example:
        >>> loss = SigLIP()
        >>> value = loss(torch.randn(100, 32), torch.randn(100, 32))
        >>> balanced = SigLIP(log_scale=2.0, bias=0.0, count_bias=True)
        >>> value = balanced(torch.randn(4, 8), torch.randn(4, 8), torch.tensor([0, 1, 1, 2]))
    """

    functional = staticmethod(siglip)
    example = staticmethod(two_views)

    def __init__(
        self,
        log_scale: float | Tensor | None = None,
        bias: float | Tensor | None = None,
        *,
        count_bias: bool = False,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        self.log_scale = number_or_parameter(log_scale, LOG_SCALE)
        self.bias = number_or_parameter(bias, BIAS)
        scale_from_log(self.log_scale)
        _check_bias(self.bias)
        check_reduction(reduction)
        self.count_bias = count_bias
        self.reduction = reduction

    def forward(self, z1: Tensor, z2: Tensor, ids: Tensor | None = None) -> Tensor:
        """The loss of two views (N, d)."""
        return siglip(
            z1,
            z2,
            ids,
            self.log_scale,
            self.bias,
            count_bias=self.count_bias,
            reduction=self.reduction,
        )

    def extra_repr(self) -> str:
        """The settings, for `print`."""
        return (
            f"log_scale={plain(self.log_scale):g}, bias={plain(self.bias):g}, "
            f"count_bias={self.count_bias}, reduction={self.reduction!r}"
        )
