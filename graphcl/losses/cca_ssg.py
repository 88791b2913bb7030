"""CCA-SSG: soft canonical correlation analysis of two views of a graph."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from graphcl.kernels.contrast.checks import full_precision
from graphcl.losses.arguments import check_reduction, check_two_views, check_weight, reduce
from graphcl.losses.columns import unit_columns
from graphcl.losses.examples import two_views


def cca_ssg(
    z1: Tensor, z2: Tensor, *, decorrelation: float = 2e-3, reduction: str = "mean"
) -> Tensor:
    """Functional twin of `CCASSG`; the same arguments."""
    check_two_views(z1, z2)
    check_weight("decorrelation", decorrelation)
    first, second = unit_columns(z1), unit_columns(z2)
    distance = z1.shape[0] * (first - second).square().sum(dim=1)
    # A constant column is 0 in place of a unit vector. It must cost as much as an
    # uncorrelated one, or collapse would be the minimum.
    absent = sum((view.detach() == 0).all(dim=0).sum() for view in (first, second))
    identity = torch.eye(z1.shape[1], dtype=first.dtype, device=z1.device)
    with full_precision(first):
        decorrelated = sum(
            ((view.T @ view - identity).square().sum() for view in (first, second)),
            start=torch.zeros((), dtype=first.dtype, device=z1.device),
        )
    return reduce(distance + absent + decorrelation * decorrelated, reduction)


class CCASSG(nn.Module):
    r"""CCA-SSG: alike standardised views whose dimensions are uncorrelated.

    .. math::
        L = \lVert \tilde Z_1 - \tilde Z_2 \rVert_F^2
            + \lambda \left( \lVert \tilde Z_1^\top \tilde Z_1 - I \rVert_F^2
            + \lVert \tilde Z_2^\top \tilde Z_2 - I \rVert_F^2 \right)

    where the columns of each Z̃ are centred over the nodes and of length 1.
    Zhang et al. 2021, "From Canonical Correlation Analysis to Self-supervised
    Graph Neural Networks", arXiv 2106.12484. O(N d²) time, O(N d + d²) memory.

    The authors' code has -tr(Z̃₁ᵀ Z̃₂) in place of the first term, which is half
    of it less the constant d. Minimising it with its lambda is therefore
    minimising this with `decorrelation` = 2 lambda (the default is its 1e-3).
    It also divides by the deviation with N - 1 where this has length exactly 1.

    The decorrelation is of the whole batch and part of every anchor's value;
    anchor i also has N times its row of the first term, so that the mean over the
    anchors is the formula. A dimension that is constant over the batch (any,
    when N = 1) counts as uncorrelated with its twin, which costs 2, and receives no
    gradient.

    Args:
        decorrelation: λ, at least 0.
        reduction: "mean" or "sum" over the N nodes, or "none".

    Shape:
        z1, z2 (N, d), un-normalised, row i of both being the same node. Output:
        0-d, or (N,) with reduction "none".

    Raises:
        ArgumentError: for a shape, weight or reduction out of range.
        NonFiniteArgumentError: for NaN or infinity in z1 or z2.

    Example:
        >>> loss = CCASSG(decorrelation=1e-3)
        >>> value = loss(torch.randn(100, 32), torch.randn(100, 32))
    """

    functional = staticmethod(cca_ssg)
    example = staticmethod(two_views)

    def __init__(self, *, decorrelation: float = 2e-3, reduction: str = "mean") -> None:
        super().__init__()
        check_weight("decorrelation", decorrelation)
        check_reduction(reduction)
        self.decorrelation = decorrelation
        self.reduction = reduction

    def forward(self, z1: Tensor, z2: Tensor) -> Tensor:
        """The loss of two views (N, d)."""
        return cca_ssg(z1, z2, decorrelation=self.decorrelation, reduction=self.reduction)

    def extra_repr(self) -> str:
        """The settings, for `print`."""
        return f"decorrelation={self.decorrelation:g}, reduction={self.reduction!r}"
