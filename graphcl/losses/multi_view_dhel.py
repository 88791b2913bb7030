"""Decoupled hyperspherical energy of any number of views."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from graphcl.kernels.contrast import contrast
from graphcl.losses.arguments import check_reduction, inverse_temperature, plain, reduce
from graphcl.losses.examples import several_views
from graphcl.losses.multi_view import Views, log_positive_pairs, unit_views


def multi_view_dhel(
    views: Views,
    temperature: float | Tensor = 0.3,
    *,
    reduction: str = "mean",
    backend: str = "auto",
) -> Tensor:
    """Functional twin of `MultiViewDHEL`; the same arguments."""
    units = unit_views(views)
    scale = inverse_temperature(temperature)
    return reduce(
        log_energies(units, scale, backend) - _positive(units, scale),
        reduction,
    )


def log_energies(units: list[Tensor], scale: float | Tensor, backend: str) -> Tensor:
    """(N,): the sum over the views of the log-sum-exp over the other nodes of that view.

    A node alone in its batch has no energy: 0.
    """
    rows = [contrast(unit, scale=scale, backend=backend).denominator for unit in units]
    return torch.stack([torch.where(torch.isneginf(row), 0.0, row) for row in rows]).sum(dim=0)


def _positive(units: list[Tensor], scale: float | Tensor) -> Tensor:
    positive = log_positive_pairs(units, scale)
    # Without a negative there is nothing to contrast with.
    return positive if units[0].shape[0] > 1 else 0.0 * positive


class MultiViewDHEL(nn.Module):
    r"""Alignment of all views of a node, and the energy of each view by itself (MV-DHEL).

    .. math::
        L_i = -\log \sum_{a < b} e^{\theta(z_i^a, z_i^b)/\tau}
            + \sum_{a=1}^{V} \log \sum_{j \ne i} e^{\theta(z_i^a, z_j^a)/\tau}

    with the cosine θ. Koromilas et al. 2025, "A Principled Framework for
    Multi-View Contrastive Learning", arXiv 2507.06979. Views meet only in the
    first term, so that alignment and uniformity are decoupled; V = 2 is `DHEL`.
    The formula printed with the authors' code lets j = i into the second sum;
    their code leaves it out, and so does this.

    Deviation: the authors' code multiplies the V sums before the logarithm, which
    overflows; here they are log-sum-exps and add up. A batch of one node has no
    negative and the value is a connected 0. Time O(N² V d), memory linear in V N.

    Args:
        temperature: τ, a number in [1e-3, 10], or a 0-d tensor or Parameter to learn.
        reduction: "mean" or "sum" over the N nodes, or "none".
        backend: of `graphcl.kernels.contrast.contrast`.

    Shape:
        views (V, N, d), or a sequence of V >= 2 tensors (N, d), un-normalised, row i
        being the same node in each. Output: 0-d, or (N,) with reduction "none".

    Raises:
        ArgumentError: for a shape, number of views, dtype, temperature, reduction or
            backend out of range.
        NonFiniteArgumentError: for NaN or infinity in views.

    Example:
        >>> loss = MultiViewDHEL(0.3)
        >>> value = loss([torch.randn(100, 32) for view in range(5)])
    """

    functional = staticmethod(multi_view_dhel)
    example = staticmethod(several_views)

    def __init__(
        self,
        temperature: float | Tensor = 0.3,
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

    def forward(self, views: Views) -> Tensor:
        """The loss of views (V, N, d)."""
        return multi_view_dhel(
            views, self.temperature, reduction=self.reduction, backend=self.backend
        )

    def extra_repr(self) -> str:
        """The settings, for `print`."""
        return f"temperature={plain(self.temperature):g}, reduction={self.reduction!r}"
