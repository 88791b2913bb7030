"""Barlow Twins: the cross-correlation of two views should be the identity."""

from __future__ import annotations

from torch import Tensor, nn

from graphcl.kernels.contrast.checks import full_precision
from graphcl.losses.arguments import check_reduction, check_two_views, check_weight, reduce
from graphcl.losses.columns import unit_columns, without_diagonal
from graphcl.losses.examples import two_views


def barlow_twins(
    z1: Tensor, z2: Tensor, *, redundancy: float = 5e-3, reduction: str = "mean"
) -> Tensor:
    """Functional twin of `BarlowTwins`; the same arguments."""
    check_two_views(z1, z2)
    check_weight("redundancy", redundancy)
    with full_precision(z1):
        correlation = unit_columns(z1).T @ unit_columns(z2)
    invariance = (1.0 - correlation.diagonal()).square().sum()
    value = invariance + redundancy * without_diagonal(correlation).square().sum()
    return reduce(value.expand(z1.shape[0]), reduction)


class BarlowTwins(nn.Module):
    r"""Barlow Twins: the cross-correlation matrix of two views should be the identity.

    .. math::
        L = \sum_{j} (1 - C_{jj})^2 + \lambda \sum_{j \ne k} C_{jk}^2, \qquad
        C_{jk} = \frac{\sum_i \tilde z^1_{ij} \tilde z^2_{ik}}
            {\lVert \tilde z^1_{\cdot j} \rVert \, \lVert \tilde z^2_{\cdot k} \rVert}

    with every column centred over the batch. Zbontar et al. 2021, "Barlow
    Twins", arXiv 2103.03230, eq. 1 and 2. On graphs Bielak et al. 2022,
    "Graph Barlow Twins", arXiv 2106.02466, use λ = 1/d. O(N d²) time, O(N d + d²) memory.

    The loss is one of the whole batch: it is the value of every anchor, so its
    mean over the anchors is the formula and its sum is N times that. A
    dimension that is constant over the batch (any, when N = 1) has correlation
    0 with every other and receives no gradient.

    Deviation: the authors' code normalises with a BatchNorm layer, whose
    epsilon makes C depend on the scale of the embeddings; here C is the exact
    correlation, which does not.

    Args:
        redundancy: λ, at least 0; the paper's 5e-3.
        reduction: "mean" or "sum" over the N nodes, or "none".

    Shape:
        z1, z2 (N, d), un-normalised, row i of both being the same node. Output:
        0-d, or (N,) with reduction "none".

    Raises:
        ArgumentError: for a shape, redundancy or reduction out of range.
        NonFiniteArgumentError: for NaN or infinity in z1 or z2.

    Example:
        >>> loss = BarlowTwins(redundancy=1 / 32)
        >>> value = loss(torch.randn(100, 32), torch.randn(100, 32))
    """

    functional = staticmethod(barlow_twins)
    example = staticmethod(two_views)

    def __init__(self, *, redundancy: float = 5e-3, reduction: str = "mean") -> None:
        super().__init__()
        check_weight("redundancy", redundancy)
        check_reduction(reduction)
        self.redundancy = redundancy
        self.reduction = reduction

    def forward(self, z1: Tensor, z2: Tensor) -> Tensor:
        """The loss of two views (N, d)."""
        return barlow_twins(z1, z2, redundancy=self.redundancy, reduction=self.reduction)

    def extra_repr(self) -> str:
        """The settings, for `print`."""
        return f"redundancy={self.redundancy:g}, reduction={self.reduction!r}"
