"""InfoNCE with the mean over the negatives in place of their sum."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from graphcl.kernels.contrast import Pairs
from graphcl.losses.arguments import (
    against_negatives,
    check_reduction,
    inverse_temperature,
    plain,
    reduce,
)
from graphcl.losses.examples import two_views
from graphcl.losses.two_views import contrast_two_views, negative_counts


def mean_info_nce(
    z1: Tensor,
    z2: Tensor,
    temperature: float | Tensor = 0.5,
    *,
    intra_view: bool = False,
    symmetric: bool = True,
    exclude: Pairs | None = None,
    reduction: str = "mean",
    backend: str = "auto",
) -> Tensor:
    """Functional twin of `MeanInfoNCE`; the same arguments."""
    outputs = contrast_two_views(
        z1,
        z2,
        temperature,
        intra_view=intra_view,
        symmetric=symmetric,
        decoupled=True,
        backend=backend,
        exclude=exclude,
    )
    counts = negative_counts(
        z1.shape[0], outputs[0].denominator, intra_view=intra_view, exclude=exclude
    )
    log_count = counts.clamp_min(1).log()
    values = [
        against_negatives(output.denominator - log_count, output.positive) for output in outputs
    ]
    return reduce(torch.stack(values).mean(dim=0), reduction)


class MeanInfoNCE(nn.Module):
    r"""InfoNCE whose denominator holds the mean over the negatives instead of their sum.

    .. math::
        \ell(u_i, v_i) = -\log \frac{e^{l_{ii}}}{e^{l_{ii}}
            + \frac{1}{|N_i|} \sum_{j \in N_i} e^{l_{ij}}}, \qquad l = \cos/\tau

    One positive then weighs as much as all negatives together, so the value does
    not grow with log N and changes little with the size of the batch. It is the
    contrastive term of cMIM (Livne 2025, arXiv 2509.21511), which contrasts what
    the model says of one input with the other latents; the autoencoder terms of
    that paper are not part of it.

    An anchor without negatives contributes a connected 0.

    Args:
        temperature: τ in [1e-3, 10], a number, or a 0-d tensor or Parameter to learn.
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
        ArgumentError: for a shape, dtype, temperature, reduction or backend out of range.

    Example:
        >>> loss = MeanInfoNCE(0.5)
        >>> value = loss(torch.randn(100, 32), torch.randn(100, 32))
    """

    functional = staticmethod(mean_info_nce)
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

    def forward(self, z1: Tensor, z2: Tensor, exclude: Pairs | None = None) -> Tensor:
        """The loss of two views (N, d)."""
        return mean_info_nce(
            z1,
            z2,
            self.temperature,
            intra_view=self.intra_view,
            symmetric=self.symmetric,
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
