"""VICReg: variance, invariance and covariance of two views."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from graphcl.kernels.contrast.checks import full_precision
from graphcl.losses.arguments import (
    check_above_zero,
    check_reduction,
    check_two_views,
    check_weight,
    reduce,
)
from graphcl.losses.columns import centred_columns, without_diagonal
from graphcl.losses.examples import two_views
from graphcl.losses.precision import widened


def vicreg(
    z1: Tensor,
    z2: Tensor,
    *,
    invariance: float = 25.0,
    variance: float = 25.0,
    covariance: float = 1.0,
    target_deviation: float = 1.0,
    epsilon: float = 1e-4,
    reduction: str = "mean",
) -> Tensor:
    """Functional twin of `VICReg`; the same arguments."""
    check_two_views(z1, z2)
    _check_settings(invariance, variance, covariance, target_deviation, epsilon)
    z1, z2 = widened(z1), widened(z2)
    dimension = max(z1.shape[1], 1)
    distance = (z1 - z2).square().sum(dim=1) / dimension
    spread = correlated = torch.zeros((), dtype=z1.dtype, device=z1.device)
    for view in (z1, z2):
        centred = centred_columns(view)
        # One row has no variance: its deviations are 0, whatever they are divided by.
        freedom = max(view.shape[0] - 1, 1)
        deviation = (centred.square().sum(dim=0) / freedom + epsilon).sqrt()
        spread = spread + torch.relu(target_deviation - deviation).sum() / dimension
        with full_precision(centred):
            matrix = centred.T @ centred / freedom
        correlated = correlated + without_diagonal(matrix).square().sum() / dimension
    values = invariance * distance + 0.5 * variance * spread + covariance * correlated
    return reduce(values, reduction)


class VICReg(nn.Module):
    r"""VICReg: alike views, a variance above a threshold, covariances of zero.

    .. math::
        L = \frac{\lambda}{N d} \sum_{i} \lVert z^1_i - z^2_i \rVert^2
            + \frac{\mu}{2} \left[ v(Z^1) + v(Z^2) \right] + \nu \left[ c(Z^1) + c(Z^2) \right]

        v(Z) = \frac1d \sum_j \max\left(0, \gamma - \sqrt{\mathrm{Var}(z_{\cdot j})
            + \epsilon}\right), \qquad
        c(Z) = \frac1d \sum_{j \ne k} \mathrm{Cov}(Z)_{jk}^2

    with N - 1 in the variance and the covariance. Bardes et al. 2022, "VICReg",
    arXiv 2105.04906. O(N d²) time, O(N d + d²) memory.

    The factors 1/d in the first term and 1/2 in the second are those of the
    authors' code, which the published 25, 25, 1 belong to; the paper's
    equations leave them out.

    v and c are of the whole batch and part of every anchor's value, so that the
    mean over the anchors is the formula. When N = 1 the variance is taken as 0.
    The loss grows with the fourth power of the embeddings, which must not
    overflow the dtype.

    Args:
        invariance: λ, at least 0.
        variance: μ, at least 0.
        covariance: ν, at least 0.
        target_deviation: γ, at least 0.
        epsilon: ε, above 0.
        reduction: "mean" or "sum" over the N nodes, or "none".

    Shape:
        z1, z2 (N, d), un-normalised, row i of both being the same node. Output:
        0-d, or (N,) with reduction "none".

    Raises:
        ArgumentError: for a shape, weight, epsilon or reduction out of range.
        NonFiniteArgumentError: for NaN or infinity in z1 or z2.

    Example:
        >>> loss = VICReg()
        >>> value = loss(torch.randn(100, 32), torch.randn(100, 32))
    """

    functional = staticmethod(vicreg)
    example = staticmethod(two_views)

    def __init__(
        self,
        *,
        invariance: float = 25.0,
        variance: float = 25.0,
        covariance: float = 1.0,
        target_deviation: float = 1.0,
        epsilon: float = 1e-4,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        _check_settings(invariance, variance, covariance, target_deviation, epsilon)
        check_reduction(reduction)
        self.invariance = invariance
        self.variance = variance
        self.covariance = covariance
        self.target_deviation = target_deviation
        self.epsilon = epsilon
        self.reduction = reduction

    def forward(self, z1: Tensor, z2: Tensor) -> Tensor:
        """The loss of two views (N, d)."""
        return vicreg(
            z1,
            z2,
            invariance=self.invariance,
            variance=self.variance,
            covariance=self.covariance,
            target_deviation=self.target_deviation,
            epsilon=self.epsilon,
            reduction=self.reduction,
        )

    def extra_repr(self) -> str:
        """The settings, for `print`."""
        return (
            f"invariance={self.invariance:g}, variance={self.variance:g}, "
            f"covariance={self.covariance:g}, reduction={self.reduction!r}"
        )


def _check_settings(
    invariance: float, variance: float, covariance: float, target_deviation: float, epsilon: float
) -> None:
    check_weight("invariance", invariance)
    check_weight("variance", variance)
    check_weight("covariance", covariance)
    check_weight("target_deviation", target_deviation)
    check_above_zero("epsilon", epsilon)
