"""Decoupled contrastive learning: InfoNCE without the positive in the denominator."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from graphcl.kernels.contrast import Pairs
from graphcl.losses.arguments import (
    anchor_values,
    check_reduction,
    check_temperature,
    inverse_temperature,
    plain,
    reduce,
)
from graphcl.losses.examples import two_views
from graphcl.losses.two_views import ColumnBias, contrast_two_views
from graphcl.losses.unit_rows import row_products, unit_rows


def decoupled_info_nce(
    z1: Tensor,
    z2: Tensor,
    temperature: float | Tensor = 0.1,
    *,
    intra_view: bool = True,
    symmetric: bool = True,
    weighted: bool = False,
    sigma: float = 0.5,
    clamp_weight: bool = False,
    column_bias: ColumnBias = None,
    exclude: Pairs | None = None,
    reduction: str = "mean",
    backend: str = "auto",
) -> Tensor:
    """Functional twin of `DecoupledInfoNCE`; the same arguments."""
    check_temperature(sigma, "sigma")
    outputs = contrast_two_views(
        z1,
        z2,
        temperature,
        intra_view=intra_view,
        symmetric=symmetric,
        column_bias=column_bias,
        exclude=exclude,
        decoupled=True,
        backend=backend,
    )
    weight = positive_weight(z1, z2, sigma) if weighted else 1.0
    if clamp_weight and isinstance(weight, Tensor):
        weight = weight.clamp_min(0)
    values = [anchor_values(output.denominator, weight * output.positive) for output in outputs]
    return reduce(torch.stack(values).mean(dim=0), reduction)


def positive_weight(z1: Tensor, z2: Tensor, sigma: float = 0.5) -> Tensor:
    r"""Negative von Mises-Fisher weight of every positive pair, detached; its mean is 1.

    .. math::
        w_i = 2 - \frac{e^{\theta(u_i, v_i)/\sigma}}{\frac1N \sum_j e^{\theta(u_j, v_j)/\sigma}}

    (DCLW, Yeh et al. 2021, arXiv 2110.06848). Pairs that are already close weigh less; a pair much
    closer than all others can get a negative weight, which pushes it apart.
    """
    cosine = row_products(unit_rows(z1.detach()), unit_rows(z2.detach()))
    return 2.0 - cosine.numel() * torch.softmax(cosine / sigma, dim=0)


class DecoupledInfoNCE(nn.Module):
    r"""InfoNCE with the positive taken out of the denominator (DCL, and DCLW when weighted).

    .. math::
        \ell(u_i, v_i) = -w_i \left( \theta(u_i, v_i)/\tau + b_{v_i} \right)
            + \log \sum_{c \in C(u_i) \setminus \{v_i\}} e^{\theta(u_i, c)/\tau + b_c}

    Yeh et al. 2021, "Decoupled Contrastive Learning", arXiv 2110.06848,
    with w = 1, or with `weighted=True` the von Mises-Fisher weight of
    `positive_weight` (DCLW). The gradient on the positive loses the factor that
    couples it with the negatives, which helps small batches. The loss can be
    negative. C(u_i) is as in `InfoNCE`; the default, both views, is the paper's.

    Deviations: the paper does not say whether w carries a gradient; here it is
    detached. Excluded entries are exactly absent, not of logit log(1e-45).
    With a single node and no other candidate the value is a connected 0.

    Args:
        temperature: τ in [1e-3, 10], a number, or a 0-d tensor or Parameter to learn.
        intra_view: whether nodes of the anchor's own view are negatives too.
        symmetric: whether the nodes of both views are anchors.
        weighted: use the weight w (DCLW).
        clamp_weight: raise negative weights to 0, so that no positive is pushed away.
        sigma: width of the weight, in [1e-3, 10]; the paper's 0.5.
        reduction: "mean" or "sum" over the N nodes, or "none".
        backend: of `graphcl.kernels.contrast.contrast`.

    Shape:
        z1, z2 (N, d), un-normalised, row i of both being the same node;
        column_bias and exclude as in `InfoNCE`. Output: 0-d, or (N,) with
        reduction "none".

    Raises:
        ArgumentError: for a shape, dtype, temperature, sigma, reduction or backend
            out of range.
        NonFiniteArgumentError: for NaN or infinity in z1 or z2.

    Example:
        >>> loss = DecoupledInfoNCE(0.1, weighted=True)
        >>> value = loss(torch.randn(100, 32), torch.randn(100, 32))
    """

    functional = staticmethod(decoupled_info_nce)
    example = staticmethod(two_views)

    def __init__(
        self,
        temperature: float | Tensor = 0.1,
        *,
        intra_view: bool = True,
        symmetric: bool = True,
        weighted: bool = False,
        sigma: float = 0.5,
        clamp_weight: bool = False,
        reduction: str = "mean",
        backend: str = "auto",
    ) -> None:
        super().__init__()
        inverse_temperature(temperature)
        check_temperature(sigma, "sigma")
        check_reduction(reduction)
        self.temperature = temperature
        self.intra_view = intra_view
        self.symmetric = symmetric
        self.weighted = weighted
        self.sigma = sigma
        self.clamp_weight = clamp_weight
        self.reduction = reduction
        self.backend = backend

    def forward(
        self, z1: Tensor, z2: Tensor, column_bias: ColumnBias = None, exclude: Pairs | None = None
    ) -> Tensor:
        """The loss of two views (N, d)."""
        return decoupled_info_nce(
            z1,
            z2,
            self.temperature,
            intra_view=self.intra_view,
            symmetric=self.symmetric,
            weighted=self.weighted,
            sigma=self.sigma,
            clamp_weight=self.clamp_weight,
            column_bias=column_bias,
            exclude=exclude,
            reduction=self.reduction,
            backend=self.backend,
        )

    def extra_repr(self) -> str:
        """The settings, for `print`."""
        return (
            f"temperature={plain(self.temperature):g}, intra_view={self.intra_view}, "
            f"symmetric={self.symmetric}, weighted={self.weighted}, "
            f"sigma={self.sigma:g}, clamp_weight={self.clamp_weight}, reduction={self.reduction!r}"
        )
