"""Wasserstein uniformity: how far the cosines of pairs are from those of evenly spread rows."""

from __future__ import annotations

import torch
from scipy.special import betaincinv
from torch import Tensor

from graphcl.diagnostics.arguments import check_embedding, undefined
from graphcl.errors import ArgumentError
from graphcl.losses.unit_rows import unit_rows


@torch.no_grad()
def wasserstein_uniformity(
    z: Tensor, pairs: int = 10_000, *, generator: torch.Generator | None = None
) -> Tensor:
    r"""Distance of the distribution of pair cosines to that of the uniform sphere.

    .. math::
        \int_0^1 \left| F^{-1}(p) - G^{-1}(p) \right| dp, \qquad
        g(s) \propto (1 - s^2)^{(d - 3) / 2}

    F being the cosines of random pairs of different rows, and G the law of the
    cosine of two independent uniform directions in d dimensions (mean 0, variance 1/d).
    Koromilas et al. 2024, arXiv 2405.18045, compare the two this way; deviation: the
    exponent is (d - 3)/2 for vectors of d entries, where their code has (d - 2)/2 with a
    fixed d. 0: as even as independent uniform directions; 1: all rows point the same way.
    Unlike `uniformity` it tells collapse of some dimensions from d directions: rows
    spread evenly in fewer dimensions score worse.

    Sampled: O(pairs d) whatever N is, with an error of about 1 / sqrt(d * pairs).

    Args:
        z: (N, d), un-normalised.
        pairs: number of pairs, drawn with replacement, at least 1.
        generator: source of the pairs; None for the global one.

    Returns:
        0-d in [0, 2]; NaN with fewer than two rows, or if one is not finite.

    Raises:
        ArgumentError: for a wrong shape, dtype or number of pairs.
    """
    check_embedding("z", z)
    if pairs < 1:
        raise ArgumentError(f"pairs must be at least 1; got {pairs}")
    count, dimension = z.shape
    if count < 2 or dimension == 0 or not bool(torch.isfinite(z).all()):
        return undefined(z)
    source = z.device if generator is None else generator.device
    first = torch.randint(count, (pairs,), generator=generator, device=source).to(z.device)
    step = torch.randint(1, count, (pairs,), generator=generator, device=source).to(z.device)
    left, right = unit_rows(z[first]), unit_rows(z[(first + step) % count])
    cosines = torch.linalg.vecdot(left, right).double().sort().values
    wanted = _uniform_quantiles(pairs, dimension).to(z.device)
    return (cosines - wanted).abs().mean().to(left.dtype)


def _uniform_quantiles(count: int, dimension: int) -> Tensor:
    """Ascending (count,) float64: the mid-point quantiles of the cosine in d dimensions."""
    levels = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    if dimension == 1:
        return torch.sign(levels - 0.5)
    # (1 + s) / 2 has the Beta distribution with both shapes (d - 1) / 2.
    shape = (dimension - 1) / 2
    return 2 * torch.from_numpy(betaincinv(shape, shape, levels.numpy())) - 1
