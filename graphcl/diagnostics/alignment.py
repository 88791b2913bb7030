"""Alignment: how near the two views of a node are."""

from __future__ import annotations

import torch
from torch import Tensor

from graphcl.diagnostics.arguments import undefined
from graphcl.losses.alignment_uniformity import check_alpha, distance_power
from graphcl.losses.arguments import check_same_shape
from graphcl.losses.unit_rows import unit_rows


@torch.no_grad()
def alignment(z1: Tensor, z2: Tensor, alpha: float = 2.0) -> Tensor:
    r"""Mean distance of positive pairs on the unit sphere, to the power alpha.

    .. math::
        \frac1N \sum_i \lVert u_i - v_i \rVert^\alpha

    Wang and Isola 2020, arXiv 2005.10242. 0 is best; for α = 2 it is 2 - 2 cos
    on average. O(N d).

    Args:
        z1, z2: (N, d), un-normalised, row i of both being the same node.
        alpha: at least 1.

    Returns:
        0-d; NaN without rows.

    Raises:
        ArgumentError: for shapes that do not match or an alpha out of range.
    """
    check_same_shape(z1, z2)
    check_alpha(alpha)
    u, v = unit_rows(z1), unit_rows(z2)
    return distance_power(u, v, alpha).mean() if u.shape[0] else undefined(u)
