"""W-MSE: the distance of two views after each has been whitened."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from graphcl.errors import ArgumentError
from graphcl.kernels.contrast.checks import full_precision
from graphcl.losses.arguments import check_count, check_reduction, check_two_views, number, reduce
from graphcl.losses.columns import centred_columns
from graphcl.losses.examples import two_views
from graphcl.losses.unit_rows import ZERO_BELOW, row_products, unit_rows


def wmse(
    z1: Tensor,
    z2: Tensor,
    generator: torch.Generator | None = None,
    *,
    shrinkage: float = 1e-3,
    slice_size: int | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Functional twin of `WMSE`; the same arguments."""
    check_two_views(z1, z2)
    _check_settings(shrinkage, slice_size)
    count = z1.shape[0]
    slices = 1 if slice_size is None else max(1, count // slice_size)
    if slices == 1:
        first, second = whiten(z1, shrinkage), whiten(z2, shrinkage)
    else:
        device = z1.device if generator is None else generator.device
        order = torch.randperm(count, generator=generator, device=device).to(z1.device)
        parts = order.tensor_split(slices)
        back = order.argsort()
        first, second = (
            torch.cat([whiten(view[part], shrinkage) for part in parts])[back] for view in (z1, z2)
        )
    cosine = row_products(unit_rows(first), unit_rows(second))
    return reduce(2.0 - 2.0 * cosine, reduction)


def whiten(z: Tensor, shrinkage: float = 1e-3) -> Tensor:
    r"""Rows of z (N, d) centred and multiplied by the inverse Cholesky factor of their covariance.

    .. math::
        y_i = L^{-1} (z_i - \mu), \qquad
        L L^\top = (1 - \epsilon)\, \Sigma + \epsilon\, \frac{\mathrm{tr}\, \Sigma}{d}\, I

    With N > d rows and little shrinkage ε the covariance of y is close to the
    identity. Rows that are all equal become 0 and receive no gradient. O(N d² + d³).
    """
    centred = centred_columns(z)
    if centred.numel() == 0:
        return centred
    # Whitening forgets the scale, so dividing by it changes neither value nor
    # gradient, and keeps the squares in range.
    largest = centred.detach().abs().amax()
    absent = largest < ZERO_BELOW
    centred = (centred / largest.masked_fill(absent, 1.0)).masked_fill(absent, 0.0)
    with full_precision(centred):
        covariance = centred.T @ centred / max(z.shape[0] - 1, 1)
    identity = torch.eye(z.shape[1], dtype=centred.dtype, device=z.device)
    target = covariance.diagonal().mean() + absent.to(centred.dtype)
    factor, failed = torch.linalg.cholesky_ex(
        (1.0 - shrinkage) * covariance + shrinkage * target * identity
    )
    # Of NaN there is no factor either; it stays visible.
    factor = factor.masked_fill(failed > 0, torch.nan)
    return torch.linalg.solve_triangular(factor, centred.T, upper=False).T


class WMSE(nn.Module):
    r"""W-MSE: the distance of two views on the unit sphere after whitening each.

    .. math::
        L_i = \left\lVert \frac{y^1_i}{\lVert y^1_i \rVert}
            - \frac{y^2_i}{\lVert y^2_i \rVert} \right\rVert^2
            = 2 - 2 \cos(y^1_i, y^2_i), \qquad y^v_i = L_v^{-1} (z^v_i - \mu_v)

    where L_v is the Cholesky factor of the covariance of view v (see
    `graphcl.losses.wmse.whiten`): whitened embeddings cannot collapse, so no negatives
    are needed. Ermolov et al. 2021, "Whitening for Self-Supervised
    Representation Learning", arXiv 2007.06346. O(N d² + d³) time.

    The paper whitens random slices of a batch, of at least 2 d rows, the same
    for both views: `slice_size`. Remaining rows are spread over the slices.

    Deviations: the shrinkage is towards the identity times the mean variance,
    so that it does not depend on the scale of the embeddings (the authors' code
    shrinks towards the identity, by default not at all, and then fails for N <= d). A
    node without direction after whitening (all nodes, when N = 1) has value 2
    and gradient 0.

    Args:
        shrinkage: ε in (0, 1].
        slice_size: rows that are whitened together; None for all.
        reduction: "mean" or "sum" over the N nodes, or "none".

    Shape:
        z1, z2 (N, d), un-normalised, row i of both being the same node;
        generator: source of the slices, None for the global one. Output: 0-d,
        or (N,) with reduction "none".

    Raises:
        ArgumentError: for a shape, shrinkage, slice size or reduction out of range.
        NonFiniteArgumentError: for NaN or infinity in z1 or z2.

    Example:
        >>> loss = WMSE(slice_size=64)
        >>> value = loss(torch.randn(200, 32), torch.randn(200, 32))
    """

    functional = staticmethod(wmse)
    example = staticmethod(two_views)

    def __init__(
        self, *, shrinkage: float = 1e-3, slice_size: int | None = None, reduction: str = "mean"
    ) -> None:
        super().__init__()
        _check_settings(shrinkage, slice_size)
        check_reduction(reduction)
        self.shrinkage = shrinkage
        self.slice_size = slice_size
        self.reduction = reduction

    def forward(self, z1: Tensor, z2: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The loss of two views (N, d)."""
        return wmse(
            z1,
            z2,
            generator,
            shrinkage=self.shrinkage,
            slice_size=self.slice_size,
            reduction=self.reduction,
        )

    def extra_repr(self) -> str:
        """The settings, for `print`."""
        return (
            f"shrinkage={self.shrinkage:g}, slice_size={self.slice_size}, "
            f"reduction={self.reduction!r}"
        )


def _check_settings(shrinkage: float, slice_size: int | None) -> None:
    if not 0 < number("shrinkage", shrinkage) <= 1:
        raise ArgumentError(f"shrinkage must lie in (0, 1]; got {shrinkage}")
    if slice_size is not None:
        check_count("slice_size", slice_size, lowest=2)
