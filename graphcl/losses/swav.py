"""SwAV: the balanced cluster of one view is predicted from the other."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from graphcl.errors import ArgumentError
from graphcl.kernels.contrast.checks import check_finite, full_precision
from graphcl.losses.arguments import (
    check_alike,
    check_floating,
    check_reduction,
    check_rows,
    check_two_views,
    inverse_temperature,
    plain,
    reduce,
)
from graphcl.losses.examples import views_prototypes_codes
from graphcl.losses.sinkhorn import check_sinkhorn, sinkhorn
from graphcl.losses.unit_rows import unit_rows


def swav(
    z1: Tensor,
    z2: Tensor,
    prototypes: Tensor,
    codes1: Tensor | None = None,
    codes2: Tensor | None = None,
    temperature: float | Tensor = 0.1,
    *,
    epsilon: float = 0.05,
    iterations: int = 3,
    reduction: str = "mean",
) -> Tensor:
    """Functional twin of `SwAV`; the same arguments."""
    check_two_views(z1, z2)
    check_sinkhorn(epsilon, iterations)
    scale = inverse_temperature(temperature)
    check_rows("prototypes", prototypes, z1.shape[1], fewest=1)
    check_alike(("z1", "prototypes"), z1, prototypes)
    values = []
    _check_codes("codes1", codes1, z1.shape[0], prototypes.shape[0])
    _check_codes("codes2", codes2, z1.shape[0], prototypes.shape[0])
    for student, teacher, codes in ((z1, z2, codes2), (z2, z1, codes1)):
        if codes is None:
            codes = swav_codes(teacher, prototypes, epsilon=epsilon, iterations=iterations)
        log_shares = torch.log_softmax(scale * _cosines(student, prototypes), dim=1)
        values.append(-(codes.detach() * log_shares).sum(dim=1))
    return reduce((values[0] + values[1]) / 2, reduction)


@torch.no_grad()
def swav_codes(
    z: Tensor,
    prototypes: Tensor,
    queue: Tensor | None = None,
    *,
    epsilon: float = 0.05,
    iterations: int = 3,
) -> Tensor:
    """The codes (N, K) of one view: Sinkhorn assignments of its cosines, without gradient.

    Args:
        z: (N, d), un-normalised.
        prototypes: (K, d), un-normalised.
        queue: (Q, d) embeddings of this view from earlier batches, which take part in
            the balance and get no code; for batches smaller than the number of prototypes.
        epsilon, iterations: of `graphcl.losses.sinkhorn.sinkhorn`.
    """
    rows = z if queue is None else torch.cat([queue, z])
    codes = sinkhorn(_cosines(rows, prototypes), epsilon, iterations)
    return codes[rows.shape[0] - z.shape[0] :]


class SwAV(nn.Module):
    r"""Swapped prediction: each view predicts the balanced soft cluster of the other.

    .. math::
        L_i = -\frac12 \sum_{k=1}^{K} \left[ q^2_{ik} \log p^1_{ik} + q^1_{ik} \log p^2_{ik}
            \right], \qquad
        p^a_{ik} = \frac{e^{\theta(z_i^a, c_k)/\tau}}{\sum_{l} e^{\theta(z_i^a, c_l)/\tau}}

    with the cosine θ and the codes q of `swav_codes`, without gradient. Caron et al.
    2020, "Unsupervised Learning of Visual Features by Contrasting Cluster
    Assignments", arXiv 2006.09882, eq. 1 to 4. Nodes are compared through K
    prototypes, never with each other: time and memory O(N K), and no negatives.

    The prototypes are an argument, usually a `torch.nn.Parameter` (K, d) of the model,
    and are scaled to length 1 here, where the authors' code overwrites the parameter
    after every step. The paper keeps them fixed during the first epoch, and uses
    3000. Codes can be given: from a queue of earlier embeddings (`swav_codes`), from
    a momentum encoder, or one set for several student views.

    Args:
        temperature: τ, a number in [1e-3, 10], or a 0-d tensor or Parameter to learn.
        epsilon: smoothness of the codes, above 0.
        iterations: of Sinkhorn, at least 1.
        reduction: "mean" or "sum" over the N nodes, or "none".

    Shape:
        z1, z2 (N, d), un-normalised, row i of both being the same node; prototypes
        (K, d); codes1, codes2 (N, K) codes of z1 and z2, None to compute them here.
        Output: 0-d, or (N,) with reduction "none".

    Raises:
        ArgumentError: for a shape, temperature, epsilon, number of iterations or
            reduction out of range.
        NonFiniteArgumentError: for NaN or infinity in an argument.

    Example:
        >>> prototypes = torch.nn.Parameter(torch.randn(10, 32))
        >>> loss = SwAV(0.1)
        >>> value = loss(torch.randn(100, 32), torch.randn(100, 32), prototypes)
    """

    functional = staticmethod(swav)
    example = staticmethod(views_prototypes_codes)
    detached = ("codes1", "codes2")

    def __init__(
        self,
        temperature: float | Tensor = 0.1,
        *,
        epsilon: float = 0.05,
        iterations: int = 3,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        inverse_temperature(temperature)
        check_sinkhorn(epsilon, iterations)
        check_reduction(reduction)
        self.temperature = temperature
        self.epsilon = epsilon
        self.iterations = iterations
        self.reduction = reduction

    def forward(
        self,
        z1: Tensor,
        z2: Tensor,
        prototypes: Tensor,
        codes1: Tensor | None = None,
        codes2: Tensor | None = None,
    ) -> Tensor:
        """The loss of two views (N, d) and prototypes (K, d)."""
        return swav(
            z1,
            z2,
            prototypes,
            codes1,
            codes2,
            self.temperature,
            epsilon=self.epsilon,
            iterations=self.iterations,
            reduction=self.reduction,
        )

    def extra_repr(self) -> str:
        """The settings, for `print`."""
        return (
            f"temperature={plain(self.temperature):g}, epsilon={self.epsilon:g}, "
            f"iterations={self.iterations}, reduction={self.reduction!r}"
        )


def _cosines(z: Tensor, prototypes: Tensor) -> Tensor:
    with full_precision(z):
        return unit_rows(z) @ unit_rows(prototypes).T


def _check_codes(name: str, codes: Tensor | None, count: int, prototypes: int) -> None:
    if codes is None:
        return
    check_floating(name, codes)
    if tuple(codes.shape) != (count, prototypes):
        raise ArgumentError(f"{name} must be ({count}, {prototypes}); got {tuple(codes.shape)}")
    check_finite(name, codes)
