"""Alignment of two views and uniformity of each on the unit sphere."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from graphcl.errors import ArgumentError
from graphcl.kernels.contrast import contrast
from graphcl.losses.arguments import (
    check_above_zero,
    check_reduction,
    check_two_views,
    check_weight,
    number,
    reduce,
)
from graphcl.losses.examples import two_views
from graphcl.losses.unit_rows import unit_rows


def alignment_uniformity(
    z1: Tensor,
    z2: Tensor,
    *,
    alpha: float = 2.0,
    t: float = 2.0,
    uniformity_weight: float = 1.0,
    cross_weight: float = 0.0,
    reduction: str = "mean",
    backend: str = "auto",
) -> Tensor:
    """Functional twin of `AlignmentUniformity`; the same arguments."""
    check_two_views(z1, z2)
    _check_settings(alpha, t, uniformity_weight, cross_weight)
    u, v = unit_rows(z1), unit_rows(z2)
    potential = (log_mean_potential(u, t, backend) + log_mean_potential(v, t, backend)) / 2
    values = distance_power(u, v, alpha) + uniformity_weight * potential
    if cross_weight > 0:
        values = values + cross_weight * log_mean_cross_potential(u, v, t, backend)
    return reduce(values, reduction)


def distance_power(u: Tensor, v: Tensor, alpha: float) -> Tensor:
    """Euclidean distance of every pair of rows (n, d) to the power alpha >= 1: (n,)."""
    squared = (u - v).square().sum(dim=1)
    if alpha == 2:
        return squared
    # The derivative of a power below 2 at distance 0 would be 0 * inf.
    apart = squared > 0
    power = torch.where(apart, squared, 1.0).pow(alpha / 2)
    return torch.where(apart, power, squared)


def log_mean_potential(unit: Tensor, t: float, backend: str = "auto") -> Tensor:
    r"""Logarithm of the mean Gaussian potential over all pairs of different rows: 0-d.

    .. math::
        \log \frac{1}{N (N - 1)} \sum_{i \ne j} e^{-t \lVert u_i - u_j \rVert^2}

    `unit` (N, d) must come from `unit_rows`; a row of zeros is the centre of the
    sphere. Memory is linear in N. Fewer than two rows: a connected 0.
    """
    count = unit.shape[0]
    if count < 2:
        return 0.0 * unit.sum()
    rows = log_potentials(unit, unit, t, backend)
    return torch.logsumexp(rows, dim=0) - math.log(count * (count - 1))


def log_mean_cross_potential(u: Tensor, v: Tensor, t: float, backend: str = "auto") -> Tensor:
    r"""Logarithm of the mean Gaussian potential over all pairs of nodes across views: 0-d.

    .. math::
        \log \frac{1}{N (N - 1)} \sum_{i \ne j} e^{-t \lVert u_i - v_j \rVert^2}

    As `log_mean_potential`, for rows of two matrices (N, d) from `unit_rows`.
    """
    count = u.shape[0]
    if count < 2:
        return 0.0 * (u + v).sum()
    rows = log_potentials(u, v, t, backend)
    return torch.logsumexp(rows, dim=0) - math.log(count * (count - 1))


def log_potentials(u: Tensor, v: Tensor, t: float, backend: str = "auto") -> Tensor:
    r"""Logarithm of the Gaussian potential of every row of u (N, d) at the other rows of v: (N,).

    .. math::
        \log \sum_{j \ne i} e^{-t \lVert u_i - v_j \rVert^2}

    Both must come from `unit_rows`; with `v` the tensor `u` itself, half the products serve.
    """
    # |u - v|² = |u|² + |v|² - 2<u, v>. The squared lengths are 1, or 0 for a
    # row without direction, and constant either way.
    of_u, of_v = u.detach().square().sum(dim=1), v.detach().square().sum(dim=1)
    itself = v is u
    nodes = None if itself else torch.arange(u.shape[0], device=u.device)
    rows = contrast(
        u,
        None if itself else v,
        scale=2 * t,
        column_bias=-t * of_v,
        row_ids=nodes,
        column_ids=nodes,
        backend=backend,
    ).denominator
    return rows - t * of_u


class AlignmentUniformity(nn.Module):
    r"""Alignment and uniformity: near positives, and each view spread over the unit sphere.

    .. math::
        L = \frac1N \sum_i \lVert u_i - v_i \rVert^\alpha
            + \frac{\lambda}{2} \left[ U(u) + U(v) \right], \qquad
        U(u) = \log \frac{1}{N (N-1)} \sum_{i \ne j} e^{-t \lVert u_i - u_j \rVert^2}

    with u, v the embeddings scaled to length 1. Wang and Isola 2020,
    "Understanding Contrastive Representation Learning through Alignment and
    Uniformity on the Hypersphere", arXiv 2005.10242. The mean of U is over all
    pairs, exactly, in memory linear in N: it is a log-sum-exp of
    `graphcl.kernels.contrast`, since ‖u - v‖² = 2 - 2⟨u, v⟩.

    `cross_weight` adds that weight times the potential between the views, over the
    pairs (u_i, v_j) with i ≠ j: together with `InfoNCE` these are the terms with
    which Fahim et al. 2024, "It's Not a Modality Gap", arXiv 2405.18570, close the
    gap between two views (measured by `graphcl.diagnostics.contrastive_gap`).
    Deviation: their logarithm is of the sum over N, which differs by a constant.

    U is of the whole batch and part of every anchor's value, so that the mean over
    the anchors is the formula. When N = 1 there is no pair and U is 0.

    Args:
        alpha: α, at least 1.
        t: inverse width of the potential, above 0.
        uniformity_weight: λ, at least 0.
        reduction: "mean" or "sum" over the N nodes, or "none".
        backend: of `graphcl.kernels.contrast.contrast`.
        cross_weight: of the potential between the views, at least 0.

    Shape:
        z1, z2 (N, d), un-normalised, row i of both being the same node. Output:
        0-d, or (N,) with reduction "none".

    Raises:
        ArgumentError: for a shape, alpha, t, weight, reduction or backend out of range.
        NonFiniteArgumentError: for NaN or infinity in z1 or z2.

    Example:
        >>> loss = AlignmentUniformity(t=2.0, uniformity_weight=0.5)
        >>> value = loss(torch.randn(100, 32), torch.randn(100, 32))
    """

    functional = staticmethod(alignment_uniformity)
    example = staticmethod(two_views)

    def __init__(
        self,
        *,
        alpha: float = 2.0,
        t: float = 2.0,
        uniformity_weight: float = 1.0,
        reduction: str = "mean",
        backend: str = "auto",
        cross_weight: float = 0.0,
    ) -> None:
        super().__init__()
        _check_settings(alpha, t, uniformity_weight, cross_weight)
        check_reduction(reduction)
        self.alpha = alpha
        self.t = t
        self.uniformity_weight = uniformity_weight
        self.cross_weight = cross_weight
        self.reduction = reduction
        self.backend = backend

    def forward(self, z1: Tensor, z2: Tensor) -> Tensor:
        """The loss of two views (N, d)."""
        return alignment_uniformity(
            z1,
            z2,
            alpha=self.alpha,
            t=self.t,
            uniformity_weight=self.uniformity_weight,
            cross_weight=self.cross_weight,
            reduction=self.reduction,
            backend=self.backend,
        )

    def extra_repr(self) -> str:
        """The settings, for `print`."""
        return (
            f"alpha={self.alpha:g}, t={self.t:g}, "
            f"uniformity_weight={self.uniformity_weight:g}, "
            f"cross_weight={self.cross_weight:g}, reduction={self.reduction!r}"
        )


def check_alpha(alpha: float) -> None:
    """Raise unless alpha is finite and at least 1."""
    if not 1 <= number("alpha", alpha) < float("inf"):
        raise ArgumentError(f"alpha must be a finite number of at least 1; got {alpha}")


def _check_settings(alpha: float, t: float, uniformity_weight: float, cross_weight: float) -> None:
    check_alpha(alpha)
    check_above_zero("t", t)
    check_weight("uniformity_weight", uniformity_weight)
    check_weight("cross_weight", cross_weight)
