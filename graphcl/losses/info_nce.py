"""InfoNCE between two views: cross-view only (NT-Xent's bipartite form) or GRACE's."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from graphcl.kernels.contrast import Pairs
from graphcl.losses.arguments import (
    anchor_values,
    check_reduction,
    inverse_temperature,
    plain,
    reduce,
)
from graphcl.losses.examples import two_views
from graphcl.losses.two_views import ColumnBias, contrast_two_views


def info_nce(
    z1: Tensor,
    z2: Tensor,
    temperature: float | Tensor = 0.5,
    *,
    intra_view: bool = False,
    symmetric: bool = True,
    column_bias: ColumnBias = None,
    exclude: Pairs | None = None,
    reduction: str = "mean",
    backend: str = "auto",
) -> Tensor:
    """Functional twin of `InfoNCE`; the same arguments."""
    outputs = contrast_two_views(
        z1,
        z2,
        temperature,
        intra_view=intra_view,
        symmetric=symmetric,
        column_bias=column_bias,
        exclude=exclude,
        decoupled=False,
        backend=backend,
    )
    values = torch.stack([anchor_values(*output) for output in outputs]).mean(dim=0)
    return reduce(values, reduction)


class InfoNCE(nn.Module):
    r"""InfoNCE between two views, with or without negatives from the anchor's own view.

    .. math::
        \ell(u_i, v_i) = -\theta(u_i, v_i)/\tau - b_{v_i}
            + \log \sum_{c \in C(u_i)} e^{\theta(u_i, c)/\tau + b_c}
        \qquad
        L_i = \tfrac12 \left[ \ell(u_i, v_i) + \ell(v_i, u_i) \right]

    with the cosine θ. `intra_view=False`: C(u_i) is every node of the other view
    (van den Oord et al. 2018, arXiv 1807.03748; in both directions as in CLIP).
    `intra_view=True`: C(u_i) is every node of both views but u_i itself, which
    is GRACE's objective (Zhu et al. 2020, arXiv 2006.04131, eq. 1 and 2).
    `symmetric=False` keeps only ℓ(u_i, v_i).

    The bias b_c is 0 unless `column_bias` is given. It is a log-weight in logit
    units and belongs to the candidate node, the positive included; a node of bias -inf is
    no candidate and has value 0. CSGCL's
    Team-up (Chen et al. 2023) is `column_bias = gamma * strength / temperature`.

    Memory is linear in N: no N x N matrix is stored above a small size.

    Args:
        temperature: τ, a number in [1e-3, 10], or a 0-d tensor or Parameter to learn.
        intra_view: whether nodes of the anchor's own view are negatives too.
        symmetric: whether the nodes of both views are anchors.
        reduction: "mean" or "sum" over the N nodes, or "none".
        backend: of `graphcl.kernels.contrast.contrast`.

    Shape:
        z1, z2 (N, d), un-normalised, row i of both being the same node;
        column_bias (N,) for both views, or a pair of (N,) for the nodes of z1
        and of z2; exclude `Pairs` of nodes (N, N) that are no candidates of each other
        (known neighbours, say), taken both ways, log-weights unused; a node stays its
        own positive. Output: 0-d, or (N,) with reduction "none".

    Raises:
        ArgumentError: for a shape, dtype, temperature, reduction or backend out of range.
        NonFiniteArgumentError: for NaN or infinity in z1 or z2.

    Example:
        >>> loss = InfoNCE(0.4, intra_view=True)
        >>> value = loss(torch.randn(100, 32), torch.randn(100, 32))
    """

    functional = staticmethod(info_nce)
    example = staticmethod(two_views)

    def __init__(
        self,
        temperature: float | Tensor = 0.5,
        *,
        intra_view: bool = False,
        symmetric: bool = True,
        reduction: str = "mean",
        backend: str = "auto",
    ) -> None:
        super().__init__()
        inverse_temperature(temperature)
        check_reduction(reduction)
        self.temperature = temperature
        self.intra_view = intra_view
        self.symmetric = symmetric
        self.reduction = reduction
        self.backend = backend

    def forward(
        self, z1: Tensor, z2: Tensor, column_bias: ColumnBias = None, exclude: Pairs | None = None
    ) -> Tensor:
        """The loss of two views (N, d)."""
        return info_nce(
            z1,
            z2,
            self.temperature,
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
            f"temperature={plain(self.temperature):g}, intra_view={self.intra_view}, "
            f"symmetric={self.symmetric}, reduction={self.reduction!r}"
        )
