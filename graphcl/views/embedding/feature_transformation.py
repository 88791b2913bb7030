"""Feature transformation (FT): harder positives by extrapolation, more negatives by mixing."""

from __future__ import annotations

import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.losses.unit_rows import unit_rows
from graphcl.views.embedding.draws import beta, check_embedding, check_strength, permutation


def extrapolate_positives(
    z1: Tensor,
    z2: Tensor,
    strength: float = 1.0,
    concentration: float = 2.0,
    *,
    per_dimension: bool = False,
    renormalise: bool = True,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    r"""Push the two rows of a positive pair apart along the line between them.

    .. math::
        u' = a u + (1 - a) v, \quad v' = a v + (1 - a) u, \qquad
        a = 1 + \text{strength} \cdot b, \quad b \sim \mathrm{Beta}(c, c)

    Zhu et al. 2021, "Improving Contrastive Learning by Visualizing Feature
    Transformation", arXiv 2108.02982. With one a per pair the cosine never rises:
    see `extrapolated_cosine`. With one per dimension, their
    best setting, single pairs may come nearer. The transformed rows are for the positive logit;
    whether the negatives of the anchor use u or u' (the authors' code: u') is up to the caller.

    Args:
        z1, z2: (N, d) unit rows, row i of both being the same node.
        strength: at least 0; 0 is the identity, 1 the paper.
        concentration: c of the Beta distribution, above 0.
        per_dimension: one a per entry in place of one per pair.
        renormalise: scale the results to unit rows.
        generator: source of randomness; None is torch's global one.

    Returns:
        Two new (N, d), differentiable by z1 and z2.

    Raises:
        ArgumentError: for shapes that do not match, or a setting out of range.
        NonFiniteArgumentError: for NaN or infinity in z1 or z2.
    """
    check_embedding("z1", z1)
    check_embedding("z2", z2)
    check_strength(strength)
    if z1.shape != z2.shape:
        raise ArgumentError(
            f"z1 and z2 must have one shape; got {tuple(z1.shape)} and {tuple(z2.shape)}"
        )
    shape = tuple(z1.shape) if per_dimension else (z1.shape[0], 1)
    beyond = strength * beta(shape, concentration, generator, z1)
    step = beyond * (z1 - z2)
    return _renormalised(z1 + step, strength, renormalise), _renormalised(
        z2 - step, strength, renormalise
    )


def extrapolated_cosine(cosine: Tensor, factor: Tensor, *, renormalise: bool = True) -> Tensor:
    r"""The cosine of a pair after extrapolation by one factor a, from the cosine before.

    .. math::
        t = 2 a (a - 1) (1 - s), \qquad s' = s - t, \qquad
        \cos' = \frac{s - t}{1 + t}

    For unit rows <u', v'> = s - t, and both have squared length 1 + t; so extrapolation of
    positives is a transform of their logits that costs nothing. For a ≥ 1 both are at most s.

    Args:
        cosine: s in [-1, 1], any shape.
        factor: a at least 1, of the same shape.
        renormalise: cos' (True) or s' of the rows as they are.

    Returns:
        Of the same shape, differentiable.
    """
    moved = 2 * factor * (factor - 1) * (1 - cosine)
    return (cosine - moved) / (1 + moved) if renormalise else cosine - moved


def interpolate_negatives(
    z: Tensor,
    strength: float = 1.0,
    concentration: float = 1.6,
    *,
    renormalise: bool = True,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Replace each negative by a mixture with a random other one.

    .. math::
        n'_i = b\, n_i + (1 - b)\, n_{\pi(i)}, \qquad
        1 - b = \text{strength} \cdot (1 - b'), \quad b' \sim \mathrm{Beta}(c, c)

    The negative half of Zhu et al. 2021, arXiv 2108.02982, on the keys of a queue or batch.
    New negatives every step, in the places of the old ones. Which row is
    whose positive no longer holds for the result: use it for negatives only.

    Args:
        z: (N, d) unit rows.
        strength: in [0, 1]; 0 is the identity, 1 the paper.
        concentration: c of the Beta distribution, above 0.
        renormalise: scale the result to unit rows.
        generator: source of randomness; None is torch's global one.

    Returns:
        A new (N, d), differentiable by z.

    Raises:
        ArgumentError: for a shape or setting out of range.
        NonFiniteArgumentError: for NaN or infinity in z.
    """
    check_embedding("z", z)
    check_strength(strength, 1.0)
    partner = permutation(z.shape[0], generator, z)
    share = strength * (1 - beta((z.shape[0], 1), concentration, generator, z))
    return _renormalised(z + share * (z[partner] - z), strength, renormalise)


def _renormalised(z: Tensor, strength: float, renormalise: bool) -> Tensor:
    # At strength 0 nothing moved, and nothing should be rounded either.
    return unit_rows(z).to(z.dtype) if renormalise and strength > 0 else z
