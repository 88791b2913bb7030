"""Kernel contrastive learning: a Gaussian kernel in place of the softmax."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from graphcl.losses.alignment_uniformity import log_potentials
from graphcl.losses.arguments import (
    check_above_zero,
    check_reduction,
    check_two_views,
    check_weight,
    reduce,
)
from graphcl.losses.examples import two_views
from graphcl.losses.unit_rows import unit_rows


def kernel_contrast(
    z1: Tensor,
    z2: Tensor,
    *,
    t: float = 2.0,
    gamma: float = 16.0,
    reduction: str = "mean",
    backend: str = "auto",
) -> Tensor:
    """Functional twin of `KernelContrast`; the same arguments."""
    check_two_views(z1, z2)
    check_above_zero("t", t)
    check_weight("gamma", gamma)
    u, v = unit_rows(z1), unit_rows(z2)
    energy = mean_kernel(u, t, backend) + mean_kernel(v, t, backend)
    alignment = torch.exp(-t * (u - v).square().sum(dim=1))
    return reduce(gamma * energy - 2 * alignment, reduction)


def mean_kernel(unit: Tensor, t: float, backend: str = "auto") -> Tensor:
    """(N,): mean of e^(-t |u_i - u_j|²) over the other rows j of `unit` (N, d); alone: 0."""
    count = unit.shape[0]
    # Every exponent of the sum is at most 0, so that this cannot overflow.
    return torch.exp(log_potentials(unit, unit, t, backend) - math.log(max(count - 1, 1)))


class KernelContrast(nn.Module):
    r"""Kernel contrast (KCL): near positives, and little Gaussian energy inside each view.

    .. math::
        L_i = -2\, k(u_i, v_i) + \frac{\gamma}{N - 1} \sum_{j \ne i}
            \left[ k(u_i, u_j) + k(v_i, v_j) \right], \qquad
        k(x, y) = e^{-t \lVert x - y \rVert^2}

    with u, v the embeddings scaled to length 1. Koromilas et al. 2024, "Bridging
    Mini-Batch and Asymptotic Analysis in Contrastive Learning: From InfoNCE to
    Kernel-Based Losses", arXiv 2405.18045. No logarithm: the expected loss does not
    depend on the size of the batch. A batch of one node has no energy.

    Args:
        t: inverse width of the kernel, above 0; the authors' code has 2.
        gamma: γ, weight of the energy, at least 0; the authors' code has 16.
        reduction: "mean" or "sum" over the N nodes, or "none".
        backend: of `graphcl.kernels.contrast.contrast`.

    Shape:
        z1, z2 (N, d), un-normalised, row i of both being the same node. Output: 0-d,
        or (N,) with reduction "none".

    Raises:
        ArgumentError: for a shape, t, gamma, reduction or backend out of range.
        NonFiniteArgumentError: for NaN or infinity in z1 or z2.

    Example:
        >>> loss = KernelContrast(t=2.0, gamma=16.0)
        >>> value = loss(torch.randn(100, 32), torch.randn(100, 32))
    """

    functional = staticmethod(kernel_contrast)
    example = staticmethod(two_views)

    def __init__(
        self,
        *,
        t: float = 2.0,
        gamma: float = 16.0,
        reduction: str = "mean",
        backend: str = "auto",
    ) -> None:
        super().__init__()
        check_above_zero("t", t)
        check_weight("gamma", gamma)
        check_reduction(reduction)
        self.t = t
        self.gamma = gamma
        self.reduction = reduction
        self.backend = backend

    def forward(self, z1: Tensor, z2: Tensor) -> Tensor:
        """The loss of two views (N, d)."""
        return kernel_contrast(
            z1, z2, t=self.t, gamma=self.gamma, reduction=self.reduction, backend=self.backend
        )

    def extra_repr(self) -> str:
        """The settings, for `print`."""
        return f"t={self.t:g}, gamma={self.gamma:g}, reduction={self.reduction!r}"
