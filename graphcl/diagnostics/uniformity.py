"""Uniformity: how evenly embeddings cover the unit sphere."""

from __future__ import annotations

import torch
from torch import Tensor

from graphcl.diagnostics.arguments import check_embedding, sample_rows, undefined
from graphcl.losses.alignment_uniformity import log_mean_potential
from graphcl.losses.arguments import check_above_zero
from graphcl.losses.unit_rows import unit_rows


@torch.no_grad()
def uniformity(
    z: Tensor,
    t: float = 2.0,
    *,
    sample: int | None = None,
    generator: torch.Generator | None = None,
    backend: str = "auto",
) -> Tensor:
    r"""Logarithm of the mean Gaussian potential over all pairs of different rows.

    .. math::
        \log \frac{1}{N (N-1)} \sum_{i \ne j} e^{-t \lVert u_i - u_j \rVert^2}

    Wang and Isola 2020, arXiv 2005.10242. 0 when all rows point the same way,
    and lower the more evenly they are spread; at least -4 t. Exact over all
    pairs, O(N² d) time and O(N d) memory; `sample` rows instead of N bound the time.

    Args:
        z: (N, d), un-normalised.
        t: inverse width of the potential, above 0.
        sample: use this many rows, drawn without replacement; None for all.
        generator: source of the sample; None for the global one.
        backend: of `graphcl.kernels.contrast.contrast`.

    Returns:
        0-d; NaN with fewer than two rows, or if one is not finite.

    Raises:
        ArgumentError: for a shape, t, sample or backend out of range.
    """
    check_embedding("z", z)
    check_above_zero("t", t)
    chosen = sample_rows(z.shape[0], sample, generator, z.device)
    unit = unit_rows(z if chosen is None else z[chosen])
    if unit.shape[0] < 2 or not bool(torch.isfinite(unit).all()):
        return undefined(unit)
    return log_mean_potential(unit, t, backend)
