"""InfoNCE corrected for the negatives that are of the anchor's own class."""

from __future__ import annotations

from torch import Tensor, nn

from graphcl.kernels.contrast import Pairs
from graphcl.losses.arguments import (
    check_fraction,
    check_reduction,
    inverse_temperature,
    plain,
)
from graphcl.losses.examples import two_views
from graphcl.losses.hardness_info_nce import hardness_info_nce


def debiased_info_nce(
    z1: Tensor,
    z2: Tensor,
    temperature: float | Tensor = 0.5,
    *,
    tau_plus: float = 0.1,
    intra_view: bool = True,
    symmetric: bool = True,
    exclude: Pairs | None = None,
    reduction: str = "mean",
    backend: str = "auto",
) -> Tensor:
    """Functional twin of `DebiasedInfoNCE`; the same arguments."""
    return hardness_info_nce(
        z1,
        z2,
        temperature,
        beta=0.0,
        tau_plus=tau_plus,
        intra_view=intra_view,
        symmetric=symmetric,
        exclude=exclude,
        reduction=reduction,
        backend=backend,
    )


class DebiasedInfoNCE(nn.Module):
    r"""InfoNCE with the expected share of false negatives taken out of the denominator.

    .. math::
        \ell(u_i, v_i) = -\log \frac{e^{l_i}}{e^{l_i} + G_i}, \qquad
        G_i = \max\left( \frac{\sum_{j \in N_i} e^{l_{ij}} - |N_i|\, \tau^+ e^{l_i}}{1 - \tau^+},\;
                         |N_i|\, e^{-1/\tau} \right)

    with l = cosine / τ, l_i the positive's and N_i the negatives. Chuang et al.
    2020, "Debiased Contrastive Learning", arXiv 2007.00224, with one
    positive sample. Not to be confused with `DecoupledInfoNCE`, which is called
    DCL too. `tau_plus=0` is `InfoNCE`.

    Deviations: the authors exponentiate and subtract; here the subtraction is
    done in the logarithm, so that it neither overflows nor cancels at low
    temperatures. An anchor without negatives contributes a connected 0. Where
    the floor is active, the negatives of that anchor get no gradient.

    Args:
        temperature: τ in [1e-3, 10], a number, or a 0-d tensor or Parameter to learn.
        tau_plus: prior probability in [0, 1) that a negative is a false one.
        intra_view: whether nodes of the anchor's own view are negatives too.
        symmetric: whether the nodes of both views are anchors.
        reduction: "mean" or "sum" over the N nodes, or "none".
        backend: of `graphcl.kernels.contrast.contrast`.

    Shape:
        z1, z2 (N, d), un-normalised, row i of both being the same node;
        exclude `Pairs` of nodes (N, N) that are no negatives of each other (known
        neighbours, say), taken both ways; log-weights are not used.
        Output: 0-d, or (N,) with reduction "none".

    Raises:
        ArgumentError: for a shape, dtype, temperature, tau_plus, reduction or
            backend out of range.

    Example:
        >>> loss = DebiasedInfoNCE(0.5, tau_plus=0.1)
        >>> value = loss(torch.randn(100, 32), torch.randn(100, 32))
    """

    functional = staticmethod(debiased_info_nce)
    example = staticmethod(two_views)

    def __init__(
        self,
        temperature: float | Tensor = 0.5,
        *,
        tau_plus: float = 0.1,
        intra_view: bool = True,
        symmetric: bool = True,
        reduction: str = "mean",
        backend: str = "auto",
    ) -> None:
        super().__init__()
        inverse_temperature(temperature)
        check_fraction("tau_plus", tau_plus)
        check_reduction(reduction)
        self.temperature = temperature
        self.tau_plus = tau_plus
        self.intra_view = intra_view
        self.symmetric = symmetric
        self.reduction = reduction
        self.backend = backend

    def forward(self, z1: Tensor, z2: Tensor, exclude: Pairs | None = None) -> Tensor:
        """The loss of two views (N, d)."""
        return debiased_info_nce(
            z1,
            z2,
            self.temperature,
            tau_plus=self.tau_plus,
            intra_view=self.intra_view,
            symmetric=self.symmetric,
            exclude=exclude,
            reduction=self.reduction,
            backend=self.backend,
        )

    def extra_repr(self) -> str:
        """The settings, for `print`."""
        return (
            f"temperature={plain(self.temperature):g}, tau_plus={self.tau_plus:g}, "
            f"intra_view={self.intra_view}, symmetric={self.symmetric}, "
            f"reduction={self.reduction!r}"
        )
