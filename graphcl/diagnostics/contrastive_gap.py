"""Contrastive gap: whether the two views live in different parts of the sphere."""

from __future__ import annotations

import torch
from torch import Tensor

from graphcl.diagnostics.arguments import undefined
from graphcl.losses.arguments import check_above_zero, check_same_shape
from graphcl.losses.unit_rows import unit_rows


@torch.no_grad()
def contrastive_gap(z1: Tensor, z2: Tensor) -> Tensor:
    r"""Distance between the centroids of two views on the unit sphere.

    .. math::
        \left\lVert \frac1N \sum_i u_i - \frac1N \sum_i v_i \right\rVert

    Liang et al. 2022, "Mind the Gap", arXiv 2203.02053; Fahim et al. 2024, "It's
    Not a Modality Gap", arXiv 2405.18570, find it between two encoders of the
    same kind of data too. Between 0 (no gap) and 2. O(N d).

    Args:
        z1, z2: (N, d), un-normalised, row i of both being the same node.

    Returns:
        0-d; NaN without rows.

    Raises:
        ArgumentError: for shapes that do not match.
    """
    check_same_shape(z1, z2)
    u, v = unit_rows(z1), unit_rows(z2)
    if u.shape[0] == 0:
        return undefined(u)
    return torch.linalg.vector_norm((u - v).double().mean(dim=0)).to(u.dtype)


@torch.no_grad()
def linear_separability(
    z1: Tensor, z2: Tensor, *, ridge: float = 1e-3, generator: torch.Generator | None = None
) -> Tensor:
    r"""Accuracy with which a hyperplane tells one view from the other.

    Both views of a random half of the nodes fit a ridge regression of the view
    on the unit vectors, which has a closed form; the other half measures it. The second
    measure of the gap in Fahim et al. 2024, arXiv 2405.18570; deviation: least
    squares in place of a classifier trained by gradients. 0.5: the views are
    mixed; 1: they can be told apart. O(N d² + d³), in float64.

    Args:
        z1, z2: (N, d), un-normalised, row i of both being the same node.
        ridge: penalty relative to the mean variance of a dimension, above 0.
        generator: source of the halves; None for the global one.

    Returns:
        0-d in [0, 1], a row on the hyperplane counting half; NaN with fewer than two nodes.

    Raises:
        ArgumentError: for shapes that do not match or a ridge out of range.
    """
    check_same_shape(z1, z2)
    check_above_zero("ridge", ridge)
    u, v = unit_rows(z1), unit_rows(z2)
    count, dimension = u.shape
    if count < 2 or not (torch.isfinite(u).all() and torch.isfinite(v).all()):
        return undefined(u)
    device = u.device if generator is None else generator.device
    order = torch.randperm(count, generator=generator, device=device).to(u.device)
    fitted, held_out = order[: count // 2], order[count // 2 :]
    first, second = u[fitted].double(), v[fitted].double()
    middle = (first + second).mean(dim=0) / 2
    rows = torch.cat([first, second]) - middle
    scatter = rows.T @ rows / rows.shape[0]
    penalty = ridge * scatter.diagonal().mean()
    penalty = torch.where(penalty > 0, penalty, 1.0)
    identity = torch.eye(dimension, dtype=rows.dtype, device=rows.device)
    normal = torch.linalg.solve(scatter + penalty * identity, (first - second).mean(dim=0))
    sides = torch.cat(
        [(u[held_out].double() - middle) @ normal, -((v[held_out].double() - middle) @ normal)]
    )
    return ((sides.sign() + 1) / 2).mean().to(u.dtype)
