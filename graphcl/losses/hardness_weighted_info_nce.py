"""InfoNCE whose negatives are weighted by their detached similarity (LLaVE)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from graphcl.kernels.contrast import Pairs
from graphcl.losses.arguments import (
    against_negatives,
    check_reduction,
    check_weight,
    inverse_temperature,
    plain,
    reduce,
)
from graphcl.losses.examples import two_views
from graphcl.losses.two_views import ColumnBias, contrast_two_views


def hardness_weighted_info_nce(
    z1: Tensor,
    z2: Tensor,
    temperature: float | Tensor = 0.1,
    *,
    alpha: float = 0.5,
    intra_view: bool = False,
    symmetric: bool = True,
    column_bias: ColumnBias = None,
    exclude: Pairs | None = None,
    reduction: str = "mean",
    backend: str = "auto",
) -> Tensor:
    """Functional twin of `HardnessWeightedInfoNCE`; the same arguments."""
    check_weight("alpha", alpha)
    outputs = contrast_two_views(
        z1,
        z2,
        temperature,
        intra_view=intra_view,
        symmetric=symmetric,
        decoupled=True,
        backend=backend,
        column_bias=column_bias,
        hardness=alpha,
        exclude=exclude,
    )
    values = [against_negatives(output.denominator, output.positive) for output in outputs]
    return reduce(torch.stack(values).mean(dim=0), reduction)


class HardnessWeightedInfoNCE(nn.Module):
    r"""InfoNCE whose negatives weigh more the harder they are, the weights being constants.

    .. math::
        \ell(u_i, v_i) = -\log \frac{e^{l_{ii}}}{e^{l_{ii}}
            + \sum_{j \in N_i} w_{ij} e^{l_{ij}}}, \qquad
        w_{ij} = e^{\alpha\, \mathrm{sg}(\cos_{ij})}, \qquad l = \cos/\tau

    with the stop-gradient sg. Lan et al. 2025, "LLaVE: Large Language and Vision
    Embedding Models with Hardness-Weighted Contrastive Learning", arXiv 2503.04812.
    The value has the slope 1/τ + α on the negatives, the gradient keeps 1/τ: each
    negative's share grows with its similarity without the temperature falling.
    `HardnessInfoNCE` scales the weights to mean 1 and differentiates them instead.
    `alpha=0` is `InfoNCE`.

    An anchor without negatives contributes a connected 0.

    Args:
        temperature: τ in [1e-3, 10], a number, or a 0-d tensor or Parameter to learn;
            the authors' code uses 0.02.
        alpha: strength α of the weights, at least 0.
        intra_view: whether nodes of the anchor's own view are negatives too.
        symmetric: whether the nodes of both views are anchors.
        reduction: "mean" or "sum" over the N nodes, or "none".
        backend: of `graphcl.kernels.contrast.contrast`.

    Shape:
        z1, z2 (N, d), un-normalised, row i of both being the same node;
        column_bias as in `InfoNCE`; exclude `Pairs` of nodes (N, N) that are no
        negatives of each other, taken both ways. Output: 0-d, or (N,) with
        reduction "none".

    Raises:
        ArgumentError: for a shape, dtype, temperature, alpha, reduction or backend
            out of range.

    Example:
        >>> loss = HardnessWeightedInfoNCE(0.1, alpha=0.5)
        >>> value = loss(torch.randn(100, 32), torch.randn(100, 32))
    """

    functional = staticmethod(hardness_weighted_info_nce)
    example = staticmethod(two_views)
    without_stop_gradient: ClassVar[dict[str, float]] = {"alpha": 0.0}

    def __init__(
        self,
        temperature: float | Tensor = 0.1,
        *,
        alpha: float = 0.5,
        intra_view: bool = False,
        symmetric: bool = True,
        reduction: str = "mean",
        backend: str = "auto",
    ) -> None:
        super().__init__()
        inverse_temperature(temperature)
        check_weight("alpha", alpha)
        check_reduction(reduction)
        self.temperature = temperature
        self.alpha = alpha
        self.intra_view = intra_view
        self.symmetric = symmetric
        self.reduction = reduction
        self.backend = backend

    def forward(
        self, z1: Tensor, z2: Tensor, column_bias: ColumnBias = None, exclude: Pairs | None = None
    ) -> Tensor:
        """The loss of two views (N, d)."""
        return hardness_weighted_info_nce(
            z1,
            z2,
            self.temperature,
            alpha=self.alpha,
            intra_view=self.intra_view,
            symmetric=self.symmetric,
            column_bias=column_bias,
            exclude=exclude,
            reduction=self.reduction,
            backend=self.backend,
        )

    def extra_repr(self) -> str:
        """The settings, for `print`."""
        return (
            f"temperature={plain(self.temperature):g}, alpha={self.alpha:g}, "
            f"intra_view={self.intra_view}, symmetric={self.symmetric}, "
            f"reduction={self.reduction!r}"
        )
