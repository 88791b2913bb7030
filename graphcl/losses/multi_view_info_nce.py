"""InfoNCE of any number of views with one term per node."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from graphcl.kernels.contrast import contrast, contrast_both, log_add_exp
from graphcl.losses.arguments import (
    anchor_values,
    check_reduction,
    inverse_temperature,
    plain,
    reduce,
)
from graphcl.losses.examples import several_views
from graphcl.losses.multi_view import Views, log_positive_pairs, unit_views


def multi_view_info_nce(
    views: Views,
    temperature: float | Tensor = 0.5,
    *,
    intra_view: bool = False,
    reduction: str = "mean",
    backend: str = "auto",
) -> Tensor:
    """Functional twin of `MultiViewInfoNCE`; the same arguments."""
    units = unit_views(views)
    scale = inverse_temperature(temperature)
    count = units[0].shape[0]
    if intra_view:
        rows = contrast(torch.cat(units), scale=scale, backend=backend).denominator
        denominators = list(rows.view(len(units), count))
    else:
        denominators = []
        for a, first in enumerate(units):
            for second in units[a + 1 :]:
                forth, back = contrast_both(first, second, scale=scale, backend=backend)
                denominators += [forth.denominator, back.denominator]
    # Every unordered pair stands twice among the candidates.
    positive = math.log(2.0) + log_positive_pairs(units, scale)
    return reduce(anchor_values(log_add_exp(*denominators), positive), reduction)


class MultiViewInfoNCE(nn.Module):
    r"""InfoNCE of V views of every node, all pairs of views in one term (MV-InfoNCE).

    .. math::
        L_i = -\log \sum_{a \ne b} e^{\theta(z_i^a, z_i^b)/\tau}
            + \log \sum_a \sum_{(j, b) \in C(i, a)} e^{\theta(z_i^a, z_j^b)/\tau}

    with the cosine θ. Koromilas et al. 2025, "A Principled Framework for
    Multi-View Contrastive Learning", arXiv 2507.06979. `intra_view=False`: C(i, a)
    is every node in the views other than a, which is the formula printed with the
    authors' code; `intra_view=True`: every node of every view but node i in view a
    itself, which is what that code computes. Both sums contain the positives.

    For two views this is not `InfoNCE`: the anchors of both directions share one
    logarithm instead of the mean of two.

    Deviation: the authors' code sums exponentials; here every sum is a
    log-sum-exp, exact at any temperature. Time O(N² V² d), memory linear in V N.

    Args:
        temperature: τ, a number in [1e-3, 10], or a 0-d tensor or Parameter to learn.
        intra_view: whether nodes of the anchor's own view are candidates too.
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
        >>> loss = MultiViewInfoNCE(0.5)
        >>> value = loss(torch.randn(4, 100, 32))
    """

    functional = staticmethod(multi_view_info_nce)
    example = staticmethod(several_views)

    def __init__(
        self,
        temperature: float | Tensor = 0.5,
        *,
        intra_view: bool = False,
        reduction: str = "mean",
        backend: str = "auto",
    ) -> None:
        super().__init__()
        inverse_temperature(temperature)
        check_reduction(reduction)
        self.temperature = temperature
        self.intra_view = intra_view
        self.reduction = reduction
        self.backend = backend

    def forward(self, views: Views) -> Tensor:
        """The loss of views (V, N, d)."""
        return multi_view_info_nce(
            views,
            self.temperature,
            intra_view=self.intra_view,
            reduction=self.reduction,
            backend=self.backend,
        )

    def extra_repr(self) -> str:
        """The settings, for `print`."""
        return (
            f"temperature={plain(self.temperature):g}, intra_view={self.intra_view}, "
            f"reduction={self.reduction!r}"
        )
