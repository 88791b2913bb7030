"""Noise on embeddings: views without changing the graph."""

from __future__ import annotations

import torch
from torch import Tensor

from graphcl.losses.unit_rows import unit_rows
from graphcl.views.embedding.draws import check_embedding, check_strength, normal, uniform


def signed_noise(
    z: Tensor, strength: float = 0.1, *, generator: torch.Generator | None = None
) -> Tensor:
    r"""Uniform noise of a fixed length in the orthant of the embedding.

    .. math::
        z' = z + \epsilon\, \mathrm{sign}(z) \odot \Delta / \lVert \Delta \rVert,
        \qquad \Delta \sim U(0, 1)^d

    Yu et al. 2022, SimGCL, arXiv 2112.08679: no sign changes, so a view stays
    near in direction. `strength` is ε, the length of what is added (shorter where entries of z
    are exactly 0, which have no sign); it is absolute, so it acts less on longer rows.

    Args:
        z: (N, d).
        strength: ε, at least 0; 0 is the identity.
        generator: source of randomness; None is torch's global one.

    Returns:
        A new (N, d), differentiable by z.

    Raises:
        ArgumentError: for a shape or strength out of range.
        NonFiniteArgumentError: for NaN or infinity in z.
    """
    check_embedding("z", z)
    check_strength(strength)
    direction = unit_rows(uniform(tuple(z.shape), generator, z)).to(z.dtype)
    return z + strength * torch.sign(z.detach()) * direction


def gaussian_noise(
    z: Tensor, strength: float = 0.1, *, generator: torch.Generator | None = None
) -> Tensor:
    """Independent Gaussian noise of standard deviation `strength` on every entry.

    Its length is about strength times the square root of d: smaller strengths than those of
    `signed_noise` move a row as far.

    Args:
        z: (N, d).
        strength: standard deviation, at least 0; 0 is the identity.
        generator: source of randomness; None is torch's global one.

    Returns:
        A new (N, d), differentiable by z.

    Raises:
        ArgumentError: for a shape or strength out of range.
        NonFiniteArgumentError: for NaN or infinity in z.
    """
    check_embedding("z", z)
    check_strength(strength)
    return z + strength * normal(tuple(z.shape), generator, z)
