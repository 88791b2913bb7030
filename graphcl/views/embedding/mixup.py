"""Mixup of embeddings, with the coefficient of the soft target."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from graphcl.views.embedding.draws import beta, check_embedding, check_strength, permutation


class Mixup(NamedTuple):
    """Mixed rows, whom each was mixed with, and how much of itself it kept.

    `z` (N, d); `partner` (N,) int64; `coefficient` (N,): the soft target of row i is
    coefficient_i on i and 1 - coefficient_i on partner_i.
    """

    z: Tensor
    partner: Tensor
    coefficient: Tensor


def mixup(
    z: Tensor,
    strength: float = 1.0,
    concentration: float = 1.0,
    *,
    generator: torch.Generator | None = None,
) -> Mixup:
    r"""Every row mixed with a random other one.

    .. math::
        z'_i = \lambda_i z_i + (1 - \lambda_i) z_{\pi(i)}, \qquad
        1 - \lambda = \text{strength} \cdot (1 - b), \quad b \sim \mathrm{Beta}(c, c)

    Zhang et al. 2018, arXiv 1710.09412; between two modalities or views with soft
    positives, Kumar et al. 2024 (M3CoL). With the softmax over the rows of the
    other view the soft target is two cross-entropies::

        mixed, partner, share = mixup(z1, generator=generator)
        nodes = torch.arange(len(z1))
        own = cross_entropy(unit_rows(mixed), unit_rows(z2), nodes, 0.2, reduction="none")
        other = cross_entropy(unit_rows(mixed), unit_rows(z2), partner, 0.2, reduction="none")
        loss = (share * own + (1 - share) * other).mean()

    Args:
        z: (N, d). Rows of very different length mix unequally: give unit rows.
        strength: in [0, 1]; 0 is the identity (λ = 1).
        concentration: c of the Beta distribution, above 0; small: mostly one of the two.
        generator: source of randomness; None is torch's global one.

    Returns:
        `Mixup`; z differentiable.

    Raises:
        ArgumentError: for a shape, strength or concentration out of range.
        NonFiniteArgumentError: for NaN or infinity in z.
    """
    check_embedding("z", z)
    check_strength(strength, 1.0)
    partner = permutation(z.shape[0], generator, z)
    kept = 1 - strength * (1 - beta((z.shape[0],), concentration, generator, z))
    # z + 0 * (...) is z to the last bit, a weighted sum is not.
    return Mixup(z + (1 - kept)[:, None] * (z[partner] - z), partner, kept)
