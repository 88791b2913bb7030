"""InfoNCE with negatives weighted by their hardness and corrected for false ones (HCL)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from graphcl.kernels.contrast import ContrastOutput, Pairs
from graphcl.losses.arguments import (
    against_negatives,
    check_fraction,
    check_reduction,
    check_weight,
    inverse_temperature,
    plain,
    reduce,
)
from graphcl.losses.examples import two_views
from graphcl.losses.two_views import contrast_two_views, negative_counts


def hardness_info_nce(
    z1: Tensor,
    z2: Tensor,
    temperature: float | Tensor = 0.5,
    *,
    beta: float = 1.0,
    tau_plus: float = 0.1,
    intra_view: bool = True,
    symmetric: bool = True,
    exclude: Pairs | None = None,
    reduction: str = "mean",
    backend: str = "auto",
) -> Tensor:
    """Functional twin of `HardnessInfoNCE`; the same arguments."""
    check_weight("beta", beta)
    check_fraction("tau_plus", tau_plus)
    inverse = inverse_temperature(temperature)

    def outputs(slope: float) -> list[ContrastOutput]:
        return contrast_two_views(
            z1,
            z2,
            temperature,
            intra_view=intra_view,
            symmetric=symmetric,
            decoupled=True,
            backend=backend,
            exclude=exclude,
            slope=slope,
        )

    steep = outputs(1.0 + beta)
    flat = outputs(beta) if beta > 0 else None
    counts = negative_counts(
        z1.shape[0], steep[0].denominator, intra_view=intra_view, exclude=exclude
    )
    log_count = counts.clamp_min(1).log()
    values = []
    for direction, output in enumerate(steep):
        # Anchors without negatives are computed on zeros, then overwritten.
        empty = torch.isneginf(output.denominator)
        negatives = output.denominator.masked_fill(empty, 0.0)
        if flat is not None:
            negatives = negatives - flat[direction].denominator.masked_fill(empty, 0.0) + log_count
        positive = output.positive / (1.0 + beta)
        negatives = debiased(negatives, positive, log_count, tau_plus, inverse)
        values.append(torch.where(empty, 0.0, against_negatives(negatives, positive)))
    return reduce(torch.stack(values).mean(dim=0), reduction)


def debiased(
    negatives: Tensor,
    positive: Tensor,
    log_count: Tensor,
    tau_plus: float,
    inverse_temperature: float | Tensor,
) -> Tensor:
    r"""Logarithm of the negatives' sum less its expected share of false negatives.

    .. math::
        \log \max\left( \frac{e^{negatives} - n\, \tau^+ e^{positive}}{1 - \tau^+},
                        \; n\, e^{-1/\tau} \right)

    for logits (N,) and n = e^{log_count}, without leaving the logarithm.
    """
    if tau_plus == 0:
        return negatives
    gap = negatives - (log_count + math.log(tau_plus) + positive)
    floor = log_count - inverse_temperature
    tiny = torch.finfo(gap.dtype).tiny
    remains = gap > tiny
    corrected = negatives + _log1mexp(torch.where(remains, gap, 1.0)) - math.log1p(-tau_plus)
    return torch.where(remains & (corrected > floor), corrected, floor)


def _log1mexp(gap: Tensor) -> Tensor:
    """log(1 - e^{-gap}) for gap > 0, exact for small and for large gaps."""
    small = (-torch.expm1(-gap.clamp_max(math.log(2)))).log()
    large = torch.log1p(-torch.exp(-gap.clamp_min(math.log(2))))
    return torch.where(gap < math.log(2), small, large)


class HardnessInfoNCE(nn.Module):
    r"""InfoNCE whose negatives weigh more the harder they are, corrected for false negatives.

    .. math::
        \ell(u_i, v_i) = -\log \frac{e^{l_i}}{e^{l_i} + G_i}, \qquad
        G_i = \max\left( \frac{R_i - |N_i|\, \tau^+ e^{l_i}}{1 - \tau^+},\;
                         |N_i|\, e^{-1/\tau} \right), \qquad
        R_i = |N_i| \frac{\sum_{j \in N_i} e^{(1+\beta) l_{ij}}}{\sum_{j \in N_i} e^{\beta l_{ij}}}

    with l = cosine / τ, l_i the positive's and N_i the negatives. Robinson et
    al. 2021, "Contrastive Learning with Hard Negative Samples" (HCL), arXiv
    2010.04592; the false-negative correction by the class prior τ⁺ and its
    floor are those of Chuang et al. 2020, arXiv 2007.00224. `beta=0` is
    `DebiasedInfoNCE`, and `tau_plus=0` as well is `InfoNCE`.

    Deviations: the authors exponentiate and subtract, which overflows and
    cancels at low temperatures; here both sums are log-sum-exps, at the slopes
    (1+β)/τ and β/τ, and the subtraction is done in the logarithm. The weights
    e^{βl} carry a gradient, as in the authors' code. An anchor without
    negatives contributes a connected 0. Where the floor is active, the
    negatives of that anchor get no gradient.

    Memory is linear in N; two passes over the pairs, one if `beta=0`.

    Args:
        temperature: τ in [1e-3, 10], a number, or a 0-d tensor or Parameter to learn.
        beta: concentration β of the weights on hard negatives, at least 0.
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
        ArgumentError: for a shape, dtype, temperature, beta, tau_plus, reduction or
            backend out of range.

    Example:
        >>> loss = HardnessInfoNCE(0.5, beta=1.0, tau_plus=0.1)
        >>> value = loss(torch.randn(100, 32), torch.randn(100, 32))
    """

    functional = staticmethod(hardness_info_nce)
    example = staticmethod(two_views)

    def __init__(
        self,
        temperature: float | Tensor = 0.5,
        *,
        beta: float = 1.0,
        tau_plus: float = 0.1,
        intra_view: bool = True,
        symmetric: bool = True,
        reduction: str = "mean",
        backend: str = "auto",
    ) -> None:
        super().__init__()
        inverse_temperature(temperature)
        check_weight("beta", beta)
        check_fraction("tau_plus", tau_plus)
        check_reduction(reduction)
        self.temperature = temperature
        self.beta = beta
        self.tau_plus = tau_plus
        self.intra_view = intra_view
        self.symmetric = symmetric
        self.reduction = reduction
        self.backend = backend

    def forward(self, z1: Tensor, z2: Tensor, exclude: Pairs | None = None) -> Tensor:
        """The loss of two views (N, d)."""
        return hardness_info_nce(
            z1,
            z2,
            self.temperature,
            beta=self.beta,
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
            f"temperature={plain(self.temperature):g}, beta={self.beta:g}, "
            f"tau_plus={self.tau_plus:g}, intra_view={self.intra_view}, "
            f"symmetric={self.symmetric}, reduction={self.reduction!r}"
        )
