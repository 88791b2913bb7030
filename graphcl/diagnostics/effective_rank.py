"""Effective rank: how many dimensions an embedding really uses."""

from __future__ import annotations

import torch
from torch import Tensor

from graphcl.diagnostics.arguments import check_embedding, undefined


@torch.no_grad()
def effective_rank(z: Tensor, *, centre: bool = False) -> Tensor:
    r"""Exponential of the entropy of the singular values, scaled to sum 1.

    .. math::
        \exp\left( -\sum_k p_k \log p_k \right), \qquad p_k = \sigma_k / \sum_l \sigma_l

    Roy and Vetterli 2007, "The effective rank: a measure of effective
    dimensionality" (EUSIPCO); as a label-free measure of embeddings, RankMe,
    Garrido et al. 2023, arXiv 2210.02885 (which adds a small constant to p). Between 1
    (all rows on one line: collapse) and min(N, d); it does not depend on the
    scale. O(N d min(N, d)), computed in float64.

    Args:
        z: (N, d), used as it is, not normalised.
        centre: subtract the mean row first, so that a common offset of all
            embeddings does not count as a dimension.

    Returns:
        0-d; 0 when every entry is 0 (or, with `centre`, all rows are equal), NaN
        without entries.

    Raises:
        ArgumentError: for a wrong shape or dtype.
    """
    check_embedding("z", z)
    if z.numel() == 0 or not torch.isfinite(z).all():
        return undefined(z)
    rows = z.double()
    if centre:
        # Equal rows minus their rounded mean would leave noise of rank one.
        rows = rows - rows[:1]
        rows = rows - rows.mean(dim=0)
    values = torch.linalg.svdvals(rows)
    total = values.sum()
    if total == 0:
        return torch.zeros_like(undefined(z))
    return torch.special.entr(values / total).sum().exp().to(z.dtype)
