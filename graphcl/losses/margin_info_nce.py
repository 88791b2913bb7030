"""InfoNCE with a margin on the positive: NT-Xent-AM (cosine) and NT-Xent-AAM (angle)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from graphcl.errors import ArgumentError
from graphcl.kernels.contrast import Pairs
from graphcl.losses.arguments import (
    against_negatives,
    check_option,
    check_reduction,
    inverse_temperature,
    number,
    plain,
    reduce,
)
from graphcl.losses.examples import two_views
from graphcl.losses.two_views import ColumnBias, contrast_two_views
from graphcl.losses.unit_rows import row_products, unit_rows

KINDS = ("cosine", "angle")


def margin_info_nce(
    z1: Tensor,
    z2: Tensor,
    temperature: float | Tensor = 0.2,
    *,
    margin: float | Tensor = 0.1,
    kind: str = "cosine",
    intra_view: bool = True,
    symmetric: bool = True,
    column_bias: ColumnBias = None,
    exclude: Pairs | None = None,
    reduction: str = "mean",
    backend: str = "auto",
) -> Tensor:
    """Functional twin of `MarginInfoNCE`; the same arguments."""
    _check_margin(margin, kind)
    outputs = contrast_two_views(
        z1,
        z2,
        temperature,
        intra_view=intra_view,
        symmetric=symmetric,
        decoupled=True,
        backend=backend,
        exclude=exclude,
        column_bias=column_bias,
    )
    cosine = row_products(unit_rows(z1), unit_rows(z2))
    if kind == "cosine":
        lost = torch.as_tensor(margin, dtype=cosine.dtype, device=cosine.device)
    else:
        lost = cosine - cosine_of_widened_angle(cosine, margin)
    lost = lost * inverse_temperature(temperature)
    values = [against_negatives(output.denominator, output.positive - lost) for output in outputs]
    return reduce(torch.stack(values).mean(dim=0), reduction)


def cosine_of_widened_angle(cosine: Tensor, margin: float | Tensor) -> Tensor:
    r"""cos(θ + margin) for cosine = cos θ, continued linearly past θ + margin = π.

    .. math::
        \cos\theta \cos m - \sin\theta \sin m \;\text{ where } \cos\theta > -\cos m,
        \qquad \cos\theta + \cos m - 1 \;\text{ elsewhere}

    It grows with the cosine everywhere and is continuous. Values and gradients
    are finite at θ = 0 and θ = π, where the derivative of sin θ by the cosine is not.
    """
    m = torch.as_tensor(margin, dtype=cosine.dtype, device=cosine.device)
    # The clamp only ever acts within a rounding of parallel vectors.
    sine = (1 - cosine * cosine).clamp_min(torch.finfo(cosine.dtype).eps).sqrt()
    widened = cosine * m.cos() - sine * m.sin()
    return torch.where(cosine > -m.cos(), widened, cosine + m.cos() - 1)


class MarginInfoNCE(nn.Module):
    r"""InfoNCE that asks the positive to win by a margin on its cosine or on its angle.

    .. math::
        \ell(u_i, v_i) = -\log \frac{e^{\phi(\theta_i)/\tau}}{e^{\phi(\theta_i)/\tau}
            + \sum_{j \in N_i} e^{\cos\theta_{ij}/\tau}}, \qquad
        \phi(\theta) = \cos\theta - m \;\text{ or }\; \cos(\theta + m)

    with the angle θ_i between the two views of a node. The margin acts on the
    positive only. Lepage and Dehak 2023, "Experimenting with Additive Margins for
    Contrastive Self-Supervised Speaker Verification" (NT-Xent-AM and -AAM), arXiv
    2306.03664, after CosFace (Wang et al. 2018, arXiv 1801.09414; `kind="cosine"`)
    and ArcFace (Deng et al. 2019, arXiv 1801.07698; `kind="angle"`). `margin=0` is
    `InfoNCE`. A schedule sets the attribute `margin` between steps.

    Deviations: where θ + m exceeds π, ArcFace's usual code continues with
    cos θ - m sin m, which jumps there; here the line is shifted to meet the curve.
    An anchor without negatives contributes a connected 0.

    Args:
        temperature: τ in [1e-3, 10], a number, or a 0-d tensor or Parameter to learn;
            the authors' code uses 0.03.
        margin: m, at least 0, and below π for `kind="angle"` (radians); a number, or
            a 0-d tensor or Parameter to learn. The loss falls with the margin, so a
            learnt one needs a regulariser of its own.
        kind: "cosine" subtracts m from the cosine, "angle" adds it to the angle.
        intra_view: whether nodes of the anchor's own view are negatives too.
        symmetric: whether the nodes of both views are anchors.
        reduction: "mean" or "sum" over the N nodes, or "none".
        backend: of `graphcl.kernels.contrast.contrast`.

    Shape:
        z1, z2 (N, d), un-normalised, row i of both being the same node;
        column_bias as in `InfoNCE`; exclude `Pairs` of nodes (N, N) that are no
        negatives of each other, taken both ways. Output: 0-d, or (N,) with reduction "none".

    Raises:
        ArgumentError: for a shape, dtype, temperature, margin, kind, reduction or
            backend out of range.

    Example:
        >>> loss = MarginInfoNCE(0.1, margin=0.1, kind="angle")
        >>> value = loss(torch.randn(100, 32), torch.randn(100, 32))
    """

    functional = staticmethod(margin_info_nce)
    example = staticmethod(two_views)

    def __init__(
        self,
        temperature: float | Tensor = 0.2,
        *,
        margin: float | Tensor = 0.1,
        kind: str = "cosine",
        intra_view: bool = True,
        symmetric: bool = True,
        reduction: str = "mean",
        backend: str = "auto",
    ) -> None:
        super().__init__()
        inverse_temperature(temperature)
        _check_margin(margin, kind)
        check_reduction(reduction)
        self.temperature = temperature
        self.margin = margin
        self.kind = kind
        self.intra_view = intra_view
        self.symmetric = symmetric
        self.reduction = reduction
        self.backend = backend

    def forward(
        self, z1: Tensor, z2: Tensor, column_bias: ColumnBias = None, exclude: Pairs | None = None
    ) -> Tensor:
        """The loss of two views (N, d)."""
        return margin_info_nce(
            z1,
            z2,
            self.temperature,
            margin=self.margin,
            kind=self.kind,
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
            f"temperature={plain(self.temperature):g}, margin={plain(self.margin):g}, "
            f"kind={self.kind!r}, intra_view={self.intra_view}, symmetric={self.symmetric}, "
            f"reduction={self.reduction!r}"
        )


def _check_margin(margin: float | Tensor, kind: str) -> None:
    check_option("kind", kind, KINDS)
    value = number("margin", margin)
    limit = math.pi if kind == "angle" else math.inf
    if not 0 <= value < limit:
        raise ArgumentError(f"margin must lie in [0, {limit:.4g}) for kind '{kind}'; got {value}")
