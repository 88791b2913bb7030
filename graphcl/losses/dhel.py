"""Decoupled hyperspherical energy of two views."""

from __future__ import annotations

from torch import Tensor, nn

from graphcl.kernels.contrast import contrast
from graphcl.losses.arguments import (
    anchor_values,
    check_reduction,
    check_two_views,
    inverse_temperature,
    plain,
    reduce,
)
from graphcl.losses.examples import two_views
from graphcl.losses.multi_view_dhel import multi_view_dhel
from graphcl.losses.unit_rows import row_products, unit_rows


def dhel(
    z1: Tensor,
    z2: Tensor,
    temperature: float | Tensor = 0.3,
    *,
    symmetric: bool = True,
    reduction: str = "mean",
    backend: str = "auto",
) -> Tensor:
    """Functional twin of `DHEL`; the same arguments."""
    check_two_views(z1, z2)
    if symmetric:
        return multi_view_dhel([z1, z2], temperature, reduction=reduction, backend=backend)
    scale = inverse_temperature(temperature)
    u, v = unit_rows(z1), unit_rows(z2)
    energy = contrast(u, scale=scale, backend=backend).denominator
    return reduce(anchor_values(energy, scale * row_products(u, v)), reduction)


class DHEL(nn.Module):
    r"""Alignment of two views, and the hyperspherical energy of each view by itself.

    .. math::
        L_i = -\theta(u_i, v_i)/\tau
            + \log \sum_{j \ne i} e^{\theta(u_i, u_j)/\tau}
            + \log \sum_{j \ne i} e^{\theta(v_i, v_j)/\tau}

    with the cosine θ. Koromilas et al. 2024, "Bridging Mini-Batch and Asymptotic
    Analysis in Contrastive Learning: From InfoNCE to Kernel-Based Losses", arXiv
    2405.18045. `symmetric=False` leaves out the last term. `MultiViewDHEL` is the
    loss of more views. A batch of one node has no negative: a connected 0.

    Args:
        temperature: τ, a number in [1e-3, 10], or a 0-d tensor or Parameter to learn.
        symmetric: whether the energy of the second view counts too.
        reduction: "mean" or "sum" over the N nodes, or "none".
        backend: of `graphcl.kernels.contrast.contrast`.

    Shape:
        z1, z2 (N, d), un-normalised, row i of both being the same node. Output: 0-d,
        or (N,) with reduction "none".

    Raises:
        ArgumentError: for a shape, dtype, temperature, reduction or backend out of
            range.
        NonFiniteArgumentError: for NaN or infinity in z1 or z2.

    Example:
        >>> loss = DHEL(0.3)
        >>> value = loss(torch.randn(100, 32), torch.randn(100, 32))
    """

    functional = staticmethod(dhel)
    example = staticmethod(two_views)

    def __init__(
        self,
        temperature: float | Tensor = 0.3,
        *,
        symmetric: bool = True,
        reduction: str = "mean",
        backend: str = "auto",
    ) -> None:
        super().__init__()
        inverse_temperature(temperature)
        check_reduction(reduction)
        self.temperature = temperature
        self.symmetric = symmetric
        self.reduction = reduction
        self.backend = backend

    def forward(self, z1: Tensor, z2: Tensor) -> Tensor:
        """The loss of two views (N, d)."""
        return dhel(
            z1,
            z2,
            self.temperature,
            symmetric=self.symmetric,
            reduction=self.reduction,
            backend=self.backend,
        )

    def extra_repr(self) -> str:
        """The settings, for `print`."""
        return (
            f"temperature={plain(self.temperature):g}, symmetric={self.symmetric}, "
            f"reduction={self.reduction!r}"
        )
