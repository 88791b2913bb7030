"""Effective number of negatives: on how many of them the gradient really rests."""

from __future__ import annotations

import torch
from torch import Tensor

from graphcl.kernels.contrast import contrast
from graphcl.losses.arguments import check_two_views, inverse_temperature
from graphcl.losses.unit_rows import unit_rows


@torch.no_grad()
def effective_negatives(
    z1: Tensor, z2: Tensor, temperature: float = 0.5, *, backend: str = "auto"
) -> Tensor:
    r"""Effective sample size of the softmax over each anchor's negatives.

    .. math::
        \frac{1}{\sum_{j \ne i} p_{ij}^2}, \qquad
        p_{ij} = \frac{e^{\theta(u_i, v_j) / \tau}}{\sum_{k \ne i} e^{\theta(u_i, v_k) / \tau}}

    Kish 1965, "Survey Sampling". N - 1 when all negatives pull alike, 1 when
    one of them takes all: too low a temperature, or near-copies of the anchor
    among its negatives. It is e^{2 L(1/τ) - L(2/τ)} of two log-sum-exps L: exact,
    O(N² d) time and O(N d) memory.

    Args:
        z1, z2: (N, d), un-normalised; row i of z1 is an anchor, row i of z2 its
            positive, every other row of z2 a negative.
        temperature: τ in [1e-3, 10].
        backend: of `graphcl.kernels.contrast.contrast`.

    Returns:
        (N,) in [1, N - 1]; 0 for an anchor without negatives (N = 1).

    Raises:
        ArgumentError: for a shape, temperature or backend out of range.
        NonFiniteArgumentError: for NaN or infinity in z1 or z2.
    """
    check_two_views(z1, z2)
    scale = inverse_temperature(temperature)
    u, v = unit_rows(z1), unit_rows(z2)
    nodes = torch.arange(u.shape[0], device=u.device)
    once, twice = (
        contrast(
            u, v, scale=factor * scale, row_ids=nodes, column_ids=nodes, backend=backend
        ).denominator
        for factor in (1, 2)
    )
    return torch.where(torch.isneginf(once), 0.0, (2 * once - twice).exp())
