"""Tolerance: how alike the embeddings of one group are."""

from __future__ import annotations

import torch
from torch import Tensor

from graphcl.diagnostics.arguments import check_embedding
from graphcl.errors import ArgumentError
from graphcl.losses.unit_rows import unit_rows


@torch.no_grad()
def tolerance(z: Tensor, groups: Tensor) -> Tensor:
    r"""Mean cosine over all pairs of different rows of the same group.

    .. math::
        \frac{\sum_g \left( \lVert s_g \rVert^2 - \sum_{i \in g} \lVert u_i \rVert^2 \right)}
            {\sum_g n_g (n_g - 1)}, \qquad s_g = \sum_{i \in g} u_i

    which is the mean over pairs without visiting them: O(N d). Groups are
    classes or communities. Wang and Liu 2021, "Understanding the Behaviour of
    Contrastive Loss", arXiv 2012.09740: a loss that separates alike nodes at all
    costs has a low tolerance; uniformity and tolerance pull against each other.
    Deviation: the paper's expectation of similarity times indicator is also
    over the pairs of different groups, which count 0; this is the mean over the
    pairs of equal groups, and so does not depend on the number of groups.

    Args:
        z: (N, d), un-normalised.
        groups: (N,) integer group of every row; negative: in no group.

    Returns:
        0-d in [-1, 1]; NaN when no group has two rows. Summed in float64.

    Raises:
        ArgumentError: for a wrong shape or dtype.
    """
    check_embedding("z", z)
    if tuple(groups.shape) != (z.shape[0],) or groups.is_floating_point():
        raise ArgumentError(
            f"groups must be ({z.shape[0]},) integers; got {groups.dtype} {tuple(groups.shape)}"
        )
    grouped = groups >= 0
    unit = unit_rows(z)
    result_dtype = unit.dtype
    _, index, sizes = torch.unique(groups[grouped], return_inverse=True, return_counts=True)
    # |s_g|² and its diagonal nearly cancel for spread groups.
    unit = unit[grouped].double()
    sums = unit.new_zeros(sizes.numel(), unit.shape[1]).index_add_(0, index, unit)
    pairs = (sizes * (sizes - 1)).sum()
    mean = (sums.square().sum() - unit.square().sum()) / pairs
    # 0 / 0 without pairs could be x / 0 after rounding.
    return torch.where(pairs > 0, mean, torch.nan).to(result_dtype)
